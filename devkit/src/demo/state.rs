//! Reading a VaultSecret's status as a person does.

use serde_json::Value;

use super::manifests::text;

/// Why a VaultSecret is not at rest: healthy, of this generation, and no write of it open or unsettled. Nothing if it is.
pub(crate) fn unrest(object: &Value, entries: usize) -> Option<String> {
    let status = &object["status"];
    let ready = ready(object);
    if (ready.0, ready.1) != ("True", "Synced") {
        return Some(format!("Ready={} {}: {}", ready.0, ready.1, ready.2));
    }
    let (observed, generation) = (&status["observedGeneration"], &object["metadata"]["generation"]);
    if observed != generation {
        return Some(format!("observedGeneration is {observed}, generation {generation}"));
    }
    let rows = status["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.len() != entries {
        return Some(format!("{} of {entries} entries are in the status", rows.len()));
    }
    rows.iter().find_map(|row| {
        let (name, state) = (text(row, "/remoteName"), text(row, "/state"));
        let attempt = &row["attempt"];
        if state != "InSync" {
            Some(format!("{name} is {state}"))
        } else if attempt["open"] == true {
            Some(format!("{name} has an open attempt"))
        } else if !attempt["unsettledSince"].is_null() {
            Some(format!("{name} is unsettled"))
        } else {
            None
        }
    })
}

/// Status, reason and message of `Ready`.
pub(crate) fn ready(object: &Value) -> (&str, &str, &str) {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = conditions.iter().find(|condition| text(condition, "/type") == "Ready");
    found.map_or(("Unknown", "NoStatus", "the operator has not said anything of it yet"), |condition| {
        (text(condition, "/status"), text(condition, "/reason"), text(condition, "/message"))
    })
}

/// The conditions and the ledger, a line each.
pub(crate) fn lines(object: &Value) -> Vec<String> {
    let status = &object["status"];
    if status.is_null() {
        return vec!["no status".to_owned()];
    }
    let list = |field: &str| status[field].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!(
        "generation {}, observedGeneration {}, synced {}",
        object["metadata"]["generation"], status["observedGeneration"], status["synced"]
    )];
    lines.extend(list("conditions").iter().map(|condition| {
        let field = |name: &str| text(condition, name).to_owned();
        format!("{}={} {}: {}", field("/type"), field("/status"), field("/reason"), field("/message"))
    }));
    lines.extend(list("entries").iter().map(|row| {
        let (name, state, message) = (text(row, "/remoteName"), text(row, "/state"), text(row, "/message"));
        format!("entry {name}: {state} {message} attempt {}", row["attempt"])
    }));
    lines
}

/// The cells of `kubectl get vsec -A`, for a machine without kubectl.
pub(crate) fn cells(object: &Value) -> Vec<String> {
    let (status, reason, _) = ready(object);
    let field = |pointer: &str| text(object, pointer).to_owned();
    vec![
        field("/metadata/namespace"),
        field("/metadata/name"),
        field("/spec/connectionRef/name"),
        field("/status/synced"),
        status.to_owned(),
        reason.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn healthy() -> Value {
        json!({
            "metadata": {"generation": 2},
            "status": {
                "observedGeneration": 2,
                "conditions": [{"type": "Ready", "status": "True", "reason": "Synced", "message": "1 of 1"}],
                "entries": [{"remoteName": "a", "state": "InSync", "attempt": {"number": 1, "open": false}}],
            },
        })
    }

    fn unrest_after(change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut object = healthy();
        change(&mut object);
        unrest(&object, 1)
    }

    #[test]
    fn a_healthy_object_is_at_rest() {
        assert_eq!(unrest(&healthy(), 1), None);
    }

    #[test]
    fn what_is_under_way_is_named() {
        let entry = |change: Value, field: &'static str| {
            unrest_after(move |object| object["status"]["entries"][0][field] = change).unwrap()
        };
        assert_eq!(entry(json!("Pushing"), "state"), "a is Pushing");
        assert_eq!(entry(json!({"open": true}), "attempt"), "a has an open attempt");
        assert_eq!(entry(json!({"unsettledSince": "2026-01-01T00:00:00Z"}), "attempt"), "a is unsettled");
        assert_eq!(unrest(&healthy(), 2).unwrap(), "1 of 2 entries are in the status");
    }

    #[test]
    fn a_status_of_an_older_spec_or_none_is_no_rest() {
        let older = unrest_after(|object| object["metadata"]["generation"] = json!(3));
        assert_eq!(older.unwrap(), "observedGeneration is 2, generation 3");
        let none = unrest_after(|object| object["status"] = Value::Null).unwrap();
        assert!(none.starts_with("Ready=Unknown NoStatus"), "{none}");
    }

    #[test]
    fn a_reason_other_than_synced_is_shown_with_its_message() {
        let changed = unrest_after(|object| {
            object["status"]["conditions"][0] =
                json!({"type": "Ready", "status": "False", "reason": "RemoteError", "message": "a: 503"});
        });
        assert_eq!(changed.unwrap(), "Ready=False RemoteError: a: 503");
    }
}
