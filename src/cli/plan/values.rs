//! The values that a VaultSecret would have, as far as they can be known; they are compared and measured, and never shown.

use std::collections::{BTreeMap, BTreeSet};

use rand::CryptoRng;

use super::world::{Gap, Observed, World};
use super::{readable, whole};
use crate::api::Reason;
use crate::api::vault_secret::{DataEntry, EcKey, Generate, SshKeyType, VaultSecretSpec};
use crate::controller::desired::{Issue, check};
use crate::controller::templates;
use crate::controller::unseal::open_one;
use crate::controller::values::{Value, gate_by};
use crate::remote::lane::ObjectKey;
use crate::remote::spec::Rules;
use crate::source::escrow::{self, EscrowError, EscrowPlan, WantedValue, escrow_name, previous_slot, slot};
use crate::source::generate;
use crate::source::reference::{SourceKind, SourceRef};
use crate::source::sealed::{OpenError, Ring, Scope, generate as new_identity};
use crate::source::template::Templates;
use crate::value::SecretValue;

/// Why a value is not at hand.
#[derive(Clone, Debug)]
pub enum Lack {
    /// There would be none.
    Issue(Issue),
    /// It is not known; says why.
    Unseen(String),
}

/// The values of a VaultSecret.
pub struct Values {
    /// By position in `spec.data`.
    pub by_index: Vec<Result<Value, Lack>>,
    /// Keys whose value would be made anew.
    pub anew: BTreeSet<String>,
    /// Generated values before the last rotation, by key.
    pub previous: BTreeMap<String, SecretValue>,
    /// The templates.
    pub templates: Templates,
}

impl Values {
    /// The value of a key.
    #[must_use]
    pub fn of(&self, spec: &VaultSecretSpec, key: &str) -> Option<&Result<Value, Lack>> {
        self.by_index.get(spec.data.iter().position(|entry| entry.key == key)?)
    }
}

/// What is known of the object that the values are for.
pub struct About<'a> {
    /// Its key.
    pub key: &'a ObjectKey,
    /// Its uid, perhaps made up.
    pub uid: &'a str,
    /// Its spec.
    pub spec: &'a VaultSecretSpec,
    /// Which values the remote takes, where that is known.
    pub rules: Option<&'a Rules>,
}

/// Finds every value out, as far as it goes. The random numbers are for samples of generated ones.
pub fn find<R: CryptoRng + ?Sized>(world: &World, about: &About<'_>, rng: &mut R) -> Values {
    let data = &about.spec.data;
    let keys = data.iter().map(|entry| (entry.key.as_str(), entry.template()));
    let templates = Templates::new(keys, about.spec.target_templates());
    let escrow = generated(world, about, rng);
    let mut by_index: Vec<Result<Value, Lack>> = Vec::with_capacity(data.len());
    for entry in data {
        let refused = check(entry).or_else(|| templates::refusal(&templates, entry));
        let raw = match refused {
            Some(issue) => Err(Lack::Issue(issue)),
            None => raw(world, about, entry, &escrow),
        };
        by_index.push(raw.and_then(|(raw, version)| gate(about, entry, raw, version)));
    }
    let mut values = Values { by_index, anew: escrow.anew, previous: escrow.previous, templates };
    render(about, &mut values);
    values
}

fn gate(about: &About<'_>, entry: &DataEntry, raw: SecretValue, version: String) -> Result<Value, Lack> {
    gate_by(about.rules, entry, raw, version).map_err(Lack::Issue)
}

fn issue(reason: Reason, key: &str, text: impl std::fmt::Display) -> Lack {
    Lack::Issue(Issue::new(reason, format!("key {key}: {text}")))
}

