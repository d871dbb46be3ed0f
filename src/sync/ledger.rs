//! The ledger: what `status.entries` records of each remote entry.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// State of an entry, as the status shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EntryState {
    /// Nothing has been tried yet, or something is missing before it can be.
    #[default]
    Pending,
    /// Waits for its turn at the remote.
    Queued,
    /// A write is under way.
    Pushing,
    /// The remote acknowledged, and an earlier write of ours may still land.
    Confirming,
    /// We were the last to write, as far as can be known.
    InSync,
    /// Somebody else changed it.
    Drifted,
    /// Somebody else removed it.
    Missing,
    /// The remote has not shown a list for too long.
    Unknown,
    /// The entry is somebody else's.
    Conflict,
    /// Name or value is refused before any call.
    Refused,
    /// The remote refused or failed.
    Failed,
    /// No key wants it any more; it is being deleted or forgotten.
    Leaving,
}

/// The last write of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Counts the intents of this row.
    pub number: u64,
    /// When the intent was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The outcome is not recorded yet.
    #[serde(default)]
    pub open: bool,
    /// Since when a write of ours may still land; absent when all is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled_since: Option<Timestamp>,
}

/// One row of the ledger. Keyed by connection and remote name, so it outlives the edit that took its key away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// `<kind>/<name>` of the connection.
    #[schemars(length(max = 300))]
    pub connection: String,
    /// Name of the entry, as the remote stores it.
    #[schemars(length(max = 300))]
    pub remote_name: String,
    /// Key in `spec.data`; absent when the row is leaving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The provider's id, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    /// What holds now.
    #[serde(default)]
    pub state: EntryState,
    /// An intent to create was written and no create was acknowledged yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
    /// When the earliest create was intended that may have been processed without an answer (of a claim, or of an entry of ours
    /// that was missing), to tell our own late create from a stranger's entry. Absent when all is settled and acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
    /// Fields of the entry that we wrote, or may have written, where entries have fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub fields: Vec<String>,
    /// Keyed fingerprint of the value that the remote acknowledged last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The value is to be sent (again) whatever the fingerprint says: a write of ours was not acknowledged, so the remote may
    /// hold another value than the recorded one, or a push was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resend: bool,
    /// Taken over from somebody else, by policy or by annotation, and not written yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// The opaque stamp in the answer to our own last write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_version: Option<String>,
    /// The last write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// resourceVersion of the source that the fingerprint was made from; of a template, one for all sources behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// When the remote last acknowledged a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Timestamp>,
    /// Which remote behind the connection the row speaks of: counts up when the connection is pointed at another one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub incarnation: u64,
    /// Since when no key wants the entry any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving_since: Option<Timestamp>,
    /// The real reason, redacted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Row {
    /// Whether the entry is ours: a write of ours was acknowledged, or it was taken over.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !self.claimed && (self.fingerprint.is_some() || self.adopted)
    }

    /// Number of the last attempt, 0 before the first.
    #[must_use]
    pub fn attempt_number(&self) -> u64 {
        self.attempt.as_ref().map_or(0, |a| a.number)
    }

    /// Whether an attempt has no recorded outcome.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.attempt.as_ref().is_some_and(|a| a.open)
    }

    /// Since when a write of ours may still land.
    #[must_use]
    pub fn unsettled_since(&self) -> Option<Timestamp> {
        self.attempt.as_ref().and_then(|a| a.unsettled_since)
    }

    /// Whether the row holds its entry against other VaultSecrets: it is ours, or claimed.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.claimed || self.is_ours() || self.is_open() || self.unsettled_since().is_some()
    }

    /// The key of the list-map.
    #[must_use]
    pub fn id(&self) -> (&str, &str) {
        (&self.connection, &self.remote_name)
    }
}
