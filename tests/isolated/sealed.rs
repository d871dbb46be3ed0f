//! Behaviours 3, 43 and 44: the identities that open sealed values: restarts, rotation and loss.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::common::{IDENTITIES, Kind, Object, RECIPIENTS, Remote, Scene, sealed};

struct Sealed {
    scene: Scene,
    remote: Arc<Remote>,
    value: String,
    text: String,
}

const ENTRY: &str = "the-value";

impl Sealed {
    /// A VaultSecret `app` with a sealed value that is in sync, and an operator of its own.
    async fn new(prefix: &str) -> Self {
        let scene = Scene::isolated(prefix, &[]).await;
        let remote = scene.remote(Kind::Kelvin).await;
        scene.connect(&remote).await;
        let value = scene.canary("value");
        let text = scene.seal("app", "VALUE", &value);
        let identities = scene.system_object("Secret", IDENTITIES).await.unwrap();
        let identity = String::from_utf8(identities.secret_value("i1").unwrap()).unwrap();
        scene.secret_text(identity.lines().last().unwrap());
        let data = json!([sealed("VALUE", ENTRY, &text)]);
        scene.vault_secret("app", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
        scene.ready("app").await;
        scene.secret_has("app", "VALUE", &value).await;
        scene.connection_counts("kelvin", 1).await;
        Self { scene, remote, value, text }
    }

    /// What is at the remote and in the Secret is as it was, and was sent once.
    async fn expect_untouched(&self) {
        assert_eq!(self.remote.history(ENTRY), [self.value.as_str()]);
        assert_eq!(self.remote.write_calls(), 1);
        self.scene.secret_has("app", "VALUE", &self.value).await;
    }

    async fn identities(&self) -> Object {
        self.scene.system_object("Secret", IDENTITIES).await.unwrap()
    }

    async fn reseal(&self, value: &str) -> String {
        let text = self.scene.seal("app", "VALUE", value);
        let data = json!([sealed("VALUE", ENTRY, &text)]);
        self.scene.edit("app", json!({"data": data})).await;
        text
    }

    fn validate(&self, text: &str) -> String {
        let place = ["-n", &self.scene.namespace, "--name=app", "--key=VALUE", "--validate"];
        self.scene.seal_command(&place, text)
    }
}

#[tokio::test]
async fn b03_restart_with_sealed_values() {
    let s = Sealed::new("b03-sealed").await;
    let before = s.scene.expect("VaultSecret", "app").await;
    for crash in [false, true] {
        let mark = s.scene.mark();
        if crash {
            s.scene.operator.crash().await;
        } else {
            s.scene.operator.restart().await;
        }
        s.scene.two_more_probes(&s.remote).await;
        let user = s.scene.operator.user();
        let reads = ["get", "list", "watch"];
        let writes = s.scene.cluster.audit().requests_after(mark, |record| {
            record.user == user && !reads.contains(&&*record.verb) && !record.namespace.is_empty()
        });
        assert_eq!(writes, [], "nothing is written to the API server");
        let gets = |r: &devkit::controlplane::AuditRecord| {
            r.verb == "get" && r.resource == "secrets" && r.name != "kelvin-credentials"
        };
        assert_eq!(s.scene.asked_since(mark, gets), [], "no object is read one by one");
        assert_eq!(s.scene.expect("VaultSecret", "app").await, before);
        s.expect_untouched().await;
    }
    // It is awake all the same.
    let value = s.scene.canary("new value");
    s.reseal(&value).await;
    s.scene.remote_has(&s.remote, ENTRY, &value).await;
}

#[tokio::test]
async fn b43_rotation() {
    let s = Sealed::new("b43").await;
    let added = s.scene.seal_command(&["--add-identity"], "");
    let newest = |map: &Object| map.text("/data/newest") == added.trim();
    let published = async || s.scene.system_object("ConfigMap", RECIPIENTS).await.filter(newest);
    let published = s.scene.eventually("the new recipient is published", published).await;
    assert_eq!(published.text("/data/i2"), added.trim());
    assert_ne!(published.text("/data/i1"), added.trim());
    assert!(s.validate(&s.text).contains("older identity i1"), "the old one still opens");
    let is_ready = s.scene.ready("app").await;
    assert!(is_ready.is_observed());
    s.expect_untouched().await;

    // Rewrapped it is the same value: nothing is sent.
    let place = ["-n", &s.scene.namespace, "--name=app", "--key=VALUE", "--rewrap"];
    let rewrapped = s.scene.seal_command(&place, &s.text);
    assert!(!s.validate(&rewrapped).contains("older"));

    // The old identity goes: what was sealed to it is refused, and says so.
    s.scene.system_patch("Secret", IDENTITIES, json!({"data": {"i1": null}})).await;
    let message = s.scene.not_ready("app", "ValueRefused").await.ready().message;
    assert!(message.contains("another recipient") && message.contains(added.trim()), "{message}");
    assert!(message.contains(IDENTITIES) && message.contains("vaultsecret seal --namespace"), "{message}");
    s.expect_untouched().await;
    s.scene.edit("app", json!({"data": [sealed("VALUE", ENTRY, &rewrapped)]})).await;
    s.scene.ready("app").await;
    s.expect_untouched().await;

    // What somebody else writes into the ConfigMap does not stay: values would be sealed to a stranger.
    let stranger = published.text("/data/i1");
    s.scene.system_patch("ConfigMap", RECIPIENTS, json!({"data": {"newest": stranger}})).await;
    let restored = async || {
        s.scene
            .system_object("ConfigMap", RECIPIENTS)
            .await
            .is_some_and(|m| m.text("/data/newest") == added.trim() && m.at("/data/i1").is_null())
    };
    s.scene.eventually("the recipients are restored", restored).await;
}

#[tokio::test]
async fn b44_lost_identities() {
    let s = Sealed::new("b44").await;
    let backup = s.identities().await.at("/data").clone();
    s.scene.system_delete("Secret", IDENTITIES).await;
    let message = s.scene.not_ready("app", "ValueRefused").await.ready().message;
    assert!(message.contains(&format!("no Secret {}/{IDENTITIES}", s.scene.operator.system())), "{message}");
    assert!(message.contains("backup") && message.contains(RECIPIENTS), "{message}");
    s.expect_untouched().await;

    // No new ones take their place, not at a restart either, and others are not harmed.
    s.scene.operator.restart().await;
    s.scene.two_more_probes(&s.remote).await;
    assert_eq!(s.scene.system_object("Secret", IDENTITIES).await, None);
    s.scene.not_ready("app", "ValueRefused").await;
    let other = json!([{"key": "OTHER", "remoteName": "other", "value": "inline"}]);
    s.scene.vault_secret("other", json!({"connectionRef": {"name": "kelvin"}, "data": other})).await;
    s.scene.ready("other").await;

    // Restored: it goes on, and nothing is sent again.
    s.scene.restore_identities(&backup).await;
    s.scene.ready("app").await;
    assert_eq!(s.remote.history(ENTRY), [s.value.as_str()]);
    let value = s.scene.canary("another value");
    s.reseal(&value).await;
    s.scene.remote_has(&s.remote, ENTRY, &value).await;
    s.scene.ready("app").await;
}

#[tokio::test]
async fn b44_given_up_identities() {
    let s = Sealed::new("b44-anew").await;
    let old = s.identities().await.at("/data").clone();
    s.scene.system_delete("Secret", IDENTITIES).await;
    s.scene.not_ready("app", "ValueRefused").await;
    s.scene.system_delete("ConfigMap", RECIPIENTS).await;
    let made = async || s.scene.system_object("Secret", IDENTITIES).await;
    let made = s.scene.eventually("there are new identities", made).await;
    assert_ne!(made.at("/data"), &old);
    let refused = |app: &Object| app.ready().message.contains("another recipient");
    s.scene.until("VaultSecret", "app", "says that no identity opens it", refused).await;
    s.expect_untouched().await;
    s.scene
        .eventually("the recipients are published", async || {
            s.scene.system_object("ConfigMap", RECIPIENTS).await.is_some()
        })
        .await;
    s.reseal(&s.value).await;
    s.scene.ready("app").await;
    s.expect_untouched().await;
}

/// The operator is upgraded and its roles are not: only what is sealed waits for them.
#[tokio::test]
async fn b44_rights_of_an_older_version() {
    let s = Sealed::new("b44-rights").await;
    s.scene.operator.stop().await;
    let older = json!({"rules": [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["vaultsecret-key-ring"], "verbs": ["get"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]},
    ]});
    s.scene.system_patch("Role", "vaultsecret-operator", older).await;
    s.scene.operator.start_again().await;
    let message = s.scene.not_ready("app", "ValueRefused").await.ready().message;
    assert!(message.contains("may not read") && message.contains("apply the roles in deploy/"), "{message}");
    let other = json!([{"key": "OTHER", "remoteName": "other", "value": "inline"}]);
    s.scene.vault_secret("other", json!({"connectionRef": {"name": "kelvin"}, "data": other})).await;
    s.scene.ready("other").await;
    let _ = s.scene.cluster.namespaced_rights(s.scene.operator.system(), &s.scene.namespace).await;
    s.scene.ready("app").await;
    assert_eq!(s.remote.history(ENTRY), [s.value.as_str()]);
}

/// What is there is never overwritten, whatever it holds.
#[tokio::test]
async fn b44_identities_that_cannot_be_read() {
    let s = Sealed::new("b44-garbage").await;
    let good: Value = s.identities().await.at("/data").clone();
    s.scene.system_patch("Secret", IDENTITIES, json!({"data": {"i1": "aHVudGVyMg=="}})).await;
    let message = s.scene.not_ready("app", "ValueRefused").await.ready().message;
    assert!(message.contains("holds no identity"), "{message}");
    s.scene.operator.restart().await;
    s.scene.two_more_probes(&s.remote).await;
    assert_eq!(s.identities().await.at("/data"), &json!({"i1": "aHVudGVyMg=="}));
    s.scene.system_patch("Secret", IDENTITIES, json!({"data": good})).await;
    s.scene.ready("app").await;
    s.expect_untouched().await;
}
