//! What a rotation changes, and when it has arrived. Pure.

use serde_json::{Value, json};

use crate::api::VaultSecret;
use crate::api::condition::{self, types};
use crate::api::vault_secret::CreationPolicy;
use crate::sync::ledger::EntryState;

/// A rotation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    /// The new number.
    pub(super) epoch: i64,
    /// Operations of a JSON patch that fails if the field has changed meanwhile.
    pub(super) patch: Vec<Value>,
}

/// The order for a rotation of a key of an object, as the API server has it.
///
/// # Errors
/// When the key is not generated; names those that are.
pub(super) fn order(object: &Value, key: &str) -> Result<Order, String> {
    let data = object["spec"]["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(index) = data.iter().position(|entry| entry["key"] == key) else {
        return Err(format!("there is no key {key:?} in spec.data; {}", generated(data)));
    };
    let generate = &data[index]["valueFrom"]["generate"];
    if !generate.is_object() {
        return Err(format!(
            "key {key:?} is not generated: its value changes where it comes from; {}",
            generated(data)
        ));
    }
    let epoch = generate["epoch"].as_i64().unwrap_or(0).checked_add(1).ok_or("epoch cannot be counted up any more")?;
    let path = format!("/spec/data/{index}");
    Ok(Order {
        epoch,
        patch: vec![
            json!({"op": "test", "path": format!("{path}/key"), "value": key}),
            json!({"op": "test", "path": format!("{path}/valueFrom/generate"), "value": generate}),
            json!({"op": "add", "path": format!("{path}/valueFrom/generate/epoch"), "value": epoch}),
        ],
    })
}

fn generated(data: &[Value]) -> String {
    let keys: Vec<&str> = data
        .iter()
        .filter(|entry| entry["valueFrom"]["generate"].is_object())
        .filter_map(|entry| entry["key"].as_str())
        .collect();
    match keys.as_slice() {
        [] => "no key of it is generated".to_owned(),
        [one] => format!("{one} is"),
        many => format!("these are: {}", many.join(", ")),
    }
}

/// Number of writes of a key's entry so far.
pub(super) fn attempts(vs: &VaultSecret, key: &str) -> u64 {
    let rows = vs.status.iter().flat_map(|status| &status.entries);
    rows.filter(|row| row.key.as_deref() == Some(key)).map(crate::sync::ledger::Row::attempt_number).max().unwrap_or(0)
}

fn pushes(vs: &VaultSecret, key: &str) -> bool {
    vs.spec.data.iter().any(|entry| entry.key == key && entry.pushes())
}

/// Whether the value of that generation is at the remote and in the Secret.
pub(super) fn arrived(vs: &VaultSecret, key: &str, generation: Option<i64>, attempts_before: u64) -> bool {
    let Some(status) = &vs.status else { return false };
    if status.observed_generation < generation {
        return false;
    }
    let row = status.entries.iter().find(|row| row.key.as_deref() == Some(key));
    let pushed = !pushes(vs, key)
        || row.is_some_and(|row| row.state == EntryState::InSync && row.attempt_number() > attempts_before);
    let projected = condition::find(&status.conditions, types::PROJECTED).is_some_and(|c| c.status == "True");
    pushed && projected
}

/// Where a value that has arrived is.
pub(super) fn where_it_is(vs: &VaultSecret, key: &str) -> &'static str {
    let projects = vs.spec.creation_policy() != CreationPolicy::None
        && vs.spec.data.iter().any(|entry| entry.key == key && entry.projects());
    match (pushes(vs, key), projects) {
        (true, true) => "is at the remote and in the Secret",
        (true, false) => "is at the remote",
        (false, _) => "is in the Secret",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn object() -> Value {
        json!({"spec": {"data": [
            {"key": "REGION", "value": "eu"},
            {"key": "A", "valueFrom": {"generate": {"uuid": {}, "epoch": 4}}},
            {"key": "B", "valueFrom": {"generate": {"bytes": {"length": 8}}}},
        ]}})
    }

    #[test]
    fn a_rotation_counts_up_and_is_guarded() {
        let Order { epoch, patch } = order(&object(), "A").unwrap();
        assert_eq!(epoch, 5);
        assert_eq!(
            patch,
            [
                json!({"op": "test", "path": "/spec/data/1/key", "value": "A"}),
                json!({"op": "test", "path": "/spec/data/1/valueFrom/generate", "value": {"uuid": {}, "epoch": 4}}),
                json!({"op": "add", "path": "/spec/data/1/valueFrom/generate/epoch", "value": 5}),
            ]
        );
        assert_eq!(order(&object(), "B").unwrap().epoch, 1, "no number is 0");
    }

    #[test]
    fn what_is_not_generated_is_refused_with_what_is() {
        let text = order(&object(), "REGION").unwrap_err();
        assert_eq!(text, "key \"REGION\" is not generated: its value changes where it comes from; these are: A, B");
        assert!(order(&object(), "a").unwrap_err().starts_with("there is no key \"a\" in spec.data; these are: A, B"));
        let none = json!({"spec": {"data": [{"key": "REGION", "value": "eu"}]}});
        assert!(order(&none, "REGION").unwrap_err().ends_with("no key of it is generated"));
        assert!(order(&json!({}), "A").is_err());
    }

    #[test]
    fn it_has_arrived_when_it_was_written_once_more_and_is_shown() {
        let vs = |generation: i64, state: &str, number: u64, projected: &str| -> VaultSecret {
            serde_json::from_value(json!({
                "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret", "metadata": {"name": "a"},
                "spec": {"connectionRef": {"name": "c"}, "data": object()["spec"]["data"]},
                "status": {"observedGeneration": generation,
                    "entries": [{"connection": "VaultConnection/c", "remoteName": "A", "key": "A", "state": state,
                                 "attempt": {"number": number}}],
                    "conditions": [{"type": "Projected", "status": projected, "reason": "R", "message": "",
                                    "lastTransitionTime": "1970-01-01T00:00:00Z"}]},
            }))
            .unwrap()
        };
        assert!(arrived(&vs(2, "InSync", 2, "True"), "A", Some(2), 1));
        for early in [
            vs(1, "InSync", 2, "True"),
            vs(2, "Queued", 2, "True"),
            vs(2, "InSync", 1, "True"),
            vs(2, "InSync", 2, "False"),
        ] {
            assert!(!arrived(&early, "A", Some(2), 1), "{early:?}");
        }
        assert_eq!(attempts(&vs(2, "InSync", 7, "True"), "A"), 7);
        assert_eq!(where_it_is(&vs(2, "InSync", 7, "True"), "A"), "is at the remote and in the Secret");
    }
}
