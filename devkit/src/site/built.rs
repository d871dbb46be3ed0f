//! What is wrong with the pages that were built: links that lead nowhere in the site itself.

use std::collections::{BTreeMap, BTreeSet};

use super::book::walk;

/// Links of a page, and the ids that links can lead to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Html {
    links: Vec<String>,
    ids: BTreeSet<String>,
}

/// Reads a page as mdbook writes it: attributes in double quotes.
#[must_use]
pub fn parse(text: &str) -> Html {
    let all = |attribute: &str| -> Vec<String> {
        let mark = format!(" {attribute}=\"");
        let after = text.match_indices(&mark).map(|(at, _)| &text[at + mark.len()..]);
        after.filter_map(|rest| rest.split('"').next()).map(|value| value.replace("&amp;", "&")).collect()
    };
    let links = ["href", "src"].into_iter().flat_map(all).collect();
    Html { links, ids: all("id").into_iter().collect() }
}

/// Links within the site that lead nowhere. Pages and files by their paths in the site.
#[must_use]
pub fn faults(pages: &BTreeMap<String, Html>, files: &BTreeSet<String>) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (page, html) in pages {
        for link in html.links.iter().filter(|link| is_local(link)) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = path.split('?').next().unwrap_or_default();
            let Some(target) = target(page, path) else {
                found.insert(format!("{page}: {link} leads out of the site"));
                continue;
            };
            let index = format!("{target}/index.html");
            let target = if files.contains(&index) { index } else { target };
            let known = anchor.is_empty() || pages.get(&target).is_none_or(|html| html.ids.contains(anchor));
            if !files.contains(&target) {
                found.insert(format!("{page}: {link} leads nowhere"));
            } else if !known {
                found.insert(format!("{page}: {target} has no #{anchor}"));
            }
        }
    }
    found.into_iter().collect()
}

fn is_local(link: &str) -> bool {
    !(link.is_empty()
        || link.contains("://")
        || link.starts_with("mailto:")
        || link.starts_with("data:")
        || link.starts_with("javascript:"))
}

fn target(page: &str, path: &str) -> Option<String> {
    if path.is_empty() { Some(page.to_owned()) } else { walk(page, path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_and_those_that_lead_nowhere_are_told() {
        let page = |text| parse(text);
        let pages = BTreeMap::from([
            (
                "a.html".to_owned(),
                page(
                    r##"<h1 id="top"><a href="#top">x</a><a href="d/b.html#in">y</a><img src="p.png"><a href="e"></a><a href="e/"></a>"##,
                ),
            ),
            (
                "d/b.html".to_owned(),
                page(r#"<a id="in" href="../a.html#gone"></a><a href="../../x"></a><a href="none.html">"#),
            ),
        ]);
        let files = ["a.html", "d/b.html", "p.png", "e/index.html"].map(str::to_owned).into();
        assert_eq!(
            faults(&pages, &files),
            [
                "d/b.html: ../../x leads out of the site",
                "d/b.html: a.html has no #gone",
                "d/b.html: none.html leads nowhere",
            ]
        );
    }
}
