//! Reading a list page by page. An incomplete or self-contradicting list is an error, never a short list. Pure.

use std::collections::HashSet;

use serde_json::Value;
use url::Url;

use super::answer::Places;
use super::rules::DescribedRules;
use crate::api::http::HttpCursor;
use crate::remote::Listed;

/// A list that is longer than this is taken for one that does not end.
pub(crate) const MAX_PAGES: usize = 1000;
/// No more bytes are read for one list.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// How an answer of the list is read.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) items: String,
    pub(crate) null_is_empty: bool,
    pub(crate) entry: Places,
    pub(crate) count: Option<String>,
    pub(crate) total: Option<String>,
    pub(crate) paging: Paging,
}

/// How further pages are had.
#[derive(Debug)]
pub(crate) enum Paging {
    /// The first is all.
    None,
    /// The answer names the next one.
    Cursor(HttpCursor),
    /// They are numbered.
    Pages { parameter: String, first: u32, total_pages: Option<String> },
    /// The answer holds a link to the next one, at this place or in its header.
    Link(Option<String>),
}

/// Where the next page is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A value for this parameter of the query.
    Parameter(String, String),
    /// A URL, and whether the first page's parameters go with it.
    Link(String, bool),
}

/// A list that is being read.
pub(crate) struct Pager<'a> {
    layout: &'a Layout,
    rules: &'a DescribedRules,
    /// Every entry so far.
    pub(crate) entries: Vec<Listed>,
    /// The whole list is `null`.
    pub(crate) is_null: bool,
    names: HashSet<String>,
    seen: HashSet<String>,
    bytes: usize,
    pages: u32,
    empty_in_a_row: u32,
    total: Option<u64>,
}

impl<'a> Pager<'a> {
    /// Nothing is read yet.
    pub(crate) fn new(layout: &'a Layout, rules: &'a DescribedRules) -> Self {
        Self {
            layout,
            rules,
            entries: Vec::new(),
            is_null: false,
            names: HashSet::new(),
            seen: HashSet::new(),
            bytes: 0,
            pages: 0,
            empty_in_a_row: 0,
            total: None,
        }
    }

    /// What the first request asks for besides its own query.
    pub(crate) fn first(&self) -> Option<Next> {
        match &self.layout.paging {
            Paging::Pages { parameter, first, .. } => Some(Next::Parameter(parameter.clone(), first.to_string())),
            _ => None,
        }
    }

