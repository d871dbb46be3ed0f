//! Behaviours 3, 14 and 33: what a restart and a crash must not change. A change of leader: `leader`.

use devkit::controlplane::AuditMark;
use devkit::remotes::{Action, Fault, Op};
use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, entry, for_each_remote, generated, inline, input, merged, templated};

/// What the operator wrote since then, in the watched namespace and in its own.
fn writes(scene: &Scene, mark: AuditMark) -> Vec<devkit::controlplane::AuditRecord> {
    let user = scene.operator.user();
    let reads = ["get", "list", "watch"];
    scene.cluster.audit().requests_after(mark, |record| {
        record.user == user && !reads.contains(&&*record.verb) && !record.namespace.is_empty()
    })
}

async fn restarted(kind: Kind, crash: bool) {
    let scene = Scene::isolated("b03", &[]).await;
    let synced = scene.synced(kind, json!({"deletionPolicy": "Delete"})).await;
    scene.connection_counts(kind.member(), 1).await;
    let (before, mark) = (scene.expect("VaultSecret", "app").await, scene.mark());
    if crash {
        scene.operator.crash().await;
    } else {
        scene.operator.restart().await;
    }
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.write_calls(), 1, "nothing is sent again");
    assert_eq!(writes(&scene, mark), [], "nothing is written to the API server");
    assert_eq!(scene.expect("VaultSecret", "app").await, before);
    let credentials = format!("{}-credentials", kind.member());
    let gets = scene.asked_since(mark, |r| r.verb == "get" && r.resource == "secrets" && r.name != credentials);
    assert_eq!(gets, [], "no object is read one by one");

    // It works on, too.
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
}

async fn b03_restart(kind: Kind) {
    restarted(kind, false).await;
}

async fn b03_crash_at_rest(kind: Kind) {
    restarted(kind, true).await;
}

/// What changed while nobody looked is dealt with at the start.
async fn b03_change_while_it_was_away(kind: Kind) {
    let scene = Scene::isolated("b03-away", &[]).await;
    let synced = scene.synced(kind, json!({})).await;
    scene.operator.stop().await;
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.delete("Secret", "app").await;
    scene.operator.start_again().await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.secret_has("app", "VALUE", &value).await;
    scene.ready("app").await;
    assert_eq!(synced.remote.history(&synced.entry), [synced.value, value]);
}

/// The credentials are gone at a start, and another connection to the same account takes over what it finds: an entry stays with
/// the object whose ledger holds it.
async fn c09_ownership_without_credentials(kind: Kind) {
    let scene = Scene::isolated("c09", &[]).await;
    let synced = scene.synced(kind, json!({})).await;
    scene.delete("Secret", &format!("{}-credentials", kind.member())).await;
    scene.connection_is(kind.member(), "CredentialsMissing").await;
    scene.operator.restart().await;
    scene.connect_as("second", &synced.remote, json!({})).await;
    let data = json!([inline("VALUE", &synced.entry, "another value")]);
    let spec = json!({"connectionRef": {"name": "second"}, "adoptionPolicy": "TakeOver", "data": data});
    scene.vault_secret("other", spec).await;
    let other = scene.not_ready("other", "OwnedByAnother").await;
    assert!(other.ready().message.contains("app"), "{}", other.ready().message);
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.history(&synced.entry), [synced.value.as_str()]);
    // Once its holder is gone, it is taken over.
    scene.delete("VaultSecret", "app").await;
    scene.ready("other").await;
    assert_eq!(synced.remote.value(&synced.entry).as_deref(), Some("another value"));
}

