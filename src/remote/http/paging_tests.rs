//! Lists page by page, without a server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn layout(paging: Paging) -> Layout {
    let name = crate::api::http::HttpEntry { name: Some(String::new()), ..Default::default() };
    Layout {
        items: "/items".to_owned(),
        null_is_empty: false,
        entry: Places::parse(&name).unwrap(),
        count: None,
        total: None,
        paging,
    }
}

fn cursor(value: Value) -> Paging {
    let mut whole = json!({"next": "/next", "parameter": "after"});
    whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    Paging::Cursor(serde_json::from_value(whole).unwrap())
}

fn pages(total_pages: Option<&str>) -> Paging {
    Paging::Pages { parameter: "page".to_owned(), first: 1, total_pages: total_pages.map(str::to_owned) }
}

/// Reads pages until the list ends; the names, or what it lacks.
fn read(layout: &Layout, bodies: &[Value]) -> Result<Vec<String>, &'static str> {
    let rules = DescribedRules::default();
    let mut pager = Pager::new(layout, &rules);
    for body in bodies {
        if pager.take(body.to_string().as_bytes(), "")?.is_none() {
            return Ok(pager.entries.into_iter().map(|entry| entry.name).collect());
        }
    }
    Err("it asks for more")
}

#[test]
fn a_cursor_is_followed_to_its_end() {
    let layout = layout(cursor(json!({})));
    let bodies = [
        json!({"items": ["a"], "next": "1"}),
        json!({"items": [], "next": "2"}),
        json!({"items": [], "next": "3"}),
        json!({"items": ["a", "b"], "next": ""}),
    ];
    assert_eq!(read(&layout, &bodies).unwrap(), ["a", "b"], "empty pages are holes, not ends");
    for end in [json!({"items": ["a"]}), json!({"items": ["a"], "next": null})] {
        assert_eq!(read(&layout, &[end]).unwrap(), ["a"]);
    }
}

#[test]
fn a_cursor_that_repeats_or_is_no_text_is_an_error() {
    let layout = layout(cursor(json!({})));
    let again = json!({"items": ["a"], "next": "1"});
    assert!(read(&layout, &[again.clone(), again]).unwrap_err().contains("circle"));
    let empty = json!({"items": [], "next": "1"});
    assert!(read(&layout, &[empty.clone(), empty]).unwrap_err().contains("circle"));
    for next in [json!(7), json!({}), json!(false)] {
        assert!(read(&layout, &[json!({"items": ["a"], "next": next})]).unwrap_err().contains("no text"));
    }
}

#[test]
fn a_full_page_says_whether_another_follows() {
    let layout = layout(cursor(json!({"pageSize": 2})));
    assert!(read(&layout, &[json!({"items": ["a", "b"]})]).unwrap_err().contains("full page"));
    assert!(read(&layout, &[json!({"items": ["a", "b"], "next": null})]).is_ok());
    assert!(read(&layout, &[json!({"items": ["a"]})]).is_ok());
}

#[test]
fn empty_pages_end_a_list_only_if_it_is_said() {
    let layout = layout(cursor(json!({"endsAfterEmptyPages": 2})));
    let empty = |next: &str| json!({"items": [], "next": next});
    let full = json!({"items": ["a"], "next": "1"});
    assert_eq!(read(&layout, &[full.clone(), empty("2"), empty("3")]).unwrap(), ["a"]);
    assert_eq!(read(&layout, &[full, empty("1")]).unwrap(), ["a"], "an empty page that names itself");
    assert!(read(&layout, &[empty("2"), empty("3")]).unwrap_err().contains("empty"));
}

#[test]
fn numbered_pages_end_with_an_empty_one_or_at_their_number() {
    let items = |names: Value| json!({"items": names});
    let plain = layout(pages(None));
    assert_eq!(read(&plain, &[items(json!(["a"])), items(json!(["b"])), items(json!([]))]).unwrap(), ["a", "b"]);
    assert_eq!(read(&plain, &[items(json!([]))]).unwrap(), [""; 0]);
    let same = items(json!(["a"]));
    assert!(read(&plain, &[same.clone(), same]).unwrap_err().contains("circle"), "the number is not looked at");
    let counted = layout(pages(Some("/pages")));
    let page = |names: Value, pages: Value| json!({"items": names, "pages": pages});
    assert_eq!(read(&counted, &[page(json!(["a"]), json!(2)), page(json!(["b"]), json!(2))]).unwrap(), ["a", "b"]);
    assert_eq!(read(&counted, &[page(json!([]), json!(0))]).unwrap(), [""; 0]);
    assert!(read(&counted, &[items(json!(["a"]))]).unwrap_err().contains("how many pages"));
    assert!(read(&counted, &[page(json!(["a"]), json!("2"))]).unwrap_err().contains("no number"));
}

