//! What would happen to the entries of one VaultSecret.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use rand::CryptoRng;

use super::claims::{self, Claims, Left};
use super::decide::{Wanted, leaves, suspended};
use super::link::{self, Link, NoLink};
use super::model::{Action, EntryPlan, Verdict};
use super::values::{self, About, Lack, Values};
use super::whole;
use super::world::World;
use crate::api::vault_secret::{AdoptionPolicy, DataFrom, VaultSecretSpec};
use crate::api::{Reason, VaultSecret, names};
use crate::controller::desired::Issue;
use crate::controller::fields;
use crate::remote::lane::ObjectKey;
use crate::sync::ledger::Row;
use crate::sync::plan::Adoption;

/// A VaultSecret as it would be, with what was found out about it.
pub struct Judged<'a> {
    /// Its key.
    pub key: &'a ObjectKey,
    /// Its uid, perhaps made up.
    pub uid: String,
    /// Its spec, with an entry for every key of `dataFrom` that is known.
    pub spec: Cow<'a, VaultSecretSpec>,
    /// The same of its live version, as the status tells it.
    pub before: Option<VaultSecretSpec>,
    /// What `dataFrom` stands for is refused: nothing is written, nothing is deleted, the Secret stays.
    pub rests: bool,
    /// Why not every key is known.
    pub incomplete: Option<String>,
    /// Its live version.
    pub live: Option<&'a VaultSecret>,
    /// Its values.
    pub values: Values,
    /// What would happen to its entries, and to keys that go to no remote and have no value.
    pub entries: Vec<EntryPlan>,
}

/// Judges a VaultSecret of the manifests.
pub fn judge<'a, R: CryptoRng + ?Sized>(
    world: &'a World,
    claims: &Claims,
    key: &'a ObjectKey,
    wanted: &'a VaultSecret,
    rng: &mut R,
) -> Judged<'a> {
    let live = world.live(key);
    let uid = claims::uid(world, key);
    let link = link::find(world, &key.namespace, &wanted.spec.connection_ref);
    let effective = claims::effective(world, key, &wanted.spec, link.as_ref().ok());
    let (spec, incomplete, rests) = (effective.spec, effective.incomplete, effective.refused.is_some());
    let before = live.map(|live| whole::before(live, link.as_ref().ok()));
    let rules = link.as_ref().ok().map(|link| &link.rules);
    let values = values::find(world, &About { key, uid: &uid, spec: &spec, rules }, rng);
    let mut judged = Judged { key, uid, spec, before, rests, incomplete, live, values, entries: Vec::new() };
    let said = effective.refused.iter().map(Verdict::of).chain(effective.lines);
    judged.entries.extend(said.map(|verdict| EntryPlan {
        keys: Vec::new(),
        connection: None,
        remote_name: None,
        verdict,
    }));
    if rests {
        return judged;
    }
    let asked = Asked::of(wanted, live);
    let matched = match &link {
        Ok(link) => judged.through(world, claims, link, &asked),
        Err(none) => judged.without_link(none),
    };
    judged.unpushed();
    if let Some(live) = live {
        let leaving =
            live.status.iter().flat_map(|status| &status.entries).filter(|row| !matched.contains(&id_of(row)));
        let mut leaving: Vec<EntryPlan> =
            leaving.filter_map(|row| judged.unsure(row).or_else(|| leaves(row, &judged.spec, world.now))).collect();
        if let Some(link) = link.as_ref().ok().filter(|link| link.moved) {
            let left = leaving.iter_mut().filter(|entry| entry.connection.as_ref() == Some(&link.display));
            left.for_each(|entry| {
                entry.verdict =
                    Verdict::because(Action::Forget, "it stays at the remote that the connection leads to now");
            });
        }
        if judged.spec.suspended() {
            // Suspended, the keys that went are not written for either.
            leaving.iter_mut().for_each(|entry| entry.verdict = suspended());
        }
        judged.entries.extend(leaving);
    }
    judged
}

type RowId = (String, String);

fn id_of(row: &Row) -> RowId {
    (row.connection.clone(), row.remote_name.clone())
}

/// What annotations ask for.
struct Asked {
    push: bool,
    adopt: Option<String>,
}

impl Asked {
    fn of(wanted: &VaultSecret, live: Option<&VaultSecret>) -> Self {
        let status = live.and_then(|vs| vs.status.as_ref());
        let of = |annotation: &str, handled: Option<&String>| {
            let annotations =
                wanted.metadata.annotations.as_ref().or(live.and_then(|vs| vs.metadata.annotations.as_ref()));
            annotations.and_then(|all| all.get(annotation)).filter(|asked| Some(*asked) != handled).cloned()
        };
        Self {
            push: of(names::FORCE_PUSH, status.and_then(|s| s.last_handled_force_push.as_ref())).is_some(),
            adopt: of(names::ADOPT, status.and_then(|s| s.last_handled_adopt.as_ref())),
        }
    }

    fn adopts(&self, names: &[&str]) -> bool {
        let asked = self.adopt.as_deref().unwrap_or_default();
        asked.split(',').map(str::trim).any(|one| one == "*" || names.contains(&one))
    }
}

