//! Behaviours C1–C11: one ClusterVaultSecret, many namespaces.

use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, Stage, api, generated, inline, merged};

/// C1: a VaultSecret in each namespace, entries and values of its own; namespaces come, change their labels and go.
#[tokio::test]
async fn c1_each_namespace_has_its_own() {
    let stage = Stage::new("c1", Kind::Kelvin).await;
    let (a, b) = (stage.namespace("a").await, stage.namespace("b").await);
    let mut spec = stage.spec("PerNamespace", json!([generated("PASSWORD", "password", 1)]));
    spec["template"]["deletionPolicy"] = json!("Delete");
    spec["vaultSecretMetadata"] = json!({"labels": {"team": "platform"}});
    stage.create(spec).await;
    stage.ready(2).await;
    let values = [stage.shown(&a, "PASSWORD").await, stage.shown(&b, "PASSWORD").await];
    values.iter().for_each(|value| stage.scene.secret_text(value));
    assert_ne!(values[0], values[1]);
    for (place, value) in [&a, &b].into_iter().zip(&values) {
        assert_eq!(stage.remote.value(&format!("{place}-password")).as_ref(), Some(value));
        let made = stage.get("VaultSecret", place, &stage.name).await.unwrap();
        assert_eq!(made.text("/metadata/labels/team"), "platform");
        assert_eq!(made.text("/metadata/ownerReferences/0/kind"), "ClusterVaultSecret");
    }

    // One more, one without the label, and one that is not chosen any more but stays.
    let c = stage.namespace("c").await;
    stage.ready(3).await;
    assert!(stage.remote.value(&format!("{c}-password")).is_some());
    stage.label(&a, false).await;
    stage.ready(2).await;
    stage.goes("VaultSecret", &a).await;
    stage.scene.eventually("its entry goes", async || stage.remote.value(&format!("{a}-password")).is_none()).await;
    stage.goes("Secret", &a).await;
    assert_eq!(stage.remote.value(&format!("{b}-password")).as_ref(), Some(&values[1]), "no other is touched");
    stage.label(&a, true).await;
    stage.ready(3).await;
    stage.end().await;
}

/// C2: the template is changed; the VaultSecrets follow, and what somebody changes or deletes is put right.
#[tokio::test]
async fn c2_vault_secrets_are_what_the_template_says() {
    let stage = Stage::new("c2", Kind::Kelvin).await;
    let a = stage.namespace("a").await;
    stage.create(stage.spec("PerNamespace", json!([inline("REGION", "region", "eu")]))).await;
    stage.ready(1).await;
    let entry = format!("{a}-region");
    let edit = json!({"spec": {"template": {"data": [inline("REGION", "region", "us")]}}});
    stage.scene.patch("ClusterVaultSecret", &stage.name, edit).await;
    stage.scene.remote_has(&stage.remote, &entry, "us").await;
    stage.ready(1).await;

    let theirs = api(&stage.scene.client, "VaultSecret", &a);
    let edit = json!({"metadata": {"labels": {"theirs": "stays"}}, "spec": {"suspend": true}});
    theirs.patch(&stage.name, &Default::default(), &kube::api::Patch::Merge(&edit)).await.unwrap();
    let restored = async || {
        let now = stage.get("VaultSecret", &a, &stage.name).await?;
        (now.at("/spec/suspend").is_null() && now.text("/metadata/labels/theirs") == "stays").then_some(())
    };
    stage.scene.eventually("the spec is the template's again", restored).await;
    let before = stage.get("VaultSecret", &a, &stage.name).await.unwrap();
    theirs.delete(&stage.name, &Default::default()).await.unwrap();
    let made_anew = async || stage.get("VaultSecret", &a, &stage.name).await.filter(|now| now.uid() != before.uid());
    stage.scene.eventually("it is made anew", made_anew).await;
    stage.end().await;
}

