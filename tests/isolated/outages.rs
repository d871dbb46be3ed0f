//! Behaviour 37: the API server and its store go and come back. The operator recovers by itself, loses nothing and sends nothing
//! twice.

use std::sync::Arc;
use std::time::Duration;

use devkit::controlplane::{Options, chain};
use devkit::remotes::{Action, Fault, Op};
use kube::api::ListParams;
use serde_json::json;

use crate::common::{Kind, Remote, Scene, entry, inline};

struct Setting {
    scene: Scene,
    remotes: Vec<Arc<Remote>>,
    /// What each remote's entry was given, in order.
    sent: Vec<Vec<String>>,
}

const KINDS: [Kind; 3] = [Kind::Kelvin, Kind::Dreadnode, Kind::Mixpeek];

impl Setting {
    /// A VaultSecret at each of the remotes, in a control plane of its own.
    async fn new(name: &str) -> Self {
        let scene = Scene::own_cluster(name, Options::default(), |_| {}, &[]).await;
        let (mut remotes, mut sent) = (Vec::new(), Vec::new());
        for kind in KINDS {
            let remote = scene.remote(kind).await;
            scene.connect(&remote).await;
            let of = kind.member();
            let value = scene.canary("first");
            scene.source(&format!("{of}-source"), &[("value", &value)]).await;
            let data = json!([entry("VALUE", &kind.name("the value"), &format!("{of}-source/value"))]);
            scene.vault_secret(of, json!({"connectionRef": {"name": of}, "data": data})).await;
            remotes.push(remote);
            sent.push(vec![value]);
        }
        let setting = Self { scene, remotes, sent };
        setting.all_in_sync().await;
        setting
    }

    /// Changes every source.
    async fn change_all(&mut self) {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let value = self.scene.canary("changed");
            self.scene.set_source(&format!("{}-source", kind.member()), "value", &value).await;
            self.sent[number].push(value);
        }
    }

    /// Waits until all is in sync, and expects that each value was sent once.
    async fn all_in_sync(&self) {
        for ((kind, remote), sent) in KINDS.into_iter().zip(&self.remotes).zip(&self.sent) {
            self.scene.remote_has(remote, &kind.name("the value"), sent.last().unwrap()).await;
            self.scene.secret_has(kind.member(), "VALUE", sent.last().unwrap()).await;
            self.scene.ready(kind.member()).await;
            assert_eq!(remote.history(&kind.name("the value")), *sent, "{kind:?}");
        }
    }

    /// It still hears of everything: a new VaultSecret, a changed source, an edit, what others do at a remote.
    async fn everything_works(&mut self) {
        self.change_all().await;
        self.all_in_sync().await;
        let scene = &self.scene;
        let all: Vec<_> =
            KINDS.into_iter().zip(&self.remotes).map(|(kind, remote)| (kind, remote, kind.name("new"))).collect();
        for (kind, _, name) in &all {
            let spec = json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": "Delete",
                              "data": [inline("VALUE", name, "new")]});
            scene.vault_secret(&format!("{}-new", kind.member()), spec).await;
        }
        for (kind, _, name) in &all {
            let made = format!("{}-new", kind.member());
            scene.ready(&made).await;
            scene.edit(&made, json!({"data": [inline("VALUE", name, "edited")]})).await;
        }
        for (kind, remote, name) in &all {
            scene.remote_has(remote, name, "edited").await;
            scene.ready(&format!("{}-new", kind.member())).await;
            remote.foreign_delete(name);
        }
        for (kind, remote, name) in &all {
            scene.remote_has(remote, name, "edited").await;
            let made = format!("{}-new", kind.member());
            scene.ready(&made).await;
            scene.delete("VaultSecret", &made).await;
        }
        for (kind, remote, name) in &all {
            scene.gone("VaultSecret", &format!("{}-new", kind.member())).await;
            assert_eq!(remote.value(name), None);
        }
        self.all_in_sync().await;
    }

    /// Waits until probes went on while the API server could not be asked.
    async fn two_probes(&self) {
        for remote in &self.remotes {
            self.scene.two_more_probes(remote).await;
        }
    }

    async fn start_apiserver(&self) {
        let started = self.scene.cluster.start_apiserver().await;
        started.unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
}

#[tokio::test]
async fn b37_api_server_restarts() {
    let mut setting = Setting::new("b37-restart").await;
    for _ in 0..2 {
        setting.change_all().await;
        // It may hear of the changes before or after, or have sent them and not yet written so.
        setting.scene.cluster.stop_apiserver();
        setting.two_probes().await;
        setting.start_apiserver().await;
        setting.all_in_sync().await;
    }
    setting.everything_works().await;
}

