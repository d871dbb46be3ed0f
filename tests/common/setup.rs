//! What tests set up again and again, as a user would write it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Kind, Object, Remote, Scene};

/// An entry of `spec.data` from a key of a Secret, written `secret/key`.
pub fn entry(key: &str, remote_name: &str, source: &str) -> Value {
    let (secret, secret_key) = source.split_once('/').unwrap();
    json!({"key": key, "remoteName": remote_name,
           "valueFrom": {"secretKeyRef": {"name": secret, "key": secret_key}}})
}

/// An entry of `spec.data` with its value.
pub fn inline(key: &str, remote_name: &str, value: &str) -> Value {
    json!({"key": key, "remoteName": remote_name, "value": value})
}

/// An entry of `spec.data` with a generated password.
pub fn generated(key: &str, remote_name: &str, epoch: i64) -> Value {
    json!({"key": key, "remoteName": remote_name, "valueFrom": {"generate": {
        "password": {"length": 24, "allowRepeat": true}, "epoch": epoch,
    }}})
}

/// An entry of `spec.data` that is made of the others.
pub fn templated(key: &str, remote_name: &str, template: &str) -> Value {
    json!({"key": key, "remoteName": remote_name, "valueFrom": {"template": template}})
}

/// An entry of `spec.data` that only templates use.
pub fn input(mut entry: Value) -> Value {
    entry["push"] = json!(false);
    entry["project"] = json!(false);
    entry
}

/// Merges as a JSON merge patch does, but for nulls, which stay.
pub fn merged(mut base: Value, over: Value) -> Value {
    match (&mut base, over) {
        (Value::Object(fields), Value::Object(over)) => {
            for (name, value) in over {
                let old = fields.remove(&name).unwrap_or_default();
                fields.insert(name, merged(old, value));
            }
            base
        }
        (_, over) => over,
    }
}

/// A VaultSecret with one entry that is in sync.
pub struct Synced {
    /// Its remote.
    pub remote: Arc<Remote>,
    /// Name of the entry there.
    pub entry: String,
    /// The value.
    pub value: String,
    /// The VaultSecret.
    pub object: Object,
}

impl Scene {
    /// Starts a remote with a credential of its own.
    pub async fn remote(&self, kind: Kind) -> Arc<Remote> {
        let secret = self.canary("credential");
        self.watch(Remote::start(kind, &secret).await)
    }

    /// The same, for connections that describe it.
    pub async fn described(&self, kind: Kind) -> Arc<Remote> {
        let secret = self.canary("credential");
        self.watch(Remote::start(kind, &secret).await.described())
    }

    /// Makes a connection to a remote, called like its kind, and the Secret with its credentials. It allows many calls, probes
    /// every five seconds and takes a request for settled after one.
    pub async fn connect(&self, remote: &Remote) -> String {
        self.connect_as(remote.kind().member(), remote, json!({})).await
    }

    /// The same, with a name, and with fields that replace or add to those of the spec.
    pub async fn connect_as(&self, name: &str, remote: &Remote, more: Value) -> String {
        let credentials = format!("{name}-credentials");
        self.create("Secret", &credentials, json!({"stringData": remote.credentials()})).await;
        let spec = Self::connection_spec(remote, &credentials, more);
        self.create("VaultConnection", name, json!({"spec": spec})).await;
        name.to_owned()
    }

    /// The spec of such a connection.
    pub fn connection_spec(remote: &Remote, credentials: &str, more: Value) -> Value {
        let usual = json!({
            "allowInsecureUrl": true,
            "probeInterval": "5s",
            "limits": {"requestsPerMinute": 60_000, "burst": 1000, "maxInFlight": 50, "timeout": "5s", "settle": "1s"},
        });
        merged(merged(usual, remote.provider_spec(credentials)), more)
    }

    /// Makes a Secret that values come from.
    pub async fn source(&self, name: &str, values: &[(&str, &str)]) -> Object {
        let data: serde_json::Map<_, _> = values.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.create("Secret", name, json!({"stringData": data})).await
    }

    /// Changes or adds a value of a Secret.
    pub async fn set_source(&self, name: &str, key: &str, value: &str) {
        self.patch("Secret", name, json!({"stringData": {key: value}})).await;
    }

    /// Makes a VaultSecret.
    pub async fn vault_secret(&self, name: &str, spec: Value) -> Object {
        self.create("VaultSecret", name, json!({"spec": spec})).await
    }

    /// Makes a VaultSecret called `app` with a key `VALUE` from the Secret `source` (key `value`), projected as `app`, and waits
    /// until it is Ready. `more` replaces or adds to the fields of its spec.
    pub async fn synced(&self, kind: Kind, more: Value) -> Synced {
        let remote = self.remote(kind).await;
        self.connect(&remote).await;
        self.synced_at(remote, more).await
    }

    /// The same with a remote whose connection, called like its kind, was made before.
    pub async fn synced_at(&self, remote: Arc<Remote>, more: Value) -> Synced {
        let (entry_name, value) = (remote.kind().name("the value"), self.canary("value"));
        self.source("source", &[("value", &value)]).await;
        let spec = json!({
            "connectionRef": {"name": remote.kind().member()},
            "data": [entry("VALUE", &entry_name, "source/value")],
        });
        self.vault_secret("app", merged(spec, more)).await;
        let object = self.ready("app").await;
        assert_eq!(remote.value(&entry_name).as_deref(), Some(&*value), "Ready means that the remote has the value");
        Synced { remote, entry: entry_name, value, object }
    }
}
