//! Showing the values to workloads: the target Secret.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::desired::Issue;
use super::fields;
use super::pass::{Note, Pass, Want};
use super::refs::{Known, Ref};
use super::route::source_is_target;
use super::templates;
use super::values::{Values, known_version};
use crate::api::Reason;
use crate::api::vault_secret::{CreationPolicy, DataEntry, TargetStatus, VaultSecretSpec, When};
use crate::kube_error::CALL_LIMIT;
use crate::projection::apply::{Applied, Hint, ProjectionError, apply, remove};
use crate::projection::owner::Owner;
use crate::projection::target::Desired;
use crate::sync::ledger::EntryState;
use crate::value::SecretValue;

/// What the target is like.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    /// It shows the current set.
    pub done: bool,
    /// What is not as it should be about it.
    pub issue: Option<Issue>,
    /// What the status says of it from now on; `None`: as before.
    pub status: Option<TargetStatus>,
}

impl Pass<'_> {
    /// Whether the target shows the current set, as far as versions tell.
    #[must_use]
    pub fn target_is_in_place(&self) -> bool {
        if !self.sources.issues.is_empty() {
            return false;
        }
        let policy = self.vs.spec.creation_policy();
        let recorded = self.vs.status.as_ref().and_then(|s| s.target.as_ref());
        if policy == CreationPolicy::None {
            return recorded.is_none_or(|t| t.name.is_empty());
        }
        let name = self.vs.spec.target_name(&self.key.name);
        let Some(recorded) = recorded.filter(|t| t.name == name) else { return false };
        let known = self.ctx.refs.known(&Ref::secret(&self.key.namespace, name));
        known == Known::At(recorded.resource_version.as_str().into()) && recorded.made_from == self.made_from(None)
    }

    /// What is wrong with the target and its templates, whatever the values are.
    #[must_use]
    pub fn target_refusal(&self) -> Option<Issue> {
        if let Some(text) = source_is_target(&self.vs, &self.key.name) {
            return Some(Issue::new(Reason::TargetConflict, text));
        }
        self.templates.target_refusal().map(|(key, error)| templates::target_issue(key, error))
    }

    /// Names what a set of values was made from: the generation and the version of every source, as one short digest.
    fn made_from(&self, values: Option<&Values>) -> Option<String> {
        let mut digest = Sha256::new();
        digest.update(self.vs.metadata.generation.unwrap_or_default().to_be_bytes());
        let shown = |entry: &DataEntry| entry.projects() || self.templates.is_shown(&entry.key);
        for (index, entry) in self.vs.spec.data.iter().enumerate().filter(|(_, e)| shown(e)) {
            let version = match values {
                Some(values) => values.by_index[index].as_ref().ok().map(|v| v.version.as_str().into()),
                None => known_version(self, entry),
            }?;
            digest.update(version.as_bytes());
            digest.update([0]);
        }
        Some(digest.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect())
    }

    /// Whether the remote has acknowledged the value of a key as it was read.
    fn is_acknowledged(&self, want: &Want, values: &Values) -> bool {
        let entry = self.entry(want);
        if !entry.pushes() {
            return true;
        }
        let Some(index) = want.row else { return false };
        let Ok(content) = fields::content(self, index, values) else { return false };
        let row = &self.rows[index];
        let recorded = row.fingerprint.as_deref();
        let print = self.ctx.keys.fingerprint_like(recorded, &self.uid(), &row.remote_name, content.text.expose());
        row.is_ours()
            && !row.resend
            && recorded == Some(&print)
            && !matches!(row.state, EntryState::Conflict | EntryState::Refused)
    }

    /// Writes the target, if the set that was read may be shown: under `AfterPush` once every push of it was acknowledged.
    pub async fn project(&mut self, values: Option<&Values>) -> Projection {
        if self.target_is_in_place() {
            return Projection { done: true, ..Projection::default() };
        }
        if !self.sources.issues.is_empty() {
            // Which keys belong to the set is not known.
            return Projection::default();
        }
        let refused = self.target_refusal();
        if refused.is_some() {
            return Projection { issue: refused, ..Projection::default() };
        }
        let Some(values) = values else { return Projection::default() };
        let policy = self.vs.spec.creation_policy();
        if policy != CreationPolicy::None {
            let shown = self.wants.iter().filter(|w| self.entry(w).projects());
            let complete = shown.clone().all(|w| values.by_index[w.index].is_ok());
            let refused = self.wants.iter().any(|w| {
                w.issue.as_ref().is_some_and(|i| {
                    matches!(i.reason, Reason::SourceMissing | Reason::ValueRefused | Reason::TemplateError)
                })
            });
            let acknowledged =
                self.vs.spec.when() == When::Immediately || self.wants.iter().all(|w| self.is_acknowledged(w, values));
            if !complete || refused || !acknowledged {
                return Projection::default();
            }
        }
        let further = match templates::target_data(self, values) {
            Ok(further) => further,
            // A key that has no value says so itself.
            Err(issue) => return Projection { issue, ..Projection::default() },
        };
        let owner = Owner::vault_secret(&*self.key.name, self.uid());
        let gone = self.remove_renamed(&owner).await;
        if let Err(error) = gone {
            return Projection { issue: Some(issue_of(&error)), ..Projection::default() };
        }
        if policy == CreationPolicy::None {
            return Projection { done: true, status: Some(TargetStatus::default()), ..Projection::default() };
        }
        let desired = self.desired(values, further);
        let set = self.name_of_set(desired.data.iter());
        let of = Ref::secret(&self.key.namespace, &desired.name);
        let before = self.ctx.refs.known(&of);
        let hint = if before == Known::Gone { Hint::Absent } else { Hint::Unknown };
        let applied = apply(self.ctx.client.clone(), &desired, &owner, hint);
        let applied = tokio::time::timeout(CALL_LIMIT, applied).await;
        match applied {
            Ok(Ok(applied)) => {
                self.note_projection(&desired, &applied);
                let version = applied.resource_version;
                self.ctx.refs.note(&of, &before, Known::At(version.as_str().into()));
                let status = TargetStatus {
                    name: desired.name.clone(),
                    resource_version: version,
                    made_from: self.made_from(Some(values)),
                    restarted: self.restarted_before(set.as_ref()),
                    values: set,
                };
                Projection { done: true, issue: None, status: Some(status) }
            }
            Ok(Err(error)) => {
                if matches!(error, ProjectionError::Missing(_)) {
                    self.ctx.refs.note(&of, &before, Known::Gone);
                }
                Projection { issue: Some(issue_of(&error)), ..Projection::default() }
            }
            Err(_) => {
                let text = format!("writing Secret {:?}: the API server did not answer in time", desired.name);
                Projection { issue: Some(Issue::new(Reason::TargetConflict, text)), ..Projection::default() }
            }
        }
    }

    fn note_projection(&mut self, desired: &Desired, applied: &Applied) {
        if applied.wrote {
            self.ctx.metrics.api_write("write", "secrets");
        }
        if let Some(why) = &applied.recreated {
            let text = format!("Secret {:?} was deleted and made anew: {why}", desired.name);
            self.notes.push(Note { warning: false, reason: "TargetReplaced", text, entry: None });
        }
    }

    /// The target has another name, or is not wanted any more: the old one goes, if it is ours.
    async fn remove_renamed(&mut self, owner: &Owner) -> Result<(), ProjectionError> {
        let Some(old) = self.vs.status.as_ref().and_then(|s| s.target.clone()) else { return Ok(()) };
        let unwanted = self.vs.spec.creation_policy() == CreationPolicy::None;
        if old.name.is_empty() || (old.name == self.vs.spec.target_name(&self.key.name) && !unwanted) {
            return Ok(());
        }
        remove(self.ctx.client.clone(), &self.key.namespace, &old.name, owner).await.map(|_| ())
    }

    /// The object is going: its keys go out of the Secret that they were merged into. Without a finalizer there is no time for
    /// that, and they stay.
    pub async fn withdraw_merged(&mut self) {
        let Some(target) = self.vs.status.as_ref().and_then(|s| s.target.clone()) else { return };
        if self.vs.spec.creation_policy() != CreationPolicy::Merge || target.name.is_empty() {
            return;
        }
        let owner = Owner::vault_secret(&*self.key.name, self.uid());
        let removed = remove(self.ctx.client.clone(), &self.key.namespace, &target.name, &owner);
        if let Ok(Err(error)) = tokio::time::timeout(CALL_LIMIT, removed).await {
            self.warn("TargetLeft", format!("our keys are left in Secret {:?}: {error}", target.name));
        }
    }

    fn desired(&self, values: &Values, further: BTreeMap<String, SecretValue>) -> Desired {
        let mut data = further;
        for want in self.wants.iter().filter(|w| self.entry(w).projects()) {
            if let Ok(value) = &values.by_index[want.index] {
                data.insert(self.entry(want).key.clone(), value.raw.clone());
            }
        }
        for (key, value) in self.previous_values(values) {
            // A key of the spec that has this name is what the Secret shows.
            data.entry(key).or_insert(value);
        }
        let rivals = self.rivals(self.vs.spec.target_name(&self.key.name));
        desired_of(&self.vs.spec, &self.key.namespace, &self.key.name, data, rivals)
    }

    /// Values before the last rotation, where they are asked for, under `<key>.previous`.
    fn previous_values<'v>(&'v self, values: &'v Values) -> impl Iterator<Item = (String, SecretValue)> + 'v {
        self.vs.spec.data.iter().filter(|e| e.projects()).filter_map(|entry| {
            let asked = entry.value_from.as_ref()?.generate.as_ref()?.project_previous == Some(true);
            let value = values.previous.get(&entry.key).filter(|_| asked)?;
            Some((format!("{}.previous", entry.key), value.clone()))
        })
    }

    /// The set that the workloads were restarted for, before this one is shown: with the first one there is nothing to restart.
    fn restarted_before(&self, set: Option<&String>) -> Option<String> {
        let recorded = self.vs.status.as_ref().and_then(|s| s.target.as_ref());
        let known = recorded.filter(|t| t.values.is_some()).and_then(|t| t.restarted.clone());
        set.map(|set| known.unwrap_or_else(|| set.clone()))
    }

    /// Names of the other VaultSecrets that merge into the same Secret.
    fn rivals(&self, target: &str) -> BTreeSet<String> {
        if self.vs.spec.creation_policy() != CreationPolicy::Merge {
            return BTreeSet::new();
        }
        let all = self.ctx.vault_secrets.all();
        all.iter()
            .filter(|other| {
                let name = other.metadata.name.as_deref().unwrap_or_default();
                other.metadata.namespace.as_deref() == Some(&self.key.namespace)
                    && *name != *self.key.name
                    && other.spec.creation_policy() == CreationPolicy::Merge
                    && other.spec.target_name(name) == target
            })
            .filter_map(|other| other.metadata.name.clone())
            .collect()
    }
}

/// The Secret that a VaultSecret of that name asks for, with this data. Pure.
#[must_use]
pub fn desired_of(
    spec: &VaultSecretSpec,
    namespace: &str,
    name: &str,
    data: BTreeMap<String, SecretValue>,
    rivals: BTreeSet<String>,
) -> Desired {
    let target = spec.target.clone().unwrap_or_default();
    let metadata = target.template.and_then(|t| t.metadata).unwrap_or_default();
    Desired {
        rivals,
        name: spec.target_name(name).to_owned(),
        namespace: namespace.to_owned(),
        type_: target.type_.unwrap_or_else(|| "Opaque".to_owned()),
        immutable: target.immutable.unwrap_or(false),
        data,
        labels: metadata.labels,
        annotations: metadata.annotations,
        policy: spec.creation_policy(),
    }
}

fn issue_of(error: &ProjectionError) -> Issue {
    let reason = match error {
        ProjectionError::Missing(_) => Reason::TargetMissing,
        _ => Reason::TargetConflict,
    };
    Issue::new(reason, error.to_string())
}
