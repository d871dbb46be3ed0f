//! Sealed values in manifests: found by reading the YAML, replaced in its text, so that comments and order stay.

use serde_json::Value;

use crate::api::names;
use crate::source::sealed::{BEGIN, END, Scope, ScopeError};

/// A sealed value and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it stands.
    pub(super) scope: Scope,
    /// The text.
    pub(super) sealed: String,
}

/// What is wrong with manifests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ManifestError {
    /// Not YAML.
    #[error("the manifests cannot be read as YAML, near line {0}")]
    Yaml(String),
    /// A VaultSecret without a namespace.
    #[error("VaultSecret {name} names no namespace; give it with --namespace")]
    NoNamespace {
        /// The VaultSecret.
        name: String,
    },
    /// No such object can exist.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The text holds it in a form that is not known.
    #[error("{0}: the sealed value is written in a way that cannot be replaced; write it as a block: `sealed: |`")]
    Form(Scope),
}

/// Every sealed value, in the order of the text. VaultSecrets without a namespace are in `namespace`.
pub(super) fn find(text: &str, namespace: Option<&str>) -> Result<Vec<Found>, ManifestError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        // Its own text quotes the manifest.
        let line = error.location().map_or_else(|| "?".to_owned(), |at| at.line().to_string());
        ManifestError::Yaml(line)
    })?;
    let mut found = Vec::new();
    for document in &documents {
        collect(document, namespace, &mut found)?;
    }
    Ok(found)
}