/// C3: what somebody else made is never touched, and holds no other namespace. When it goes, ours follows.
#[tokio::test]
async fn c3_what_is_in_the_way_stays() {
    let stage = Stage::new("c3", Kind::Kelvin).await;
    let (a, b) = (stage.namespace("a").await, stage.namespace("b").await);
    let theirs = json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
        "metadata": {"name": stage.name, "namespace": a},
        "spec": {"connectionRef": {"name": "theirs"}, "data": [inline("THEIRS", "theirs", "v")]}});
    let theirs = stage.scene.apply(&theirs).await;
    stage.create(stage.spec("PerNamespace", json!([inline("REGION", "region", "eu")]))).await;
    let object = stage
        .until("tells of the conflict", |o| o.ready().reason == "NamespacesNotReady" && Stage::says(o, &b).0)
        .await;
    let (ready, reason, message) = Stage::says(&object, &a);
    assert_eq!((ready, reason.as_str()), (false, "VaultSecretConflict"), "{message}");
    assert_eq!(object.text("/status/namespaces/0/name"), a, "what is wrong comes first");
    assert_eq!((object.number("/status/matching"), object.number("/status/ready")), (2, 1));
    let now = stage.get("VaultSecret", &a, &stage.name).await.unwrap();
    assert_eq!((now.uid(), now.at("/spec")), (theirs.uid(), theirs.at("/spec")));
    api(&stage.scene.client, "VaultSecret", &a).delete(&stage.name, &Default::default()).await.unwrap();
    stage.ready(2).await;
    stage.end().await;
}

/// C4: a prefix that gives all namespaces the same entries is refused before anything is written.
#[tokio::test]
async fn c4_namespaces_that_cannot_be_told_apart() {
    let stage = Stage::with(Scene::new("c4").await, Kind::Kelvin, json!({"remoteNamePrefix": "platform-"})).await;
    let (a, b) = (stage.namespace("a").await, stage.namespace("b").await);
    let mut spec = stage.spec("PerNamespace", json!([inline("REGION", "region", "eu")]));
    spec["template"]["connectionRef"]["name"] = json!(stage.place("nothing"));
    stage.create(spec).await;
    // Nor while it is not known.
    let object = stage.until("waits for the connection", |o| o.ready().reason == "ConnectionMissing").await;
    assert_eq!(Stage::says(&object, &a).1, "ConnectionMissing");
    let edit = json!({"spec": {"template": {"connectionRef": {"name": stage.name}}}});
    stage.scene.patch("ClusterVaultSecret", &stage.name, edit).await;
    let object = stage.until("is refused", |o| o.ready().reason == "NamesCollide").await;
    let message = object.ready().message;
    assert!(message.contains("remoteNamePrefix") && message.contains("sharing: Shared"), "{message}");
    assert_eq!(object.condition("Stalled").status, "True");
    for place in [&a, &b] {
        assert_eq!(stage.get("VaultSecret", place, &stage.name).await, None);
    }
    assert_eq!(stage.remote.write_calls(), 0);
    let prefix = json!({"spec": {"remoteNamePrefix": "{{ namespace }}-"}});
    stage.scene.patch("ClusterVaultConnection", &stage.name, prefix).await;
    stage.ready(2).await;
    stage.end().await;
}

/// C5: one value for all, one write at the remote for it, and a copy of the Secret in each namespace.
#[tokio::test]
async fn c5_all_namespaces_share_one_value() {
    let stage = Stage::new("c5", Kind::Kelvin).await;
    let places = [stage.namespace("a").await, stage.namespace("b").await, stage.namespace("c").await];
    let mut spec = stage.spec("Shared", json!([generated("PASSWORD", "password", 1)]));
    spec["template"]["target"] = json!({"template": {"metadata": {"labels": {"team": "platform"}}}});
    stage.create(spec).await;
    stage.ready(3).await;
    let entry = format!("{}-password", stage.scene.operator.system());
    let first = stage.remote.value(&entry).unwrap();
    stage.scene.secret_text(&first);
    for place in &places {
        assert_eq!(stage.shown(place, "PASSWORD").await, first);
        let copy = stage.get("Secret", place, &stage.name).await.unwrap();
        assert_eq!(copy.text("/metadata/labels/team"), "platform");
        assert_eq!(copy.text("/metadata/ownerReferences/0/kind"), "ClusterVaultSecret");
        assert_eq!(stage.get("VaultSecret", place, &stage.name).await, None);
    }
    assert_eq!(stage.remote.mutations(), 1, "one write for three namespaces");

    // A rotation is one write, and is everywhere.
    let edit = json!({"spec": {"template": {"data": [generated("PASSWORD", "password", 2)]}}});
    stage.scene.patch("ClusterVaultSecret", &stage.name, edit).await;
    stage.scene.eventually("it is rotated", async || stage.remote.value(&entry).as_ref() != Some(&first)).await;
    let second = stage.remote.value(&entry).unwrap();
    stage.scene.secret_text(&second);
    for place in &places {
        stage.shows(place, "PASSWORD", &second).await;
    }
    stage.ready(3).await;
    assert_eq!(stage.remote.history(&entry), [first, second.clone()]);
    assert_eq!(stage.remote.mutations(), 2);

    // What somebody changes or deletes is put right; a namespace that is not chosen any more has none.
    let copies = |place: &str| api(&stage.scene.client, "Secret", place);
    let edit = json!({"stringData": {"PASSWORD": "somebody's"}});
    copies(&places[0]).patch(&stage.name, &Default::default(), &kube::api::Patch::Merge(&edit)).await.unwrap();
    copies(&places[1]).delete(&stage.name, &Default::default()).await.unwrap();
    for place in &places[..2] {
        stage.shows(place, "PASSWORD", &second).await;
    }
    stage.label(&places[2], false).await;
    stage.goes("Secret", &places[2]).await;
    stage.ready(2).await;
    assert_eq!(stage.remote.mutations(), 2);
    stage.scene.delete("ClusterVaultSecret", &stage.name).await;
    stage.scene.gone("ClusterVaultSecret", &stage.name).await;
    for place in &places[..2] {
        stage.goes("Secret", place).await;
    }
    stage.goes("VaultSecret", stage.scene.operator.system()).await;
    stage.end().await;
}

