//! From what was found to conditions: one place, pure.

use std::collections::HashSet;

use jiff::Timestamp;

use super::desired::Issue;
use crate::api::Reason;
use crate::api::condition::{self, Wanted, types};
use crate::api::vault_secret::VaultSecretStatus;
use crate::sync::ledger::{EntryState, Row};

/// What a reconcile found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What is not as it should be about names, values, the connection and entries.
    pub push: Vec<Issue>,
    /// What is not as it should be about the target.
    pub target: Option<Issue>,
    /// The target shows the current set.
    pub projected: bool,
    /// What the target holds while it does not show the current set.
    pub kept: Kept,
    /// There is no target by policy.
    pub no_target: bool,
    /// The target shows values at once, whether they are pushed or not.
    pub at_once: bool,
    /// The remote shows names only.
    pub presence: bool,
    /// The connection, for messages.
    pub connection: String,
    /// Entries that the spec wants at the remote.
    pub total: u32,
    /// Nothing that was found can be relied on: no list for long.
    pub unknown: bool,
}

/// What the target holds while it does not show the current set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// The last complete set.
    #[default]
    LastSet,
    /// There is no Secret of ours yet.
    NoSecret,
    /// The Secret to merge into has no keys of ours yet.
    NoKeys,
}

impl Kept {
    fn until(self, shown_at_once: bool) -> String {
        let what = match self {
            Self::LastSet => "the Secret keeps the last complete set",
            Self::NoSecret => "there is no Secret yet; it is made with the first complete set,",
            Self::NoKeys => "our keys are not in the Secret yet; they are put there with the first complete set,",
        };
        let when = match (self, shown_at_once) {
            (Self::LastSet, false) => "until every entry is acknowledged",
            (Self::LastSet, true) => "until every value is there",
            (_, false) => "once every entry is acknowledged",
            (_, true) => "once every value is there",
        };
        format!("{what} {when}")
    }
}

/// Which reason stands in `Ready` when there are several: the one that a person should look at first.
fn urgency(reason: Reason) -> u8 {
    match reason {
        Reason::Deleting => 0,
        Reason::Suspended => 1,
        Reason::ConnectionMissing | Reason::NotAllowed => 2,
        Reason::RemoteDiverged => 3,
        Reason::ConnectionNotReady => 4,
        Reason::NameRefused | Reason::TemplateError => 5,
        Reason::SourceMissing => 6,
        Reason::ValueRefused => 7,
        Reason::OwnedByAnother => 8,
        Reason::RemoteEntryExists => 9,
        Reason::UpdateUnsupported => 10,
        Reason::RemoteError => 11,
        Reason::RemoteDrifted => 12,
        Reason::RemoteMissing => 13,
        Reason::TargetConflict => 14,
        Reason::TargetMissing => 15,
        Reason::Pushing => 16,
        Reason::Confirming => 17,
        Reason::Queued => 18,
        Reason::Synced => 19,
    }
}

/// Whether only a person can end it: kstatus calls that Stalled.
fn is_stalled(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NameRefused
            | Reason::ValueRefused
            | Reason::NotAllowed
            | Reason::OwnedByAnother
            | Reason::RemoteEntryExists
            | Reason::UpdateUnsupported
            | Reason::RemoteDiverged
            | Reason::RemoteDrifted
            | Reason::RemoteMissing
            | Reason::TargetConflict
            | Reason::TemplateError
            | Reason::Suspended
    )
}

/// The issue of an entry that is wanted, from its row.
#[must_use]
pub fn issue_of(row: &Row) -> Option<Issue> {
    let reason = match row.state {
        EntryState::InSync => return None,
        EntryState::Queued | EntryState::Pending => Reason::Queued,
        EntryState::Pushing => Reason::Pushing,
        EntryState::Confirming => Reason::Confirming,
        EntryState::Drifted => Reason::RemoteDrifted,
        EntryState::Missing => Reason::RemoteMissing,
        EntryState::Unknown => Reason::ConnectionNotReady,
        EntryState::Conflict => Reason::RemoteEntryExists,
        EntryState::Refused => Reason::ValueRefused,
        EntryState::Failed => Reason::RemoteError,
        EntryState::Leaving => Reason::Deleting,
    };
    let key = row.key.as_deref().unwrap_or("-");
    let told = if row.message.is_empty() { default_message(row.state) } else { &row.message };
    Some(Issue::new(reason, format!("key {key}, entry {:?} at {}: {told}", row.remote_name, row.connection)))
}