/// The answers of the remotes come while there is nobody to write them down at.
#[tokio::test]
async fn b37_api_server_goes_while_values_are_sent() {
    let mut setting = Setting::new("b37-sending").await;
    let slow = Fault::new(Action::Hang(None)).on(Op::Update);
    let rules: Vec<_> = setting.remotes.iter().map(|remote| remote.faults().add(slow.clone())).collect();
    setting.change_all().await;
    for remote in &setting.remotes {
        let arrived = async || remote.count(Op::Update) == 1;
        setting.scene.eventually("the update has arrived", arrived).await;
    }
    setting.scene.cluster.stop_apiserver();
    for (remote, rule) in setting.remotes.iter().zip(rules) {
        remote.faults().remove(rule);
        remote.faults().release();
    }
    setting.two_probes().await;
    setting.start_apiserver().await;
    setting.all_in_sync().await;
    setting.everything_works().await;
}

/// The same with the first value, whose outcome makes an entry ours.
#[tokio::test]
async fn b37_api_server_goes_while_entries_are_created() {
    let mut setting = Setting::new("b37-creating").await;
    let slow = Fault::new(Action::Hang(None)).on(Op::Create);
    let rules: Vec<_> = setting.remotes.iter().map(|remote| remote.faults().add(slow.clone())).collect();
    for kind in KINDS {
        let spec =
            json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", &kind.name("late"), "late")]});
        setting.scene.vault_secret(&format!("{}-late", kind.member()), spec).await;
    }
    for (kind, remote) in KINDS.into_iter().zip(&setting.remotes) {
        let arrived = async || remote.count_for(Op::Create, &kind.name("late")) == 1;
        setting.scene.eventually("the create has arrived", arrived).await;
    }
    setting.scene.cluster.stop_apiserver();
    for (remote, rule) in setting.remotes.iter().zip(rules) {
        remote.faults().remove(rule);
        remote.faults().release();
    }
    setting.two_probes().await;
    setting.start_apiserver().await;
    for (kind, remote) in KINDS.into_iter().zip(&setting.remotes) {
        setting.scene.ready(&format!("{}-late", kind.member())).await;
        assert_eq!(remote.history(&kind.name("late")), ["late"], "sent once");
    }
    setting.everything_works().await;
}

/// Others change the remote while nothing can be written down: it waits, and puts it right once it can say so.
#[tokio::test]
async fn b37_remote_changes_meanwhile() {
    let mut setting = Setting::new("b37-remote").await;
    setting.scene.cluster.stop_apiserver();
    for (kind, remote) in KINDS.into_iter().zip(&setting.remotes) {
        remote.foreign_delete(&kind.name("the value"));
    }
    setting.two_probes().await;
    for remote in &setting.remotes {
        assert_eq!(remote.count(Op::Create), 1, "there is no write without an intent");
    }
    setting.start_apiserver().await;
    setting.all_in_sync().await;
    setting.everything_works().await;
}

#[tokio::test]
async fn b37_etcd_goes_away() {
    let mut setting = Setting::new("b37-etcd").await;
    setting.change_all().await;
    setting.scene.cluster.stop_etcd();
    setting.two_probes().await;
    let started = setting.scene.cluster.start_etcd().await;
    started.unwrap_or_else(|error| panic!("{}", chain(&error)));
    api_answers(&setting.scene).await;
    setting.all_in_sync().await;
    setting.everything_works().await;
}

/// Connections stay open and nothing is answered, as with a machine that hangs.
#[tokio::test]
async fn b37_api_server_hangs() {
    let mut setting = Setting::new("b37-hangs").await;
    setting.change_all().await;
    setting.scene.cluster.pause_apiserver().unwrap();
    setting.two_probes().await;
    setting.scene.cluster.resume_apiserver().unwrap();
    api_answers(&setting.scene).await;
    setting.all_in_sync().await;
    setting.everything_works().await;
}

/// The operator slept while things changed, and the new API server does not remember what came before it: its watches are
/// refused with 410 and begin anew.
#[tokio::test]
async fn b37_watches_are_too_old() {
    let mut setting = Setting::new("b37-gone").await;
    let log = setting.scene.operator.log_end();
    setting.scene.operator.pause();
    setting.change_all().await;
    let spec = json!({"connectionRef": {"name": "mixpeek"}, "data": [inline("VALUE", "made_meanwhile", "a value")]});
    setting.scene.vault_secret("made-meanwhile", spec).await;
    setting.scene.cluster.stop_apiserver();
    setting.start_apiserver().await;
    setting.scene.source("unrelated", &[("key", "value")]).await;
    setting.scene.operator.resume();
    setting.scene.ready("made-meanwhile").await;
    setting.all_in_sync().await;
    let logged = setting.scene.operator.log_since(log);
    assert!(logged.contains("410"), "no watch was refused with 410, so this test shows nothing");
    setting.everything_works().await;
}

/// Waits until the API server answers again: it may take a moment until it has found its store.
async fn api_answers(scene: &Scene) {
    let asked = async || {
        let (api, all) = (scene.api("VaultSecret"), ListParams::default());
        let answer = api.list(&all);
        matches!(tokio::time::timeout(Duration::from_secs(5), answer).await, Ok(Ok(_)))
    };
    scene.eventually("the API server answers again", asked).await;
}
