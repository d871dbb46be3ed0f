#![allow(clippy::unwrap_used, clippy::expect_used)]

mod elsewhere;
mod remotes;
mod targets;
mod whole;

use clap::{CommandFactory as _, Parser};
use serde_json::{Value, json};

use super::model::{Action, ObjectPlan};
use super::world::{Blob, Cluster, Observed};
use super::*;
use crate::api::VaultSecret;
use crate::source::reference::SourceKind;
use crate::sync::fingerprint::KeyRing;

const UID: &str = "uid-1";

#[derive(Debug, Parser)]
struct Harness {
    #[command(flatten)]
    args: PlanArgs,
}

#[test]
fn every_flag_is_an_environment_variable() {
    let command = Harness::command();
    let flags: Vec<_> = command.get_arguments().filter(|arg| arg.get_long().is_some_and(|l| l != "help")).collect();
    assert_eq!(flags.len(), 9);
    for flag in flags {
        let name = flag.get_long().expect("a long flag").replace('-', "_").to_uppercase();
        let env = flag.get_env().and_then(std::ffi::OsStr::to_str);
        assert_eq!(env, Some(format!("VAULTSECRET_{name}").as_str()));
    }
}

#[test]
fn flags_that_make_no_sense_together_are_refused() {
    let parse = |args: &[&str]| Harness::try_parse_from(std::iter::once("plan").chain(args.iter().copied()));
    assert_eq!(parse(&["-f", "a", "-f", "b"]).unwrap().args.filename.len(), 2);
    for args in
        [&[][..], &["-f"], &["-f", "a", "-l", "x=y"], &["-f", "a", "--offline", "--prune"], &["-f", "a", "-o", "xml"]]
    {
        assert!(parse(args).is_err(), "{args:?}");
    }
}

#[test]
fn selectors_are_those_of_kubectl() {
    let labels = std::collections::BTreeMap::from([("app".to_owned(), "x".to_owned())]);
    for (text, wanted) in [
        ("app=x", true),
        ("app==x", true),
        ("app=y", false),
        ("app!=y", true),
        ("app", true),
        ("!app", false),
        ("app=x, tier!=test", true),
        ("tier", false),
    ] {
        assert_eq!(parse_selector(text).unwrap().matches(&labels), wanted, "{text}");
    }
    assert!(parse_selector("").is_err());
}

fn documents(objects: &[Value]) -> Vec<read::Document> {
    objects.iter().map(|value| read::Document { file: "a.yaml".to_owned(), value: value.clone() }).collect()
}

fn world(objects: &[Value]) -> World {
    World::new(documents(objects), "shop", "system", "2026-01-01T00:00:00Z".parse().unwrap())
}

/// A world with a cluster, in which nothing is but what `set` puts there.
fn with_cluster(objects: &[Value], set: impl FnOnce(&mut Cluster)) -> World {
    let mut world = world(objects);
    let ring = KeyRing::new(vec![("k1".to_owned(), "0123456789abcdef".into())]);
    let mut cluster = Cluster { keys: ring, ..Cluster::default() };
    for (kind, name) in [(SourceKind::Secret, "app"), (SourceKind::Secret, "token"), (SourceKind::Secret, "source")] {
        cluster.objects.insert((kind, "shop".to_owned(), name.to_owned()), Observed::Absent);
    }
    set(&mut cluster);
    world.cluster = Some(cluster);
    world
}

fn put_secret(cluster: &mut Cluster, name: &str, version: &str, data: &[(&str, &str)]) {
    let text: serde_json::Map<_, _> = data.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    let secret: k8s_openapi::api::core::v1::Secret =
        serde_json::from_value(json!({"metadata": {"name": name, "resourceVersion": version}, "stringData": text}))
            .unwrap();
    cluster
        .objects
        .insert((SourceKind::Secret, "shop".to_owned(), name.to_owned()), Observed::Here(Blob::from(secret)));
}

fn connection() -> Value {
    json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection", "metadata": {"name": "kelvin"},
           "spec": {"kelvin": {"url": "https://acme.kelvin.ai", "auth": {"accessTokenRef": {"name": "token", "key": "t"}}}}})
}

