//! What the escrow Secret should be. Pure but for the random numbers, which are an argument.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rand::CryptoRng;

use super::EscrowError;
use super::index::{EntryId, Index, KeyIndex, escrow_name, previous_slot, slot};
use crate::api::duration::GoDuration;
use crate::api::names;
use crate::api::vault_secret::{DeletionPolicy, Generate};
use crate::projection::owner::{self, controller, is_vault_secret};
use crate::source::generate::{self, GenerateError};
use crate::source::schedule;
use crate::value::SecretValue;

/// The API server's limit on the values of a Secret.
const MOST_DATA: usize = 1024 * 1024;
/// Its limit on all annotations of an object, with room for those of others.
const MOST_INDEX: usize = 200 * 1024;

/// The VaultSecret that the escrow is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Retain: the escrow outlives the VaultSecret. Delete: it goes with it.
    pub delete_policy: DeletionPolicy,
}

/// A generated value that the spec wants.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedValue {
    /// Key in the spec.
    pub key: String,
    /// What to make, and its epoch.
    pub generate: Generate,
    /// Entries that it goes to; without those that are somebody else's, because a later VaultSecret of this name takes the
    /// entries named here for its own.
    pub entries: Vec<EntryId>,
    /// Whether the current value is wherever it is to be. One that is not is not made anew because of its age: the value that the
    /// remote has, the previous one, would be lost.
    pub arrived: bool,
}

/// What is to be done. `Debug` shows no Secret.
#[derive(Clone, PartialEq)]
pub enum EscrowPlan {
    /// Nothing: the values are there.
    Keep(Held),
    /// Create it, and only create.
    Create(Box<Secret>),
    /// Replace it, guarded by its resourceVersion.
    Replace(Box<Secret>),
}

impl std::fmt::Debug for EscrowPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keep(_) => "Keep",
            Self::Create(_) => "Create",
            Self::Replace(_) => "Replace",
        })
    }
}

/// A plan, and the keys whose value cannot be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What is to be done for the others.
    pub step: EscrowPlan,
    /// Why a value cannot be made, by key. What the escrow holds of such a key stays as it is.
    pub refused: BTreeMap<String, GenerateError>,
}

/// What an escrow holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// Current value, by key.
    pub values: BTreeMap<String, SecretValue>,
    /// The value before the last rotation, by key.
    pub previous: BTreeMap<String, SecretValue>,
    /// Entries of an earlier VaultSecret of this name that were picked up with the escrow.
    pub inherited: BTreeSet<EntryId>,
    /// resourceVersion; `None` when there is no escrow.
    pub resource_version: Option<String>,
    /// When the next of the values is due to be made anew.
    pub next_rotation: Option<Timestamp>,
}

impl Held {
    /// Reads what an escrow holds of the wanted keys.
    ///
    /// # Errors
    /// When its index cannot be read.
    pub fn read(secret: &Secret, wanted: &[WantedValue], owner: &Owner) -> Result<Self, EscrowError> {
        let index = read_index(secret)?;
        let pick = |slot: &dyn Fn(&str) -> String| {
            let held = |w: &WantedValue| Some((w.key.clone(), stored(secret, &slot(&w.key))?));
            wanted.iter().filter_map(held).collect()
        };
        Ok(Self {
            values: pick(&slot),
            previous: pick(&previous_slot),
            resource_version: secret.metadata.resource_version.clone(),
            next_rotation: wanted.iter().filter_map(|w| due(&index, w, owner)).min(),
            inherited: index.inherited,
        })
    }
}

/// Decides what the escrow should be.
///
/// A value is made only for a key that the escrow does not hold, whose epoch is another, or whose time to be rotated has come;
/// another policy makes none. `salvage` holds values that were verified against the ledger's fingerprints; they take
/// the place of generated ones where the escrow has lost a key. A key that leaves the spec keeps its value, so that
/// an edit that is taken back costs no rotation. What is settled of the entries that were picked up with the escrow is
/// inherited no more.
///
/// # Errors
/// When a Secret of that name is not the escrow of a VaultSecret of this name, is going, cannot be changed, or would
/// be too large.
pub fn plan<R: CryptoRng + ?Sized>(
    existing: Option<&Secret>,
    wanted: &[WantedValue],
    owner: &Owner,
    salvage: &BTreeMap<String, SecretValue>,
    settled: &dyn Fn(&EntryId) -> bool,
    now: Timestamp,
    rng: &mut R,
) -> Result<Planned, EscrowError> {
    if wanted.is_empty() && existing.is_none_or(|existing| !is_escrow_of(existing, owner)) {
        return Ok(Planned { step: EscrowPlan::Keep(Held::default()), refused: BTreeMap::new() });
    }
    let mut secret = match existing {
        Some(existing) => {
            may_be_changed(existing, owner)?;
            existing.clone()
        }
        None => Secret { type_: Some("Opaque".into()), ..Secret::default() },
    };
    let mut index = read_index(&secret)?;
    inherit(&secret, &mut index, owner);
    index.inherited.retain(|entry| !settled(entry));
    // A key that left the spec goes to no entry any more.
    index.keys.values_mut().for_each(|known| known.entries.clear());

    let mut refused = BTreeMap::new();
    for value in wanted {
        if let Err(error) = place(&mut secret, &mut index, value, owner, salvage, now, rng) {
            refused.insert(value.key.clone(), error);
        }
    }
    if existing.is_none() && secret.data.as_ref().is_none_or(BTreeMap::is_empty) {
        return Ok(Planned { step: EscrowPlan::Keep(Held::default()), refused });
    }
    stamp(&mut secret, &index, owner)?;
    let step = match existing {
        None => EscrowPlan::Create(Box::new(secret)),
        Some(existing) if *existing == secret => {
            let mut held = Held::read(&secret, wanted, owner)?;
            held.values.retain(|key, _| !refused.contains_key(key));
            EscrowPlan::Keep(held)
        }
        Some(existing) if existing.immutable == Some(true) && existing.data != secret.data => {
            return Err(EscrowError::Immutable { name: escrow_name(&owner.name) });
        }
        Some(_) => EscrowPlan::Replace(Box::new(secret)),
    };
    Ok(Planned { step, refused })
}

