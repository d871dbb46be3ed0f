//! An object as a user sees it: JSON, read by the field names of the documentation. The operator's own types are not used, so
//! that a wrong one cannot hide.

use std::fmt;

use serde_json::Value;

/// An object of the API server.
#[derive(Clone, PartialEq)]
pub struct Object(pub Value);

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False`, `Unknown`; empty when the condition is absent.
    pub status: String,
    /// CamelCase reason.
    pub reason: String,
    /// The sentence.
    pub message: String,
    /// Generation that it speaks of.
    pub generation: i64,
    /// When the status last changed.
    pub since: String,
}

impl Object {
    /// A text at a JSON pointer; empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number at a JSON pointer; 0 if there is none.
    pub fn number(&self, pointer: &str) -> i64 {
        self.0.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
    }

    /// What stands at a JSON pointer; null if there is nothing.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// `metadata.name`
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `metadata.uid`
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// `metadata.resourceVersion`
    pub fn version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }

    /// Whether the status speaks of the present spec.
    pub fn is_observed(&self) -> bool {
        self.number("/status/observedGeneration") == self.number("/metadata/generation")
    }

    /// A condition; all fields are empty when it is absent.
    pub fn condition(&self, kind: &str) -> Condition {
        let all = self.at("/status/conditions").as_array().cloned().unwrap_or_default();
        let found = Object(all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default());
        Condition {
            status: found.text("/status").to_owned(),
            reason: found.text("/reason").to_owned(),
            message: found.text("/message").to_owned(),
            generation: found.number("/observedGeneration"),
            since: found.text("/lastTransitionTime").to_owned(),
        }
    }

    /// The condition `Ready`.
    pub fn ready(&self) -> Condition {
        self.condition("Ready")
    }

    /// Whether it is Ready, and says so of the present spec.
    pub fn is_ready(&self) -> bool {
        let ready = self.ready();
        ready.status == "True" && self.is_observed() && ready.generation == self.number("/metadata/generation")
    }

    /// The ledger.
    pub fn rows(&self) -> Vec<Object> {
        self.at("/status/entries").as_array().cloned().unwrap_or_default().into_iter().map(Object).collect()
    }

    /// The ledger's row of an entry, if there is exactly one.
    pub fn row(&self, remote_name: &str) -> Option<Object> {
        let mut rows = self.rows().into_iter().filter(|row| row.text("/remoteName") == remote_name);
        let first = rows.next()?;
        assert!(rows.next().is_none(), "two rows for {remote_name}: {self:?}");
        Some(first)
    }

    /// State of an entry in the ledger; empty if it has no row.
    pub fn state(&self, remote_name: &str) -> String {
        self.row(remote_name).map(|row| row.text("/state").to_owned()).unwrap_or_default()
    }

    /// Whether it has a finalizer of ours.
    pub fn has_finalizer(&self) -> bool {
        let all = self.at("/metadata/finalizers").as_array().cloned().unwrap_or_default();
        all.iter().any(|finalizer| finalizer == "vaultsecret.dev/cleanup")
    }

    /// A value of a Secret, decoded.
    pub fn secret_value(&self, key: &str) -> Option<Vec<u8>> {
        use base64::Engine as _;
        let encoded = self.0.get("data")?.get(key)?.as_str()?;
        Some(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap())
    }

    /// The keys of a Secret.
    pub fn keys(&self) -> Vec<String> {
        self.at("/data").as_object().map(|data| data.keys().cloned().collect()).unwrap_or_default()
    }

    /// The values of a Secret, as text.
    pub fn values(&self) -> Vec<String> {
        let values = self.keys().into_iter().filter_map(|key| self.secret_value(&key));
        values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}