fn token() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"t": "hunter2-token"}})
}

fn vault_secret(name: &str, spec: Value) -> Value {
    let mut whole = json!({"connectionRef": {"name": "kelvin"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret", "metadata": {"name": name}, "spec": whole})
}

fn inline(key: &str, name: &str, value: &str) -> Value {
    json!({"key": key, "remoteName": name, "value": value})
}

fn from_secret(key: &str, name: &str) -> Value {
    json!({"key": key, "remoteName": name, "valueFrom": {"secretKeyRef": {"name": "source", "key": "k"}}})
}

fn row(name: &str, key: &str, fingerprint: &str, state: &str) -> Value {
    json!({"connection": "VaultConnection/kelvin", "remoteName": name, "key": key, "fingerprint": fingerprint,
           "state": state, "sourceVersion": "7"})
}

fn print_of(name: &str, value: &str) -> String {
    KeyRing::new(vec![("k1".to_owned(), "0123456789abcdef".into())]).unwrap().fingerprint(UID, name, value.as_bytes())
}

/// The object as the cluster has it.
fn live(mut object: Value, entries: &[Value]) -> VaultSecret {
    let more = json!({"namespace": "shop", "uid": UID, "generation": 3, "resourceVersion": "9"});
    object["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object["status"] = json!({"observedGeneration": 3, "entries": entries});
    serde_json::from_value(object).unwrap()
}

fn put_live(cluster: &mut Cluster, object: Value, entries: &[Value]) {
    let vs = live(object, entries);
    cluster.vault_secrets.insert(ObjectKey::new("shop", vs.metadata.name.clone().unwrap()), vs);
}

fn plan(world: &World) -> Plan {
    let plan = build::plan(world, &[], &mut os_rng());
    for output in [Output::Table, Output::Json, Output::Yaml, Output::Markdown] {
        let text = show(&plan, output).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }
    plan
}

fn object<'p>(plan: &'p Plan, name: &str) -> &'p ObjectPlan {
    plan.objects.iter().find(|o| o.name == name).unwrap()
}

fn entries(plan: &Plan, name: &str) -> Vec<(String, Action)> {
    let entries = object(plan, name).entries.iter();
    entries.map(|e| (e.remote_name.clone().unwrap_or_default(), e.verdict.action)).collect()
}

fn only(plan: &Plan, name: &str) -> (Action, String) {
    let [entry] = &object(plan, name).entries[..] else { panic!("{:?}", object(plan, name)) };
    (entry.verdict.action, format!("{} {}", entry.verdict.reason.unwrap_or_default(), entry.verdict.message))
}

#[test]
fn new_is_created_and_the_secret_with_it() {
    let app = vault_secret("app", json!({"data": [inline("A", "a", "hunter2")]}));
    let plan = plan(&with_cluster(&[connection(), token(), app], |_| {}));
    assert_eq!(entries(&plan, "app"), [("a".to_owned(), Action::Create)]);
    assert_eq!(object(&plan, "app").verdict.action, Action::Create);
    assert_eq!(object(&plan, "app").secrets[0].verdict.action, Action::Create);
    assert!(!plan.is_refused());
}

#[test]
fn the_ledger_tells_what_is_the_same_what_changes_and_what_goes() {
    let data =
        json!([inline("S", "same", "hunter2"), inline("C", "changed", "hunter2-new"), inline("N", "new", "hunter2")]);
    for (policy, wanted) in [("Delete", Action::Delete), ("Retain", Action::Forget)] {
        let app = vault_secret("app", json!({"data": data, "deletionPolicy": policy}));
        let was = vault_secret("app", json!({"data": [inline("G", "gone", "hunter2")]}));
        let world = with_cluster(&[connection(), token(), app], |cluster| {
            let rows = [
                row("same", "S", &print_of("same", "hunter2"), "InSync"),
                row("changed", "C", &print_of("changed", "hunter2"), "InSync"),
                row("gone", "G", &print_of("gone", "hunter2"), "InSync"),
            ];
            put_live(cluster, was, &rows);
        });
        let found = entries(&plan(&world), "app");
        let wanted = [Action::Unchanged, Action::Update, Action::Create, wanted];
        assert_eq!(found.iter().map(|(_, action)| *action).collect::<Vec<_>>(), wanted, "{found:?}");
    }
}

#[test]
fn an_entry_of_somebody_else_is_refused_or_adopted() {
    let rows = [json!({"connection": "VaultConnection/kelvin", "remoteName": "a", "key": "A", "state": "Conflict"})];
    for (policy, annotation, wanted) in [
        ("Refuse", "", Action::Refused),
        ("TakeOver", "", Action::Adopt),
        ("Refuse", "*", Action::Adopt),
        ("Refuse", "a,b", Action::Adopt),
        ("Refuse", "b", Action::Refused),
    ] {
        let mut app = vault_secret("app", json!({"data": [inline("A", "a", "hunter2")], "adoptionPolicy": policy}));
        app["metadata"]["annotations"] = json!({"vaultsecret.dev/adopt": annotation});
        let world = with_cluster(&[connection(), token(), app.clone()], |c| put_live(c, app, &rows));
        let plan = plan(&world);
        assert_eq!(only(&plan, "app").0, wanted, "{policy} {annotation}");
        assert_eq!(plan.is_refused(), wanted == Action::Refused);
    }
}

#[test]
fn what_is_missing_is_waited_for_with_a_cluster_and_not_known_without() {
    let app = vault_secret("app", json!({"data": [from_secret("A", "a")]}));
    let (action, why) = only(&plan(&with_cluster(&[connection(), token(), app.clone()], |_| {})), "app");
    assert_eq!(action, Action::Waits);
    assert!(why.contains("SourceMissing") && why.contains("source"), "{why}");
    let (action, why) = only(&plan(&with_cluster(std::slice::from_ref(&app), |_| {})), "app");
    assert_eq!((action, why.contains("ConnectionMissing")), (Action::Waits, true), "{why}");
    let (action, why) = only(&plan(&with_cluster(&[connection(), app.clone()], |_| {})), "app");
    assert_eq!((action, why.contains("SourceMissing")), (Action::Waits, true), "{why}");
    let (action, why) = only(&plan(&world(&[connection(), app.clone()])), "app");
    assert_eq!((action, why.contains("source")), (Action::Apply, true), "{why}");
    let (action, why) = only(&plan(&world(&[app])), "app");
    assert_eq!((action, why.contains("is not in the manifests")), (Action::Unknown, true), "{why}");
}

#[test]
fn credentials_that_are_missing_hold_back_what_would_be_written() {
    let app = vault_secret("app", json!({"data": [inline("A", "a", "hunter2")]}));
    let plan = plan(&with_cluster(&[connection(), app], |_| {}));
    let (action, why) = only(&plan, "app");
    assert_eq!((action, why.contains("CredentialsMissing")), (Action::Waits, true), "{why}");
    assert_eq!(object(&plan, "app").secrets[0].verdict.action, Action::Waits);
    assert!(object(&plan, "kelvin").problems[0].contains("token"));
}

#[test]
fn without_the_key_ring_specs_and_versions_tell_what_they_can() {
    let generate =
        |epoch| json!({"key": "G", "remoteName": "g", "valueFrom": {"generate": {"uuid": {}, "epoch": epoch}}});
    let data = |value: &str, epoch: i64| json!([inline("I", "i", value), from_secret("S", "s"), generate(epoch)]);
    let rows = ["i", "s", "g"].map(|name| row(name, &name.to_uppercase(), "k1:x", "InSync"));
    for (value, epoch, version, wanted) in [
        ("hunter2", 1, "7", [Action::Unchanged, Action::Unchanged, Action::Unchanged]),
        ("hunter2-new", 2, "8", [Action::Update, Action::Unknown, Action::Update]),
    ] {
        let was = vault_secret("app", json!({"data": data("hunter2", 1)}));
        let app = vault_secret("app", json!({"data": data(value, epoch)}));
        let world = with_cluster(&[connection(), token(), app], |cluster| {
            cluster.keys = None;
            put_secret(cluster, "source", version, &[("k", "hunter2")]);
            put_live(cluster, was, &rows);
        });
        let found = entries(&plan(&world), "app");
        assert_eq!(found.iter().map(|(_, action)| *action).collect::<Vec<_>>(), wanted, "{found:?}");
    }
}

#[test]
fn names_values_templates_and_policies_are_judged_without_a_cluster() {
    let source = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}, "data": {"k": "/w=="}});
    let password = json!({"password": {"length": 200, "symbols": 0, "digits": 0, "allowRepeat": false}});
    for (entry, part) in [
        (inline("A", "UPPER_CASE", "hunter2"), "set remoteName: upper-case ("),
        (inline("A", "a", &"x".repeat(65_000)), "Kelvin takes 64000"),
        (from_secret("A", "a"), "not UTF-8 text"),
        (json!({"key": "A", "remoteName": "a", "valueFrom": {"template": "{{ hunter2"}}), "TemplateError"),
        (json!({"key": "A", "remoteName": "a", "valueFrom": {"template": "{{ A }}"}}), "TemplateError"),
        (json!({"key": "A", "remoteName": "a", "valueFrom": {"generate": password}}), "allowRepeat"),
        (
            json!({"key": "A", "remoteName": "a", "valueFrom": {"sealed":
                "-----BEGIN AGE ENCRYPTED FILE-----\nhunter2\n-----END AGE ENCRYPTED FILE-----\n"}}),
            "not what `vaultsecret seal` printed",
        ),
    ] {
        let app = vault_secret("app", json!({"data": [entry]}));
        let plan = plan(&world(&[connection(), source.clone(), app]));
        let (action, why) = only(&plan, "app");
        assert_eq!(action, Action::Refused, "{part}: {why}");
        assert!(why.contains(part), "{part}: {why}");
        assert!(plan.is_refused());
    }
}