/// Values that are made of a source, of a generated value and of one another are known to be unchanged without being read.
async fn b03_restart_with_templates(kind: Kind) {
    let scene = Scene::isolated("b03-templates", &[]).await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (user, values) = (scene.canary("user"), [scene.canary("value"), scene.canary("value")]);
    scene.source("source", &[("value", &values[0])]).await;
    let names = ["first", "second", "password"].map(|name| kind.name(name));
    let data = [
        input(inline("USER", "user", &user)),
        input(entry("VALUE", "value", "source/value")),
        generated("PASSWORD", &names[2], 1),
        templated("FIRST", &names[0], "{{ USER }}:{{ VALUE }}"),
        templated("SECOND", &names[1], "{{ FIRST }}@{{ PASSWORD }}"),
    ];
    let target = json!({"template": {"data": {"all": "{{ values|json }}"}}});
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data, "target": target})).await;
    scene.ready("app").await;
    scene.connection_counts(kind.member(), 3).await;
    let secret = scene.expect("Secret", "app").await;
    assert_eq!(secret.keys(), ["FIRST", "PASSWORD", "SECOND", "all"]);
    let (before, mark) = (scene.expect("VaultSecret", "app").await, scene.mark());
    scene.operator.restart().await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 3, "nothing is sent again");
    assert_eq!(writes(&scene, mark), [], "nothing is written to the API server");
    assert_eq!(scene.expect("VaultSecret", "app").await, before);
    let credentials = format!("{}-credentials", kind.member());
    let gets = scene.asked_since(mark, |r| r.verb == "get" && r.resource == "secrets" && r.name != credentials);
    assert_eq!(gets, [], "no object is read one by one");

    // A source that no entry shows directly wakes what is made of it.
    scene.set_source("source", "value", &values[1]).await;
    let first = format!("{user}:{}", values[1]);
    scene.remote_has(&remote, &names[0], &first).await;
    scene.secret_has("app", "FIRST", &first).await;
    scene.ready("app").await;
    assert_eq!(remote.write_calls(), 5, "the two that are made of it");
}

async fn held_while_it_goes(kind: Kind, policy: &str) {
    const HOLD: &str = "example.com/hold";
    let scene = Scene::isolated("b14", &[]).await;
    let synced = scene.synced(kind, json!({"deletionPolicy": policy})).await;
    let mut finalizers: Vec<Value> = synced.object.at("/metadata/finalizers").as_array().cloned().unwrap_or_default();
    finalizers.push(json!(HOLD));
    scene.patch("VaultSecret", "app", json!({"metadata": {"finalizers": finalizers}})).await;
    scene.delete("VaultSecret", "app").await;
    let ours_is_gone = |app: &Object| app.at("/metadata/finalizers") == &json!([HOLD]);
    scene.until("VaultSecret", "app", "is held by nobody but the other", ours_is_gone).await;
    let left = if policy == "Delete" { vec![] } else { vec![synced.value.clone()] };
    assert_eq!(synced.remote.history(&synced.entry), left);

    let calls = synced.remote.write_calls();
    scene.operator.restart().await;
    scene.two_more_probes(&synced.remote).await;
    scene.set_source("source", "value", &scene.canary("value")).await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.write_calls(), calls, "nothing is pushed for what is going");
    assert_eq!(synced.remote.history(&synced.entry), left);
    // Nor does it hold its entry against others, however long it is held itself.
    let data = json!([inline("VALUE", &synced.entry, "of another")]);
    let spec = json!({"connectionRef": {"name": kind.member()}, "adoptionPolicy": "TakeOver", "data": data});
    scene.vault_secret("other", spec).await;
    scene.ready("other").await;
    assert_eq!(synced.remote.value(&synced.entry).as_deref(), Some("of another"));
    scene.patch("VaultSecret", "app", json!({"metadata": {"finalizers": null}})).await;
    scene.gone("VaultSecret", "app").await;
}

async fn b14_held_under_delete(kind: Kind) {
    held_while_it_goes(kind, "Delete").await;
}

async fn b14_held_under_retain(kind: Kind) {
    held_while_it_goes(kind, "Retain").await;
}