fn raw(world: &World, about: &About<'_>, entry: &DataEntry, escrow: &Escrow) -> Result<(SecretValue, String), Lack> {
    let key = &entry.key;
    if let Some(value) = &entry.value {
        return Ok((SecretValue::from(value.0.as_str()), "spec".to_owned()));
    }
    let from = entry.value_from.as_ref();
    if let Some(reference) = from.and_then(SourceRef::of) {
        return world.value(&about.key.namespace, &reference).map_err(|gap| match gap {
            Gap::Missing(error) => issue(Reason::SourceMissing, key, error),
            Gap::Unseen(why) => Lack::Unseen(format!("key {key}: {why}")),
        });
    }
    if let Some(text) = from.and_then(|from| from.sealed.as_ref()) {
        return unseal(world, about.key, key, text).map(|value| (value, "sealed".to_owned()));
    }
    if let Some(bundle) = from.and_then(|from| from.bundle.as_ref()) {
        return whole::bundle_value(world, &about.key.namespace, key, bundle);
    }
    if let Some(remote) = entry.remote() {
        return Err(readable::lack(world, about, key, remote));
    }
    if entry.template().is_some() {
        return Err(Lack::Issue(templates::not_yet(key)));
    }
    match escrow.values.get(key) {
        Some(found) => found.clone().map(|value| (value, "escrow".to_owned())),
        None => Err(Lack::Unseen(format!("key {key}: the operator makes it"))),
    }
}

fn unseal(world: &World, at: &ObjectKey, key: &str, text: &str) -> Result<SecretValue, Lack> {
    let scope = Scope::new(&at.namespace, &at.name, key).map_err(|error| issue(Reason::ValueRefused, key, error))?;
    if let Some(ring) = world.cluster.as_ref().and_then(|cluster| cluster.ring.as_ref()) {
        return open_one(ring, &scope, text, &world.operator_namespace).map_err(Lack::Issue);
    }
    // Nobody's identity opens it, but tells whether it has the form of a sealed value.
    let (ring, _) = Ring::read([("i1".to_owned(), new_identity())]);
    match ring.map(|ring| ring.open(&scope, text).map(drop)) {
        Some(Err(OpenError::NoIdentity)) | None => {
            Err(Lack::Unseen(format!("key {key}: it is sealed, and only the operator opens it")))
        }
        Some(Err(error)) => Err(issue(Reason::ValueRefused, key, error)),
        Some(Ok(())) => Err(Lack::Unseen(format!("key {key}: it is sealed"))),
    }
}

#[derive(Default)]
struct Escrow {
    values: BTreeMap<String, Result<SecretValue, Lack>>,
    previous: BTreeMap<String, SecretValue>,
    anew: BTreeSet<String>,
}

/// What the escrow would hold. What it does not hold yet is a sample: it has the form of what would be made.
fn generated<R: CryptoRng + ?Sized>(world: &World, about: &About<'_>, rng: &mut R) -> Escrow {
    let mut escrow = Escrow::default();
    let asked = about.spec.data.iter().filter(|entry| check(entry).is_none());
    let asked: Vec<(&str, &Generate)> =
        asked.filter_map(|e| Some((e.key.as_str(), e.value_from.as_ref()?.generate.as_ref()?))).collect();
    let mut wanted = Vec::new();
    for (key, generate) in asked {
        match generate::check(generate) {
            Ok(()) => wanted.push(WantedValue {
                key: key.to_owned(),
                generate: quick(generate),
                entries: Vec::new(),
                arrived: false,
            }),
            Err(error) => drop(escrow.values.insert(key.to_owned(), Err(issue(Reason::ValueRefused, key, error)))),
        }
    }
    let owner = escrow::Owner {
        name: about.key.name.to_string(),
        namespace: about.key.namespace.to_string(),
        uid: about.uid.to_owned(),
        delete_policy: about.spec.deletion(),
    };
    let existing = match world.live_object(SourceKind::Secret, &owner.namespace, &escrow_name(&owner.name)) {
        Observed::Here(blob) => blob.secret.as_deref(),
        // Without a live object there can be an escrow all the same, but what it holds is not known.
        Observed::Unseen(why) if world.cluster.is_some() => {
            for value in wanted {
                let text = format!("key {}: the escrow Secret: {why}", value.key);
                escrow.values.insert(value.key, Err(Lack::Unseen(text)));
            }
            return escrow;
        }
        Observed::Unseen(_) | Observed::Absent => None,
    };
    match escrow::plan(existing, &wanted, &owner, &BTreeMap::new(), &|_| true, world.now, rng) {
        Ok(planned) => {
            let mut refused = planned.refused;
            let (held, previous) = match planned.step {
                EscrowPlan::Keep(held) => (held.values, held.previous),
                EscrowPlan::Create(secret) | EscrowPlan::Replace(secret) => {
                    let pick = |slot: &dyn Fn(&str) -> String| {
                        let at = |w: &WantedValue| {
                            let bytes = secret.data.as_ref()?.get(&slot(&w.key)).filter(|bytes| !bytes.0.is_empty())?;
                            Some((w.key.clone(), SecretValue::new(bytes.0.clone())))
                        };
                        wanted.iter().filter_map(at).collect()
                    };
                    (pick(&slot), pick(&previous_slot))
                }
            };
            for value in wanted {
                let before = existing.and_then(|s| s.data.as_ref()?.get(&slot(&value.key)));
                let now: Option<&SecretValue> = held.get(&value.key);
                if now.is_some() && now.map(SecretValue::expose) != before.map(|bytes| bytes.0.as_slice()) {
                    escrow.anew.insert(value.key.clone());
                }
                let found = match refused.remove(&value.key) {
                    Some(error) => Err(issue(Reason::ValueRefused, &value.key, error)),
                    None => now.cloned().ok_or_else(|| issue(Reason::ValueRefused, &value.key, "no value")),
                };
                escrow.values.insert(value.key, found);
            }
            escrow.previous = previous;
        }
        Err(error) => {
            for value in wanted {
                let found = Err(not_usable(&value.key, &error));
                escrow.values.insert(value.key, found);
            }
        }
    }
    escrow
}