#[test]
fn two_who_want_one_entry_are_told_who_has_it() {
    let one = vault_secret("one", json!({"data": [inline("A", "a", "hunter2")]}));
    let two = vault_secret("two", json!({"data": [inline("B", "a", "hunter2")]}));
    let both = [connection(), two.clone(), one.clone()];
    let offline = plan(&world(&both));
    assert_eq!(only(&offline, "two").0, Action::Apply, "the first of the manifests has it");
    let (action, why) = only(&offline, "one");
    assert_eq!((action, why.contains("is named before by VaultSecret shop/two")), (Action::Refused, true), "{why}");
    // Somebody in the cluster who is not in the manifests.
    let world = with_cluster(&[connection(), token(), two], |cluster| {
        put_live(cluster, one, &[row("a", "A", &print_of("a", "hunter2"), "InSync")]);
    });
    let (_, why) = only(&plan(&world), "two");
    assert!(why.contains("OwnedByAnother") && why.contains("belongs to VaultSecret shop/one"), "{why}");
}

#[test]
fn workloads_restart_when_the_values_change_and_not_with_the_first_set() {
    let app = |value: &str| {
        let restarts = json!([{"kind": "Deployment", "name": "web"}]);
        vault_secret("app", json!({"data": [inline("A", "a", value)], "rolloutRestartTargets": restarts}))
    };
    let rows = [row("a", "A", &print_of("a", "hunter2"), "InSync")];
    let restarts = |value: &str, recorded: Value| {
        let world = with_cluster(&[connection(), token(), app(value)], |cluster| {
            put_live(cluster, app("hunter2"), &rows);
            let vs = cluster.vault_secrets.values_mut().next().unwrap();
            vs.status.as_mut().unwrap().target = serde_json::from_value(recorded).unwrap();
        });
        let plan = plan(&world);
        object(&plan, "app").restarts.iter().map(|r| (r.name.clone(), r.verdict.action)).collect::<Vec<_>>()
    };
    let set = |value: &str| {
        let ring = KeyRing::new(vec![("k1".to_owned(), "0123456789abcdef".into())]).unwrap();
        let (key, value) = ("A".to_owned(), crate::value::SecretValue::from(value));
        crate::controller::restart::name_of_set(&ring, None, UID, std::iter::once((&key, &value)))
    };
    let recorded =
        json!({"name": "app", "resourceVersion": "1", "values": set("hunter2"), "restarted": set("hunter2")});
    assert_eq!(restarts("hunter2", recorded.clone()), []);
    assert_eq!(restarts("hunter2-new", recorded), [("web".to_owned(), Action::Restart)]);
    assert_eq!(restarts("hunter2-new", Value::Null), []);
}