fn default_message(state: EntryState) -> &'static str {
    match state {
        EntryState::Pending => "waits for a list of the remote",
        EntryState::Queued => "waits for its turn",
        EntryState::Pushing => "is being written",
        EntryState::Confirming => "written and acknowledged; an earlier write may still land, so it is watched a while",
        EntryState::Drifted => "somebody else changed it, and driftPolicy is Report",
        EntryState::Missing => "somebody else removed it, and driftPolicy is Report",
        EntryState::Unknown => "the remote has shown no list for too long, so what it holds is not known",
        EntryState::Conflict => "an entry of this name exists and is not ours",
        EntryState::Refused => "refused",
        EntryState::Failed => "failed",
        EntryState::Leaving => "is being deleted",
        EntryState::InSync => "in sync",
    }
}

fn most_urgent(issues: &[Issue]) -> Option<(Reason, String)> {
    let first = issues.iter().min_by_key(|i| urgency(i.reason))?;
    // What several keys suffer from is one problem, and is mended once.
    let different: HashSet<(Reason, &str)> = issues.iter().map(|i| (i.reason, without_key(&i.message))).collect();
    let more = different.len() - 1;
    let mut message = first.message.clone();
    if more > 0 {
        message.push_str(&format!(" (and {more} more)"));
    }
    Some((first.reason, cut(&message, 1024)))
}

/// A message without the key that it begins with.
fn without_key(message: &str) -> &str {
    let key = message.strip_prefix("key ").and_then(|rest| rest.split_once(": "));
    key.filter(|(key, _)| !key.contains([' ', ','])).map_or(message, |(_, problem)| problem)
}

/// Cut at a character boundary.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Writes counts and conditions into a status whose ledger is up to date.
pub fn conditions(status: &mut VaultSecretStatus, findings: &Findings, generation: Option<i64>, now: Timestamp) {
    let synced = status.entries.iter().filter(|r| r.key.is_some() && r.state == EntryState::InSync).count();
    let synced = u32::try_from(synced).unwrap_or(u32::MAX).min(findings.total);
    status.synced_entries = Some(synced);
    status.total_entries = Some(findings.total);
    status.synced = Some(format!("{synced}/{}", findings.total));
    status.observed_generation = generation;

    let pushed = most_urgent(&findings.push);
    let target = findings.target.as_ref().map(|t| (t.reason, t.message.clone()));
    let all: Vec<Issue> = findings.push.iter().chain(&findings.target).cloned().collect();
    let ready = most_urgent(&all);
    let list = &mut status.conditions;
    let mut set = |kind, status, reason, message| {
        condition::upsert(list, Wanted { kind, status, reason, message }, generation, now);
    };
    let off = if findings.unknown && ready.as_ref().is_some_and(|(r, _)| *r == Reason::ConnectionNotReady) {
        "Unknown"
    } else {
        "False"
    };
    match &ready {
        None => set(types::READY, "True", Reason::Synced.as_str(), synced_message(findings)),
        Some((reason, message)) => set(types::READY, off, reason.as_str(), message.clone()),
    }
    match &pushed {
        None => set(types::PUSHED, "True", Reason::Synced.as_str(), synced_message(findings)),
        Some((reason, message)) => set(types::PUSHED, off, reason.as_str(), message.clone()),
    }
    match (&target, findings.projected) {
        (Some((reason, message)), _) => set(types::PROJECTED, "False", reason.as_str(), message.clone()),
        (None, _) if findings.no_target => {
            set(types::PROJECTED, "True", "NoTarget", "creationPolicy is None: there is no Secret".to_owned());
        }
        (None, true) => {
            set(types::PROJECTED, "True", Reason::Synced.as_str(), "the Secret shows the current set".to_owned())
        }
        (None, false) => {
            let reason = pushed.as_ref().map_or(Reason::Pushing, |(r, _)| *r);
            set(types::PROJECTED, "False", reason.as_str(), findings.kept.until(findings.at_once));
        }
    }
    let stalled = ready.as_ref().filter(|(reason, _)| is_stalled(*reason));
    let moving = ready.as_ref().filter(|(reason, _)| !is_stalled(*reason));
    for (kind, holds) in [(types::STALLED, stalled), (types::RECONCILING, moving)] {
        match holds {
            Some((reason, message)) => set_true(&mut status.conditions, kind, *reason, message, generation, now),
            None => condition::remove(&mut status.conditions, kind),
        }
    }
}

fn set_true(
    list: &mut Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>,
    kind: &'static str,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let wanted = Wanted { kind, status: "True", reason: reason.as_str(), message: message.to_owned() };
    condition::upsert(list, wanted, generation, now);
}

