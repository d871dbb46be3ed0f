//! Descriptions and answers that were garbled at random: the same ones in every run. The targets in `fuzz/` do it without end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use url::Url;

use super::*;
use crate::remote::client::Body;

/// What is put in now and then.
const PIECES: [&str; 18] = [
    "{{ name }}",
    "{{ value }}",
    "{{ id }}",
    "{{",
    "}}",
    "\"",
    "\\",
    "/",
    "..",
    "?",
    "#",
    "null",
    "[]",
    "{}",
    "-1",
    "1e99",
    "\\r\\n",
    "\\u0000",
];
/// Names and values that would like to be something else.
const NASTY: [&str; 8] = ["a", "..", "a/../b", "a\r\nx: y", "\",\"v\":\"", "{{ value }}", "?q=1#f", "\u{202e}%2e%2e"];

fn example(text: &str) -> Value {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().find(|document| document["kind"] == "VaultConnection").unwrap()["spec"]["http"].clone()
}

fn examples() -> [Value; 3] {
    [
        example(include_str!("../../../examples/http/kelvin.yaml")),
        example(include_str!("../../../examples/http/dreadnode.yaml")),
        example(include_str!("../../../examples/http/mixpeek.yaml")),
    ]
}

fn garble(random: &mut StdRng, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..6)).min(bytes.len());
        match random.random_range(0..4) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..end, random.random::<[u8; 2]>())),
            2 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            _ => drop(bytes.splice(at..end, PIECES[random.random_range(0..PIECES.len())].bytes())),
        }
    }
    bytes
}

/// Garbles one text of a description, so that it is JSON still.
fn garble_text(random: &mut StdRng, of: &mut Value, chosen: &mut usize) {
    match of {
        Value::String(text) => {
            if *chosen == 0 {
                *text = String::from_utf8_lossy(&garble(random, text)).into_owned();
            }
            *chosen = chosen.wrapping_sub(1);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| garble_text(random, item, chosen)),
        Value::Object(fields) => fields.values_mut().for_each(|field| garble_text(random, field, chosen)),
        _ => {}
    }
}

/// Whatever the description and the entry are, the request stays what it is.
fn check_request(write: &Write, base: &Url, values: &[(&str, &str)]) -> bool {
    let Ok(request) = write.request.render(base, Values(values)) else { return false };
    assert_eq!(request.url.origin(), base.origin());
    assert!(request.url.path().starts_with("/base/"), "{}", request.url);
    assert_eq!((request.url.fragment(), request.url.username()), (None, ""));
    for value in request.headers.values() {
        assert!(value.as_bytes().iter().all(|byte| !byte.is_ascii_control()), "{value:?}");
    }
    if let Body::Json(bytes) = &request.body {
        serde_json::from_slice::<Value>(bytes).unwrap();
    }
    true
}

#[test]
fn garbled_descriptions_are_read_or_refused_in_one_sentence() {
    let mut random = StdRng::seed_from_u64(41);
    let whole = examples();
    let base: Url = "https://a.example/base/".parse().unwrap();
    let (mut right, mut wrong, mut sent, mut no_json) = (0, 0, 0, 0);
    for round in 0..900 {
        let mut example = whole[round % 3].clone();
        let spec: HttpSpec = if round % 4 == 0 {
            let Ok(spec) = serde_json::from_slice(&garble(&mut random, &example.to_string())) else {
                no_json += 1;
                continue;
            };
            spec
        } else {
            let mut chosen = random.random_range(0..40);
            garble_text(&mut random, &mut example, &mut chosen);
            serde_json::from_value(example).unwrap_or_else(|_| serde_json::from_value(whole[0].clone()).unwrap())
        };
        match Description::read(&spec) {
            Ok(description) => {
                right += 1;
                for nasty in NASTY {
                    let values = [("name", nasty), ("id", nasty), ("value", nasty)];
                    for write in [&description.create, &description.update, &description.delete] {
                        sent += usize::from(check_request(write, &base, &values));
                    }
                }
                let secrets: Vec<_> =
                    spec.key_refs().into_iter().map(|of| (of.clone(), SecretValue::from("a-secret"))).collect();
                if let Err(error) = auth::credential(&spec, &secrets, &base, None) {
                    assert!(!error.0.contains("a-secret"), "{error}");
                }
            }
            Err(error) => {
                wrong += 1;
                assert!(error.0.starts_with("http.") && !error.0.contains('\n'), "{error}");
            }
        }
    }
    assert!(right > 100 && wrong > 100 && sent > 1000 && no_json > 20, "{right} {wrong} {sent} {no_json}");
}

#[test]
fn garbled_answers_are_read_or_refused() {
    let mut random = StdRng::seed_from_u64(42);
    let descriptions = examples().map(|spec| Description::read(&serde_json::from_value(spec).unwrap()).unwrap());
    let lists = [
        r#"{"data":[{"name":"a","updated":"2026-04-15T12:00:00Z"},{"name":"b"}],"pagination":{"next_page":null}}"#,
        r#"{"secrets":[{"name":"A","id":"1","updated_at":"2026-04-15T12:00:00Z"},{"name":"B","id":"2"}],"total":2}"#,
        r#"{"secrets":["a","b"],"count":2}"#,
    ];
    let (mut read, mut refused) = (0, 0);
    for round in 0..15_000 {
        let (description, list) = (&descriptions[round % 3], lists[round % 3]);
        let garbled = garble(&mut random, list);
        match description.entries(&[&garbled, list.as_bytes(), list.as_bytes()]) {
            Ok(entries) => {
                read += 1;
                assert!(entries.iter().all(|entry| !entry.name.is_empty()));
                assert!(round % 3 != 1 || entries.iter().all(|entry| entry.id.is_some()));
                // Whoever reads it as JSON counts the same.
                let body: Value = serde_json::from_slice(&garbled).unwrap();
                let said = body.get("total").or(body.get("count")).and_then(Value::as_u64);
                assert!(said.is_none_or(|said| said >= entries.len() as u64), "{body}");
            }
            Err(why) => {
                refused += 1;
                assert!(!why.is_empty());
            }
        }
        drop(description.created(&garbled));
        let status = random.random_range(0..700);
        let class = description.refusal(status, &garbled);
        assert_eq!(class.is_none(), !(100..1000).contains(&status) || (200..300).contains(&status), "{status}");
    }
    assert!(read > 1000 && refused > 1000, "{read} {refused}");
}
