//! The operator is killed again and again while everything changes: sources, specs, objects, the remotes behind its back. After
//! each kill every entry is in a ledger; after each round everything converges; nothing is sent more often than a kill excuses.
//!
//! `VAULTSECRET_SEED=<number>` repeats a run's choices, though not the scheduler's.

pub mod check;
mod model;
mod trouble;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::common::{Kind, Scene};
use model::World;

const ROUNDS: usize = 10;
const KILLS_A_ROUND: usize = 5;

/// The longest that a call is delayed by a remote; the settle time of the connections, a second, is longer.
const SLOWEST: Duration = Duration::from_millis(300);

/// Long enough after a kill for the confirming writes that it asks for.
const SETTLED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn b22_killed_at_fifty_instants() {
    let seed = std::env::var("VAULTSECRET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("VAULTSECRET_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let scene = Scene::isolated("crash", &["--log-level=info"]).await;
    let mut remotes = Vec::new();
    for kind in [Kind::Kelvin, Kind::Dreadnode, Kind::Mixpeek] {
        let remote = scene.remote(kind).await;
        scene.connect_as(kind.member(), &remote, json!({"limits": {"maxInFlight": 4}})).await;
        remotes.push(remote);
    }
    let mut world = World::new(&remotes);
    world.populate(&scene, &remotes).await;
    let world = RefCell::new(world);
    let mut kills: Vec<Timestamp> = Vec::new();
    let began = Instant::now();
    check::converges(&scene, &remotes, &world, "at the beginning").await;

    for round in 1..=ROUNDS {
        for remote in &remotes {
            remote.set_latency(SLOWEST.mul_f64(rng.random_range(0.3..1.0)));
        }
        let stop = Cell::new(false);
        let changes = trouble::until(&stop, &scene, &remotes, &world, StdRng::seed_from_u64(rng.random()));
        let killing = async {
            for _ in 0..KILLS_A_ROUND {
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..1500))).await;
                scene.operator.kill();
                kills.push(Timestamp::now());
                check::every_entry_is_known(&scene, &remotes, &world).await;
                scene.operator.spawn();
            }
            stop.set(true);
        };
        let (changed, ()) = futures::join!(changes, killing);
        let converged = check::converges(&scene, &remotes, &world, &format!("after round {round}")).await;
        println!("round {round}: {changed} changes, {KILLS_A_ROUND} kills, converged after {converged:.1?}");
    }

    assert_eq!(kills.len(), ROUNDS * KILLS_A_ROUND);
    for remote in &remotes {
        let repeats = check::repeats(remote, &kills);
        let writes = remote.changes().iter().filter(|change| change.value.is_some()).count();
        println!("{}: {writes} writes, {repeats} of them repeats", remote.kind().member());
    }
    check::nothing_foreign_was_touched(&remotes, &world.borrow());
    check::generated_values_are_few(&remotes, &world.borrow());
    println!("{} kills in {:.0?}", kills.len(), began.elapsed());
}
