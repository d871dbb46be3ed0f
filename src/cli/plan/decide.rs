//! Asks `sync::plan` about one entry. What is not known of the remote is what the ledger says of it.

use jiff::Timestamp;

use super::link::Link;
use super::model::{Action, EntryPlan, Verdict};
use crate::api::Reason;
use crate::api::vault_secret::{DeletionPolicy, DriftPolicy, VaultSecretSpec};
use crate::controller::desired::Issue;
use crate::sync::ledger::{EntryState, Row};
use crate::sync::plan::{self, Adoption, Cause, Decision, Departure, Drift, Facts, Seen, Sighting};

/// Nothing is written for a suspended object.
#[must_use]
pub fn suspended() -> Verdict {
    Verdict::of(&Issue::new(Reason::Suspended, "spec.suspend is set, so nothing is written"))
}

/// What the decision over an entry that is wanted depends on.
pub struct Wanted<'a> {
    /// Its row.
    pub row: Option<&'a Row>,
    /// Whether its value is another one than the remote has, where that is known.
    pub changed: Option<bool>,
    /// What happens to an entry that is somebody else's.
    pub adoption: Adoption,
    /// The connection.
    pub link: &'a Link,
    /// Now.
    pub now: Timestamp,
    /// The spec.
    pub spec: &'a VaultSecretSpec,
}

impl Wanted<'_> {
    /// What would happen.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let seen = self.seen();
        let fingerprint = self.row.and_then(|row| row.fingerprint.as_deref());
        // Not known for certain, it is decided as if it were the same, which shows whether something is due anyway.
        let wanted = if self.changed == Some(true) { "?" } else { fingerprint.unwrap_or("?") };
        let facts = facts(self.row, Some(wanted), &seen, self.link, self.spec, self.now, self.adoption);
        let mut decision = plan::decide(&facts);
        if let (Decision::Settle, Some(row)) = (&decision, self.row) {
            let mut settled = row.clone();
            crate::sync::transition::settle(&mut settled);
            decision = plan::decide(&Facts { row: Some(&settled), ..facts });
        }
        match decision {
            Decision::Create(Cause::New) => Verdict::plain(Action::Create),
            Decision::Create(_) => Verdict::because(Action::Create, "it is missing at the remote"),
            Decision::Update(Cause::Adopted) => {
                Verdict::because(Action::Adopt, "an entry of that name exists, and would be overwritten")
            }
            Decision::Update(Cause::Reassert) => Verdict::because(Action::Update, "somebody else changed it"),
            Decision::Update(Cause::Confirm | Cause::LateWrite) if self.changed != Some(true) => self.quiet(""),
            Decision::Update(_) => Verdict::plain(Action::Update),
            Decision::Conflict => {
                let text = "an entry of that name exists and is not ours; choose another remoteName, or take it over with \
                            adoptionPolicy: TakeOver or the annotation vaultsecret.dev/adopt";
                Verdict::of(&Issue::new(Reason::RemoteEntryExists, text))
            }
            Decision::Drifted { .. } => {
                self.quiet("somebody else changed it, which driftPolicy Report leaves as it is")
            }
            Decision::Missing { .. } => {
                self.quiet("somebody else removed it, which driftPolicy Report leaves as it is")
            }
            _ => self.quiet(""),
        }
    }

    /// Nothing is due, as far as the value is known to be the same.
    fn quiet(&self, text: &str) -> Verdict {
        let action = if self.changed.is_none() { Action::Unknown } else { Action::Unchanged };
        Verdict::because(action, text)
    }

    /// What the ledger says of the remote.
    fn seen(&self) -> Seen {
        let absent = Seen::Absent { began: Timestamp::MIN };
        let present = |version: Option<&str>| Seen::Present(sighting(Timestamp::MIN, version));
        match self.row {
            Some(row) if row.is_ours() => match row.state {
                EntryState::Missing => absent,
                EntryState::Drifted => present(Some("?moved")),
                _ => Seen::Nothing { stale: false },
            },
            Some(row) if row.state == EntryState::Conflict => present(None),
            // Whether somebody else has an entry of that name, the remote alone knows.
            _ => absent,
        }
    }
}

fn sighting(began: Timestamp, version: Option<&str>) -> Sighting {
    Sighting { began, id: None, version: version.map(str::to_owned), created: None, by_us: None, another: None }
}

fn facts<'f>(
    row: Option<&'f Row>,
    wanted: Option<&'f str>,
    seen: &'f Seen,
    link: &Link,
    spec: &VaultSecretSpec,
    now: Timestamp,
    adoption: Adoption,
) -> Facts<'f> {
    Facts {
        row,
        wanted,
        seen,
        stamps: link.stamps(),
        adoption,
        departure: departure(spec.deletion()),
        drift: match spec.drift() {
            DriftPolicy::Reassert => Drift::Reassert,
            DriftPolicy::Report => Drift::Report,
        },
        asked: false,
        reasserted: 0,
        contradicted: false,
        update_refused: 0,
        now,
        settle: link.settle,
        skew: std::time::Duration::ZERO,
        leaving_since: None,
    }
}

fn departure(policy: DeletionPolicy) -> Departure {
    match policy {
        DeletionPolicy::Retain => Departure::Retain,
        DeletionPolicy::Delete => Departure::Delete,
    }
}

/// What would become of a row that no key wants any more, once nothing of ours can land there.
#[must_use]
pub fn leaves(row: &Row, spec: &VaultSecretSpec, now: Timestamp) -> Option<EntryPlan> {
    let began = Timestamp::MAX;
    let seen = Seen::Present(sighting(began, row.remote_version.as_deref()));
    let facts = Facts {
        row: Some(row),
        wanted: None,
        seen: &seen,
        stamps: true,
        adoption: Adoption::Refuse,
        departure: departure(spec.deletion()),
        drift: Drift::Reassert,
        asked: false,
        reasserted: 0,
        contradicted: false,
        update_refused: 0,
        now: Timestamp::MAX,
        settle: std::time::Duration::ZERO,
        skew: std::time::Duration::ZERO,
        leaving_since: Some(now),
    };
    if !row.holds() {
        return None;
    }
    let verdict = match plan::decide(&facts) {
        Decision::Delete => Verdict::plain(Action::Delete),
        _ => Verdict::because(Action::Forget, "it stays at the remote"),
    };
    let (connection, remote_name) = (Some(row.connection.clone()), Some(row.remote_name.clone()));
    Some(EntryPlan { keys: row.key.iter().cloned().collect(), connection, remote_name, verdict })
}