/// The escrow without what is settled of the entries that were picked up with it; `None` when nothing is to be written.
///
/// # Errors
/// As for [`plan`].
pub fn disinherit(
    existing: &Secret,
    owner: &Owner,
    settled: &dyn Fn(&EntryId) -> bool,
) -> Result<Option<Box<Secret>>, EscrowError> {
    let ours = owner::made_for(&existing.metadata).is_some_and(|made_for| made_for.uid == owner.uid);
    if !is_escrow_of(existing, owner) || !ours {
        return Ok(None);
    }
    let mut index = read_index(existing)?;
    let before = index.inherited.len();
    index.inherited.retain(|entry| !settled(entry));
    if index.inherited.len() == before {
        return Ok(None);
    }
    may_be_changed(existing, owner)?;
    let mut secret = Box::new(existing.clone());
    stamp(&mut secret, &index, owner)?;
    Ok(Some(secret))
}

/// Wanted values that the escrow has lost: it holds none, and none of another epoch was asked for. All of them where there is
/// no escrow.
///
/// # Errors
/// When its index cannot be read.
pub fn lost(existing: Option<&Secret>, wanted: &[WantedValue]) -> Result<Vec<String>, EscrowError> {
    let index = existing.map(read_index).transpose()?.unwrap_or_default();
    let is_lost = |value: &&WantedValue| {
        existing.is_none_or(|secret| stored(secret, &slot(&value.key)).is_none()) && same_epoch(&index, value)
    };
    Ok(wanted.iter().filter(is_lost).map(|value| value.key.clone()).collect())
}

/// Whether the value that is wanted is the one that the escrow had last, as far as its index knows.
fn same_epoch(index: &Index, wanted: &WantedValue) -> bool {
    index.keys.get(&wanted.key).is_none_or(|known| known.epoch == wanted.generate.epoch.unwrap_or(0))
}

/// When a value that the escrow holds is due to be made anew, if it ever is. One whose age is not known is taken for new when
/// that is first asked.
fn due(index: &Index, wanted: &WantedValue, owner: &Owner) -> Option<Timestamp> {
    let every = wanted.generate.rotate_every.as_ref().map(GoDuration::get).filter(|every| !every.is_zero())?;
    let made = index.keys.get(&wanted.key)?.made_at?;
    let seed = format!("{}/{}", owner.uid, wanted.key);
    Some(schedule::due(made, every, &wanted.generate.rotation_windows, &seed))
}

/// Whether a Secret is the escrow of a VaultSecret of this name, whatever its uid.
fn is_escrow_of(secret: &Secret, owner: &Owner) -> bool {
    owner::role(&secret.metadata) == Some("escrow")
        && owner::made_for(&secret.metadata).is_some_and(|m| m.name == owner.name)
}

fn may_be_changed(secret: &Secret, owner: &Owner) -> Result<(), EscrowError> {
    let name = escrow_name(&owner.name);
    let foreign = controller(&secret.metadata).is_some_and(|c| !is_vault_secret(c) || c.name != owner.name);
    if !is_escrow_of(secret, owner) || foreign {
        return Err(EscrowError::Conflict { name, namespace: owner.namespace.clone(), owner: owner.name.clone() });
    }
    if secret.metadata.deletion_timestamp.is_some() {
        return Err(EscrowError::Terminating { name, namespace: owner.namespace.clone() });
    }
    Ok(())
}

fn read_index(secret: &Secret) -> Result<Index, EscrowError> {
    let annotation = secret.metadata.annotations.as_ref().and_then(|a| a.get(names::ESCROW_INDEX));
    // Without an index the values are kept as those of the wanted epochs: never a new value for want of a note.
    let Some(text) = annotation else { return Ok(Index::default()) };
    serde_json::from_str(text)
        .map_err(|_| EscrowError::Index { name: secret.metadata.name.clone().unwrap_or_default() })
}

