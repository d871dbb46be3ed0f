//! Behaviours D6, D7 and D9: names of whole Secrets (`spec.dataFrom`), and what is refused.

use devkit::remotes::Op;
use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, for_each_remote, inline, merged};
use crate::datafrom::{source, spec, synced};

/// Two that would be one are refused as a whole, before anything is written.
async fn d06_collisions_are_refused(kind: Kind) {
    let scene = Scene::new("d06").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let value = scene.canary("value");
    scene.source("one", &[("same", &value), ("first", &value)]).await;
    scene.source("two", &[("same", &value), ("second", &value)]).await;
    let both = json!([{"secretRef": {"name": "one"}}, {"secretRef": {"name": "two"}}]);
    scene.vault_secret("app", merged(spec(kind, both), json!({"deletionPolicy": "Delete"}))).await;
    let said = scene.not_ready("app", "NameRefused").await.ready().message;
    for part in ["key same of Secret one (dataFrom[0])", "key same of Secret two (dataFrom[1])"] {
        assert!(said.contains(part), "{said}");
    }
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 0, "nothing at all");
    assert_eq!(scene.get("Secret", "app").await, None);

    let twice = json!([
        {"secretRef": {"name": "one"}, "rewrite": [{"regexp": {"source": "^first$", "target": &kind.name("explicit")}}]},
        {"secretRef": {"name": "two"}, "match": {"regexp": "^second$"}},
    ]);
    scene.edit("app", json!({"dataFrom": twice, "data": [inline("mine", &kind.name("explicit"), "v")]})).await;
    let about = |app: &Object| {
        let said = app.ready().message;
        said.contains("key mine of data")
            && said.contains("key first of Secret one")
            && said.contains(&kind.name("explicit"))
    };
    scene.until("VaultSecret", "app", "names both keys of one entry", about).await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 0);

    scene.edit("app", json!({"data": null, "dataFrom": [{"secretRef": {"name": "one"}}, twice[1]]})).await;
    synced(&scene, 3).await;
    assert_eq!(remote.write_calls(), 3);
    // One that comes later changes nothing of what is there.
    scene.set_source("one", "second", &value).await;
    scene.not_ready("app", "NameRefused").await;
    scene.set_source("one", "first", &scene.canary("changed")).await;
    scene.patch("Secret", "two", json!({"data": {"same": null}})).await;
    scene.two_more_probes(&remote).await;
    assert_eq!((remote.write_calls(), remote.count(Op::Delete)), (3, 0));
    assert_eq!(scene.expect("Secret", "app").await.keys(), ["first", "same", "second"]);
    scene.patch("Secret", "two", json!({"data": {"second": null}})).await;
    synced(&scene, 3).await;
    assert_eq!((remote.write_calls(), remote.count(Op::Delete)), (4, 0), "one value changed; the entry is the same");
}

