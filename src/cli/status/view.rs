//! A VaultSecret as `status` tells of it. No value is in it: what a spec says inline is not taken over. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::remedy::{self, About};
use crate::api::condition::{self, types};
use crate::api::vault_secret::{CreationPolicy, DataEntry, DeletionPolicy};
use crate::api::{Reason, VaultSecret};
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::Shown;
use crate::sync::ledger::{EntryState, Row};

/// Where a VaultSecret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Standing {
    /// Everything is as its spec wants it.
    Ready,
    /// On its way, by itself.
    Queued,
    /// Something is missing, or a person has to decide.
    Blocked,
    /// The remote or the connection fails; it is tried again.
    Failing,
}

/// Where a VaultSecret with that reason stands.
pub(super) fn standing_of(reason: Reason) -> Standing {
    match reason {
        Reason::Synced => Standing::Ready,
        Reason::Queued | Reason::Pushing | Reason::Confirming | Reason::Deleting => Standing::Queued,
        Reason::ConnectionNotReady | Reason::RemoteError => Standing::Failing,
        Reason::SourceMissing
        | Reason::ValueRefused
        | Reason::NameRefused
        | Reason::ConnectionMissing
        | Reason::NotAllowed
        | Reason::RemoteEntryExists
        | Reason::OwnedByAnother
        | Reason::RemoteDrifted
        | Reason::RemoteMissing
        | Reason::RemoteDiverged
        | Reason::UpdateUnsupported
        | Reason::TargetConflict
        | Reason::TargetMissing
        | Reason::TemplateError
        | Reason::Suspended => Standing::Blocked,
    }
}

/// One VaultSecret.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectView {
    pub(super) namespace: String,
    pub(super) name: String,
    /// `<kind>/<name>`.
    pub(super) connection: String,
    #[serde(skip)]
    pub(super) key: ConnectionKey,
    pub(super) standing: Standing,
    /// `True`, `False` or `Unknown`.
    pub(super) ready: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<Timestamp>,
    pub(super) synced: u32,
    pub(super) total: u32,
    /// Entries that are to be written or deleted, and go by themselves.
    pub(super) waiting: u32,
    /// Entries that wait for what blocks the object.
    pub(super) held: u32,
    /// The Secret, if there is to be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_rotation: Option<Timestamp>,
    pub(super) conditions: Vec<ConditionView>,
    pub(super) entries: Vec<EntryView>,
    /// What to do next.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) next: String,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConditionView {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) since: Timestamp,
    pub(super) message: String,
}

/// An entry, or a key that has none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    pub(super) remote_name: String,
    pub(super) connection: String,
    pub(super) state: EntryState,
    pub(super) message: String,
    pub(super) attempts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_attempt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pushed_at: Option<Timestamp>,
}

impl ObjectView {
    /// What is told of a VaultSecret; `connection` is the one that it names, where it may be looked at.
    pub(super) fn new(vs: &VaultSecret, connection: Option<&Shown>) -> Self {
        let namespace = vs.metadata.namespace.clone().unwrap_or_default();
        let name = vs.metadata.name.clone().unwrap_or_default();
        let status = vs.status.clone().unwrap_or_default();
        let reference = &vs.spec.connection_ref;
        let ready = condition::find(&status.conditions, types::READY);
        let fresh = ready.is_some() && status.observed_generation == vs.metadata.generation;
        let reason = ready.and_then(|c| reason_of(&c.reason));
        let standing = match (fresh, ready) {
            (true, Some(ready)) if ready.status == "True" => Standing::Ready,
            (true, Some(_)) => reason.map_or(Standing::Blocked, standing_of),
            _ => Standing::Queued,
        };
        let entries = entries(vs, &status.entries);
        let wanted = vs.spec.data.iter().filter(|entry| entry.pushes()).count();
        let total = status.total_entries.unwrap_or(u32::try_from(wanted).unwrap_or(u32::MAX));
        let next = match reason.filter(|_| fresh) {
            Some(reason) => remedy::of_object(reason, &About { namespace: &namespace, name: &name, connection }),
            None if fresh => String::new(),
            None => remedy::unseen(&namespace),
        };
        let shows = vs.spec.creation_policy() != CreationPolicy::None;
        let mut view = Self {
            connection: reference.display(),
            key: ConnectionKey::new(reference.kind(), &namespace, &reference.name),
            standing,
            ready: match ready {
                Some(ready) if fresh => ready.status.clone(),
                _ => "Unknown".to_owned(),
            },
            reason: ready.map(|c| c.reason.clone()).unwrap_or_default(),
            message: match ready {
                Some(ready) if fresh => ready.message.clone(),
                Some(ready) => {
                    format!("the operator has not looked at the present spec yet; before: {}", ready.message)
                }
                None => "the operator has not looked at it yet".to_owned(),
            },
            since: ready.map(|c| c.last_transition_time.0),
            created: vs.metadata.creation_timestamp.as_ref().map(|at| at.0),
            synced: status.synced_entries.unwrap_or(0),
            total,
            waiting: 0,
            held: 0,
            target: shows.then(|| vs.spec.target_name(&name).to_owned()),
            next_rotation: status.next_rotation,
            conditions: status.conditions.iter().map(ConditionView::new).collect(),
            entries,
            next,
            namespace,
            name,
        };
        (view.waiting, view.held) = waiting(&view, vs.spec.deletion());
        view
    }

