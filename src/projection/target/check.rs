//! What no Secret can be, or must not be, said in words before the API server says it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Desired;
use crate::api::names;
use crate::source::reference::is_object_name;

/// The API server's limit on the values of a Secret.
pub(super) const MOST_DATA: usize = 1024 * 1024;
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// Everything that can be said without the existing Secret.
pub(super) fn desired(desired: &Desired) -> Result<(), String> {
    if !is_object_name(&desired.name) {
        return Err(format!("target.name \"{}\" cannot be the name of a Secret", desired.name));
    }
    if names::PRIVILEGED_TYPES.contains(&desired.type_.as_str()) {
        return Err(format!(
            "target.type {} gives rights to whoever makes such a Secret, and is never made; choose another type",
            desired.type_
        ));
    }
    for key in desired.data.keys() {
        if !is_data_key(key) {
            return Err(format!("\"{key}\" cannot be a key of a Secret"));
        }
    }
    size(desired.data.values().map(|v| v.len()).sum(), &desired.name)?;
    for (key, value) in &desired.labels {
        metadata_key("label", key)?;
        // The value is the user's own metadata, and may be shown.
        if !is_label_value(value) {
            return Err(format!(
                "label {key} of target.template: \"{value}\" is no label value; at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
            ));
        }
    }
    for key in desired.annotations.keys() {
        metadata_key("annotation", key)?;
    }
    annotation_size(&desired.annotations)
}

/// Whether the values fit into a Secret.
pub(super) fn size(bytes: usize, name: &str) -> Result<(), String> {
    if bytes > MOST_DATA {
        return Err(format!(
            "the values of Secret \"{name}\" are {bytes} bytes together and a Secret holds at most {MOST_DATA}; spread them over several VaultSecrets"
        ));
    }
    Ok(())
}

/// Whether all annotations together, those of others too, are within the limit.
pub(super) fn annotations(meta: &ObjectMeta) -> Result<(), String> {
    meta.annotations.as_ref().map_or(Ok(()), annotation_size)
}

fn annotation_size(annotations: &BTreeMap<String, String>) -> Result<(), String> {
    let bytes: usize = annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > MOST_ANNOTATIONS {
        return Err(format!(
            "annotations of the target are {bytes} bytes together; at most {MOST_ANNOTATIONS} are taken"
        ));
    }
    Ok(())
}

fn metadata_key(what: &str, key: &str) -> Result<(), String> {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    if prefix == names::GROUP || key == names::MANAGED_BY {
        return Err(format!("{what} {key} of target.template is the operator's own; remove it"));
    }
    if !is_qualified_name(key) {
        return Err(format!(
            "\"{key}\" of target.template cannot be the key of {} {what}; write [prefix/]name with at most 63 letters, digits, '-', '_' and '.'",
            if what == "annotation" { "an" } else { "a" }
        ));
    }
    Ok(())
}

fn is_data_key(key: &str) -> bool {
    (1..=253).contains(&key.len())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && key != "."
        && !key.starts_with("..")
}

fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_object_name(prefix) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

fn is_label_value(value: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63
        && edge(value.chars().next())
        && edge(value.chars().last())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