#[test]
fn a_list_is_as_long_as_it_says() {
    let counted = Layout { count: Some("/count".to_owned()), ..layout(Paging::None) };
    assert!(read(&counted, &[json!({"items": ["a"], "count": 1})]).is_ok());
    assert!(read(&counted, &[json!({"items": ["a"]})]).is_ok());
    for count in [json!(0), json!(2), json!("1"), json!(1.0), json!(-1)] {
        assert!(read(&counted, &[json!({"items": ["a"], "count": count})]).is_err(), "{count}");
    }
    let total = Layout { total: Some("/total".to_owned()), ..layout(pages(None)) };
    let page = |names: Value, total: u32| json!({"items": names, "total": total});
    let last = page(json!([]), 2);
    assert!(read(&total, &[page(json!(["a"]), 2), page(json!(["b"]), 2), last.clone()]).is_ok());
    assert!(read(&total, &[page(json!(["a"]), 2), last.clone()]).unwrap_err().contains("not as long"));
    assert!(read(&total, &[page(json!(["a"]), 3), last]).unwrap_err().contains("changed its length"));
}

#[test]
fn an_answer_without_its_list_is_unreadable() {
    let plain = layout(Paging::None);
    for body in [json!({}), json!([]), json!("x"), json!({"items": null}), json!({"items": {}}), json!({"items": [1]})]
    {
        assert!(read(&plain, std::slice::from_ref(&body)).is_err(), "{body}");
    }
    let whole = Layout { items: String::new(), ..layout(Paging::None) };
    assert_eq!(read(&whole, &[json!(["a"])]).unwrap(), ["a"]);
}

#[test]
fn a_link_stays_on_its_host() {
    let first: Url = "https://a.example/v1/s?size=2&page=1".parse().unwrap();
    let link = |text: &str, merge| next_url(&first, &Next::Link(text.to_owned(), merge)).map(String::from);
    assert_eq!(link("?page=2", false).as_deref(), Some("https://a.example/v1/s?page=2"));
    assert_eq!(link("/v1/s?page=2#x", true).as_deref(), Some("https://a.example/v1/s?page=2&size=2"));
    assert_eq!(link("https://a.example:443/o", false).as_deref(), Some("https://a.example/o"));
    for elsewhere in [
        "https://b.example/v1/s",
        "//b.example/",
        "http://a.example/v1/s",
        "https://a.example:1/",
        "https://u@a.example/",
        "data:x",
    ] {
        assert_eq!(link(elsewhere, true), None, "{elsewhere}");
    }
    let next = next_url(&first, &Next::Parameter("page".to_owned(), "a&b".to_owned())).unwrap();
    assert_eq!(next.as_str(), "https://a.example/v1/s?size=2&page=a%26b");
}

#[test]
fn the_link_header_is_understood() {
    for (header, next) in [
        (
            "<https://a.example/?p=2>; rel=\"next\", <https://a.example/?p=9>; rel=\"last\"",
            Some("https://a.example/?p=2"),
        ),
        ("</p?x=1,2>; rel=prev, </p?x=3>; title=\"a, b\"; REL=Next", Some("/p?x=3")),
        ("</p>; rel=\"last next\"", Some("/p")),
        ("</p>; rel=\"nextish\"", None),
        ("<>; rel=next", None),
        ("</p; rel=next", None),
        ("", None),
    ] {
        assert_eq!(link_header(header).as_deref(), next, "{header}");
    }
}

proptest! {
    #[test]
    fn no_page_panics(body in "[\\[\\]{}\":,a-z0-9 ]{0,80}", link in "[<>;,= \"a-z/]{0,40}") {
        let rules = DescribedRules::default();
        for paging in [cursor(json!({"orLink": true})), pages(Some("/pages")), Paging::Link(None)] {
            let layout = layout(paging);
            let _ = Pager::new(&layout, &rules).take(body.as_bytes(), &link);
        }
    }
}