async fn d07_names_are_rewritten(kind: Kind) {
    let scene = Scene::new("d07").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let value = scene.canary("value");
    scene.source("source", &[("DB_USER", &value), ("DB_NAME", &value), ("OTHER", &value)]).await;
    let separator = if kind == Kind::Kelvin { "-" } else { "_" };
    let rewrite = json!([
        {"regexp": {"source": "^DB_(.*)$", "target": format!("db{separator}$1")}},
        {"template": "{{ secret }}{{ key | lower | replace('db', '') }}"},
    ]);
    let item =
        |rewrite: &Value| json!([{"secretRef": {"name": "source"}, "match": {"regexp": "^DB_"}, "rewrite": rewrite}]);
    scene.vault_secret("app", spec(kind, item(&rewrite))).await;
    synced(&scene, 2).await;
    for name in ["source user", "source name"] {
        assert_eq!(remote.value(&kind.name(name)).as_ref(), Some(&value), "{name}");
    }
    assert_eq!(
        scene.expect("Secret", "app").await.keys(),
        ["DB_NAME", "DB_USER"],
        "the Secret has the keys as they were"
    );

    let refused = async |rewrite: Value, reason: &str, words: &[&str]| {
        scene.edit("app", json!({"dataFrom": item(&rewrite)})).await;
        let said = scene.not_ready("app", reason).await.ready().message;
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    let regexp = |source: &str, target: &str| json!([{"regexp": {"source": source, "target": target}}]);
    refused(regexp("(", "x"), "NameRefused", &["dataFrom[0].rewrite[0].regexp", "unclosed group"]).await;
    let template = json!([{"template": "{{ kye }}"}]);
    refused(
        template,
        "TemplateError",
        &["dataFrom[0].rewrite[0]", "DB_NAME", "there are key, the name so far, and secret"],
    )
    .await;
    scene.edit("app", json!({"dataFrom": item(&rewrite)})).await;
    synced(&scene, 2).await;
    // A name that the remote does not take comes with one that would do, as in data.
    refused(regexp("DB_", "a b/"), "NameRefused", &["a b/NAME", "set remoteName: "]).await;
    assert_eq!(remote.write_calls(), 2, "nothing was written for any of that");
}

#[tokio::test]
async fn d09_what_the_schema_refuses() {
    let scene = Scene::new("d09").await;
    let refused = async |more: Value, words: &str| {
        let spec = merged(json!({"connectionRef": {"name": "c"}}), more);
        let error = scene.try_create("VaultSecret", "app", json!({"spec": spec})).await.expect_err("it is refused");
        assert!(error.to_string().contains(words), "{error}");
    };
    let item = |item: Value| json!({"dataFrom": [item]});
    let secret = json!({"name": "s"});
    refused(json!({}), "at least one of data and dataFrom must be set").await;
    refused(item(json!({})), "exactly one of secretRef and selector must be set").await;
    let both = json!({"secretRef": secret, "selector": {"matchLabels": {"a": "b"}}});
    refused(item(both), "exactly one of secretRef and selector must be set").await;
    refused(item(json!({"selector": {}})), "name at least one label").await;
    refused(item(json!({"secretRef": secret, "key": "k"})), "it needs remoteName").await;
    let rewrite =
        json!({"secretRef": secret, "rewrite": [{"template": "x", "regexp": {"source": "a", "target": "b"}}]});
    refused(item(rewrite), "exactly one of regexp and template must be set").await;
}

/// What the operator writes itself would come back for ever.
#[tokio::test]
async fn d09_own_target_is_no_source() {
    let scene = Scene::new("d09-own").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    scene.vault_secret("app", spec(Kind::Kelvin, json!([{"secretRef": {"name": "app"}}]))).await;
    let said = scene.not_ready("app", "ValueRefused").await.ready().message;
    assert!(said.contains("Secret app is what this VaultSecret writes"), "{said}");
}

/// An entry is one VaultSecret's, whichever way it is named.
#[tokio::test]
async fn d09_another_has_the_entry() {
    let (scene, kind) = (Scene::new("d09-owned").await, Kind::Kelvin);
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    scene.source("source", &[("alpha", "a value"), ("beta", "a value")]).await;
    let data = json!([inline("X", "alpha", "of the other")]);
    scene.vault_secret("other", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    scene.ready("other").await;
    remote.foreign_put("beta", "of a stranger");
    scene.two_more_probes(&remote).await;
    scene.vault_secret("app", spec(kind, source())).await;
    let app = scene.not_ready("app", "OwnedByAnother").await;
    assert!(app.ready().message.contains("other"), "{app:?}");
    scene.until("VaultSecret", "app", "leaves the stranger's", |app| app.state("beta") == "Conflict").await;
    scene.delete("VaultSecret", "other").await;
    scene.annotate("VaultSecret", "app", "vaultsecret.dev/adopt", "*").await;
    scene.remote_has(&remote, "beta", "a value").await;
}

for_each_remote!(d06_collisions_are_refused, d07_names_are_rewritten);