/// C6: somebody else's Secret is not overwritten by a copy, and holds no other namespace.
#[tokio::test]
async fn c6_a_copy_overwrites_nothing() {
    let stage = Stage::new("c6", Kind::Kelvin).await;
    let (a, b) = (stage.namespace("a").await, stage.namespace("b").await);
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"REGION": "theirs"},
                        "metadata": {"name": stage.name, "namespace": a}});
    let theirs = stage.scene.apply(&theirs).await;
    stage.create(stage.spec("Shared", json!([inline("REGION", "region", "eu")]))).await;
    let told = |o: &Object| o.ready().reason == "NamespacesNotReady" && Stage::says(o, &b).0;
    let object = stage.until("tells of the conflict", told).await;
    let (_, reason, message) = Stage::says(&object, &a);
    assert_eq!(reason, "TargetConflict", "{message}");
    let now = stage.get("Secret", &a, &stage.name).await.unwrap();
    assert_eq!(now.version(), theirs.version());
    stage.shows(&b, "REGION", "eu").await;
    api(&stage.scene.client, "Secret", &a).delete(&stage.name, &Default::default()).await.unwrap();
    stage.shows(&a, "REGION", "eu").await;
    stage.ready(2).await;
    stage.end().await;
}

/// C7: a namespace is deleted while it is in use, under either way of sharing and under Delete; nothing holds it.
#[tokio::test]
async fn c7_a_namespace_goes() {
    for sharing in ["PerNamespace", "Shared"] {
        let stage = Stage::new("c7", Kind::Kelvin).await;
        let (a, b) = (stage.namespace("a").await, stage.namespace("b").await);
        let mut spec = stage.spec(sharing, json!([inline("REGION", "region", "eu")]));
        spec["template"]["deletionPolicy"] = json!("Delete");
        stage.create(spec).await;
        stage.ready(2).await;
        stage.shows(&a, "REGION", "eu").await;
        stage.scene.delete("Namespace", &a).await;
        for kind in ["VaultSecret", "Secret"] {
            stage.goes(kind, &a).await;
        }
        stage.scene.gone("Namespace", &a).await;
        stage.ready(1).await;
        stage.shows(&b, "REGION", "eu").await;
        let object = stage.namespace("a").await;
        stage.ready(2).await;
        stage.shows(&object, "REGION", "eu").await;
        // Nor does the whole hold anything when it goes.
        stage.scene.delete("ClusterVaultSecret", &stage.name).await;
        stage.scene.gone("ClusterVaultSecret", &stage.name).await;
        for place in [&a, &b] {
            stage.goes("Secret", place).await;
        }
        stage.scene.eventually("its entries go", async || stage.remote.entries().is_empty()).await;
        stage.end().await;
    }
}