/// Kills the operator while the first write of a generated value is where `action` leaves it, and looks at what comes of it.
async fn crashed_in_create(kind: Kind, action: Action) {
    let scene = Scene::isolated("b33", &[]).await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("password");
    remote.faults().add(Fault::new(action).on(Op::Create));
    let data = json!([generated("PASSWORD", &name, 1)]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.eventually("the create is at the remote", async || remote.count(Op::Create) == 1).await;
    scene.operator.kill();
    // What was sent was kept before.
    let kept = scene.expect("Secret", "app-escrow").await.secret_value("PASSWORD").unwrap();
    let kept = String::from_utf8(kept).unwrap();
    scene.secret_text(&kept);
    remote.faults().clear();
    scene.operator.start_again().await;
    scene.ready("app").await;
    scene.secret_has("app", "PASSWORD", &kept).await;
    let history = remote.history(&name);
    // One repeat, and where no change is shown one write that confirms.
    let most = if kind.shows_changes() { 2 } else { 3 };
    assert!(history.iter().all(|value| *value == kept), "it was another value");
    assert!((1..=most).contains(&history.len()), "sent {} times", history.len());
}

async fn b33_crash_before_the_remote_has_it(kind: Kind) {
    crashed_in_create(kind, Action::Hang(None)).await;
}

async fn b33_crash_after_the_remote_has_it(kind: Kind) {
    crashed_in_create(kind, Action::SlowAnswer(std::time::Duration::from_secs(600))).await;
}

/// Killed as soon as the escrow is there, whatever comes next.
async fn b33_crash_after_the_escrow(kind: Kind) {
    let scene = Scene::isolated("b33-escrow", &[]).await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("password");
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [generated("PASSWORD", &name, 1)]});
    scene.vault_secret("app", spec).await;
    let escrow = async || scene.get("Secret", "app-escrow").await;
    let escrow = scene.eventually("there is an escrow", escrow).await;
    scene.operator.kill();
    let kept = String::from_utf8(escrow.secret_value("PASSWORD").unwrap()).unwrap();
    scene.secret_text(&kept);
    scene.operator.start_again().await;
    scene.ready("app").await;
    assert!(remote.history(&name).iter().all(|value| *value == kept), "it was another value");
    scene.secret_has("app", "PASSWORD", &kept).await;
}

async fn b33_same_value_after_restarts(kind: Kind) {
    let scene = Scene::isolated("b33-restart", &[]).await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("password");
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [generated("PASSWORD", &name, 1)]});
    scene.vault_secret("app", spec.clone()).await;
    scene.ready("app").await;
    let value = remote.value(&name).unwrap();
    scene.secret_text(&value);
    scene.operator.restart().await;
    scene.two_more_probes(&remote).await;
    scene.operator.crash().await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&name), [value.as_str()]);

    // A crash while the next one is on its way makes no third.
    remote.faults().add(Fault::new(Action::Hang(None)).on(Op::Update));
    scene.edit("app", merged(spec, json!({"data": [generated("PASSWORD", &name, 2)]}))).await;
    scene.eventually("the update is at the remote", async || remote.count(Op::Update) == 1).await;
    scene.operator.kill();
    let kept = scene.expect("Secret", "app-escrow").await;
    let second = String::from_utf8(kept.secret_value("PASSWORD").unwrap()).unwrap();
    scene.secret_text(&second);
    assert!(second != value && kept.values().contains(&value), "the previous one is kept");
    remote.faults().clear();
    scene.operator.start_again().await;
    scene.ready("app").await;
    assert!(remote.history(&name)[1..].iter().all(|sent| *sent == second));
    scene.secret_has("app", "PASSWORD", &second).await;
}

/// Behaviour 34: a workload is restarted once for a change of value, never for a restart or a crash of the operator.
async fn b34_operator_restarts_restart_nothing(kind: Kind) {
    let scene = Scene::isolated("b34", &[]).await;
    let labels = json!({"app": "shop"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template});
    scene.create("Deployment", "shop", json!({"spec": spec})).await;
    let targets = json!([{"kind": "Deployment", "name": "shop"}]);
    let synced = scene.synced(kind, json!({"rolloutRestartTargets": targets})).await;
    scene.operator.restart().await;
    scene.two_more_probes(&synced.remote).await;
    let generation = async || scene.expect("Deployment", "shop").await.at("/metadata/generation").clone();
    assert_eq!(generation().await, json!(1));

    // Killed as soon as the Secret shows the new value: the restart may be before or behind that.
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.secret_has("app", "VALUE", &value).await;
    scene.operator.crash().await;
    scene.eventually("the workload restarts", async || generation().await == json!(2)).await;
    scene.ready("app").await;
    scene.operator.restart().await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(generation().await, json!(2));
}

for_each_remote!(
    b34_operator_restarts_restart_nothing,
    b03_restart,
    b03_crash_at_rest,
    b03_change_while_it_was_away,
    c09_ownership_without_credentials,
    b03_restart_with_templates,
    b14_held_under_delete,
    b14_held_under_retain,
    b33_crash_before_the_remote_has_it,
    b33_crash_after_the_remote_has_it,
    b33_crash_after_the_escrow,
    b33_same_value_after_restarts,
);
