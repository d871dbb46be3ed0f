//! Whole Secrets, and values that are read from a remote.

use super::*;

fn whole(from: Value) -> Value {
    vault_secret("app", json!({"dataFrom": [from], "deletionPolicy": "Delete"}))
}

fn named() -> Value {
    whole(json!({"secretRef": {"name": "source"}}))
}

fn selecting() -> Value {
    whole(json!({"selector": {"matchLabels": {"vault": "push"}}}))
}

/// A Secret of the manifests.
fn declared(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {"vault": "push"}}, "stringData": data})
}

/// In sync, from the Secret `source` with the keys.
fn put_synced(cluster: &mut Cluster, app: &Value, keys: &[&str]) {
    let rows: Vec<Value> = keys.iter().map(|k| row(k, k, &print_of(k, "hunter2"), "InSync")).collect();
    let mut vs = live(app.clone(), &rows);
    let sources = json!([{"name": "source", "resourceVersion": "7", "keys": keys}]);
    vs.status.as_mut().unwrap().sources = serde_json::from_value(sources).unwrap();
    cluster.vault_secrets.insert(ObjectKey::new("shop", "app"), vs);
}

fn unseen(cluster: &mut Cluster) {
    let at = (SourceKind::Secret, "shop".to_owned(), "source".to_owned());
    cluster.objects.insert(at, Observed::Unseen("you may not read it"));
    cluster.keys = None;
}

/// The actions by entry; the line about `dataFrom` has no name.
fn actions(world: &World) -> Vec<(String, Action)> {
    entries(&plan(world), "app")
}

fn pairs(wanted: &[(&str, Action)]) -> Vec<(String, Action)> {
    wanted.iter().map(|(name, action)| ((*name).to_owned(), *action)).collect()
}

#[test]
fn keys_that_come_stay_change_and_go() {
    let world = with_cluster(&[connection(), token(), named()], |cluster| {
        put_synced(cluster, &named(), &["goes", "new", "same"]);
        let rows = &mut cluster.vault_secrets.values_mut().next().unwrap().status.as_mut().unwrap().entries;
        rows.retain(|row| row.remote_name != "new");
        put_secret(cluster, "source", "8", &[("same", "hunter2"), ("new", "hunter2")]);
    });
    assert_eq!(
        actions(&world),
        pairs(&[("new", Action::Create), ("same", Action::Unchanged), ("goes", Action::Delete)])
    );
}

#[test]
fn what_is_not_known_is_said_and_never_leaves() {
    let at = |app: &Value, set: &dyn Fn(&mut Cluster)| {
        with_cluster(&[connection(), token(), app.clone()], |cluster| {
            put_synced(cluster, &named(), &["a", "b"]);
            set(cluster);
        })
    };
    // The status has the keys, and nothing has changed.
    assert_eq!(actions(&at(&named(), &unseen)), pairs(&[("a", Action::Unknown), ("b", Action::Unknown)]));
    // Another item wants others of them.
    let other = whole(json!({"secretRef": {"name": "source"}, "match": {"regexp": "^a"}}));
    let world = at(&other, &unseen);
    assert_eq!(actions(&world), pairs(&[("", Action::Unknown), ("a", Action::Unknown), ("b", Action::Unknown)]));
    let said = plan(&world);
    let said = &object(&said, "app").entries[0].verdict.message;
    assert_eq!(said, "dataFrom[0]: keys of Secret source are not known: you may not read it");
    // It is missing: what came from it stays.
    let world = at(&named(), &|_| {});
    assert_eq!(actions(&world), pairs(&[("", Action::Waits), ("a", Action::Waits), ("b", Action::Waits)]));
    assert!(object(&plan(&world), "app").entries[0].verdict.message.contains("what came from it stays as it is"));
    // It is missing, and was never read.
    let elsewhere = whole(json!({"secretRef": {"name": "elsewhere"}}));
    let world = at(&elsewhere, &|cluster| {
        cluster.objects.insert((SourceKind::Secret, "shop".to_owned(), "elsewhere".to_owned()), Observed::Absent);
    });
    assert_eq!(actions(&world), pairs(&[("", Action::Waits), ("a", Action::Unknown), ("b", Action::Unknown)]));
}

#[test]
fn what_is_refused_rests_as_a_whole() {
    let app = vault_secret(
        "app",
        json!({"data": [inline("A", "b", "hunter2")], "deletionPolicy": "Delete",
                                         "dataFrom": [{"secretRef": {"name": "source"}}]}),
    );
    let world = with_cluster(&[connection(), token(), app], |cluster| {
        put_synced(cluster, &named(), &["a", "b"]);
        put_secret(cluster, "source", "8", &[("b", "hunter2")]);
    });
    let plan = plan(&world);
    let (action, why) = only(&plan, "app");
    assert_eq!(action, Action::Refused);
    assert!(why.contains("would both become the entry \"b\" at VaultConnection/kelvin"), "{why}");
    assert_eq!(object(&plan, "app").secrets[0].verdict.action, Action::Waits);
    let own = whole(json!({"secretRef": {"name": "app"}}));
    let (action, why) = only(&super::plan(&super::world(&[connection(), own])), "app");
    assert_eq!((action, why.contains("is what this VaultSecret writes")), (Action::Refused, true), "{why}");
}

