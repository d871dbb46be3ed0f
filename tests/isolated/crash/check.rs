//! What must hold whenever the operator dies, and once it has had the time to mend things.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use devkit::remotes::Change;
use jiff::Timestamp;

use super::model::{App, World};
use super::{SETTLED, SLOWEST};
use crate::common::{PATIENCE, POLL, Remote, Scene};

/// At the moment of a crash no entry of ours is at a remote that no ledger knows.
pub async fn every_entry_is_known(scene: &Scene, remotes: &[Arc<Remote>], world: &RefCell<World>) {
    // What had arrived is processed although nobody waits for it any more.
    let processed = async || remotes.iter().all(|remote| remote.requests().iter().all(|call| call.outcome.is_some()));
    scene.eventually("what the remotes have received is processed", processed).await;
    let there: Vec<BTreeSet<String>> =
        remotes.iter().map(|remote| remote.entries().into_iter().map(|entry| entry.name).collect()).collect();
    let apps = scene.list("VaultSecret").await;
    let world = world.borrow();
    for (number, remote) in remotes.iter().enumerate() {
        let connection = format!("VaultConnection/{}", remote.kind().member());
        let rows = apps.iter().flat_map(|app| app.rows());
        let known: BTreeSet<String> = rows
            .filter(|row| row.text("/connection") == connection)
            .map(|row| row.text("/remoteName").to_owned())
            .collect();
        for name in &there[number] {
            let place = (number, name.clone());
            let excused = world.foreign.contains_key(&place) || world.retained.contains(&place);
            let told = || is_told_to_be_left(scene, remote, name);
            assert!(excused || known.contains(name) || told(), "{name} at {connection} is in no ledger");
        }
    }
}

/// Where a remote shows no times, nothing tells our own late create from a stranger's entry: when its VaultSecret goes before that
/// is settled, the entry is left, and a Warning names it.
fn is_told_to_be_left(scene: &Scene, remote: &Remote, name: &str) -> bool {
    let log = scene.operator.log_since(0);
    let mut lines = log.lines().filter(|line| line.contains("EntryLeft"));
    !remote.kind().shows_changes() && lines.any(|line| line.contains(name))
}

/// Waits until everything is as it is wanted; returns how long it took. Starts the operator if need be.
pub async fn converges(scene: &Scene, remotes: &[Arc<Remote>], world: &RefCell<World>, when: &str) -> Duration {
    let began = Instant::now();
    let mut told = String::new();
    loop {
        let problem = match scene.operator.check() {
            Ok(()) => first_problem(scene, remotes, world).await,
            Err(problem) => panic!("{when}: {problem}"),
        };
        let Some(problem) = problem else { break };
        assert!(began.elapsed() < PATIENCE, "{when} it does not converge: {problem}");
        if began.elapsed() > SETTLED && told != problem {
            println!("{when}, {:.0?}: {problem}", began.elapsed());
            told = problem;
        }
        tokio::time::sleep(POLL).await;
    }
    every_entry_is_known(scene, remotes, world).await;
    began.elapsed()
}

async fn first_problem(scene: &Scene, remotes: &[Arc<Remote>], world: &RefCell<World>) -> Option<String> {
    let (apps, deleted) = {
        let world = world.borrow();
        (world.apps.clone(), world.deleted.clone())
    };
    for (name, app) in &apps {
        let names = app.values.keys().map(|key| (key.clone(), world.borrow().entry_name(name, key))).collect();
        if let Some(problem) = problem_of(scene, &remotes[app.remote], name, app, &names).await {
            return Some(format!("{name}: {problem}"));
        }
        if app.values.contains_key("GENERATED") {
            let value = remotes[app.remote].value(&names["GENERATED"]).unwrap_or_default();
            let key = (name.clone(), app.epoch);
            let known = world.borrow_mut().generated.entry(key).or_insert_with(|| value.clone()).clone();
            assert_eq!(known, value, "{name} has another value for epoch {}", app.epoch);
        }
    }
    for name in deleted {
        if scene.get("VaultSecret", &name).await.is_some() {
            return Some(format!("{name} is still there"));
        }
        world.borrow_mut().deleted.remove(&name);
    }
    let world = world.borrow();
    for (number, remote) in remotes.iter().enumerate() {
        let wanted: BTreeSet<String> = apps
            .iter()
            .filter(|(_, app)| app.remote == number)
            .flat_map(|(name, app)| app.values.keys().map(|key| world.entry_name(name, key)))
            .collect();
        for entry in remote.entries() {
            let place = (number, entry.name.clone());
            let excused = world.foreign.contains_key(&place) || world.retained.contains(&place);
            if !wanted.contains(&entry.name) && !excused && !is_told_to_be_left(scene, remote, &entry.name) {
                return Some(format!("{} is still at {}", entry.name, remote.kind().member()));
            }
        }
    }
    None
}

