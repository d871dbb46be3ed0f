//! Kelvin's list: filters, order, and paging by bookmark or by number.

use std::cmp::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::Caller;
use super::faults::Partial;
use super::http::{Answer, Call};
use super::kelvin::{KelvinOptions, meta, refuse};
use super::shared::State;
use super::store::Entry;

/// Page size if none is given.
const PAGE_SIZE: usize = 20;

/// A place in a list: the first entry behind (or in front of) a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Bookmark {
    /// Sort key and name of the entry next to the place; none is the beginning.
    at: Option<(String, String)>,
    /// Number of the page that begins (or ends) there.
    page: u32,
    /// Towards the beginning.
    back: bool,
    /// Filters and order of the list that it belongs to.
    filter: String,
}

impl Bookmark {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn read(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

fn parameter<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    call.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Which page a call asks for, from 1.
pub(crate) fn page_number(call: &Call) -> u32 {
    let bookmark = parameter(call, "next").or(parameter(call, "previous"));
    match bookmark {
        Some(text) => Bookmark::read(text).map_or(1, |bookmark| bookmark.page),
        None => parameter(call, "page").and_then(|page| page.parse().ok()).unwrap_or(1),
    }
}

/// What a list is asked for.
struct Wish {
    by_number: bool,
    page_size: usize,
    descending: bool,
    sort_by: String,
    search: Vec<String>,
}

impl Wish {
    fn read(options: &KelvinOptions, call: &Call) -> Result<Self, Answer> {
        const KNOWN: [&str; 9] =
            ["pagination_type", "page_size", "page", "next", "previous", "direction", "nulls", "sort_by", "search"];
        let bad = |name: &str| refuse(400, "invalid_parameter", &format!("The query parameter {name} is invalid."));
        if let Some((name, _)) =
            call.query.iter().find(|(name, _)| options.refuse_unknown && !KNOWN.contains(&name.as_str()))
        {
            return Err(bad(name));
        }
        let by_number = match parameter(call, "pagination_type") {
            None | Some("cursor") => false,
            Some("limits") => true,
            // How `stream` looks is not documented, so it is not imitated.
            Some(_) => return Err(bad("pagination_type")),
        };
        let has = |name| parameter(call, name).is_some();
        if let Some(name) =
            ["page", "next", "previous"].into_iter().find(|&name| has(name) && (name == "page") != by_number)
        {
            return Err(bad(name));
        }
        if has("next") && has("previous") {
            return Err(bad("previous"));
        }
        let page_size = parameter(call, "page_size").map_or(Ok(PAGE_SIZE), str::parse).ok();
        let page_size =
            page_size.filter(|size| (1..=options.max_page_size).contains(size)).ok_or_else(|| bad("page_size"))?;
        let descending = match parameter(call, "direction") {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(bad("direction")),
        };
        if !matches!(parameter(call, "nulls"), None | Some("first" | "last")) {
            return Err(bad("nulls"));
        }
        let sort_by = parameter(call, "sort_by").unwrap_or("name");
        if !["name", "created", "updated", "created_by", "updated_by"].contains(&sort_by) {
            return Err(bad("sort_by"));
        }
        let search = call.query.iter().filter(|(name, _)| name == "search").map(|(_, text)| text.clone()).collect();
        Ok(Self { by_number, page_size, descending, sort_by: sort_by.to_owned(), search })
    }

    fn filter(&self) -> String {
        json!([self.descending, self.sort_by, self.search]).to_string()
    }

    /// A part of the name, anywhere in it; never the whole name only.
    fn wants(&self, entry: &Entry) -> bool {
        self.search.is_empty() || self.search.iter().any(|part| entry.name.contains(part.as_str()))
    }

    fn key(&self, entry: &Entry) -> (String, String) {
        let first = match self.sort_by.as_str() {
            "created" => format!("{:030}", entry.created.as_nanosecond()),
            "updated" => format!("{:030}", entry.updated.as_nanosecond()),
            "created_by" => entry.created_by.clone(),
            "updated_by" => entry.updated_by.clone(),
            _ => entry.name.clone(),
        };
        (first, entry.name.clone())
    }

    fn order(&self, a: &(String, String), b: &(String, String)) -> Ordering {
        if self.descending { b.cmp(a) } else { a.cmp(b) }
    }
}

/// `GET /api/v4/secrets/list`
pub(crate) fn list(options: &KelvinOptions, state: &State, call: &Call, caller: &Caller) -> Result<Answer, Answer> {
    let wish = Wish::read(options, call)?;
    let mut entries: Vec<&Entry> =
        state.store.list(&caller.tenant).into_iter().filter(|entry| wish.wants(entry)).collect();
    entries.sort_by(|a, b| wish.order(&wish.key(a), &wish.key(b)));
    let (page, pagination) =
        if wish.by_number { by_number(&wish, call, &entries)? } else { by_bookmark(options, &wish, call, &entries)? };
    let data = if page.is_empty() && options.null_data {
        Value::Null
    } else {
        page.iter().map(|entry| meta(options, entry)).collect()
    };
    Ok(Answer::done(200, &json!({ "pagination": pagination, "data": data })))
}

type Page<'a> = (Vec<&'a Entry>, Value);

fn by_number<'a>(wish: &Wish, call: &Call, entries: &[&'a Entry]) -> Result<Page<'a>, Answer> {
    let page: usize = parameter(call, "page").map_or(Ok(1), str::parse).unwrap_or(0);
    if page == 0 {
        return Err(refuse(400, "invalid_parameter", "The query parameter page is invalid."));
    }
    let held = entries.iter().skip((page - 1).saturating_mul(wish.page_size)).take(wish.page_size).copied().collect();
    let total_pages = entries.len().div_ceil(wish.page_size);
    Ok((
        held,
        json!({ "page_size": wish.page_size, "page": page, "total_pages": total_pages, "total_items": entries.len() }),
    ))
}

