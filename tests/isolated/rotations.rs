//! The operator is killed again and again while generated values are rotated. Each rotation makes exactly one value, whatever is
//! interrupted; in the end the remote, the escrow and the Secret agree.
//!
//! 20 kills; 300 with `VAULTSECRET_LONG=1`. `VAULTSECRET_SEED=<number>` repeats a run's choices, though not the scheduler's.

mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::common::{Kind, Remote, Scene};
use crate::crash::check;
use seen::{Held, Key, Watched};

const KINDS: [Kind; 3] = [Kind::Kelvin, Kind::Dreadnode, Kind::Mixpeek];

/// The longest that a call is delayed by a remote. The settle time of the connections, a second, is longer.
const SLOWEST: Duration = Duration::from_millis(250);

/// A value is made anew for its age up to a tenth earlier than the ten seconds that it is given.
const YOUNGEST: Duration = Duration::from_secs(9);

/// Where in a rotation the operator is killed.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// At any time.
    Any,
    /// Soon after the escrow has the value.
    Kept,
    /// While a write is at the remote.
    Sent,
    /// Soon after the remote has the value.
    Arrived,
    /// Soon after the Secret shows it.
    Shown,
}

const STAGES: [Stage; 5] = [Stage::Any, Stage::Kept, Stage::Sent, Stage::Arrived, Stage::Shown];

/// What is wanted: of each key its epoch.
struct World {
    scene: Scene,
    remotes: Vec<Arc<Remote>>,
    epochs: BTreeMap<Key, i64>,
    rng: StdRng,
}

fn app(kind: Kind) -> String {
    format!("asked-{}", kind.member())
}

fn aged(kind: Kind) -> String {
    format!("aged-{}", kind.member())
}

/// The remote that a VaultSecret of this test is for, by its place in the list.
fn place(app: &str) -> usize {
    KINDS.iter().position(|kind| app.ends_with(kind.member())).unwrap()
}

fn entry_name(key: &Key) -> String {
    KINDS[place(&key.0)].name(&format!("{} {}", key.0, key.1.to_lowercase()).replace('-', " "))
}

fn value(key: &Key, mut generate: Value) -> Value {
    generate["projectPrevious"] = json!(true);
    json!({"key": key.1, "remoteName": entry_name(key), "valueFrom": {"generate": generate}})
}

impl World {
    async fn new(scene: Scene, rng: StdRng) -> Self {
        let mut remotes = Vec::new();
        for kind in KINDS {
            let remote = scene.remote(kind).await;
            scene.connect_as(kind.member(), &remote, json!({"limits": {"maxInFlight": 4}})).await;
            remotes.push(remote);
        }
        let keys =
            KINDS.into_iter().flat_map(|kind| ["PASSWORD", "BYTES", "SSH"].map(|key| (app(kind), key.to_owned())));
        Self { scene, remotes, epochs: keys.map(|key| (key, 1)).collect(), rng }
    }

    fn remote(&self, key: &Key) -> &Remote {
        &self.remotes[place(&key.0)]
    }

    /// The values of a VaultSecret whose epochs are counted up.
    fn data(&self, app: &str) -> Value {
        let of = |(key, epoch): (&Key, &i64)| {
            let mut generate = match &*key.1 {
                "PASSWORD" => json!({"password": {"length": 32, "allowRepeat": true}}),
                "BYTES" => json!({"bytes": {"length": 24}}),
                _ => json!({"sshKey": {}}),
            };
            generate["epoch"] = json!(epoch);
            value(key, generate)
        };
        self.epochs.iter().filter(|(key, _)| key.0 == app).map(of).collect()
    }

    /// Makes the VaultSecrets.
    async fn populate(&self) {
        for kind in KINDS {
            let spec = json!({"connectionRef": {"name": kind.member()}, "data": self.data(&app(kind))});
            self.scene.vault_secret(&app(kind), spec).await;
            let data = aged_data(kind, "10s");
            let spec = json!({"connectionRef": {"name": kind.member()}, "data": data});
            self.scene.vault_secret(&aged(kind), spec).await;
        }
    }

    /// Asks for another value of up to three keys, and gives one of them back. A key whose last epoch has no value yet is not asked
    /// again: it could be skipped, and each is to have one.
    async fn ask(&mut self, watched: &Watched) -> Key {
        let many = self.rng.random_range(1..=3);
        let keys: Vec<Key> = self.epochs.keys().cloned().choose_multiple(&mut self.rng, many);
        for key in &keys {
            let made = async || watched.epoch(key) == Some(self.epochs[key]);
            self.scene.eventually(&format!("{key:?} has a value of epoch {}", self.epochs[key]), made).await;
        }
        for key in &keys {
            *self.epochs.get_mut(key).unwrap() += 1;
        }
        for app in keys.iter().map(|key| &key.0).collect::<BTreeSet<_>>() {
            self.scene.edit(app, json!({"data": self.data(app)})).await;
        }
        keys[0].clone()
    }