    /// Takes a page. `Ok(None)`: it was the last, and the list is complete. The error says what the list lacks.
    pub(crate) fn take(&mut self, body: &[u8], link: &str) -> Result<Option<Next>, &'static str> {
        self.bytes = self.bytes.saturating_add(body.len());
        if self.bytes > MAX_BYTES {
            return Err("the pages of the list are too long together");
        }
        let page: Value = serde_json::from_slice(body).map_err(|_| "the answer is no JSON")?;
        let items = page.pointer(&self.layout.items);
        self.is_null = self.layout.null_is_empty && self.pages == 0 && items.is_some_and(Value::is_null);
        let items = match items {
            Some(Value::Array(items)) => items.as_slice(),
            _ if self.is_null => &[],
            _ => return Err("the answer holds no list of entries"),
        };
        let (read, before) = (items.len(), self.entries.len());
        for item in items {
            let entry = self.layout.entry.listed(item, self.rules)?;
            // An entry made or removed between two pages can move one to the next page.
            if self.names.insert(entry.name.clone()) {
                self.entries.push(entry);
            }
        }
        self.pages += 1;
        self.empty_in_a_row = if read == 0 { self.empty_in_a_row + 1 } else { 0 };
        self.check_counts(&page, read)?;
        let next = self.next(&page, link, read)?;
        if let Some(next) = &next {
            let repeats = match next {
                Next::Link(text, _) => !self.seen.insert(text.clone()),
                Next::Parameter(_, value) => !self.seen.insert(value.clone()),
            };
            if repeats && self.may_end_empty(read) && !self.entries.is_empty() {
                return self.complete();
            }
            if repeats || (read > 0 && self.entries.len() == before && self.pages > 1 && self.is_numbered()) {
                return Err("the pages of the list go round in a circle");
            }
        }
        match next {
            Some(_) if self.is_null => Err("the answer holds no list of entries, and names another page"),
            Some(next) => Ok(Some(next)),
            None => self.complete(),
        }
    }

    fn complete(&self) -> Result<Option<Next>, &'static str> {
        match self.total {
            Some(total) if total != self.entries.len() as u64 => Err("the list is not as long as it says"),
            _ => Ok(None),
        }
    }

    fn is_numbered(&self) -> bool {
        matches!(self.layout.paging, Paging::Pages { .. })
    }

    fn may_end_empty(&self, read: usize) -> bool {
        matches!(&self.layout.paging, Paging::Cursor(cursor) if cursor.ends_after_empty_pages.is_some()) && read == 0
    }

    fn check_counts(&mut self, page: &Value, read: usize) -> Result<(), &'static str> {
        if number(page, self.layout.count.as_ref())?.is_some_and(|count| count != read as u64) {
            return Err("the list is not as long as it says");
        }
        let total = number(page, self.layout.total.as_ref())?;
        if self.pages > 1 && total != self.total {
            return Err("the list changed its length while it was read");
        }
        self.total = total;
        Ok(())
    }

    fn next(&self, page: &Value, link: &str, read: usize) -> Result<Option<Next>, &'static str> {
        match &self.layout.paging {
            Paging::None => Ok(None),
            Paging::Cursor(cursor) => {
                let found = page.pointer(&cursor.next);
                let full = cursor.page_size.is_some_and(|size| read >= size as usize);
                if found.is_none() && full {
                    return Err("a full page does not say whether another follows");
                }
                let Some(next) = next_text(found)? else { return Ok(None) };
                match cursor.ends_after_empty_pages {
                    Some(most) if self.empty_in_a_row >= most && self.entries.is_empty() => {
                        Err("the pages of the list are empty and name others all the same")
                    }
                    Some(most) if self.empty_in_a_row >= most => Ok(None),
                    _ if cursor.or_link == Some(true) && next.contains('?') => Ok(Some(Next::Link(next, true))),
                    _ => Ok(Some(Next::Parameter(cursor.parameter.clone(), next))),
                }
            }
            Paging::Pages { parameter, first, total_pages } => {
                let more = match total_pages {
                    Some(place) => {
                        let pages =
                            number(page, Some(place))?.ok_or("the answer does not say how many pages there are")?;
                        u64::from(self.pages) < pages
                    }
                    None => read > 0,
                };
                Ok(more.then(|| Next::Parameter(parameter.clone(), (first + self.pages).to_string())))
            }
            Paging::Link(Some(place)) => Ok(next_text(page.pointer(place))?.map(|next| Next::Link(next, false))),
            Paging::Link(None) => Ok(link_header(link).map(|next| Next::Link(next, false))),
        }
    }
}

/// A cursor or a link: text; null, empty or absent: none.
fn next_text(found: Option<&Value>) -> Result<Option<String>, &'static str> {
    match found {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err("where the next page is named there is no text"),
    }
}

fn number(page: &Value, place: Option<&String>) -> Result<Option<u64>, &'static str> {
    match place.and_then(|place| page.pointer(place)) {
        None | Some(Value::Null) => Ok(None),
        Some(found) => found.as_u64().map(Some).ok_or("where the list says its length there is no number"),
    }
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
fn link_header(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>')?;
        let after = &rest[end + 1..];
        let parameters = &after[..after.find('<').unwrap_or(after.len())];
        let is_next = parameters.split([';', ',']).filter_map(|parameter| parameter.trim().split_once('=')).any(
            |(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
            },
        );
        if is_next {
            return Some(rest[start + 1..end].to_owned()).filter(|target| !target.is_empty());
        }
        rest = after;
    }
    None
}

/// The URL of the next page. `None` when it is not on the host of the first: a token goes nowhere else.
pub(crate) fn next_url(first: &Url, next: &Next) -> Option<Url> {
    match next {
        Next::Parameter(parameter, value) => {
            let mut url = first.clone();
            let kept: Vec<(String, String)> =
                first.query_pairs().into_owned().filter(|(name, _)| name != parameter).collect();
            url.query_pairs_mut().clear().extend_pairs(kept).append_pair(parameter, value);
            Some(url)
        }
        Next::Link(text, merge) => {
            let mut url = first.join(text).ok()?;
            if url.origin() != first.origin() || !url.username().is_empty() || url.password().is_some() {
                return None;
            }
            url.set_fragment(None);
            if *merge {
                let given: HashSet<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
                let missing: Vec<_> = first.query_pairs().filter(|(name, _)| !given.contains(name.as_ref())).collect();
                if !missing.is_empty() {
                    url.query_pairs_mut().extend_pairs(missing);
                }
            }
            Some(url)
        }
    }
}

#[cfg(test)]
#[path = "paging_tests.rs"]
mod tests;
