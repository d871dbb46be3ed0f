//! What users and others do meanwhile.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use devkit::remotes::{Action, Fault};
use kube::api::DeleteParams;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::json;

use super::model::World;
use crate::common::{Remote, Scene};

/// How many changes of one entry by somebody else there are at most: beyond five an hour the operator gives in.
const MEDDLING_AN_ENTRY: u32 = 3;

/// How many entries of one remote somebody else changes in a round: more at once would be a mass divergence.
const MEDDLING_A_ROUND: usize = 2;

struct Trouble<'a> {
    scene: &'a Scene,
    remotes: &'a [Arc<Remote>],
    world: &'a RefCell<World>,
    rng: StdRng,
    meddled: Vec<usize>,
}

/// Makes one change after the other until it is told to stop; returns how many.
pub async fn until(
    stop: &Cell<bool>,
    scene: &Scene,
    remotes: &[Arc<Remote>],
    world: &RefCell<World>,
    rng: StdRng,
) -> usize {
    let mut trouble = Trouble { scene, remotes, world, rng, meddled: vec![0; remotes.len()] };
    let mut changes = 0;
    while !stop.get() {
        trouble.one().await;
        changes += 1;
        tokio::time::sleep(Duration::from_millis(trouble.rng.random_range(10..120))).await;
    }
    changes
}

impl Trouble<'_> {
    async fn one(&mut self) {
        let remote = self.rng.random_range(0..self.remotes.len());
        let of = self.remotes[remote].kind().member();
        match self.rng.random_range(0..13) {
            0..=2 => self.change_source(&format!("two-{of}"), &["A", "B"]).await,
            3 => self.change_source(&format!("kept-{of}"), &["A"]).await,
            4 => self.add_or_remove_a_key(&format!("two-{of}")).await,
            5 => self.edit_another_field(&format!("two-{of}")).await,
            6 => self.make_one(remote).await,
            7 => self.delete_one().await,
            8 => self.ask_for_another_value(&format!("made-{of}")).await,
            9 => self.meddle(remote),
            10 => self.foreign_entry(remote),
            11 => self.answer_slowly(remote),
            _ => self.delete_target(&format!("two-{of}")).await,
        }
    }

    async fn change_source(&mut self, app: &str, keys: &[&str]) {
        let key = *keys.choose(&mut self.rng).unwrap();
        let value = self.world.borrow_mut().fresh("value");
        self.scene.set_source(&format!("{app}-source"), key, &value).await;
        self.world.borrow_mut().apps.get_mut(app).unwrap().values.insert(key.to_owned(), Some(value));
    }

    async fn add_or_remove_a_key(&mut self, app: &str) {
        let data = {
            let mut world = self.world.borrow_mut();
            let value = world.fresh("extra");
            let values = &mut world.apps.get_mut(app).unwrap().values;
            if values.remove("EXTRA").is_none() {
                values.insert("EXTRA".to_owned(), Some(value));
            }
            world.data(app)
        };
        self.scene.edit(app, json!({"data": data})).await;
    }

    async fn edit_another_field(&mut self, app: &str) {
        let text = self.world.borrow_mut().fresh("note");
        let template = json!({"metadata": {"annotations": {"example.com/note": text}}});
        self.scene.edit(app, json!({"target": {"template": template}})).await;
    }

    async fn make_one(&mut self, remote: usize) {
        let (name, spec) = {
            let mut world = self.world.borrow_mut();
            if world.apps.keys().filter(|name| name.starts_with("brief")).count() >= 6 {
                return;
            }
            let name = world.fresh("brief");
            world.add(&name, remote, &["ONE", "TWO"], self.rng.random_bool(0.7));
            let spec = world.spec(&name);
            (name, spec)
        };
        self.scene.vault_secret(&name, spec).await;
    }

    async fn delete_one(&mut self) {
        let name = {
            let mut world = self.world.borrow_mut();
            let all: Vec<_> = world.apps.keys().filter(|name| name.starts_with("brief")).cloned().collect();
            let Some(name) = all.choose(&mut self.rng).cloned() else { return };
            let app = world.apps[&name].clone();
            if !app.deletes {
                let left: Vec<_> = app.values.keys().map(|key| (app.remote, world.entry_name(&name, key))).collect();
                world.retained.extend(left);
            }
            world.apps.remove(&name);
            world.deleted.insert(name.clone());
            name
        };
        self.scene.delete("VaultSecret", &name).await;
    }

    async fn ask_for_another_value(&mut self, app: &str) {
        let data = {
            let mut world = self.world.borrow_mut();
            world.apps.get_mut(app).unwrap().epoch += 1;
            world.data(app)
        };
        self.scene.edit(app, json!({"data": data})).await;
    }

    /// Somebody else changes or removes an entry of ours. A Presence remote does not show a change, so there it is removed.
    fn meddle(&mut self, remote: usize) {
        let running = &self.remotes[remote];
        let of = running.kind().member();
        let (app, key) = *[("two", "A"), ("two", "B"), ("kept", "A")].choose(&mut self.rng).unwrap();
        let mut world = self.world.borrow_mut();
        let name = world.entry_name(&format!("{app}-{of}"), key);
        let times = world.meddled.entry((remote, name.clone())).or_default();
        // No turn of the scheduler lies between this look and the change.
        if *times >= MEDDLING_AN_ENTRY || self.meddled[remote] >= MEDDLING_A_ROUND || running.value(&name).is_none() {
            return;
        }
        *times += 1;
        self.meddled[remote] += 1;
        if running.kind().shows_changes() && self.rng.random_bool(0.5) {
            let value = world.fresh("meddled");
            running.foreign_put(&name, &value);
        } else {
            running.foreign_delete(&name);
        }
    }

    fn foreign_entry(&mut self, remote: usize) {
        let running = &self.remotes[remote];
        let mut world = self.world.borrow_mut();
        let (name, value) = (running.kind().name(&world.fresh("theirs").replace('-', " ")), world.fresh("theirs"));
        running.foreign_put(&name, &value);
        world.foreign.insert((remote, name), value);
    }

    fn answer_slowly(&mut self, remote: usize) {
        let slow = Action::SlowAnswer(Duration::from_millis(self.rng.random_range(50..400)));
        self.remotes[remote].faults().add(Fault::new(slow).times(3));
    }

    async fn delete_target(&mut self, app: &str) {
        match self.scene.api("Secret").delete(app, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("deleting the target of {app}: {error}"),
        }
    }
}