#[test]
fn a_connection_that_leads_elsewhere_leaves_its_entries_or_is_held_back() {
    for (count, wanted) in [(2, [Action::Create, Action::Forget]), (9, [Action::Waits, Action::Waits])] {
        let names: Vec<String> = (0..count).map(|i| format!("n{i}")).collect();
        let data: Vec<Value> = names.iter().map(|name| inline(&name.to_uppercase(), name, "hunter2-new")).collect();
        let rows: Vec<Value> =
            names.iter().map(|n| row(n, &n.to_uppercase(), &print_of(n, "hunter2"), "InSync")).collect();
        let app = vault_secret("app", json!({"data": data, "deletionPolicy": "Delete"}));
        let mut elsewhere = connection();
        elsewhere["spec"]["kelvin"]["url"] = json!("https://other.kelvin.ai");
        let world = with_cluster(&[elsewhere, token(), app.clone()], |cluster| {
            let mut old = world(&[connection()]);
            cluster.connections.append(&mut old.connections);
            put_live(cluster, app, &rows);
        });
        let plan = plan(&world);
        let found = entries(&plan, "app");
        assert_eq!([found[0].1, found.last().unwrap().1], wanted, "{found:?}");
        assert!(object(&plan, "kelvin").problems[0].contains("another remote"));
    }
}

