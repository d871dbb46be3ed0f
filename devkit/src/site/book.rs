//! The table of contents, and what is wrong with the pages. Pure: files come as a map.

use std::collections::{BTreeMap, BTreeSet};

use super::markdown::{Page, parse};

/// The table of contents, from the repository's root.
pub const SUMMARY: &str = "docs/SUMMARY.md";

/// The pages of the repository, by their paths from its root.
pub struct Book {
    summary: String,
    pages: BTreeMap<String, Page>,
    files: BTreeSet<String>,
    drafts: bool,
}

impl Book {
    /// Takes the text of each Markdown file, and the names of all files. With `drafts` the table of contents may name pages that
    /// are not there yet.
    #[must_use]
    pub fn new(markdown: &BTreeMap<String, String>, files: BTreeSet<String>, drafts: bool) -> Self {
        let pages = markdown.iter().map(|(path, text)| (path.clone(), parse(text))).collect();
        Self { summary: markdown.get(SUMMARY).cloned().unwrap_or_default(), pages, files, drafts }
    }

    /// Paths of the pages of the book, in their order, those that are not there yet too.
    #[must_use]
    pub fn chapters(&self) -> Vec<String> {
        let links = parse(&self.summary).links;
        links.iter().filter_map(|(link, _)| resolve(SUMMARY, link.split('#').next().unwrap_or_default())).collect()
    }

    /// Pages that the table of contents names and that are not there.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.chapters().into_iter().filter(|path| !self.files.contains(path)).collect()
    }

    /// The table of contents as mdbook wants it, with paths from the root; pages that are not there are drafts.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut out = String::new();
        for line in self.summary.lines() {
            let link = line.rfind("](").and_then(|at| Some((at + 2, line[at + 2..].find(')')? + at + 2)));
            if let Some((from, to)) = link
                && let Some(path) = resolve(SUMMARY, &line[from..to])
            {
                let path = if self.files.contains(&path) { path } else { String::new() };
                out += &format!("{}{path}{}\n", &line[..from], &line[to..]);
            } else {
                out += &format!("{line}\n");
            }
        }
        out
    }

    /// Files that pages of the book link to and that are no pages: the site has copies of them.
    #[must_use]
    pub fn attachments(&self) -> BTreeSet<String> {
        let chapters = self.chapters();
        let links = chapters.iter().filter_map(|path| Some((path, self.pages.get(path)?)));
        let targets = links.flat_map(|(path, page)| {
            page.links.iter().filter_map(move |(link, _)| resolve(path, link.split('#').next().unwrap_or_default()))
        });
        let of = |path: String| -> Vec<String> {
            if self.files.contains(&path) { vec![path] } else { self.inside(&path).map(str::to_owned).collect() }
        };
        targets.flat_map(of).filter(|path| !chapters.contains(path)).collect()
    }

    /// Folders that pages of the book link to: the site shows what is in them.
    #[must_use]
    pub fn folders(&self) -> BTreeMap<String, Vec<String>> {
        let chapters = self.chapters();
        let links = chapters.iter().filter_map(|path| Some((path, self.pages.get(path)?)));
        let targets = links.flat_map(|(path, page)| {
            page.links.iter().filter_map(move |(link, _)| resolve(path, link.split('#').next().unwrap_or_default()))
        });
        let folders = targets.filter(|path| !self.files.contains(path));
        let listed = folders.map(|path| {
            let inside = self.inside(&path).filter(|file| !file.ends_with(".md")).map(str::to_owned).collect();
            (path, inside)
        });
        listed.filter(|(_, inside): &(_, Vec<String>)| !inside.is_empty()).collect()
    }

    /// The files of a folder.
    fn inside<'s>(&'s self, folder: &str) -> impl Iterator<Item = &'s str> {
        let start = format!("{}/", folder.trim_end_matches('/'));
        self.files.iter().map(String::as_str).filter(move |file| file.starts_with(&start))
    }

    /// Everything that is wrong, a sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let chapters = self.chapters();
        let mut found = Vec::new();
        if !self.drafts {
            found
                .extend(self.missing().iter().map(|path| format!("{SUMMARY} names {path}, and there is no such file")));
        }
        let mut twice = BTreeSet::new();
        found.extend(chapters.iter().filter(|p| !twice.insert(*p)).map(|p| format!("{SUMMARY} names {p} twice")));
        let orphans = self.pages.keys().filter(|p| p.starts_with("docs/") && *p != SUMMARY && !chapters.contains(p));
        found.extend(orphans.map(|path| format!("{path} is not in {SUMMARY}")));
        for (path, page) in &self.pages {
            let in_book = chapters.contains(path);
            for (link, line) in page.links.iter().filter(|_| path != SUMMARY) {
                found.extend(self.fault(path, link, in_book).map(|why| format!("{path}:{line}: {why}")));
            }
            for (language, text, line) in page.code.iter().filter(|(language, ..)| language == "yaml") {
                if let Err(error) = serde_saphyr::from_multiple::<serde_json::Value>(text) {
                    let at = error.location().map_or(0, |at| usize::try_from(at.line()).unwrap_or(0));
                    found.push(format!("{path}:{}: this is no {language}", line + at));
                }
            }
        }
        found
    }

    /// What is wrong with a link.
    fn fault(&self, page: &str, link: &str, in_book: bool) -> Option<String> {
        if link.contains("://") || link.starts_with("mailto:") {
            return None;
        }
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let Some(target) = (if path.is_empty() { Some(page.to_owned()) } else { resolve(page, path) }) else {
            return Some(format!("{link} leads out of the repository"));
        };
        if !self.files.contains(&target) {
            // A page that is a draft may be linked to like one that is there.
            let draft = self.drafts && self.chapters().contains(&target);
            let folder = anchor.is_empty() && self.inside(&target).next().is_some();
            return (!draft && !folder).then(|| format!("{link} leads nowhere"));
        }
        if target.ends_with(".md") && in_book && !self.chapters().contains(&target) {
            return Some(format!("{link} leads to a page that is not in {SUMMARY}"));
        }
        let known = |page: &Page| page.anchors.iter().any(|known| known == anchor);
        let wrong = !anchor.is_empty() && !self.pages.get(&target).is_some_and(known);
        wrong.then(|| format!("{target} has no heading #{anchor}"))
    }
}