    /// Waits for a stage of a key's rotation, and then a moment longer.
    async fn reach(&mut self, stage: Stage, key: &Key, watched: &Watched) {
        let epoch = self.epochs[key];
        let kept = || watched.look(|seen| seen.escrow.get(key)?.iter().find(|held| held.epoch == epoch).cloned());
        let what = format!("{key:?} is {stage:?} with epoch {epoch}");
        let remote = self.remote(key);
        let (name, longest) = (
            entry_name(key),
            match stage {
                Stage::Any => Duration::from_millis(1500),
                Stage::Sent => SLOWEST,
                _ => Duration::from_millis(60),
            },
        );
        let value_is = |found: Option<String>| kept().is_some_and(|held| Some(held.value) == found);
        match stage {
            Stage::Any => {}
            Stage::Kept => drop(self.scene.eventually(&what, async || kept()).await),
            Stage::Sent => {
                let arrived = || value_is(remote.value(&name));
                let in_flight = || remote.requests().iter().rev().take(8).any(|call| !call.done && call.name.is_some());
                self.scene.eventually(&what, async || arrived() || in_flight()).await;
            }
            Stage::Arrived => self.scene.eventually(&what, async || value_is(remote.value(&name))).await,
            Stage::Shown => {
                let shown = || watched.look(|seen| Some(seen.shown.get(key)?.last()?.0.clone()));
                self.scene.eventually(&what, async || value_is(shown())).await;
            }
        }
        let moment = longest.mul_f64(self.rng.random_range(0.0..1.0));
        tokio::time::sleep(moment).await;
    }

    /// Stops the rotation by age and waits until everybody has what the escrows hold.
    async fn settle(&self, watched: &Watched) {
        for kind in KINDS {
            self.scene.edit(&aged(kind), json!({"data": aged_data(kind, "0")})).await;
        }
        for app in KINDS.into_iter().flat_map(|kind| [app(kind), aged(kind)]) {
            self.scene.ready(&app).await;
        }
        for key in self.epochs.keys().cloned().chain(KINDS.map(|kind| (aged(kind), "PASSWORD".to_owned()))) {
            let escrow = self.scene.expect("Secret", &format!("{}-escrow", key.0)).await;
            let secret = self.scene.expect("Secret", &key.0).await;
            let previous = format!("{}.previous", key.1);
            let (current, before) = (escrow.secret_value(&key.1).unwrap(), escrow.secret_value(&previous));
            assert!(secret.secret_value(&key.1).as_ref() == Some(&current), "{key:?}: the Secret shows another value");
            assert!(
                secret.secret_value(&previous) == before,
                "{key:?}: the Secret shows another value as the previous"
            );
            let current = String::from_utf8(current).unwrap();
            assert!(
                self.remote(&key).value(&entry_name(&key)).as_ref() == Some(&current),
                "{key:?}: the remote differs"
            );
            // The watch saw all of it.
            let last = async || {
                watched.look(|seen| {
                    let held =
                        seen.escrow.get(&key).and_then(|all| all.last()).is_some_and(|held| held.value == current);
                    held && seen.shown.get(&key).and_then(|all| all.last()).is_some_and(|shown| shown.0 == current)
                })
            };
            self.scene.eventually("the watch has caught up", last).await;
            self.scene.secret_text(&current);
        }
    }
}

fn aged_data(kind: Kind, every: &str) -> Value {
    let generate = json!({"password": {"length": 32, "allowRepeat": true}, "rotateEvery": every});
    json!([value(&(aged(kind), "PASSWORD".to_owned()), generate)])
}

/// The values of a key, oldest first; each was made once, and the escrow never forgot the one before.
fn values(key: &Key, held: &[Held]) -> Vec<String> {
    let made = held.chunk_by(|one, next| one.value == next.value);
    let values: Vec<String> = made.map(|run| run[0].value.clone()).collect();
    assert_eq!(values.iter().collect::<BTreeSet<_>>().len(), values.len(), "{key:?}: a value came back");
    for held in held {
        let place = values.iter().position(|value| *value == held.value).unwrap();
        let before = place.checked_sub(1).map(|place| &values[place]);
        assert!(held.previous.as_ref() == before, "{key:?}: another previous value beside value {place}");
    }
    values
}

