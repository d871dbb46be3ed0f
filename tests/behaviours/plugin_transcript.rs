//! A day with the plugin, as it is printed: docs/plugin-transcript.md is written by this test (`make transcript`).

use std::fmt::Write as _;
use std::path::Path;

use devkit::remotes::DEFAULT_TENANT;
use serde_json::{Value, json};

use crate::common::{Kind, Ran, Scene, entry, generated, inline, merged};

const NAMESPACE: &str = "storefront";
const KEYS: usize = 25;

struct Transcript {
    scene: Scene,
    bin: tempfile::TempDir,
    text: String,
}

impl Transcript {
    fn say(&mut self, text: &str) {
        let _ = write!(self.text, "\n{text}\n");
    }

    /// Runs a command line as it stands in the transcript.
    async fn run(&mut self, line: &str, code: i32) -> Ran {
        let (program, args) = line.split_once(' ').unwrap();
        assert_eq!(program, "kubectl");
        let kubectl = self.scene.cluster.binaries().kubectl().expect("kubectl is built with the control plane");
        let mut command = tokio::process::Command::new(kubectl);
        command.args(args.split(' ')).env_clear().env("PATH", self.bin.path()).env("HOME", self.bin.path());
        command.env("KUBECONFIG", self.scene.cluster.admin_kubeconfig()).current_dir(self.bin.path());
        let ran = self.scene.ran(&command.output().await.unwrap());
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        let _ = write!(self.text, "\n```console\n$ {line}\n{}{}", ran.out, ran.err.replace("exit status 2\n", ""));
        self.text.push_str(if code == 0 { "```\n" } else { "(exit code 2)\n```\n" });
        ran
    }

    fn file(&self, name: &str, manifests: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
        std::fs::write(self.bin.path().join(name), list.to_string()).unwrap();
    }

    async fn synced(&self, at_least: usize) {
        self.scene
            .eventually("so many entries are in sync", async || {
                let all = self.scene.list("VaultSecret").await;
                all.iter().map(|one| one.number("/status/syncedEntries")).sum::<i64>() >= at_least as i64
            })
            .await;
    }
}

async fn begin() -> Transcript {
    let mut scene = Scene::new("transcript").await;
    scene.create("Namespace", NAMESPACE, json!({})).await;
    // The name is to be read by people.
    scene.namespace = NAMESPACE.to_owned();
    let bin = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vaultsecret"), bin.path().join("kubectl-vaultsecret")).unwrap();
    Transcript { scene, bin, text: String::new() }
}

#[tokio::test]
async fn u9_a_day_with_the_plugin() {
    let written = std::env::var_os("VAULTSECRET_TRANSCRIPT");
    let mut t = begin().await;
    let kind = Kind::Kelvin;
    let remote = t.scene.remote(kind).await;
    // For people it goes as slowly as the remote's default; as a test it is quick.
    let (services, per_minute) = if written.is_some() { (20, 600) } else { (4, 3000) };
    let limits = json!({"limits": {"requestsPerMinute": per_minute, "burst": 20, "maxInFlight": 8}});
    t.scene.connect_as(kind.member(), &remote, limits).await;
    t.scene.source("source", &[("value", &t.scene.canary("value"))]).await;
    remote.foreign_put("legacy-token", "theirs");

    let manifests: Vec<Value> = (1..=services)
        .map(|service| {
            let data: Vec<Value> = (1..=KEYS)
                .map(|key| {
                    entry(&format!("KEY_{key:02}"), &format!("service-{service:02}-key-{key:02}"), "source/value")
                })
                .collect();
            let spec = json!({"connectionRef": {"name": kind.member()}, "data": data});
            t.scene.manifest("VaultSecret", &format!("service-{service:02}"), json!({"spec": spec}))
        })
        .collect();
    t.file("services.json", &manifests);

    t.say("## A bulk of 500 entries");
    t.say("Twenty VaultSecrets with 25 entries each come at once. The remote takes ten requests a second.");
    t.run("kubectl apply --server-side -f services.json", 0).await;
    t.synced(services * KEYS / 5).await;
    t.say("A while later:");
    let during = t.run("kubectl vaultsecret status -n storefront", 0).await;
    assert!(during.out.contains("entries in sync"), "{during:?}");
    t.say("Following it to the end. On a terminal the last line is a bar instead; elsewhere a line of progress comes every five seconds.");
    let end = t.run("kubectl vaultsecret status -n storefront --wait", 0).await;
    let all = services * KEYS;
    let sum = format!(
        "{services} VaultSecrets: {services} ready, 0 queued, 0 blocked, 0 failing; {all}/{all} entries in sync"
    );
    assert!(end.out.contains(&sum), "{end:?}");
    assert_eq!(remote.entries().len(), all + 1);
    plan_and_adopt(&mut t, &remote).await;
    rotate(&mut t, &remote).await;
    approve(&mut t, &remote).await;

    if let Some(path) = written {
        let head = "<!-- Written by `make transcript` from a real run; do not edit. -->\n\n# A day with the plugin\n\nA real \
                    API server, the real operator, and a stand-in for Kelvin that is as strict as the service. The commands \
                    and what they print are as they were.\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::write(path, format!("{head}{}", t.text)).unwrap();
    }
}

