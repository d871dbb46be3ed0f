//! What would happen to the Secret that shows the values, and to the workloads that read it.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::Judged;
use super::model::{Action, Named, Verdict};
use super::values::Lack;
use super::world::{Observed, World};
use crate::api::Reason;
use crate::api::vault_secret::{CreationPolicy, TargetStatus, When};
use crate::controller::desired::Issue;
use crate::controller::project::desired_of;
use crate::controller::restart::name_of_set;
use crate::controller::templates::{target_data_of, target_issue};
use crate::projection::owner::Owner;
use crate::projection::target::{Desired, TargetPlan, plan};
use crate::source::reference::SourceKind;
use crate::value::SecretValue;

/// The Secret, and what is restarted.
#[derive(Default)]
pub struct Shown {
    /// The target, and one that is not the target any more.
    pub secrets: Vec<Named>,
    /// Workloads.
    pub restarts: Vec<Named>,
}

/// What is known of the data of the Secret.
struct Data {
    known: BTreeMap<String, SecretValue>,
    unsure: BTreeSet<String>,
}

/// Judges the Secret of a VaultSecret.
#[must_use]
pub fn judge(world: &World, judged: &Judged<'_>) -> Shown {
    let mut shown = Shown::default();
    let recorded = judged.live.and_then(|vs| vs.status.as_ref()).and_then(|status| status.target.as_ref());
    let name = judged.spec.target_name(&judged.key.name);
    let policy = judged.spec.creation_policy();
    if judged.spec.suspended() {
        return shown;
    }
    if policy != CreationPolicy::None {
        let (verdict, changes) = target(world, judged, name, recorded);
        shown.restarts = restarts(world, judged, &verdict, changes, recorded);
        shown.secrets.push(Named { kind: "Secret", name: name.to_owned(), verdict });
    }
    let leaves = recorded.filter(|t| !t.name.is_empty() && (t.name != name || policy == CreationPolicy::None));
    if let Some(old) = leaves.filter(|_| !judged.rests) {
        let owned = judged.live.is_none_or(|live| live.spec.creation_policy() == CreationPolicy::Owner);
        let verdict = if owned {
            Verdict::because(Action::Delete, "it is not the target any more")
        } else {
            Verdict::because(Action::Unchanged, "it is not the target any more, and not ours to delete")
        };
        shown.secrets.push(Named { kind: "Secret", name: old.name.clone(), verdict });
    }
    shown
}