fn synced_message(findings: &Findings) -> String {
    if findings.total == 0 {
        return "nothing is to be pushed".to_owned();
    }
    let entries = if findings.total == 1 { "1 entry is" } else { &format!("{} entries are", findings.total) };
    if findings.presence {
        format!(
            "{entries} at {}; it shows names only, so this means that we were the last to write as far as we know, and the names \
             exist",
            findings.connection
        )
    } else {
        format!("{entries} at {}", findings.connection)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn row(key: &str, state: EntryState) -> Row {
        Row {
            connection: "VaultConnection/kelvin".to_owned(),
            remote_name: key.to_owned(),
            key: Some(key.to_owned()),
            state,
            message: String::new(),
            ..Row::default()
        }
    }

    fn status(rows: Vec<Row>, extra: Vec<Issue>) -> VaultSecretStatus {
        let mut status = VaultSecretStatus { entries: rows, ..VaultSecretStatus::default() };
        let mut push: Vec<Issue> = status.entries.iter().filter_map(issue_of).collect();
        push.extend(extra);
        let total = u32::try_from(status.entries.len()).unwrap();
        let findings = Findings {
            push,
            projected: true,
            connection: "VaultConnection/kelvin".to_owned(),
            total,
            ..Findings::default()
        };
        conditions(&mut status, &findings, Some(7), Timestamp::UNIX_EPOCH);
        status
    }

    fn of<'a>(status: &'a VaultSecretStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
        let c = condition::find(&status.conditions, kind).unwrap();
        (&c.status, &c.reason, &c.message)
    }

    #[test]
    fn healthy_means_ready_and_neither_reconciling_nor_stalled() {
        let s = status(vec![row("a", EntryState::InSync)], vec![]);
        assert_eq!(of(&s, "Ready"), ("True", "Synced", "1 entry is at VaultConnection/kelvin"));
        assert!(condition::find(&s.conditions, "Reconciling").is_none());
        assert!(condition::find(&s.conditions, "Stalled").is_none());
        assert_eq!((s.synced.as_deref(), s.observed_generation), (Some("1/1"), Some(7)));
    }

    #[test]
    fn the_most_urgent_reason_is_told_with_how_many_more() {
        let s = status(
            vec![row("a", EntryState::Queued), row("b", EntryState::Failed), row("c", EntryState::InSync)],
            vec![Issue::new(Reason::SourceMissing, "Secret \"x\" not found")],
        );
        assert_eq!(of(&s, "Ready"), ("False", "SourceMissing", "Secret \"x\" not found (and 2 more)"));
        assert_eq!(s.synced.as_deref(), Some("1/3"));
        assert_eq!(of(&s, "Reconciling").0, "True");
    }

    #[test]
    fn what_several_keys_suffer_from_is_one_problem() {
        let missing = |key: &str| Issue::new(Reason::SourceMissing, format!("key {key}: Secret \"x\" not found"));
        let gone = Issue::new(Reason::ConnectionNotReady, "VaultConnection/kelvin is being read");
        let s = status(vec![], vec![missing("A"), missing("B"), missing("C")]);
        assert_eq!(of(&s, "Ready").2, "key A: Secret \"x\" not found");
        let s = status(vec![], vec![gone.clone(), gone, missing("A"), missing("B")]);
        assert_eq!(of(&s, "Ready").2, "VaultConnection/kelvin is being read (and 1 more)");
        // Entries are each a thing of its own.
        let s = status(vec![row("a", EntryState::Failed), row("b", EntryState::Failed)], vec![]);
        assert!(of(&s, "Ready").2.ends_with(": failed (and 1 more)"), "{}", of(&s, "Ready").2);
    }

    #[test]
    fn a_secret_that_never_was_keeps_nothing() {
        let told = |kept, at_once| {
            let mut status = VaultSecretStatus::default();
            let findings = Findings { kept, at_once, ..Findings::default() };
            conditions(&mut status, &findings, Some(7), Timestamp::UNIX_EPOCH);
            of(&status, "Projected").2.to_owned()
        };
        assert!(told(Kept::NoSecret, false).starts_with("there is no Secret yet"));
        assert!(told(Kept::NoKeys, false).starts_with("our keys are not in the Secret yet"));
        assert_eq!(
            told(Kept::LastSet, false),
            "the Secret keeps the last complete set until every entry is acknowledged"
        );
        assert!(told(Kept::LastSet, true).ends_with("until every value is there"));
    }

    #[test]
    fn what_only_a_person_can_end_is_stalled() {
        let s = status(vec![row("a", EntryState::Conflict)], vec![]);
        assert_eq!(of(&s, "Ready").1, "RemoteEntryExists");
        assert_eq!(of(&s, "Stalled").0, "True");
        assert!(condition::find(&s.conditions, "Reconciling").is_none());
    }

    #[test]
    fn the_message_names_key_entry_and_connection() {
        let mut failed = row("API_KEY", EntryState::Failed);
        failed.remote_name = "api-key".to_owned();
        failed.message = "HTTP 422; next attempt at 12:00".to_owned();
        let issue = issue_of(&failed).unwrap();
        for part in ["API_KEY", "api-key", "VaultConnection/kelvin", "422", "12:00"] {
            assert!(issue.message.contains(part), "{}", issue.message);
        }
    }
}