impl Judged<'_> {
    fn rows(&self) -> &[Row] {
        self.live.and_then(|vs| vs.status.as_ref()).map(|status| status.entries.as_slice()).unwrap_or_default()
    }

    fn entry(&self, keys: &[usize], connection: &str, remote_name: Option<&str>, verdict: Verdict) -> EntryPlan {
        EntryPlan {
            keys: keys.iter().map(|index| self.spec.data[*index].key.clone()).collect(),
            connection: Some(connection.to_owned()),
            remote_name: remote_name.map(str::to_owned),
            verdict,
        }
    }

    /// The entries, through a connection whose rules are known. Returns the rows that are not leaving.
    fn through(&mut self, world: &World, claims: &Claims, link: &Link, asked: &Asked) -> HashSet<RowId> {
        let names = claims::names(world, &self.key.namespace, &self.spec, link);
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            if let Some(Ok(name)) = name {
                groups.entry(name).or_default().push(index);
            }
        }
        let mut matched = HashSet::new();
        let mut entries = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match name {
                Some(Err(issue)) => {
                    let name = self.spec.data[index].remote_name();
                    entries.push(self.entry(&[index], &link.display, Some(name), Verdict::of(issue)));
                }
                // The first of its keys speaks for an entry.
                Some(Ok(name)) if groups.get(name.as_str()).is_some_and(|keys| keys[0] == index) => {
                    let keys = groups.remove(name.as_str()).unwrap_or_default();
                    let row = self.row(world, link, name).cloned();
                    matched.extend(row.as_ref().map(id_of));
                    let verdict = self.wanted(world, claims, link, asked, (&keys, name), row.as_ref());
                    entries.push(self.entry(&keys, &link.display, Some(name), verdict));
                }
                _ => {}
            }
        }
        // A key whose spec is refused has no name.
        for (index, entry) in self.spec.data.iter().enumerate().filter(|(i, e)| e.pushes() && names[*i].is_none()) {
            let Some(Err(Lack::Issue(issue))) = self.values.by_index.get(index) else { continue };
            entries.push(self.entry(&[index], &link.display, Some(entry.remote_name()), Verdict::of(issue)));
        }
        self.entries.extend(entries);
        matched
    }

    /// The row of an entry, which follows it to another connection of the same remote.
    fn row(&self, world: &World, link: &Link, name: &str) -> Option<&Row> {
        let same = |row: &&Row| row.remote_name == name;
        let here = self.rows().iter().find(|row| same(row) && row.connection == link.display && !link.moved);
        here.or_else(|| {
            self.rows().iter().filter(same).filter(|row| row.connection != link.display).find(|row| {
                let key = crate::controller::keys::ConnectionKey::parse(&row.connection, &self.key.namespace);
                let shown = key.and_then(|key| world.connection(&key));
                shown.and_then(|shown| link::of(world, shown).ok()).is_some_and(|other| other.base == link.base)
            })
        })
    }

    /// Without rules nothing is known of names; the rows keep their keys.
    fn without_link(&mut self, none: &NoLink) -> HashSet<RowId> {
        let display = self.spec.connection_ref.display();
        let pushed: Vec<usize> =
            self.spec.data.iter().enumerate().filter(|(_, entry)| entry.pushes()).map(|(index, _)| index).collect();
        let mut entries = Vec::new();
        for index in pushed {
            let entry = &self.spec.data[index];
            let verdict = match (&self.values.by_index[index], none) {
                // What is wrong with the value is so whatever the connection is.
                (Err(Lack::Issue(issue)), _) if Verdict::of(issue).action == Action::Refused => Verdict::of(issue),
                (_, NoLink::Issue(issue)) => Verdict::of(issue),
                (_, NoLink::Unseen(why)) => Verdict::because(Action::Unknown, why.clone()),
            };
            entries.push(self.entry(&[index], &display, Some(entry.remote_name()), verdict));
        }
        self.entries.extend(entries);
        let keys: HashSet<&str> = self.spec.data.iter().map(|entry| entry.key.as_str()).collect();
        let kept = self.rows().iter().filter(|r| r.connection == display);
        kept.filter(|r| r.key.as_deref().is_some_and(|key| keys.contains(key))).map(id_of).collect()
    }

    /// What goes to a remote with every other key of an item of `dataFrom`.
    fn is_bundled(&self, index: usize) -> bool {
        let entry = &self.spec.data[index];
        let of = |from: &DataFrom| from.remote_name.is_some() && from.remote_name == entry.remote_name;
        self.spec.data_from.iter().any(of)
    }

    /// A row whose key may come from a Secret that is not known: it does not leave, as far as anybody can tell.
    fn unsure(&self, row: &Row) -> Option<EntryPlan> {
        let (why, key) = self.incomplete.as_ref().zip(row.key.as_ref().filter(|_| row.holds()))?;
        Some(EntryPlan {
            keys: vec![key.clone()],
            connection: Some(row.connection.clone()),
            remote_name: Some(row.remote_name.clone()),
            verdict: Verdict::because(Action::Unknown, format!("it stays as long as its key may be there; {why}")),
        })
    }

    /// Keys that go to no remote, when they have no value.
    fn unpushed(&mut self) {
        for (index, entry) in self.spec.data.iter().enumerate().filter(|(_, entry)| !entry.pushes()) {
            if let Err(Lack::Issue(issue)) = &self.values.by_index[index] {
                let verdict = Verdict::of(issue);
                let keys = vec![entry.key.clone()];
                self.entries.push(EntryPlan { keys, connection: None, remote_name: None, verdict });
            }
        }
    }

    fn wanted(
        &self,
        world: &World,
        claims: &Claims,
        link: &Link,
        asked: &Asked,
        (keys, name): (&[usize], &str),
        row: Option<&Row>,
    ) -> Verdict {
        let key = &self.spec.data[keys[0]].key;
        if let Some(taken) = claims.taken(&link.base, name, &self.uid) {
            let word = if taken.held { "belongs to" } else { "is named before by" };
            let text = format!("key {key}: the entry {name:?} at {} {word} VaultSecret {}", link.display, taken.by);
            return Verdict::of(&Issue::new(Reason::OwnedByAnother, text));
        }
        let lacks = keys.iter().filter_map(|index| self.values.by_index[*index].as_ref().err());
        let mut unseen = self.incomplete.as_ref().filter(|_| keys.iter().any(|i| self.is_bundled(*i))).cloned();
        let partial = unseen.is_some();
        for lack in lacks {
            match lack {
                Lack::Issue(issue) => return Verdict::of(issue),
                Lack::Unseen(why) => unseen = Some(why.clone()),
            }
        }
        let text = match unseen {
            Some(_) => None,
            None => {
                let parts =
                    keys.iter().filter_map(|i| Some((&self.spec.data[*i], self.values.by_index[*i].as_ref().ok()?)));
                let parts: Vec<_> = parts.collect();
                match fields::content_of(Some(link.rules.provider()), &parts) {
                    Ok(content) => Some(content),
                    Err(issue) => return Verdict::of(&issue),
                }
            }
        };
        if world.cluster.is_none() {
            return Verdict::because(Action::Apply, unseen.unwrap_or_default());
        }
        if self.spec.suspended() {
            return suspended();
        }
        let keyring = world.cluster.as_ref().and_then(|cluster| cluster.keys.as_ref());
        let recorded = row.and_then(|row| row.fingerprint.as_deref());
        let print = text
            .as_ref()
            .zip(keyring)
            .map(|(content, ring)| ring.fingerprint_like(recorded, &self.uid, name, content.text.expose()));
        let changed = match (&print, recorded) {
            (Some(print), Some(recorded)) => Some(print != recorded),
            (_, None) => Some(true),
            (None, Some(_)) if partial => None,
            (None, Some(_)) => super::compare::changed(world, self, keys, row),
        };
        let entry = &self.spec.data[keys[0]];
        let adoption = if self.spec.adoption() == AdoptionPolicy::TakeOver || asked.adopts(&[entry.remote_name(), name])
        {
            Adoption::TakeOver
        } else {
            Adoption::Refuse
        };
        let mut row = row.cloned();
        if let Some(row) = row.as_mut().filter(|row| asked.push && row.is_ours()) {
            row.resend = true;
        }
        let facts = Wanted { row: row.as_ref(), changed, adoption, link, now: world.now, spec: &self.spec };
        let verdict = facts.verdict();
        let verdict = match claims.left(&link.base, name).filter(|_| verdict.action == Action::Create) {
            Some(left) => after(left, adoption),
            None => verdict,
        };
        let writes = matches!(verdict.action, Action::Create | Action::Update | Action::Adopt);
        if let Some(problem) = link.problem.as_ref().filter(|_| writes) {
            return Verdict::of(problem);
        }
        match (verdict.action, unseen) {
            (Action::Unknown, why) => Verdict::because(
                Action::Unknown,
                match why {
                    Some(why) => format!("updated if the value is another one; {why}"),
                    None => "updated if the value is another one; the operator's key ring could not be read".to_owned(),
                },
            ),
            (Action::Update, _) if keys.iter().any(|i| self.values.anew.contains(&self.spec.data[*i].key)) => {
                Verdict::because(Action::Update, "the value is made anew")
            }
            _ => verdict,
        }
    }
}

/// What would happen to an entry that another VaultSecret gives up.
fn after(left: &Left, adoption: Adoption) -> Verdict {
    let by = &left.by;
    match adoption {
        _ if left.deleted => Verdict::because(Action::Create, format!("once VaultSecret {by} has deleted it")),
        Adoption::TakeOver => Verdict::because(
            Action::Adopt,
            format!("VaultSecret {by} leaves it at the remote, and it would be overwritten"),
        ),
        Adoption::Refuse => {
            let text = format!(
                "VaultSecret {by} leaves it at the remote; take it over with adoptionPolicy: TakeOver or the annotation \
                 vaultsecret.dev/adopt"
            );
            Verdict::of(&Issue::new(Reason::RemoteEntryExists, text))
        }
    }
}