fn checkout(t: &Transcript, epoch: i64) -> Value {
    let data = json!([
        generated("DB_PASSWORD", "db-password", epoch),
        inline("REGION", "region", "eu-west-1"),
        inline("LEGACY_TOKEN", "legacy-token", "from-now-on-ours"),
    ]);
    let spec = merged(json!({"connectionRef": {"name": "kelvin"}}), json!({"data": data}));
    t.scene.manifest("VaultSecret", "checkout", json!({"spec": spec}))
}

async fn plan_and_adopt(t: &mut Transcript, remote: &crate::common::Remote) {
    t.say("## What would happen, and what is refused");
    t.say("Before a new VaultSecret is applied:");
    t.file("checkout.json", &[checkout(t, 1)]);
    t.run("kubectl vaultsecret plan -f checkout.json", 0).await;
    t.run("kubectl create -f checkout.json", 0).await;
    t.scene.not_ready("checkout", "RemoteEntryExists").await;
    t.say(
        "One of its entries is there already, and was made by somebody else. Nothing of theirs is overwritten unasked:",
    );
    let ran = t.run("kubectl vaultsecret status checkout -n storefront", 2).await;
    assert!(ran.out.contains("kubectl vaultsecret adopt checkout -n storefront"), "{ran:?}");
    assert_eq!(remote.value("legacy-token").as_deref(), Some("theirs"));
    t.say("Theirs may go. At a terminal it asks, unless `--yes` is given:");
    t.run("kubectl vaultsecret adopt checkout LEGACY_TOKEN -n storefront --yes --wait", 0).await;
    assert_eq!(remote.value("legacy-token").as_deref(), Some("from-now-on-ours"));
}

async fn rotate(t: &mut Transcript, remote: &crate::common::Remote) {
    t.say("## A new database password");
    let first = remote.value("db-password").unwrap();
    t.scene.secret_text(&first);
    t.run("kubectl vaultsecret rotate checkout DB_PASSWORD -n storefront --wait", 0).await;
    let second = remote.value("db-password").unwrap();
    t.scene.secret_text(&second);
    assert_ne!(first, second);
    t.run("kubectl vaultsecret status checkout -n storefront", 0).await;
}

async fn approve(t: &mut Transcript, remote: &crate::common::Remote) {
    t.say("## A credential that opens another account");
    t.say("Somebody put another account's credential into the Secret. All that we own seems to be gone, so nothing is written there:");
    remote.open_tenant("other");
    t.scene.not_ready("checkout", "RemoteDiverged").await;
    let ran = t.run("kubectl vaultsecret status checkout -n storefront", 2).await;
    assert!(ran.out.contains("released by: kubectl vaultsecret approve kelvin -n storefront --same"), "{ran:?}");
    assert!(remote.entries_in("other").is_empty());
    t.say("The credential is put right. It is the same remote again:");
    remote.open_tenant(DEFAULT_TENANT);
    t.scene.two_more_probes(remote).await;
    t.run("kubectl vaultsecret approve kelvin -n storefront --same --yes", 0).await;
    let ran = t.run("kubectl vaultsecret status checkout -n storefront --wait", 0).await;
    assert!(ran.out.contains("True, Synced"), "{ran:?}");
    assert!(remote.entries_in("other").is_empty(), "nothing went to the other account");
}