/// C8: names, exclusions, and a name that no namespace has.
#[tokio::test]
async fn c8_names_and_exclusions() {
    let stage = Stage::new("c8", Kind::Kelvin).await;
    let (a, b) = (stage.namespace("a").await, stage.namespace("b").await);
    let mut spec = stage.spec("PerNamespace", json!([inline("REGION", "region", "eu")]));
    spec["namespaces"] = json!({});
    stage.create(spec).await;
    let object = stage.until("has none", |o| o.ready().reason == "NoNamespaces").await;
    assert!(object.is_ready(), "{object:?}");
    let nowhere = stage.place("nowhere");
    let selector = json!({"matchLabels": {"of": stage.name}});
    let namespaces = json!({"names": [a, nowhere], "selector": selector, "exclude": [b]});
    stage.scene.patch("ClusterVaultSecret", &stage.name, json!({"spec": {"namespaces": namespaces}})).await;
    let object =
        stage.until("tells of the missing one", |o| Stage::says(o, &a).0 && o.number("/status/matching") == 2).await;
    assert_eq!(Stage::says(&object, &nowhere).1, "NamespaceMissing");
    assert_eq!(stage.get("VaultSecret", &b, &stage.name).await, None);
    stage.scene.create("Namespace", &nowhere, json!({"metadata": {"labels": {"of": stage.name}}})).await;
    stage.ready(2).await;
    let printed = stage.scene.kubectl_ok(&["get", "cvsec", &stage.name]).await;
    assert!(printed.contains("PerNamespace") && printed.contains("2/2") && printed.contains("Synced"), "{printed}");
    stage.end().await;
}

/// C9: with nothing to do nothing is written.
#[tokio::test]
async fn c9_at_rest_nothing_is_written() {
    let stage = Stage::new("c9", Kind::Kelvin).await;
    for place in ["a", "b", "c"] {
        stage.namespace(place).await;
    }
    let shared = stage.place("shared");
    stage.create(stage.spec("PerNamespace", json!([generated("PASSWORD", "password", 1)]))).await;
    let spec = stage.spec("Shared", json!([generated("PASSWORD", "shared", 1)]));
    stage.scene.create("ClusterVaultSecret", &shared, json!({"spec": spec})).await;
    stage.ready(3).await;
    stage
        .scene
        .until("ClusterVaultSecret", &shared, "is Ready", |o| {
            o.is_ready() && o.text("/status/readyNamespaces") == "3/3"
        })
        .await;
    // The connection counts its entries some seconds later.
    let counts = |o: &Object| o.number("/status/entries") == 4;
    stage.scene.until("ClusterVaultConnection", &stage.name, "counts four entries", counts).await;
    let (mark, mutations) = (stage.scene.mark(), stage.remote.mutations());
    // Something that is looked at and is no change: a namespace's other label, a touched object.
    let note = json!({"metadata": {"labels": {"note": "touched"}}});
    stage.scene.patch("Namespace", &stage.place("a"), note.clone()).await;
    stage.scene.patch("ClusterVaultSecret", &shared, note).await;
    stage.scene.two_more_probes(&stage.remote).await;
    stage.scene.two_more_probes(&stage.remote).await;
    assert_eq!(stage.writes(mark), Vec::<String>::new());
    assert_eq!(stage.remote.mutations(), mutations);
    stage.end().await;
}

/// What the schema refuses is one sentence.
#[tokio::test]
async fn c10_what_the_schema_refuses() {
    let scene = Scene::new("c10").await;
    let spec = |sharing: &str, template: Value| {
        let usual = json!({"connectionRef": {"kind": "ClusterVaultConnection", "name": "kelvin"},
                           "data": [inline("REGION", "region", "eu")]});
        json!({"namespaces": {}, "sharing": sharing, "template": merged(usual, template)})
    };
    for (spec, told) in [
        (spec("PerNamespace", json!({"connectionRef": {"kind": "VaultConnection"}})), "must be ClusterVaultConnection"),
        (spec("Shared", json!({"target": {"creationPolicy": "Merge"}})), "creationPolicy must be Owner"),
        (
            spec("Shared", json!({"rolloutRestartTargets": [{"kind": "Deployment", "name": "web"}]})),
            "rolloutRestartTargets is for sharing: PerNamespace",
        ),
        (spec("Sometimes", json!({})), "spec.sharing"),
        (spec("Shared", json!({"data": []})), "at least one of data and dataFrom"),
    ] {
        let refused = scene.try_create("ClusterVaultSecret", &scene.namespace, json!({"spec": spec})).await;
        let text = refused.expect_err("it is refused").to_string();
        assert!(text.contains(told), "{told}: {text}");
    }
    scene.create("ClusterVaultSecret", &scene.namespace, json!({"spec": spec("Shared", json!({}))})).await;
    let changed =
        scene.try_patch("ClusterVaultSecret", &scene.namespace, json!({"spec": {"sharing": "PerNamespace"}})).await;
    assert!(changed.expect_err("it is refused").to_string().contains("cannot be changed"));
    let standing = json!({"spec": {"vaultSecretMetadata": {"annotations": {"vaultsecret.dev/adopt": "region"}}}});
    scene.patch("ClusterVaultSecret", &scene.namespace, standing).await;
    scene.until("ClusterVaultSecret", &scene.namespace, "refuses it", |o| o.ready().reason == "Invalid").await;
    scene.delete("ClusterVaultSecret", &scene.namespace).await;
}

