//! What the user of the crash test wants at each instant, and what others have put at the remotes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::common::{Kind, Remote, Scene, entry, generated, inline};

/// A VaultSecret that is to be there.
#[derive(Debug, Clone)]
pub struct App {
    /// Its remote, by its place in the list.
    pub remote: usize,
    /// What its entries are to be: value by key; none for one that is generated.
    pub values: BTreeMap<String, Option<String>>,
    /// Whether its entries go with it.
    pub deletes: bool,
    /// Whether somebody else has its entry, so that it never becomes Ready.
    pub refused: bool,
    /// Counts the values that a generated entry was asked for.
    pub epoch: i64,
}

/// Everything that is wanted, and everything that is somebody else's.
#[derive(Debug, Default)]
pub struct World {
    /// The VaultSecrets by name.
    pub apps: BTreeMap<String, App>,
    /// Names of those that were deleted.
    pub deleted: BTreeSet<String>,
    /// Entries of others: remote, name, value.
    pub foreign: BTreeMap<(usize, String), String>,
    /// Entries that may stay although no VaultSecret is there for them any more.
    pub retained: BTreeSet<(usize, String)>,
    /// How often somebody else has changed an entry of ours.
    pub meddled: BTreeMap<(usize, String), u32>,
    /// Values of generated entries, by VaultSecret and epoch.
    pub generated: BTreeMap<(String, i64), String>,
    kinds: Vec<Kind>,
    last: u64,
}

impl World {
    /// One with nothing in it.
    pub fn new(remotes: &[Arc<Remote>]) -> Self {
        Self { kinds: remotes.iter().map(|remote| remote.kind()).collect(), ..Self::default() }
    }

    /// A text that was never there before.
    pub fn fresh(&mut self, what: &str) -> String {
        self.last += 1;
        format!("{what}-{}", self.last)
    }

    /// Name at the remote of a VaultSecret's key. The one that comes and goes has the same name each time, but where an entry may
    /// be left, which would be somebody else's the next time.
    pub fn entry_name(&self, app: &str, key: &str) -> String {
        let wanted = self.apps.get(app);
        let kind = self.kinds[wanted.map_or(0, |app| app.remote)];
        let value = wanted.and_then(|app| app.values.get(key).cloned().flatten());
        let name = match value {
            Some(value) if key == "EXTRA" && !kind.shows_changes() => value,
            _ => key.to_lowercase(),
        };
        kind.name(&format!("{app} {name}").replace('-', " "))
    }

    /// `spec.data` of a VaultSecret as it is wanted now.
    pub fn data(&self, name: &str) -> Value {
        let app = &self.apps[name];
        let one = |(key, value): (&String, &Option<String>)| {
            let remote_name = self.entry_name(name, key);
            match (value, &**key) {
                (None, _) => generated(key, &remote_name, app.epoch),
                (Some(_), "A" | "B") => entry(key, &remote_name, &format!("{name}-source/{key}")),
                (Some(value), _) => inline(key, &remote_name, value),
            }
        };
        app.values.iter().map(one).collect()
    }

    /// The spec of a VaultSecret.
    pub fn spec(&self, name: &str) -> Value {
        let app = &self.apps[name];
        let policy = if app.deletes { "Delete" } else { "Retain" };
        json!({"connectionRef": {"name": self.kinds[app.remote].member()}, "data": self.data(name), "deletionPolicy": policy})
    }

    /// Takes a VaultSecret up; keys called A and B have their values in a Secret.
    pub fn add(&mut self, name: &str, remote: usize, keys: &[&str], deletes: bool) {
        let values = keys.iter().map(|key| {
            let value = (*key != "GENERATED").then(|| self.fresh("value"));
            ((*key).to_owned(), value)
        });
        let values = values.collect();
        self.apps.insert(name.to_owned(), App { remote, values, deletes, refused: false, epoch: 1 });
    }

    /// Makes the VaultSecrets that are there from the beginning to the end, with what they refer to.
    pub async fn populate(&mut self, scene: &Scene, remotes: &[Arc<Remote>]) {
        for remote in 0..self.kinds.len() {
            let of = self.kinds[remote].member();
            self.add(&format!("two-{of}"), remote, &["A", "B"], true);
            self.add(&format!("kept-{of}"), remote, &["A"], false);
            self.add(&format!("made-{of}"), remote, &["GENERATED"], true);
            self.add(&format!("taken-{of}"), remote, &["VALUE"], true);
        }
        self.occupy(remotes);
        let names: Vec<String> = self.apps.keys().cloned().collect();
        for name in &names {
            let app = &self.apps[name];
            let in_secret: Vec<_> = app.values.iter().filter(|(key, _)| *key == "A" || *key == "B").collect();
            if !in_secret.is_empty() {
                let data: Vec<_> =
                    in_secret.iter().map(|(k, v)| (k.as_str(), v.as_deref().unwrap_or_default())).collect();
                scene.source(&format!("{name}-source"), &data).await;
            }
            scene.vault_secret(name, self.spec(name)).await;
        }
    }

    /// Puts the entries at the remotes that VaultSecrets name and may not have.
    fn occupy(&mut self, remotes: &[Arc<Remote>]) {
        for (remote, running) in remotes.iter().enumerate() {
            let app = format!("taken-{}", running.kind().member());
            let (name, value) = (self.entry_name(&app, "VALUE"), self.fresh("theirs"));
            running.foreign_put(&name, &value);
            self.foreign.insert((remote, name), value);
            if let Some(app) = self.apps.get_mut(&app) {
                app.refused = true;
            }
        }
    }
}