async fn problem_of(
    scene: &Scene,
    remote: &Remote,
    name: &str,
    app: &App,
    names: &BTreeMap<String, String>,
) -> Option<String> {
    let Some(object) = scene.get("VaultSecret", name).await else { return Some("is not there".to_owned()) };
    let ready = object.ready();
    if app.refused {
        let refused = ready.reason == "RemoteEntryExists" && object.is_observed();
        return (!refused).then(|| format!("is to be refused, and says {ready:?}"));
    }
    if !object.is_ready() {
        return Some(format!("is not Ready: {ready:?}"));
    }
    let rows: BTreeSet<String> = object.rows().iter().map(|row| row.text("/remoteName").to_owned()).collect();
    if rows != names.values().cloned().collect() {
        return Some(format!("has rows for {rows:?}"));
    }
    let Some(secret) = scene.get("Secret", name).await else { return Some("has no Secret".to_owned()) };
    for (key, value) in &app.values {
        let there = remote.value(&names[key]);
        if value.is_some() && there != *value {
            return Some(format!("{key} is {there:?} at the remote instead of {value:?}"));
        }
        let shown = secret.secret_value(key).map(|value| String::from_utf8_lossy(&value).into_owned());
        if there.is_none() || shown != there {
            return Some(format!("{key} is {shown:?} in the Secret and {there:?} at the remote"));
        }
    }
    (secret.keys().len() != app.values.len()).then(|| format!("its Secret has {:?}", secret.keys()))
}

/// Counts writes that repeat what the entry has already. Each is excused by a kill between the first write of the value and the
/// repeat. At a Presence remote a kill excuses a confirming write as well, be it of a value that is newer than the kill.
pub fn repeats(remote: &Remote, kills: &[Timestamp]) -> usize {
    let mut by_entry: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    for change in remote.changes() {
        by_entry.entry(change.name.clone()).or_default().push(change);
    }
    let confirms = !remote.kind().shows_changes();
    let mut repeats = 0;
    for (name, changes) in &by_entry {
        for run in changes.chunk_by(|one, next| one.value.is_some() && one.value == next.value) {
            let again = run.len() - 1;
            // The kill may come while the remote still delays the first of the writes.
            let first = run[0].at.checked_sub(SLOWEST * 2).unwrap();
            let (unsettled, last) = (run[0].at.checked_sub(SETTLED).unwrap(), run[again].at);
            let number = |from| kills.iter().filter(|kill| (from..=last).contains(*kill)).count();
            let excuses = number(first) + if confirms { number(unsettled) } else { 0 };
            let of = remote.kind().member();
            assert!(
                again <= excuses,
                "{name} at {of}: {again} repeats and {excuses} excuses; kills {kills:?}; {run:?}"
            );
            repeats += again;
        }
    }
    repeats
}

/// What others have put there is as they left it, and was written once.
pub fn nothing_foreign_was_touched(remotes: &[Arc<Remote>], world: &World) {
    for ((number, name), value) in &world.foreign {
        let history = remotes[*number].history(name);
        assert_eq!(history, [value.as_str()], "{name} at {}", remotes[*number].kind().member());
    }
}

/// A crash makes no further value: each epoch has one.
pub fn generated_values_are_few(remotes: &[Arc<Remote>], world: &World) {
    for (app, wanted) in world.apps.iter().filter(|(_, app)| app.values.contains_key("GENERATED")) {
        let name = world.entry_name(app, "GENERATED");
        let changes = remotes[wanted.remote].changes().into_iter().filter(|change| change.name == name);
        let values: BTreeSet<String> = changes.filter_map(|change| change.value).collect();
        let asked = usize::try_from(wanted.epoch).unwrap();
        assert!((1..=asked).contains(&values.len()), "{app}: {} values for {asked} epochs", values.len());
        println!("{app}: {} values reached the remote for {asked} epochs", values.len());
    }
}