#[test]
fn an_entry_moves_from_one_object_to_another() {
    for (retains, adopts, wanted) in [
        ("Delete", "Refuse", Action::Create),
        ("Retain", "TakeOver", Action::Adopt),
        ("Retain", "Refuse", Action::Refused),
    ] {
        let a = |name: &str, policy: Value| {
            let mut spec = json!({"data": [inline("A", "a", "hunter2")]});
            spec.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
            vault_secret(name, spec)
        };
        let old = a("old", json!({"deletionPolicy": retains}));
        let new = a("new", json!({"adoptionPolicy": adopts}));
        let world = with_cluster(&[connection(), token(), new], |cluster| {
            put_live(cluster, old, &[row("a", "A", &print_of("a", "hunter2"), "InSync")]);
        });
        let kept = plan(&world);
        assert!(only(&kept, "new").1.contains("belongs to VaultSecret shop/old"), "it has it as long as it is there");
        let pruned = build::plan(&world, &[ObjectKey::new("shop", "old")], &mut os_rng());
        assert_eq!(only(&pruned, "new").0, wanted, "{retains} {adopts}: {}", only(&pruned, "new").1);
    }
}

#[test]
fn what_is_pruned_goes_by_its_own_policy() {
    let old = vault_secret("old", json!({"data": [inline("A", "a", "hunter2")], "deletionPolicy": "Delete"}));
    let app = vault_secret("app", json!({"data": [inline("B", "b", "hunter2")]}));
    let world = with_cluster(&[connection(), token(), app], |cluster| {
        put_live(cluster, old, &[row("a", "A", &print_of("a", "hunter2"), "InSync")]);
    });
    let keys = pruned(&world, None);
    assert_eq!(keys, [ObjectKey::new("shop", "old")]);
    let plan = build::plan(&world, &keys, &mut os_rng());
    assert_eq!(only(&plan, "old").0, Action::Delete);
    assert_eq!(pruned(&world, Some(&parse_selector("app=x").unwrap())), []);
}
