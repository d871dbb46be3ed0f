//! Waiting for what a user would see.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Object, PATIENCE, POLL, Remote, Scene};

/// What a look at the world comes to.
pub trait Verdict {
    /// What there is to give back once it holds.
    type Value;
    /// That, if it holds.
    fn verdict(self) -> Option<Self::Value>;
}

impl Verdict for bool {
    type Value = ();

    fn verdict(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Verdict for Option<T> {
    type Value = T;

    fn verdict(self) -> Option<T> {
        self
    }
}

impl Scene {
    /// Waits until something holds and gives back what it found. The test fails when it does not come, or when the operator
    /// ends meanwhile; the scene then says what there was.
    pub async fn eventually<F, V>(&self, what: &str, mut look: F) -> V::Value
    where
        F: AsyncFnMut() -> V,
        V: Verdict,
    {
        let began = Instant::now();
        loop {
            if let Some(value) = look().await.verdict() {
                return value;
            }
            if let Err(problem) = self.operator.check() {
                panic!("while waiting until {what}: {problem}");
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Looks for that long whether something keeps holding. Where a probe is what could break it, prefer
    /// [`two_more_probes`](Self::two_more_probes).
    pub async fn stays<F: AsyncFnMut() -> bool>(&self, what: &str, span: Duration, mut look: F) {
        let began = Instant::now();
        while began.elapsed() < span {
            assert!(look().await, "did not stay so: {what}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until two more lists were begun at the remote and the first of them has had its consequences.
    pub async fn two_more_probes(&self, remote: &Remote) {
        let before = remote.lists();
        self.eventually("two more probes have begun", async || remote.lists() >= before + 2).await;
    }

    /// Waits until something holds of an object.
    pub async fn until(&self, kind: &str, name: &str, what: &str, holds: impl Fn(&Object) -> bool) -> Object {
        let what = format!("{kind} {name}: {what}");
        self.eventually(&what, async || self.get(kind, name).await.filter(|object| holds(object))).await
    }

    /// Waits until a VaultSecret is Ready with its present spec.
    pub async fn ready(&self, name: &str) -> Object {
        let object = self.until("VaultSecret", name, "is Ready", Object::is_ready).await;
        assert_eq!(object.ready().reason, "Synced", "{object:?}");
        object
    }

    /// Waits until a VaultSecret is not Ready for that reason, and says so of its present spec.
    pub async fn not_ready(&self, name: &str, reason: &str) -> Object {
        let what = format!("is not Ready because of {reason}");
        let holds = |object: &Object| {
            let ready = object.ready();
            ready.status == "False" && ready.reason == reason && object.is_observed()
        };
        self.until("VaultSecret", name, &what, holds).await
    }

    /// Waits until a connection has that reason.
    pub async fn connection_is(&self, name: &str, reason: &str) -> Object {
        let holds = |object: &Object| object.ready().reason == reason && object.is_observed();
        self.until("VaultConnection", name, &format!("says {reason}"), holds).await
    }

    /// Waits until a connection counts so many entries as ours. It tells of its count some seconds late.
    pub async fn connection_counts(&self, name: &str, entries: i64) -> Object {
        let holds =
            |object: &Object| object.ready().reason == "Connected" && object.number("/status/entries") == entries;
        self.until("VaultConnection", name, &format!("counts {entries} entries"), holds).await
    }

    /// Waits until the status of a VaultSecret speaks of its present spec.
    pub async fn observed(&self, name: &str) -> Object {
        self.until("VaultSecret", name, "is observed", Object::is_observed).await
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, kind: &str, name: &str) {
        self.eventually(&format!("{kind} {name} is gone"), async || self.get(kind, name).await.is_none()).await;
    }

    /// Waits until a remote has that value.
    pub async fn remote_has(&self, remote: &Remote, name: &str, value: &str) {
        let what = format!("{} has the value of {name}", remote.kind().member());
        self.eventually(&what, async || remote.value(name).as_deref() == Some(value)).await;
    }

    /// Waits until a Secret has that value.
    pub async fn secret_has(&self, name: &str, key: &str, value: &str) -> Object {
        let holds = |object: &Object| object.secret_value(key).is_some_and(|found| found == value.as_bytes());
        self.until("Secret", name, &format!("has the value of {key}"), holds).await
    }

    /// Waits until an event about an object has that reason, and gives it back.
    pub async fn event(&self, about: &str, reason: &str) -> Object {
        let what = format!("there is an event {reason} about {about}");
        self.eventually(&what, async || {
            self.events(about).await.into_iter().find(|event| event.text("/reason") == reason)
        })
        .await
    }

    /// The events about an object.
    pub async fn events(&self, about: &str) -> Vec<Object> {
        let all = self.list("Event").await;
        all.into_iter()
            .filter(|event| event.0.pointer("/regarding/name").and_then(Value::as_str) == Some(about))
            .collect()
    }
}