/// What the Secret showed: values in the order in which they were made, each beside the one before it.
fn was_shown_in_order(key: &Key, values: &[String], shown: &[(String, Option<String>)]) {
    let places = shown.iter().map(|(value, previous)| {
        let place = values.iter().position(|made| made == value);
        let place = place.unwrap_or_else(|| panic!("{key:?}: shows what no escrow held"));
        let before = place.checked_sub(1).map(|place| &values[place]);
        assert!(previous.as_ref() == before, "{key:?}: shows another previous value beside value {place}");
        place
    });
    let places: Vec<_> = places.collect();
    assert!(places.is_sorted(), "{key:?}: an old value was shown again: {places:?}");
}

/// What the remote was sent: only what the escrow held, and in the end the last. Gives back how many of them arrived.
fn arrived_in_order(key: &Key, values: &[String], remote: &Remote) -> usize {
    let changes = remote.changes().into_iter().filter(|change| change.name == entry_name(key));
    let places: Vec<usize> = changes
        .map(|change| {
            let sent = change.value.unwrap_or_else(|| panic!("{key:?}: was removed"));
            let place = values.iter().position(|made| *made == sent);
            place.unwrap_or_else(|| panic!("{key:?}: the remote got what no escrow held"))
        })
        .collect();
    assert_eq!(places.last(), Some(&(values.len() - 1)), "{key:?}: {places:?}");
    places.iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test]
async fn b33_killed_during_rotations() {
    let seed = std::env::var("VAULTSECRET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    let wanted = if std::env::var_os("VAULTSECRET_LONG").is_some() { 300 } else { 20 };
    println!("VAULTSECRET_SEED={seed}");
    let scene = Scene::isolated("rotations", &["--log-level=info"]).await;
    let watched = Watched::begin(&scene).await;
    let mut world = World::new(scene, StdRng::seed_from_u64(seed)).await;
    world.populate().await;
    let (began, mut kills, mut by_stage) = (Instant::now(), Vec::new(), BTreeMap::new());

    while kills.len() < wanted {
        for remote in &world.remotes {
            remote.set_latency(SLOWEST.mul_f64(world.rng.random_range(0.1..1.0)));
        }
        let key = world.ask(&watched).await;
        let stage = STAGES[kills.len() % STAGES.len()];
        world.reach(stage, &key, &watched).await;
        world.scene.operator.kill();
        kills.push(Timestamp::now());
        *by_stage.entry(format!("{stage:?}")).or_insert(0) += 1;
        world.scene.operator.spawn();
        if kills.len() % 50 == 0 {
            println!("{} kills in {:.0?}", kills.len(), began.elapsed());
        }
    }
    world.settle(&watched).await;

    let (mut made, mut arrived, mut by_age) = (0, 0, 0);
    watched.look(|seen| {
        for (key, held) in &seen.escrow {
            let values = values(key, held);
            was_shown_in_order(key, &values, &seen.shown[key]);
            arrived += arrived_in_order(key, &values, world.remote(key));
            made += values.len();
            let epochs: Vec<i64> = held.chunk_by(|one, next| one.value == next.value).map(|run| run[0].epoch).collect();
            if let Some(last) = world.epochs.get(key) {
                assert_eq!(epochs, (1..=*last).collect::<Vec<_>>(), "{key:?}: each epoch has one value");
            } else {
                let times: BTreeSet<Timestamp> = held.iter().map(|held| held.made_at).collect();
                assert_eq!(times.len(), values.len(), "{key:?}: each has its time");
                let times: Vec<_> = times.into_iter().collect();
                for pair in times.windows(2) {
                    let age = pair[1].duration_since(pair[0]).unsigned_abs();
                    assert!(age >= YOUNGEST, "{key:?}: two values for one rotation: {age:?} after the one before");
                }
                by_age += values.len() - 1;
            }
        }
        assert_eq!(seen.escrow.len(), world.epochs.len() + KINDS.len());
    });
    for remote in &world.remotes {
        let repeats = check::repeats(remote, &kills);
        println!("{}: {} changes, {repeats} of them repeats", remote.kind().member(), remote.changes().len());
    }
    let asked: i64 = world.epochs.values().sum();
    println!("{asked} epochs and {by_age} rotations by age: {made} values, {arrived} of them reached a remote");
    println!("{} kills {by_stage:?} in {:.0?}", kills.len(), began.elapsed());
}
