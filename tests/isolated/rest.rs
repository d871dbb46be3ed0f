//! At rest: with nothing to do the operator writes nothing, sends nothing, and lists each remote once a probe. A restart changes
//! none of it.
//!
//! `VAULTSECRET_LONG=1` looks for a minute instead of 20 seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devkit::controlplane::{AuditMark, AuditRecord};
use devkit::remotes::Op;
use futures::StreamExt as _;
use serde_json::json;

use crate::common::{Kind, Remote, Scene, entry};

const OBJECTS: usize = 500;
const PROBE: Duration = Duration::from_secs(5);
const KINDS: [Kind; 3] = [Kind::Kelvin, Kind::Dreadnode, Kind::Mixpeek];

/// Makes the VaultSecrets, each with a Secret of its own, and waits until all are in sync.
async fn many_in_sync(scene: &Scene) -> Vec<Arc<Remote>> {
    let mut remotes = Vec::new();
    for kind in KINDS {
        let remote = scene.remote(kind).await;
        scene.connect(&remote).await;
        remotes.push(remote);
    }
    let make = async |number: usize| {
        let kind = KINDS[number % KINDS.len()];
        let (name, source) = (format!("app-{number}"), format!("source-{number}"));
        scene.source(&source, &[("value", &format!("value {number}"))]).await;
        let data = json!([entry("VALUE", &kind.name(&format!("value {number}")), &format!("{source}/value"))]);
        scene.vault_secret(&name, json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    };
    futures::stream::iter((0..OBJECTS).map(make)).buffer_unordered(8).collect::<Vec<()>>().await;
    scene
        .eventually("all are Ready", async || {
            let all = scene.list("VaultSecret").await;
            all.len() == OBJECTS && all.iter().all(|app| app.is_ready() && app.text("/status/synced") == "1/1")
        })
        .await;
    // How many entries a connection has is written last.
    for (number, kind) in KINDS.into_iter().enumerate() {
        let entries = i64::try_from((OBJECTS - number).div_ceil(KINDS.len())).unwrap();
        let counted = |connection: &crate::common::Object| connection.number("/status/entries") == entries;
        scene.until("VaultConnection", kind.member(), "counts its entries", counted).await;
    }
    remotes
}

/// What the operator asked of the API server since then, in any namespace.
fn asked(scene: &Scene, mark: AuditMark, wanted: impl Fn(&AuditRecord) -> bool) -> Vec<AuditRecord> {
    let user = scene.operator.user();
    scene.cluster.audit().requests_after(mark, |record| record.user == user && wanted(record))
}

fn by_verb(records: &[AuditRecord]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(format!("{} {}", record.verb, record.resource)).or_default() += 1;
    }
    counts
}

fn is_write(record: &AuditRecord) -> bool {
    !["get", "list", "watch"].contains(&&*record.verb)
}

/// What a remote was asked for, apart from the lists and the tokens that are needed for them.
fn beyond_lists(remote: &Remote) -> usize {
    let lists = [Op::List, Op::Token, Op::Discovery];
    remote.requests().iter().filter(|call| !lists.contains(&call.op)).count()
}

async fn wait_for_lists(scene: &Scene, remotes: &[Arc<Remote>], lists: usize) {
    for remote in remotes {
        let mut seen = remote.lists();
        // A minute is longer than anything else is waited for.
        while seen < lists {
            scene.eventually("another list has begun", async || remote.lists() > seen).await;
            seen = remote.lists();
        }
    }
}

#[tokio::test]
async fn b03_at_rest() {
    let long = std::env::var_os("VAULTSECRET_LONG").is_some();
    let probes = if long { 13 } else { 5 };
    let scene = Scene::isolated("b03-rest", &["--log-level=info"]).await;
    let remotes = many_in_sync(&scene).await;

    let mark = scene.mark();
    remotes.iter().for_each(|remote| remote.reset_counters());
    let began = Instant::now();
    wait_for_lists(&scene, &remotes, probes).await;
    let span = began.elapsed();
    let requests = asked(&scene, mark, |_| true);
    let writes: Vec<_> = requests.iter().filter(|record| is_write(record)).collect();
    let lists: Vec<usize> = remotes.iter().map(|remote| remote.lists()).collect();
    let mutations: Vec<usize> = remotes.iter().map(|remote| remote.mutations()).collect();
    println!(
        "{OBJECTS} VaultSecrets, {span:.1?}: {} writes to the API server, remote mutations {mutations:?}, lists {lists:?}; it asked \
         the API server for {:?}",
        writes.len(),
        by_verb(&requests)
    );
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(mutations, [0, 0, 0]);
    for remote in &remotes {
        assert_eq!(beyond_lists(remote), 0, "{:?}", remote.requests());
        // One list a probe: no more of them than there were intervals, however slow the machine is.
        let most = usize::try_from(span.as_millis() / PROBE.as_millis()).unwrap() + 1;
        assert!(remote.lists() <= most, "{} lists in {span:?}", remote.lists());
    }

    let mark = scene.mark();
    remotes.iter().for_each(|remote| remote.reset_counters());
    scene.operator.restart().await;
    wait_for_lists(&scene, &remotes, 3).await;
    let requests = asked(&scene, mark, |_| true);
    let writes: Vec<_> = requests.iter().filter(|record| is_write(record)).collect();
    let gets: Vec<_> = requests.iter().filter(|record| record.verb == "get" && !record.resource.is_empty()).collect();
    println!("restart: {} writes, {} GETs, {:?}", writes.len(), gets.len(), by_verb(&requests));
    assert!(writes.is_empty(), "{writes:#?}");
    for remote in &remotes {
        assert_eq!(beyond_lists(remote), 0, "{:?}", remote.requests());
    }
    // The key ring and the credentials, but no source and no target of the VaultSecrets.
    let per_object: Vec<_> =
        gets.iter().filter(|record| record.name.contains('-') && ends_in_number(&record.name)).collect();
    assert!(per_object.is_empty(), "{per_object:#?}");
    assert!(gets.len() < 20, "{gets:#?}");

    // It is awake all the same.
    scene.set_source("source-7", "value", "changed").await;
    scene.remote_has(&remotes[7 % 3], &KINDS[7 % 3].name("value 7"), "changed").await;
}

fn ends_in_number(name: &str) -> bool {
    name.ends_with(|last: char| last.is_ascii_digit())
}