/// Takes over the entries of an earlier VaultSecret of this name, if it left them behind on purpose.
fn inherit(secret: &Secret, index: &mut Index, owner: &Owner) {
    let Some(made_for) = owner::made_for(&secret.metadata) else { return };
    if made_for.uid == owner.uid {
        return;
    }
    // Under Delete its entries went with it; what has those names now is somebody else's.
    let retained = controller(&secret.metadata).is_none();
    let left: BTreeSet<EntryId> = index.keys.values().flat_map(|known| known.entries.iter().cloned()).collect();
    index.inherited = if retained { left } else { BTreeSet::new() };
}

/// Sees to one value: keeps, rotates, salvages or makes it.
fn place<R: CryptoRng + ?Sized>(
    secret: &mut Secret,
    index: &mut Index,
    wanted: &WantedValue,
    owner: &Owner,
    salvage: &BTreeMap<String, SecretValue>,
    now: Timestamp,
    rng: &mut R,
) -> Result<(), GenerateError> {
    let epoch = wanted.generate.epoch.unwrap_or(0);
    let slot = slot(&wanted.key);
    let same_epoch = same_epoch(index, wanted);
    let is_due = wanted.arrived && due(index, wanted, owner).is_some_and(|at| at <= now);
    let current = stored(secret, &slot);
    let made = match &current {
        Some(_) if same_epoch && !is_due => None,
        Some(_) => Some(generate::generate(&wanted.generate, rng)),
        None => match salvage.get(&wanted.key).filter(|value| same_epoch && !value.is_empty()) {
            Some(value) => Some(Ok(value.clone())),
            None => Some(generate::generate(&wanted.generate, rng)),
        },
    };
    let entries: BTreeSet<EntryId> = wanted.entries.iter().cloned().collect();
    let made = match made.transpose() {
        Ok(made) => made,
        Err(error) => {
            // The old value stays, and stays the one of those entries.
            if let Some(known) = index.keys.get_mut(&wanted.key) {
                known.entries = entries;
            }
            return Err(error);
        }
    };
    let rotates = wanted.generate.rotate_every.as_ref().is_some_and(|every| !every.get().is_zero());
    let known = index.keys.get(&wanted.key).and_then(|known| known.made_at);
    let made_at = match (&made, known) {
        (Some(_), _) => Some(now),
        (None, None) if rotates => Some(now),
        (None, known) => known,
    };
    if let Some(value) = made {
        let data = secret.data.get_or_insert_default();
        if let Some(old) =
            data.insert(slot.clone(), ByteString(value.expose().to_vec())).filter(|old| !old.0.is_empty())
        {
            data.insert(previous_slot(&wanted.key), old);
        }
    }
    let slot = (slot != wanted.key).then_some(slot);
    index.keys.insert(wanted.key.clone(), KeyIndex { epoch, entries, made_at, slot });
    Ok(())
}

fn stored(secret: &Secret, slot: &str) -> Option<SecretValue> {
    let value = secret.data.as_ref()?.get(slot)?;
    (!value.0.is_empty()).then(|| SecretValue::new(value.0.clone()))
}

/// Name, labels, annotations and owner. What others added to labels and annotations stays.
fn stamp(secret: &mut Secret, index: &Index, owner: &Owner) -> Result<(), EscrowError> {
    let name = escrow_name(&owner.name);
    let size: usize = secret.data.iter().flatten().map(|(_, value)| value.0.len()).sum();
    let note = serde_json::to_string(index).map_err(|_| EscrowError::Index { name: name.clone() })?;
    if size > MOST_DATA || note.len() > MOST_INDEX {
        return Err(EscrowError::TooLarge { name });
    }
    let ours = owner::Owner::vault_secret(owner.name.clone(), owner.uid.clone());
    let meta = &mut secret.metadata;
    meta.name = Some(name);
    meta.namespace = Some(owner.namespace.clone());
    let labels = meta.labels.get_or_insert_default();
    labels.insert(names::ROLE.into(), "escrow".into());
    labels.insert(names::MANAGED_BY.into(), names::OPERATOR.into());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(names::MADE_FOR.into(), ours.made_for());
    annotations.insert(names::ESCROW_INDEX.into(), note);
    own(meta, &ours, owner.delete_policy);
    Ok(())
}

/// Exactly one owner, or none: an owner of somebody else's would take the values with it when it goes.
fn own(meta: &mut ObjectMeta, ours: &owner::Owner, policy: DeletionPolicy) {
    match policy {
        DeletionPolicy::Retain => meta.owner_references = None,
        DeletionPolicy::Delete => {
            let sole = meta.owner_references.as_ref().is_some_and(|all| all.len() == 1) && ours.controls(meta);
            if !sole {
                meta.owner_references = Some(vec![ours.reference()]);
            }
        }
    }
}