/// What would become of the target, and whether the values that it shows change; `None`: that is not known.
fn target(world: &World, judged: &Judged<'_>, name: &str, recorded: Option<&TargetStatus>) -> (Verdict, Option<bool>) {
    let namespace = &judged.key.namespace;
    let refused = |reason, text: String| (Verdict::of(&Issue::new(reason, text)), Some(false));
    if let Some((key, error)) = judged.values.templates.target_refusal() {
        return (Verdict::of(&target_issue(key, error)), Some(false));
    }
    let policy = judged.spec.creation_policy();
    if world.declares(SourceKind::Secret, namespace, name) && policy != CreationPolicy::Merge {
        let text = format!(
            "Secret {name:?} is in the manifests itself; choose another target.name, or set target.creationPolicy: Merge"
        );
        return refused(Reason::TargetConflict, text);
    }
    let existing = world.live_object(SourceKind::Secret, namespace, name);
    let secret = existing.here().and_then(|blob| blob.secret.as_deref());
    let mut data = match gather(judged) {
        Ok(data) => data,
        Err(verdict) => return (waiting(verdict, recorded), Some(false)),
    };
    if world.cluster.is_some()
        && judged.spec.when() == When::AfterPush
        && judged.entries.iter().any(|e| matches!(e.verdict.action, Action::Waits | Action::Refused))
    {
        let held =
            Verdict::because(Action::Waits, "until the remote has every value of the set (target.when: AfterPush)");
        return (waiting(held, recorded), Some(false));
    }
    // What is not known stays as it is, so that everything else about the Secret can be judged.
    let before: BTreeMap<String, SecretValue> = secret
        .and_then(|s| s.data.as_ref())
        .into_iter()
        .flatten()
        .map(|(key, bytes)| (key.clone(), SecretValue::new(bytes.0.clone())))
        .collect();
    if judged.incomplete.is_some() {
        data.unsure.extend(before.keys().filter(|key| !data.known.contains_key(*key)).cloned());
    }
    let sure = data.unsure.is_empty() && judged.incomplete.is_none();
    for key in &data.unsure {
        let value = before.get(key).cloned().unwrap_or_else(|| SecretValue::from("?"));
        data.known.insert(key.clone(), value);
    }
    let rivals = rivals(world, judged, name);
    let desired = desired_of(&judged.spec, namespace, &judged.key.name, data.known, rivals);
    let owner = Owner::vault_secret(&*judged.key.name, judged.uid.clone());
    let planned = plan(secret, &desired, &owner);
    let changes = changes(world, judged, recorded, &desired, secret.map(|_| &before), sure);
    let action = match planned {
        TargetPlan::Invalid { message } | TargetPlan::Conflict { message } => {
            return refused(Reason::TargetConflict, message);
        }
        TargetPlan::Missing { .. } if world.cluster.is_none() => Verdict::plain(Action::Apply),
        TargetPlan::Missing { .. } if world.declares(SourceKind::Secret, namespace, name) => {
            Verdict::plain(Action::Update)
        }
        TargetPlan::Missing { message } => return refused(Reason::TargetMissing, message),
        _ if world.cluster.is_none() => Verdict::plain(Action::Apply),
        TargetPlan::Create(_) => match existing {
            Observed::Unseen(why) if recorded.is_some_and(|t| t.name == name) => match changes {
                Some(true) => Verdict::plain(Action::Update),
                Some(false) => Verdict::plain(Action::Unchanged),
                None => Verdict::because(Action::Unknown, format!("updated if a value is another one; {why}")),
            },
            Observed::Unseen(why) => Verdict::because(Action::Create, format!("unless there is one already; {why}")),
            _ => Verdict::plain(Action::Create),
        },
        TargetPlan::Recreate { why, .. } => Verdict::because(Action::Replace, why),
        TargetPlan::Replace(_) | TargetPlan::Merge { .. } => Verdict::plain(Action::Update),
        TargetPlan::InPlace if !sure => Verdict::because(Action::Unknown, "updated if a value is another one"),
        TargetPlan::InPlace => Verdict::plain(Action::Unchanged),
    };
    (action, changes)
}

/// The values of the Secret, or what it waits for.
fn gather(judged: &Judged<'_>) -> Result<Data, Verdict> {
    let mut data = Data { known: BTreeMap::new(), unsure: BTreeSet::new() };
    let said = |action| {
        judged.entries.iter().any(|e| e.keys.is_empty() && e.connection.is_none() && e.verdict.action == action)
    };
    if judged.rests || said(Action::Waits) {
        return Err(Verdict::because(Action::Waits, "until it is known what dataFrom stands for"));
    }
    for (entry, value) in judged.spec.data.iter().zip(&judged.values.by_index) {
        match value {
            Ok(value) if entry.projects() => drop(data.known.insert(entry.key.clone(), value.raw.clone())),
            Err(Lack::Unseen(_)) if entry.projects() => drop(data.unsure.insert(entry.key.clone())),
            Err(Lack::Issue(_)) => {
                let text = format!("until key {} has a value", entry.key);
                return Err(Verdict::because(Action::Waits, text));
            }
            _ => {}
        }
    }
    let unseen = |key: &str| matches!(judged.values.of(&judged.spec, key), Some(Err(Lack::Unseen(_))));
    let templates = &judged.values.templates;
    let blind: BTreeSet<String> = templates
        .of_target()
        .filter(|(_, node)| node.is_ok_and(|node| node.reads().iter().any(|key| unseen(key))))
        .map(|(name, _)| name.to_owned())
        .collect();
    if blind.is_empty() {
        let of = |key: &str| judged.values.of(&judged.spec, key)?.as_ref().ok().map(|value| value.raw.clone());
        match target_data_of(templates, of) {
            Ok(further) => data.known.extend(further),
            Err(Some(issue)) => return Err(Verdict::of(&issue)),
            Err(None) => return Err(Verdict::because(Action::Waits, "until every key has a value")),
        }
    } else {
        data.unsure.extend(templates.of_target().map(|(name, _)| name.to_owned()));
    }
    let asks = |key: &str| {
        let entry = judged.spec.data.iter().find(|entry| entry.key == key);
        let generate = entry.filter(|e| e.projects()).and_then(|e| e.value_from.as_ref()?.generate.as_ref());
        generate.is_some_and(|generate| generate.project_previous == Some(true))
    };
    for (key, value) in judged.values.previous.iter().filter(|(key, _)| asks(key)) {
        data.known.entry(format!("{key}.previous")).or_insert_with(|| value.clone());
    }
    Ok(data)
}