#[test]
fn selected_secrets_are_those_of_the_manifests_and_of_the_cluster() {
    let meta = |value: &str| serde_json::from_value(json!({"labels": {"vault": value}})).unwrap();
    let at = |labels: Observed<std::collections::BTreeMap<String, _>>| {
        let new = declared("new", json!({"n": "hunter2"}));
        with_cluster(&[connection(), token(), new, selecting()], |cluster| {
            put_synced(cluster, &selecting(), &["a"]);
            put_secret(cluster, "source", "7", &[("a", "hunter2")]);
            cluster.labels.insert("shop".to_owned(), labels);
        })
    };
    let here = |value: &str| Observed::Here([("source".to_owned(), meta(value))].into());
    let mut found = actions(&at(here("push")));
    found.sort();
    assert_eq!(found, pairs(&[("a", Action::Unchanged), ("n", Action::Create)]));
    assert_eq!(actions(&at(here("no"))), pairs(&[("n", Action::Create), ("a", Action::Delete)]), "it lost its label");
    let mut found = actions(&at(Observed::Unseen("you may not list Secrets")));
    found.sort();
    assert_eq!(found, pairs(&[("", Action::Unknown), ("a", Action::Unchanged), ("n", Action::Create)]));
}

#[test]
fn a_key_that_goes_from_a_manifest_goes_if_nobody_else_wrote_it() {
    for (manager, field, wanted) in [
        ("kubectl-client-side-apply", "data", Action::Delete),
        ("kubectl-client-side-apply", "stringData", Action::Unchanged),
        ("controller", "data", Action::Unchanged),
    ] {
        let source = declared("source", json!({"a": "hunter2"}));
        let world = with_cluster(&[connection(), token(), source, named()], |cluster| {
            put_synced(cluster, &named(), &["a", "b"]);
            let owner = json!({"manager": manager, "operation": "Update", "fieldsType": "FieldsV1",
                               "fieldsV1": {"f:data": {"f:a": {}, "f:b": {}}}});
            let last = json!({field: {"a": "", "b": ""}}).to_string();
            let last = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
            let secret = json!({"metadata": {"name": "source", "resourceVersion": "7", "managedFields": [owner], "annotations": last},
                                "stringData": {"a": "hunter2", "b": "hunter2"}});
            let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret).unwrap();
            let at = (SourceKind::Secret, "shop".to_owned(), "source".to_owned());
            cluster.objects.insert(at, Observed::Here(Blob::from(secret)));
        });
        assert_eq!(actions(&world), pairs(&[("a", Action::Unchanged), ("b", wanted)]), "{manager} {field}");
    }
}

#[test]
fn a_bundle_is_one_entry() {
    let bundle = whole(json!({"secretRef": {"name": "source"}, "remoteName": "all"}));
    let text = r#"{"a":"hunter2","b":"hunter2"}"#;
    let at = |data: &[(&str, &str)], reads: bool| {
        let world = with_cluster(&[connection(), token(), bundle.clone()], |cluster| {
            put_synced(cluster, &bundle, &["a", "b"]);
            let rows = [row("all", "all", &print_of("all", text), "InSync")];
            cluster.vault_secrets.values_mut().next().unwrap().status.as_mut().unwrap().entries =
                live(bundle.clone(), &rows).status.unwrap().entries;
            put_secret(cluster, "source", "7", data);
            if !reads {
                cluster.keys = None;
            }
        });
        actions(&world)
    };
    let both = [("a", "hunter2"), ("b", "hunter2")];
    for reads in [true, false] {
        assert_eq!(at(&both, reads), pairs(&[("all", Action::Unchanged)]));
        assert_eq!(at(&both[..1], reads), pairs(&[("all", Action::Update)]), "one went");
    }
    assert_eq!(at(&[("a", "hunter2"), ("b", "hunter2-new")], true), pairs(&[("all", Action::Update)]));
}

#[test]
fn values_that_are_read_at_a_remote_are_not_known() {
    let mut bao = connection();
    bao["metadata"]["name"] = json!("bao");
    bao["spec"] =
        json!({"vault": {"url": "https://bao.internal", "auth": {"tokenRef": {"name": "token", "key": "t"}}}});
    let reads = |connection: &str| {
        let from = json!({"connectionRef": {"name": connection}, "name": "db/creds", "field": "username"});
        vault_secret(
            "app",
            json!({"data": [
                {"key": "A", "remoteName": "a", "valueFrom": {"remote": from}},
                {"key": "N", "remoteName": "n", "valueFrom": {"remote": from}},
                {"key": "T", "remoteName": "t", "valueFrom": {"template": "x{{ A }}"}},
            ]}),
        )
    };
    let at = |connection_name: &str| {
        let app = reads(connection_name);
        with_cluster(&[connection(), bao.clone(), token(), app.clone()], |cluster| {
            put_live(cluster, app, &["a", "t"].map(|n| row(n, &n.to_uppercase(), &print_of(n, "hunter2"), "InSync")));
        })
    };
    let world = at("bao");
    assert_eq!(actions(&world), pairs(&[("a", Action::Unknown), ("n", Action::Create), ("t", Action::Unknown)]));
    let said = plan(&world);
    assert!(object(&said, "app").entries[0].verdict.message.contains("the entry \"db/creds\" at VaultConnection/bao"));
    let said = plan(&at("kelvin"));
    let verdict = &object(&said, "app").entries[0].verdict;
    assert_eq!((verdict.action, verdict.reason), (Action::Refused, Some("ValueRefused")));
    assert!(
        verdict.message.contains("VaultConnection/kelvin is a Kelvin connection, which gives no value back"),
        "{verdict:?}"
    );
    let (action, why) = {
        let said = plan(&at("nowhere"));
        let verdict = object(&said, "app").entries[0].verdict.clone();
        (verdict.action, verdict.message)
    };
    assert_eq!((action, why.contains("does not exist")), (Action::Waits, true), "{why}");
}