    /// The reason, with a word for that there is none.
    pub(super) fn reason(&self) -> &str {
        if self.reason.is_empty() { "<none>" } else { &self.reason }
    }
}

impl ConditionView {
    fn new(of: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> Self {
        Self {
            kind: of.type_.clone(),
            status: of.status.clone(),
            reason: of.reason.clone(),
            since: of.last_transition_time.0,
            message: of.message.clone(),
        }
    }
}

/// The reason that a word in a condition is.
pub(super) fn reason_of(word: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == word)
}

/// Entries that go by themselves, and those that wait for what blocks the object. One that is refused or failed is neither.
fn waiting(view: &ObjectView, deletion: DeletionPolicy) -> (u32, u32) {
    let goes = |entry: &&EntryView| match entry.state {
        EntryState::Queued | EntryState::Pushing => true,
        EntryState::Leaving => deletion == DeletionPolicy::Delete,
        _ => false,
    };
    let known = view.entries.iter().filter(|entry| entry.key.is_some()).count();
    // Keys of whole Secrets have no row before the first look at them.
    let unknown = (view.total as usize).saturating_sub(known);
    let pending = view.entries.iter().filter(|entry| entry.state == EntryState::Pending).count() + unknown;
    let going = view.entries.iter().filter(goes).count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    match view.standing {
        Standing::Queued => (count(going + pending), 0),
        Standing::Ready => (count(going), 0),
        Standing::Blocked | Standing::Failing => (count(going), count(pending)),
    }
}

fn entries(vs: &VaultSecret, rows: &[Row]) -> Vec<EntryView> {
    let mut views: Vec<EntryView> = rows.iter().map(EntryView::new).collect();
    let connection = vs.spec.connection_ref.display();
    let has_row = |entry: &DataEntry| {
        rows.iter().any(|row| row.key.as_deref() == Some(&*entry.key) || row.remote_name.ends_with(entry.remote_name()))
    };
    for entry in vs.spec.data.iter().filter(|entry| entry.pushes() && !has_row(entry)) {
        views.push(EntryView {
            key: Some(entry.key.clone()),
            remote_name: entry.remote_name().to_owned(),
            connection: connection.clone(),
            state: EntryState::Pending,
            message: "no row yet: not looked at, or its name is refused (see the message of Ready)".to_owned(),
            attempts: 0,
            attempted_at: None,
            next_attempt: None,
            pushed_at: None,
        });
    }
    views
}

impl EntryView {
    fn new(row: &Row) -> Self {
        let (message, next_attempt) = match row.message.rsplit_once("; next attempt at ") {
            Some((message, at)) => (message.to_owned(), Some(at.to_owned())),
            None => (row.message.clone(), None),
        };
        Self {
            key: row.key.clone(),
            remote_name: row.remote_name.clone(),
            connection: row.connection.clone(),
            state: row.state,
            message,
            attempts: row.attempt_number(),
            attempted_at: row.attempt.as_ref().and_then(|attempt| attempt.at),
            next_attempt,
            pushed_at: row.pushed_at,
        }
    }
}
