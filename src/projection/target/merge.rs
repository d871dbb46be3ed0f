//! Merge: our keys in somebody else's Secret.
//!
//! Every VaultSecret applies as a field manager of its own, so the API server keeps account of which keys are whose: a key
//! that leaves the spec goes, those of others stay, and no label or annotation of ours is needed. The manager is named
//! after the VaultSecret and not its uid: one made anew under the same name goes on where the other ended.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest as _, Sha256};

use super::{Desired, TargetPlan, check, controller, is_internal, is_ours};
use crate::api::names;
use crate::projection::owner::{self, Owner};

/// Field manager of a VaultSecret that merges. The hash makes room for names of every length.
#[must_use]
pub fn field_manager(name: &str) -> String {
    let hash: String = Sha256::digest(name.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", names::OPERATOR)
}

pub(super) fn plan(existing: Option<&Secret>, desired: &Desired, owner: &Owner) -> TargetPlan {
    let which = format!("Secret \"{}\"", desired.name);
    let place = format!("in namespace {}", desired.namespace);
    let Some(existing) = existing else {
        let message = format!("{which} not found {place}; under creationPolicy Merge it must exist, waiting for it");
        return TargetPlan::Missing { message };
    };
    let meta = &existing.metadata;
    if meta.deletion_timestamp.is_some() {
        return TargetPlan::Missing { message: format!("{which} {place} is being deleted; waiting for a new one") };
    }
    // The other VaultSecret would remove what we add, and we would add it again, for ever.
    let made = owner::role(meta).is_some() || controller(meta).is_some_and(is_ours);
    if made || is_internal(meta) {
        return conflict(format!("{which} {place} is made by the operator itself; Merge is for Secrets of others"));
    }
    let type_ = existing.type_.as_deref().unwrap_or_default();
    if names::PRIVILEGED_TYPES.contains(&type_) {
        return conflict(format!("{which} {place} is of type {type_}, which is never written"));
    }
    for rival in &desired.rivals {
        let theirs = owned(meta, &field_manager(rival));
        if let Some(key) = desired.data.keys().find(|key| theirs.contains(key.as_str())) {
            return conflict(format!("key \"{key}\" of {which} {place} is written by VaultSecret \"{rival}\""));
        }
    }
    let manager = field_manager(&owner.name);
    let mine = owned(meta, &manager);
    let data = existing.data.clone().unwrap_or_default();
    let leaving = mine.iter().any(|key| !desired.data.contains_key(*key));
    let same = desired.data.iter().all(|(key, value)| data.get(key).is_some_and(|d| d.0 == value.expose()));
    let noted = desired.data.keys().all(|key| mine.contains(key.as_str()));
    if same && noted && !leaving {
        return TargetPlan::InPlace;
    }
    if existing.immutable == Some(true) {
        // With nothing to change but the account of who owns what, the account can do without.
        return match same && !leaving {
            true => TargetPlan::InPlace,
            false => conflict(format!("{which} {place} is immutable; nothing can be merged into it")),
        };
    }
    let foreign = data.iter().filter(|(key, _)| !mine.contains(key.as_str()) && !desired.data.contains_key(*key));
    let foreign: usize = foreign.map(|(_, value)| value.0.len()).sum();
    let ours: usize = desired.data.values().map(|value| value.len()).sum();
    if let Err(message) = check::size(foreign + ours, &desired.name) {
        return TargetPlan::Invalid { message };
    }
    let ours = desired.data.iter().map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec()))).collect();
    TargetPlan::Merge { secret: Box::new(applied(meta, ours)), manager }
}

/// What takes our keys out of a Secret again; `None` when there are none of ours in it.
#[must_use]
pub fn withdrawal(existing: &Secret, owner: &Owner) -> Option<(Secret, String)> {
    let manager = field_manager(&owner.name);
    let any = !owned(&existing.metadata, &manager).is_empty();
    (any && existing.immutable != Some(true)).then(|| (applied(&existing.metadata, BTreeMap::new()), manager))
}

fn conflict(message: String) -> TargetPlan {
    TargetPlan::Conflict { message }
}

/// Our keys and nothing else. uid and resourceVersion keep the apply from making a Secret that has gone meanwhile.
fn applied(meta: &ObjectMeta, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            ..ObjectMeta::default()
        },
        data: (!data.is_empty()).then_some(data),
        ..Secret::default()
    }
}

/// Keys of the data that a field manager applied.
fn owned<'a>(meta: &'a ObjectMeta, manager: &str) -> BTreeSet<&'a str> {
    let entries = meta.managed_fields.as_deref().unwrap_or_default().iter();
    let applied = entries.filter(|e| e.manager.as_deref() == Some(manager) && e.operation.as_deref() == Some("Apply"));
    let fields = applied.filter_map(|e| e.fields_v1.as_ref()?.0.get("f:data")?.as_object());
    fields.flat_map(|data| data.keys()).filter_map(|field| field.strip_prefix("f:")).collect()
}