/// The path from the root that a relative link of a page leads to; `None`: out of the repository, or elsewhere.
fn resolve(page: &str, link: &str) -> Option<String> {
    if link.is_empty() || link.contains("://") || link.starts_with(['/', '#']) || link.starts_with("mailto:") {
        return None;
    }
    walk(page, link)
}

/// Where a relative path leads from a page, by its path from the root; `None`: out of the root.
pub(super) fn walk(page: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(pages: &[(&str, &str)], files: &[&str], drafts: bool) -> Book {
        let markdown = pages.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let names = pages.iter().map(|(path, _)| *path).chain(files.iter().copied());
        Book::new(&markdown, names.map(str::to_owned).collect(), drafts)
    }

    #[test]
    fn what_is_right_has_no_fault_and_is_staged_from_the_root() {
        let pages = [
            (
                "README.md",
                "# Read\n[a](docs/a.md#two-words) [licence](LICENSE) [all](examples/) [out](https://x.example)",
            ),
            ("docs/SUMMARY.md", "# Summary\n\n[Read](../README.md)\n\n- [A](a.md)\n  - [B](b/c.md)\n"),
            ("docs/a.md", "# A\n## Two words\n[self](#a) [b](b/c.md)\n```yaml\na: {b: 1}\n---\nc: 2\n```\n"),
            ("docs/b/c.md", "# C\n[up](../../README.md#read) [a](../a.md)"),
        ];
        let book = book(&pages, &["LICENSE", "examples/a/b.yaml", "examples/c.yaml", "other.yaml"], false);
        assert_eq!(book.faults(), Vec::<String>::new());
        assert_eq!(book.summary(), "# Summary\n\n[Read](README.md)\n\n- [A](docs/a.md)\n  - [B](docs/b/c.md)\n");
        let inside = ["examples/a/b.yaml", "examples/c.yaml"].map(str::to_owned);
        assert_eq!(book.folders(), BTreeMap::from([("examples".to_owned(), inside.to_vec())]));
        let attached = inside.into_iter().chain(["LICENSE".to_owned()]).collect::<BTreeSet<_>>();
        assert_eq!(book.attachments(), attached);
    }

    #[test]
    fn each_fault_names_page_line_and_what_is_wrong() {
        let pages = [
            ("docs/SUMMARY.md", "- [A](a.md)\n- [A](a.md)\n"),
            (
                "docs/a.md",
                "# A\n[x](nowhere.md)\n[y](#b)\n[z](../../out.md)\n[f](../sources)\n[r](../README.md)\n```yaml\na: [\n```\n",
            ),
            ("docs/orphan.md", "# O\n"),
            ("README.md", "# R\n[a](docs/a.md#nothing)"),
        ];
        let faults = book(&pages, &["src/x.rs"], false).faults();
        for fault in [
            "docs/SUMMARY.md names docs/a.md twice",
            "docs/orphan.md is not in docs/SUMMARY.md",
            "docs/a.md:2: nowhere.md leads nowhere",
            "docs/a.md:3: docs/a.md has no heading #b",
            "docs/a.md:4: ../../out.md leads out of the repository",
            "docs/a.md:5: ../sources leads nowhere",
            "docs/a.md:6: ../README.md leads to a page that is not in docs/SUMMARY.md",
            "README.md:2: docs/a.md has no heading #nothing",
        ] {
            assert!(faults.iter().any(|found| found == fault), "{fault}\n{faults:#?}");
        }
        assert!(faults.iter().any(|found| found.starts_with("docs/a.md:") && found.ends_with("this is no yaml")));
    }

    #[test]
    fn a_page_that_is_not_there_is_a_draft_if_that_is_asked_for() {
        let pages =
            [("docs/SUMMARY.md", "- [A](a.md)\n- [Later](later.md)\n"), ("docs/a.md", "# A\n[l](later.md#part)\n")];
        let strict = book(&pages, &[], false).faults();
        assert_eq!(strict.len(), 2, "{strict:#?}");
        let lax = book(&pages, &[], true);
        assert_eq!((lax.faults(), lax.missing()), (vec![], vec!["docs/later.md".to_owned()]));
        assert_eq!(lax.summary(), "- [A](docs/a.md)\n- [Later]()\n");
    }
}
