//! From everything that is known to the plan. Pure but for the random numbers of samples, which are an argument.

use rand::CryptoRng;

use super::claims::Claims;
use super::decide::leaves;
use super::judge;
use super::link::{self, NoLink};
use super::model::{Action, Mode, Named, ObjectPlan, Plan, Verdict};
use super::target;
use super::world::{Manifest, World};
use crate::api::VaultSecret;
use crate::api::vault_secret::{ConnectionKind, CreationPolicy, DeletionPolicy};
use crate::controller::keys::ConnectionKey;
use crate::remote::lane::ObjectKey;

/// Plans. `pruned` are VaultSecrets of the cluster that would be deleted.
pub fn plan<R: CryptoRng + ?Sized>(world: &World, pruned: &[ObjectKey], rng: &mut R) -> Plan {
    let claims = Claims::gather(world, pruned);
    let mut objects: Vec<ObjectPlan> = world.manifests.iter().map(|m| manifest(world, &claims, m, rng)).collect();
    objects.extend(pruned.iter().filter_map(|key| Some(gone(key, world.live(key)?, world))));
    let mut notes = world.notes.clone();
    match &world.cluster {
        Some(cluster) => notes.extend(cluster.notes.iter().cloned()),
        None => notes.push(
            "made from the manifests alone: what is at the remote and in the cluster already is not known".to_owned(),
        ),
    }
    let mode = if world.cluster.is_some() { Mode::Cluster } else { Mode::Offline };
    Plan { mode, objects, notes }
}

fn manifest<R: CryptoRng + ?Sized>(world: &World, claims: &Claims, manifest: &Manifest, rng: &mut R) -> ObjectPlan {
    let Manifest { kind, namespace, name, document, problems } = manifest;
    let place = (!namespace.is_empty()).then(|| namespace.clone());
    let shown_name = if name.is_empty() { "(without a name)".to_owned() } else { name.clone() };
    let mut object = ObjectPlan::new(kind, place, shown_name, Some(document.file.clone()));
    if !problems.is_empty() {
        return object.refused(problems.clone());
    }
    let refusal = world.cluster.as_ref().and_then(|c| c.refusals.get(&(*kind, namespace.clone(), name.clone())));
    if let Some(refusal) = refusal {
        return object.refused(vec![refusal.clone()]);
    }
    if *kind == "VaultSecret" {
        let key = ObjectKey::new(namespace.as_str(), name.as_str());
        if let Some(wanted) = world.wanted.get(&key) {
            let live = world.live(&key);
            let same = live.is_some_and(|live| live.spec == wanted.spec && live.metadata.deletion_timestamp.is_none());
            object.verdict = itself(world, live.map(|_| same));
            if live.is_some_and(|live| live.metadata.deletion_timestamp.is_some()) {
                object.verdict = Verdict::because(Action::Waits, "it is being deleted; apply it again once it is gone");
                return object;
            }
            let judged = judge::judge(world, claims, &key, wanted, rng);
            let shown = target::judge(world, &judged);
            object.entries = judged.entries;
            object.secrets = shown.secrets;
            object.restarts = shown.restarts;
        }
        return object;
    }
    connection(world, manifest, object)
}

fn connection(world: &World, manifest: &Manifest, mut object: ObjectPlan) -> ObjectPlan {
    let kind = match manifest.kind {
        "VaultConnection" => ConnectionKind::VaultConnection,
        _ => ConnectionKind::ClusterVaultConnection,
    };
    let key = ConnectionKey::new(kind, &manifest.namespace, &manifest.name);
    let Some(shown) = world.connections.get(&key) else { return object };
    let live = world.cluster.as_ref().and_then(|cluster| cluster.connections.get(&key));
    let same = live.map(|live| live.spec == shown.spec && live.allowed == shown.allowed && live.prefix == shown.prefix);
    object.verdict = itself(world, same);
    match link::of(world, shown) {
        Ok(link) => {
            if let Some(problem) = link.problem {
                object.problems.push(problem.message);
            }
            let before = live.and_then(|live| link::of(world, live).ok());
            if before.is_some_and(|before| before.problem.is_none() && before.base != link.base) {
                let text = "it points at another remote: entries at the old one are left there, and with more than a few of them \
                            nothing is written until that is approved";
                object.problems.push(text.to_owned());
            }
        }
        Err(NoLink::Issue(issue)) => object.verdict = Verdict::because(Action::Refused, issue.message),
        Err(NoLink::Unseen(why)) => object.problems.push(why),
    }
    object
}

/// What would happen to an object; `same`: whether the live one is as it would be, if there is one.
fn itself(world: &World, same: Option<bool>) -> Verdict {
    Verdict::plain(match (world.cluster.is_some(), same) {
        (false, _) => Action::Apply,
        (true, None) => Action::Create,
        (true, Some(true)) => Action::Unchanged,
        (true, Some(false)) => Action::Update,
    })
}

/// A VaultSecret that goes.
fn gone(key: &ObjectKey, live: &VaultSecret, world: &World) -> ObjectPlan {
    let mut object = ObjectPlan::new("VaultSecret", Some(key.namespace.to_string()), key.name.to_string(), None);
    object.verdict = Verdict::because(Action::Delete, "it is not in the manifests");
    let status = live.status.iter();
    object.entries = status.flat_map(|s| &s.entries).filter_map(|row| leaves(row, &live.spec, world.now)).collect();
    let target = live.status.as_ref().and_then(|s| s.target.as_ref()).filter(|t| !t.name.is_empty());
    if let Some(target) = target {
        let verdict = match live.spec.creation_policy() {
            CreationPolicy::Owner => Verdict::plain(Action::Delete),
            CreationPolicy::Merge if live.spec.deletion() == DeletionPolicy::Delete => {
                Verdict::because(Action::Update, "our keys are taken out of it")
            }
            CreationPolicy::Merge | CreationPolicy::Orphan | CreationPolicy::None => {
                Verdict::because(Action::Unchanged, "it stays as it is")
            }
        };
        object.secrets.push(Named { kind: "Secret", name: target.name.clone(), verdict });
    }
    object
}