fn by_bookmark<'a>(
    options: &KelvinOptions,
    wish: &Wish,
    call: &Call,
    entries: &[&'a Entry],
) -> Result<Page<'a>, Answer> {
    let given = parameter(call, "next").or(parameter(call, "previous"));
    let bookmark = match given {
        None => Bookmark { at: None, page: 1, back: false, filter: wish.filter() },
        Some(text) => {
            let right = |bookmark: &Bookmark| {
                bookmark.filter == wish.filter() && bookmark.back == parameter(call, "previous").is_some()
            };
            let bookmark = Bookmark::read(text).filter(right);
            bookmark.ok_or_else(|| refuse(400, "invalid_bookmark", "The bookmark does not belong to this list."))?
        }
    };
    let split = bookmark.at.as_ref().map_or(0, |at| {
        entries.partition_point(|entry| {
            let order = wish.order(&wish.key(entry), at);
            order == Ordering::Less || order == Ordering::Equal && !bookmark.back
        })
    });
    let range = if bookmark.back {
        split.saturating_sub(wish.page_size)..split
    } else {
        split..entries.len().min(split + wish.page_size)
    };
    let place = |entry: &Entry, page: u32, back: bool| {
        let bookmark = Bookmark { at: Some(wish.key(entry)), page, back, filter: wish.filter() };
        link(options, call, &bookmark, wish.page_size)
    };
    let held: Vec<&Entry> = entries.get(range.clone()).unwrap_or_default().to_vec();
    let next = held.last().filter(|_| range.end < entries.len()).map(|last| place(last, bookmark.page + 1, false));
    let previous = held
        .first()
        .filter(|_| range.start > 0)
        .map(|first| place(first, bookmark.page.saturating_sub(1).max(1), true));
    Ok((held, json!({ "next_page": next, "previous_page": previous, "page_size": wish.page_size })))
}

/// A bookmark as a client gets it: opaque, or a path with the whole query.
fn link(options: &KelvinOptions, call: &Call, bookmark: &Bookmark, page_size: usize) -> String {
    if !options.path_bookmarks {
        return bookmark.write();
    }
    let kept = call.query.iter().filter(|(name, _)| !["next", "previous", "page_size"].contains(&name.as_str()));
    let mut query: String =
        kept.map(|(name, value)| format!("{name}={}&", utf8_percent_encode(value, NON_ALPHANUMERIC))).collect();
    query += &format!("page_size={page_size}&{}={}", if bookmark.back { "previous" } else { "next" }, bookmark.write());
    format!("{}?{query}", call.path)
}

/// Makes a good page a wrong one.
pub(crate) fn spoil(call: &Call, mut list: Answer, how: Partial) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<Value>(&list.body) else { return list };
    let Some(object) = body.as_object_mut() else { return list };
    match how {
        Partial::MissingItems => drop(object.remove("data")),
        Partial::NullItems => drop(object.insert("data".to_owned(), Value::Null)),
        Partial::CountDisagrees => {
            let total =
                object.get("pagination").and_then(|pagination| pagination.get("total_items")).and_then(Value::as_u64);
            if let Some(total) = total {
                body["pagination"]["total_items"] = (total + 1).into();
            } else {
                body["data"] = json!([]);
                body["pagination"]["next_page"] = here(call).into();
            }
        }
    }
    list.body = body.to_string().into_bytes();
    list
}

/// A bookmark of the page that was asked for.
fn here(call: &Call) -> String {
    let wish = Wish::read(&KelvinOptions { refuse_unknown: false, ..KelvinOptions::default() }, call);
    let start =
        Bookmark { at: None, page: 2, back: false, filter: wish.map_or_else(|_| String::new(), |wish| wish.filter()) };
    parameter(call, "next").map_or_else(|| start.write(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_bookmark_survives_its_journey() {
        let at = Some(("a".to_owned(), "b".to_owned()));
        let bookmark = Bookmark { at, page: 7, back: true, filter: "f".to_owned() };
        assert_eq!(Bookmark::read(&bookmark.write()), Some(bookmark));
        assert_eq!(Bookmark::read("garbage"), None);
    }
}
