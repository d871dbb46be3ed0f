#![allow(clippy::unwrap_used, clippy::expect_used)]

mod filters;
mod formats;
mod graph;
mod language;
mod leaks;
mod limits;
mod property;

use std::collections::BTreeMap;

use super::*;
use crate::value::SecretValue;

/// Renders a template as one of a target, with these values.
fn render_bytes(source: &str, values: &[(&str, &[u8])]) -> Result<Vec<u8>, TemplateError> {
    let templates = Templates::new(values.iter().map(|(key, _)| (*key, None)), [("the target", source)]);
    let values: BTreeMap<&str, &[u8]> = values.iter().copied().collect();
    let (_, node) = templates.of_target().next().unwrap();
    let node = node.map_err(Clone::clone)?;
    let made = templates.render(node, |key| values.get(key).map(|value| SecretValue::new(value.to_vec())))?;
    Ok(made.expose().to_vec())
}

fn render(source: &str, values: &[(&str, &str)]) -> Result<String, TemplateError> {
    let values: Vec<(&str, &[u8])> = values.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
    render_bytes(source, &values).map(|bytes| String::from_utf8(bytes).unwrap())
}

/// What a template makes of a value under the key `A`.
fn of(source: &str, value: &str) -> String {
    render(source, &[("A", value)]).unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// Why a template makes nothing of a value under the key `A`.
fn refused(source: &str, value: &str) -> String {
    match render(source, &[("A", value)]) {
        Ok(_) => panic!("{source} was rendered"),
        Err(error) => error.to_string(),
    }
}
