//! What a page of Markdown has: headings, links, and code.

use std::collections::BTreeMap;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A page, as far as it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Where links can lead in it.
    pub anchors: Vec<String>,
    /// Where its links lead, and the line that each is on.
    pub links: Vec<(String, usize)>,
    /// Fenced code: its language, what is in it, and its line.
    pub code: Vec<(String, String, usize)>,
}

/// Reads a page.
#[must_use]
pub fn parse(text: &str) -> Page {
    let mut page = Page::default();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut heading: Option<String> = None;
    let mut fenced: Option<(String, String, usize)> = None;
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        let line = || text[..range.start].matches('\n').count() + 1;
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap_or_default());
                let before = seen.entry(slug.clone()).and_modify(|n| *n += 1).or_default();
                page.anchors.push(if *before == 0 { slug } else { format!("{slug}-{before}") });
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push((dest_url.to_string(), line()));
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                fenced = Some((language.to_string(), String::new(), line()));
            }
            Event::End(TagEnd::CodeBlock) => page.code.extend(fenced.take()),
            Event::Text(words) | Event::Code(words) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                } else if let Some((_, code, _)) = &mut fenced {
                    code.push_str(&words);
                }
            }
            _ => {}
        }
    }
    page
}

/// The anchor of a heading, as GitHub and mdbook make it.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_links_and_code_are_found() {
        let page = parse(
            "# One `two`, three\n\n[a](x.md#y) and ![b](p.png)\n\n## Same\n## Same\n\n```yaml\na: 1\n```\n\n\
             | a |\n|---|\n| [c][ref] |\n\n[ref]: z.md\n\n`[no](link)`\n",
        );
        assert_eq!(page.anchors, ["one-two-three", "same", "same-1"]);
        let links: Vec<_> = page.links.iter().map(|(link, line)| (&**link, *line)).collect();
        assert_eq!(links, [("x.md#y", 3), ("p.png", 3), ("z.md", 14)]);
        assert_eq!(page.code, [("yaml".to_owned(), "a: 1\n".to_owned(), 8)]);
    }
}