/// The Secret keeps what it shows, if there is one.
fn waiting(mut verdict: Verdict, recorded: Option<&TargetStatus>) -> Verdict {
    if verdict.action == Action::Waits && recorded.is_some_and(|t| !t.name.is_empty()) {
        verdict.message.push_str("; it keeps the last good set");
    }
    verdict
}

/// Whether the Secret shows other values than before.
fn changes(
    world: &World,
    judged: &Judged<'_>,
    recorded: Option<&TargetStatus>,
    desired: &Desired,
    before: Option<&BTreeMap<String, SecretValue>>,
    sure: bool,
) -> Option<bool> {
    let restarted = recorded.and_then(|t| t.restarted.as_deref());
    let keys = world.cluster.as_ref().and_then(|cluster| cluster.keys.as_ref());
    if sure && let (Some(keys), Some(restarted)) = (keys, restarted) {
        let values = recorded.and_then(|t| t.values.as_deref());
        return Some(name_of_set(keys, values, &judged.uid, desired.data.iter()) != restarted);
    }
    let merges = desired.policy == CreationPolicy::Merge;
    let differs = before.map(|before| {
        let other = desired.data.iter().any(|(key, value)| before.get(key) != Some(value));
        other || (!merges && before.len() != desired.data.len())
    });
    match differs {
        Some(true) => Some(true),
        Some(false) if sure => Some(false),
        _ if judged.entries.iter().any(|e| matches!(e.verdict.action, Action::Update)) => Some(true),
        _ if sure && judged.entries.iter().all(|e| e.verdict.action == Action::Unchanged) => Some(false),
        _ => None,
    }
}

fn restarts(
    world: &World,
    judged: &Judged<'_>,
    verdict: &Verdict,
    changes: Option<bool>,
    recorded: Option<&TargetStatus>,
) -> Vec<Named> {
    // With the first set there is nothing to restart.
    let had_one = recorded.is_some_and(|t| t.values.is_some() && t.name == judged.spec.target_name(&judged.key.name));
    let action = match (verdict.action, changes) {
        (Action::Refused | Action::Waits, _) | (_, Some(false)) => return Vec::new(),
        _ if !had_one => return Vec::new(),
        (_, Some(true)) => Verdict::because(Action::Restart, "the values change"),
        (_, None) => Verdict::because(Action::Unknown, "restarted if a value is another one"),
    };
    let each = judged.spec.rollout_restart_targets.iter().map(|target| {
        let at = (judged.key.namespace.to_string(), target.clone());
        let seen = world.cluster.as_ref().and_then(|cluster| cluster.workloads.get(&at));
        let verdict = match seen {
            Some(Observed::Absent) => Verdict::because(Action::Unchanged, "there is no such workload to restart"),
            _ => action.clone(),
        };
        Named { kind: target.kind.as_str(), name: target.name.clone(), verdict }
    });
    each.collect()
}

/// Names of the other VaultSecrets that merge into the same Secret.
fn rivals(world: &World, judged: &Judged<'_>, target: &str) -> BTreeSet<String> {
    if judged.spec.creation_policy() != CreationPolicy::Merge {
        return BTreeSet::new();
    }
    let live = world.cluster.iter().flat_map(|cluster| &cluster.vault_secrets);
    let live = live.filter(|(key, _)| !world.wanted.contains_key(*key));
    let all = world.wanted.iter().chain(live);
    let others = all.filter(|(key, vs)| {
        key.namespace == judged.key.namespace
            && key.name != judged.key.name
            && vs.spec.creation_policy() == CreationPolicy::Merge
            && vs.spec.target_name(&key.name) == target
    });
    others.map(|(key, _)| key.name.to_string()).collect()
}