/// C11: while the VaultSecret of all does nothing, a touch of its Secret holds no copy, and a rename of the target takes none away.
#[tokio::test]
async fn c11_no_copy_goes_before_another_follows() {
    let stage = Stage::new("c11", Kind::Kelvin).await;
    let a = stage.namespace("a").await;
    let mut spec = stage.spec("Shared", json!([inline("REGION", "region", "eu")]));
    stage.create(spec.clone()).await;
    stage.ready(1).await;
    let change = async |spec: &Value| stage.scene.patch("ClusterVaultSecret", &stage.name, json!({"spec": spec})).await;
    let rests = |o: &Object| o.ready().reason == "SharedNotReady" && o.ready().message.contains("Suspended");
    spec["template"]["suspend"] = json!(true);
    change(&spec).await;
    stage.until("rests", rests).await;
    let touch = kube::api::Patch::Merge(json!({"metadata": {"annotations": {"theirs": "x"}}}));
    let home = api(&stage.scene.client, "Secret", stage.scene.operator.system());
    home.patch(&stage.name, &Default::default(), &touch).await.unwrap();
    let b = stage.namespace("b").await;
    stage.shows(&b, "REGION", "eu").await;

    let renamed = format!("{}-renamed", stage.name);
    spec["template"]["target"] = json!({"name": renamed});
    change(&spec).await;
    let seen = |o: &Object| rests(o) && o.at("/status/observedGeneration") == o.at("/metadata/generation");
    stage.until("rests under another name", seen).await;
    assert_eq!(stage.shown(&a, "REGION").await, "eu");
    change(&json!({"template": {"suspend": false}})).await;
    stage.ready(2).await;
    for place in [&a, &b] {
        assert!(stage.get("Secret", place, &renamed).await.is_some());
        stage.goes("Secret", place).await;
    }
    stage.end().await;
}

/// docs/cluster-vault-secret.md as it stands, with the connection pointed at the stand-in.
#[tokio::test]
async fn as_documented() {
    let scene = Scene::new("cvs-docs").await;
    let remote = scene.remote(Kind::Kelvin).await;
    let system = scene.operator.system().to_owned();
    let page = std::fs::read_to_string(crate::common::in_repository("docs/cluster-vault-secret.md")).unwrap();
    let blocks = page.split("\n```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let manifests: Vec<Value> = blocks.flat_map(|text| serde_saphyr::from_multiple::<Value>(text).unwrap()).collect();
    let kinds: Vec<_> = manifests.iter().map(|manifest| manifest["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ClusterVaultConnection", "ClusterVaultSecret", "ClusterVaultSecret"]);
    let credentials = json!({"apiVersion": "v1", "kind": "Secret", "stringData": remote.credentials(),
                             "metadata": {"name": "platform-kelvin", "namespace": system}});
    scene.apply(&credentials).await;
    let places = ["docs-checkout", "docs-blog"];
    for place in places {
        scene.create("Namespace", place, json!({"metadata": {"labels": {"tier": "apps"}}})).await;
    }
    for mut manifest in manifests {
        if manifest["kind"] == "ClusterVaultConnection" {
            manifest["spec"]["kelvin"]["url"] = json!(remote.url());
            manifest["spec"]["allowInsecureUrl"] = json!(true);
        }
        scene.apply(&manifest).await;
    }
    for name in ["database", "registry"] {
        let ready = |object: &Object| object.is_ready() && object.text("/status/readyNamespaces") == "2/2";
        scene.until("ClusterVaultSecret", name, "is Ready", ready).await;
    }
    let shown = async |place: &str, name: &str, key: &str| {
        let secret = api(&scene.client, "Secret", place).get(name).await.unwrap();
        let value = Object(serde_json::to_value(secret).unwrap()).secret_value(key).unwrap();
        String::from_utf8(value).unwrap()
    };
    for place in places {
        assert_eq!(remote.value(&format!("{place}-db-pw")), Some(shown(place, "database", "DB_PASSWORD").await));
        assert_eq!(remote.value(&format!("{system}-registry")), Some(shown(place, "registry", "TOKEN").await));
    }
    assert_eq!(remote.entries().len(), 3);
    for (kind, name) in
        [("ClusterVaultSecret", "database"), ("ClusterVaultSecret", "registry"), ("ClusterVaultConnection", "platform")]
    {
        scene.delete(kind, name).await;
    }
}