fn collect(object: &Value, namespace: Option<&str>, found: &mut Vec<Found>) -> Result<(), ManifestError> {
    for item in object["items"].as_array().into_iter().flatten() {
        collect(item, namespace, found)?;
    }
    let group = object["apiVersion"].as_str().and_then(|v| v.split_once('/')).map(|(group, _)| group);
    if group != Some(names::GROUP) || object["kind"] != "VaultSecret" {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    for entry in object["spec"]["data"].as_array().into_iter().flatten() {
        let Some(sealed) = entry["valueFrom"]["sealed"].as_str() else { continue };
        let own = object["metadata"]["namespace"].as_str().or(namespace);
        let own = own.ok_or_else(|| ManifestError::NoNamespace { name: name.to_owned() })?;
        let scope = Scope::new(own, name, entry["key"].as_str().unwrap_or_default())?;
        found.push(Found { scope, sealed: sealed.to_owned() });
    }
    Ok(())
}

/// The text with other sealed values in it.
pub(super) fn replace(
    text: &str,
    namespace: Option<&str>,
    changes: &[(Found, String)],
) -> Result<String, ManifestError> {
    let mut out = in_blocks(text, changes);
    for (old, new) in changes {
        // In JSON and in double quotes a line break is two characters.
        let escaped = |text: &str| text.trim().replace('\n', "\\n");
        out = out.replace(&escaped(&old.sealed), &escaped(new));
    }
    // What counts is what whoever reads it will see.
    let now = find(&out, namespace)?;
    for (i, (old, new)) in changes.iter().enumerate() {
        let same = now.get(i).is_some_and(|n| n.scope == old.scope && n.sealed.trim() == new.trim());
        if !same || now.len() != changes.len() {
            return Err(ManifestError::Form(old.scope.clone()));
        }
    }
    Ok(out)
}

/// Replaces what is written as a block, line by line and as far to the right as it was.
fn in_blocks(text: &str, changes: &[(Found, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n');
    let mut used = vec![false; changes.len()];
    while let Some(first) = lines.next() {
        if first.trim() != BEGIN {
            out.push_str(first);
            continue;
        }
        let mut block = vec![first];
        for line in lines.by_ref() {
            block.push(line);
            if line.trim() == END {
                break;
            }
        }
        let sealed: Vec<&str> = block.iter().map(|line| line.trim()).collect();
        let at = changes
            .iter()
            .enumerate()
            .position(|(i, (old, _))| !used[i] && old.sealed.trim().lines().eq(sealed.iter().copied()));
        let Some(at) = at else {
            block.into_iter().for_each(|line| out.push_str(line));
            continue;
        };
        used[at] = true;
        let indent = &first[..first.len() - first.trim_start().len()];
        let end = if first.ends_with("\r\n") { "\r\n" } else { "\n" };
        let last = block.last().is_some_and(|line| line.ends_with('\n'));
        let new: Vec<String> = changes[at].1.trim().lines().map(|line| format!("{indent}{line}")).collect();
        out.push_str(&new.join(end));
        if last {
            out.push_str(end);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn armor(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    fn indented(text: &str, by: usize) -> String {
        text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
    }

    fn manifest() -> String {
        format!(
            "# ours\napiVersion: vaultsecret.dev/v1alpha1\nkind: VaultSecret\nmetadata: {{name: app, namespace: shop}}\nspec:\n  \
             data:\n    - key: A # first\n      valueFrom:\n        sealed: |\n{}    - key: B\n      value: text\n    - key: C\n      \
             valueFrom:\n        sealed: |-\n{}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  x: |\n{}",
            indented(&armor("AAAA"), 10),
            indented(&armor("BBBB"), 12),
            indented(&armor("AAAA"), 4),
        )
    }

    fn scope(key: &str) -> Scope {
        Scope::new("shop", "app", key).unwrap()
    }

    #[test]
    fn sealed_values_are_found_with_what_they_are_for() {
        let found = find(&manifest(), None).unwrap();
        let keys: Vec<_> = found.iter().map(|f| f.scope.clone()).collect();
        assert_eq!(keys, [scope("A"), scope("C")]);
        assert_eq!(found[0].sealed, armor("AAAA"));
        assert_eq!(found[1].sealed, armor("BBBB").trim_end());
    }

    #[test]
    fn only_the_sealed_values_change_in_the_text() {
        let found = find(&manifest(), None).unwrap();
        let changes: Vec<_> = found.into_iter().zip(["CCCC", "DDDD\nEEEE"].map(armor)).collect();
        let new = replace(&manifest(), None, &changes).unwrap();
        let mut wanted = manifest().replacen("AAAA", "CCCC", 1);
        wanted = wanted.replace("            BBBB", "            DDDD\n            EEEE");
        assert_eq!(new, wanted);
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        let windows = manifest().replace('\n', "\r\n");
        let found = find(&windows, None).unwrap();
        let changes: Vec<_> = found.into_iter().zip(["CCCC", "DDDD"].map(armor)).collect();
        let new = replace(&windows, None, &changes).unwrap();
        assert_eq!(new.matches('\n').count(), new.matches("\r\n").count());
        assert_eq!(new, windows.replacen("AAAA", "CCCC", 1).replace("BBBB", "DDDD"));
    }

    #[test]
    fn json_and_lists_are_manifests_too() {
        let item = serde_json::json!({
            "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret", "metadata": {"name": "app"},
            "spec": {"data": [{"key": "A", "valueFrom": {"sealed": armor("AAAA")}}]},
        });
        let text = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [item]}).to_string();
        let missing = ManifestError::NoNamespace { name: "app".to_owned() };
        assert_eq!(find(&text, None), Err(missing));
        let found = find(&text, Some("shop")).unwrap();
        assert_eq!(found[0].scope, scope("A"));
        let changes = vec![(found[0].clone(), armor("CCCC"))];
        assert_eq!(replace(&text, Some("shop"), &changes).unwrap(), text.replace("AAAA", "CCCC"));
    }

    #[test]
    fn what_cannot_be_replaced_is_refused_as_a_whole() {
        let folded = manifest().replacen("sealed: |\n", "sealed: >\n", 1);
        let found = find(&folded, None).unwrap();
        let changes: Vec<_> = found.into_iter().zip(["CCCC", "DDDD"].map(armor)).collect();
        assert_eq!(replace(&folded, None, &changes), Err(ManifestError::Form(scope("A"))));
    }

    #[test]
    fn an_error_of_yaml_quotes_nothing() {
        let error = find("a: [hunter2\nb: {", None).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
