//! Descriptions that are right, and the sentence that each mistake gives.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The smallest description.
fn smallest() -> Value {
    json!({
        "url": "https://secrets.example.com",
        "create": {"path": "/s", "json": {"n": "{{ name }}", "v": "{{ value }}"}},
        "update": {"path": "/s/{{ name }}", "json": {"v": "{{ value }}"}},
        "delete": {"path": "/s/{{ name }}"},
        "list": {"path": "/s", "items": "/items", "entry": {"name": "/name"}},
    })
}

fn read_with(pointer: &str, value: Value) -> Result<Description, String> {
    let mut whole = smallest();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    whole.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(field.to_owned(), value);
    Description::read(&serde_json::from_value(whole).unwrap()).map_err(|error| error.0)
}

#[test]
fn the_smallest_description_is_right() {
    let description = read_with("/service", json!("Acme")).unwrap();
    assert_eq!(description.rules.drift_signal(), DriftSignal::Presence);
    assert!(description.rules.check_name("any name").is_ok());
    let error = description.rules.check_value(70_000).unwrap_err();
    assert_eq!(error.to_string(), "the value has 70000 bytes, Acme takes 65536");
}

#[test]
fn a_change_is_seen_by_its_stamp_only_if_writes_show_theirs_too() {
    let signal = |list: Value, create: Value, update: Value| {
        let mut whole = smallest();
        whole["list"]["entry"] = list;
        whole["create"]["answer"] = create;
        whole["update"]["answer"] = update;
        let read = Description::read(&serde_json::from_value(whole).unwrap());
        read.map(|description| description.rules.drift_signal()).map_err(|error| error.0)
    };
    let (updated, version, none) = (json!({"name": "/n", "updated": "/u"}), json!({"version": "/v"}), json!({}));
    assert_eq!(signal(updated.clone(), json!({"updated": "/u"}), json!({"updated": "/u"})), Ok(DriftSignal::Timestamp));
    assert_eq!(signal(updated.clone(), none.clone(), json!({"updated": "/u"})), Ok(DriftSignal::Presence));
    assert_eq!(signal(json!({"name": "/n"}), version.clone(), version.clone()), Ok(DriftSignal::Presence));
    assert!(signal(updated, version, none).unwrap_err().contains("both say updated or both version"));
}

#[test]
fn each_mistake_is_one_sentence_that_begins_with_its_field() {
    for (place, value, sentence) in [
        ("/create/path", json!("s"), "http.create: path: a path begins with a /"),
        (
            "/create/json",
            json!({"n": "{{ name }}"}),
            "http.create: the body holds no {{ value }}, so no value would be sent",
        ),
        (
            "/create/json",
            json!({"v": "{{ value }}"}),
            "http.create: there is no {{ name }} in it, so nobody would know what it creates",
        ),
        (
            "/create/json",
            json!({"n": "{{ nmae }}", "v": "{{ value }}"}),
            "http.create: \"nmae\" is no placeholder that may stand here; these may: name, value",
        ),
        ("/create/method", json!("GET"), "http.create: a GET changes nothing"),
        ("/create/success", json!([302]), "http.create.success: 302 does not say that anything was done"),
        ("/create/answer", json!({"id": "id"}), "http.create.answer: \"id\" is no JSON pointer, such as /data/name"),
        ("/update/path", json!("/s"), "http.update: there is neither {{ name }} nor {{ id }} in it"),
        (
            "/update/path",
            json!("/s/{{ id }}"),
            "http.update needs {{ id }}, but list.entry.id does not say where ids are",
        ),
        ("/delete/path", json!("/s"), "http.delete: there is neither {{ name }} nor {{ id }} in it"),
        (
            "/delete/headers",
            json!([{"name": "Host", "value": "x"}]),
            "http.delete: the header host is made by the client",
        ),
        ("/list/method", json!("DELETE"), "http.list: a list is read by GET or POST"),
        ("/list/path", json!("/{{ name }}"), "http.list: path: no placeholder may stand here, but there is \"name\""),
        ("/list/items", json!("items"), "http.list.items: \"items\" is no JSON pointer, such as /data/name"),
        (
            "/list/entry",
            json!({"id": "/id"}),
            "http.list.entry.name is missing: without it nobody knows which entries exist",
        ),
        (
            "/list/entry",
            json!({"name": "/n", "updated": "/u", "version": "/v"}),
            "http.list.entry: updated and version exclude each other",
        ),
        ("/list/paging", json!({}), "http.list.paging: exactly one of cursor, page and link must be set"),
        (
            "/list/paging",
            json!({"link": {"next": "/n", "header": true}}),
            "http.list.paging.link: exactly one of next and header: true must be set",
        ),
        ("/names", json!({"pattern": "["}), "http.names.pattern is no regular expression, or too large a one"),
        ("/idPattern", json!("("), "http.idPattern is no regular expression, or too large a one"),
        ("/retryAfter", json!(["x"]), "http.retryAfter: \"x\" is no JSON pointer, such as /data/name"),
        ("/answers", json!([{"status": [], "means": "Exists"}]), "http.answers[0]: status is empty"),
        (
            "/headers",
            json!([{"name": "a", "value": "{{ name }}"}]),
            "http.list: header a: no placeholder may stand here, but there is \"name\"",
        ),
    ] {
        assert_eq!(read_with(place, value.clone()).unwrap_err(), sentence, "{place} {value}");
    }
}

/// The README shows one, too; those of docs/http.md are applied by `tests/behaviours/http.rs`.
#[test]
fn the_readme_shows_a_right_one() {
    let text = include_str!("../../../README.md");
    let blocks = text.split("<<EOF\n").skip(1).map(|rest| rest.split("\nEOF").next().unwrap());
    let described = blocks
        .flat_map(|block| serde_saphyr::from_multiple::<Value>(block).unwrap())
        .filter_map(|manifest| manifest.pointer("/spec/http").cloned());
    let read: Vec<_> = described.map(|http| Description::read(&serde_json::from_value(http).unwrap())).collect();
    assert_eq!((read.len(), read.iter().filter(|read| read.is_ok()).count()), (1, 1), "{read:?}");
}

#[test]
fn what_the_schema_does_not_know_is_not_read() {
    let mut whole = smallest();
    whole["create"]["method"] = json!("TRACE");
    assert!(serde_json::from_value::<HttpSpec>(whole).is_err());
}

/// Texts that look like parts of a description.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[/a-z{}|. ?=&%~0-9]{0,24}",
        Just("/s/{{ id }}?x={{ name | base64 }}".to_owned()),
        Just("{{ value }}".to_owned()),
        Just(String::new()),
        "\\PC{0,12}",
    ]
}

proptest! {
    #[test]
    fn no_description_panics(path in text(), key in text(), body in text(), items in text(), pattern in text(), header in text()) {
        let mut whole = smallest();
        whole["update"]["path"] = json!(path);
        whole["create"]["json"] = json!({key: body, "n": ["{{ name }}", {"v": "{{ value }}"}]});
        whole["list"]["items"] = json!(items);
        whole["idPattern"] = json!(pattern);
        whole["list"]["entry"]["id"] = json!("/id");
        whole["headers"] = json!([{"name": header.clone(), "value": header}]);
        let _ = Description::read(&serde_json::from_value(whole).unwrap());
    }
}