fn not_usable(key: &str, error: &EscrowError) -> Lack {
    issue(Reason::TargetConflict, key, error)
}

/// The same request for a value that is made in no time, of a form that serves the same ends.
fn quick(wanted: &Generate) -> Generate {
    let mut quick = wanted.clone();
    if quick.rsa_key.take().is_some() {
        quick.ec_key = Some(EcKey::default());
    }
    if let Some(ssh) = quick.ssh_key.as_mut().filter(|ssh| ssh.key_type == Some(SshKeyType::Rsa)) {
        (ssh.key_type, ssh.key_size) = (None, None);
    }
    quick
}

/// Renders the templates whose values are known.
fn render(about: &About<'_>, values: &mut Values) {
    let mut made = 0;
    let order: Vec<String> = values.templates.in_order().map(|(key, _)| key.to_owned()).collect();
    for key in order {
        let Some(index) = about.spec.data.iter().position(|entry| entry.key == key) else { continue };
        if check(&about.spec.data[index]).is_some() {
            continue;
        }
        values.by_index[index] = render_one(about, values, &key, index, &mut made);
    }
    let anew = |values: &Values, key: &str| {
        let node = values.templates.of_key(key).and_then(Result::ok);
        node.is_some_and(|node| node.sources().iter().any(|source| values.anew.contains(source)))
    };
    let more: Vec<String> = about.spec.data.iter().map(|e| &e.key).filter(|key| anew(values, key)).cloned().collect();
    values.anew.extend(more);
}

fn render_one(about: &About<'_>, values: &Values, key: &str, index: usize, made: &mut usize) -> Result<Value, Lack> {
    let Some(Ok(node)) = values.templates.of_key(key) else { return values.by_index[index].clone() };
    let mut issues: BTreeMap<&str, &Issue> = BTreeMap::new();
    for read in node.reads() {
        match values.of(about.spec, read) {
            Some(Err(Lack::Unseen(why))) => return Err(Lack::Unseen(format!("key {key}: its template needs {why}"))),
            Some(Err(Lack::Issue(issue))) => drop(issues.insert(read, issue)),
            _ => {}
        }
    }
    let read = |key: &str| match values.of(about.spec, key)? {
        Ok(value) => Some(Ok(value)),
        Err(_) => Some(Err(*issues.get(key)?)),
    };
    let (raw, version) = templates::render_one(&values.templates, (key, node), read, made).map_err(Lack::Issue)?;
    gate(about, &about.spec.data[index], raw, version)
}
