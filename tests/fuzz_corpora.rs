//! Every file in `fuzz/corpus/` through its target: what was found once is not to come back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::path::Path;

/// Runs a target over its corpus.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 4, "{} holds next to nothing", folder.display());
    for file in files {
        let input = std::fs::read(&file).unwrap();
        if std::panic::catch_unwind(|| run(&input)).is_err() {
            panic!("{}", file.display());
        }
    }
}

#[test]
fn http_answer() {
    replay("http_answer", bodies::http_answer::run);
}

#[test]
fn http_description() {
    replay("http_description", bodies::http_description::run);
}

#[test]
fn remote_answers() {
    replay("remote_answers", bodies::remote_answers::run);
}

#[test]
fn sealed_header() {
    replay("sealed_header", bodies::sealed_header::run);
}

#[test]
fn sealed_text() {
    replay("sealed_text", bodies::sealed_text::run);
}

#[test]
fn template() {
    replay("template", bodies::template::run);
}
