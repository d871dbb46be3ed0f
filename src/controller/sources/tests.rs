#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};

use super::*;
use crate::controller::fixture::Fixture;
use crate::controller::object::ObjectState;
use crate::controller::readable::ReadValues;
use crate::remote::lane::ObjectKey;

/// What the status of a VaultSecret in generation `seen` says of the Secrets `named` and `labelled`.
fn app(data_from: Value, seen: i64) -> Value {
    json!({
        "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
        "metadata": {"name": "app", "namespace": "shop", "uid": "u1", "generation": 1, "resourceVersion": "0"},
        "spec": {"connectionRef": {"name": "kelvin"}, "dataFrom": data_from},
        "status": {"observedGeneration": seen, "sources": [
            {"name": "named", "resourceVersion": "7", "keys": ["N"]},
            {"name": "labelled", "resourceVersion": "8", "keys": ["L"]},
        ]},
    })
}

fn both() -> Value {
    json!([{"secretRef": {"name": "named"}}, {"selector": {"matchLabels": {"push": "yes"}}}])
}

fn secret(name: &str, label: &str, key: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "labels": {"push": label}}, "data": {key: "QQ=="}})
}

/// What comes of it: the keys, or why not.
#[derive(Debug, PartialEq)]
struct Seen {
    keys: Vec<String>,
    said: Vec<String>,
    recorded: Option<Vec<String>>,
}

async fn look(fixture: &Fixture, key: &ObjectKey, state: &mut ObjectState) -> Result<Seen, ReadError> {
    let vs = fixture.ctx.vault_secrets.get(key).unwrap();
    let mut pass = Pass::begin(&fixture.ctx, key, state, vs, fixture.ctx.clock.now());
    pass.register_refs(&BTreeSet::new());
    observe(&mut pass, &fixture.ctx, &mut None).await?;
    let recorded = pass.sources.recorded.take().map(|all| {
        all.iter().map(|source| format!("{}@{}", source.name, !source.resource_version.is_empty())).collect()
    });
    Ok(Seen {
        keys: pass.vs.spec.data.iter().map(|entry| entry.key.clone()).collect(),
        said: pass.sources.issues.iter().map(|issue| issue.message.clone()).collect(),
        recorded,
    })
}

/// The watches have shown these Secrets with their versions, and those with the label.
fn shown(fixture: &Fixture, key: &ObjectKey, versions: &[(&str, &str)], labelled: &[&str]) {
    let who = Waker::Object(key.clone());
    let names = ["named", "labelled"].map(|name| Ref::secret("shop", name));
    fixture.ctx.refs.set(&who, names.to_vec());
    let selector: Selector = [("push", "yes")].into_iter().collect();
    fixture.ctx.selected.set(&who, "shop", &[selector]);
    fixture.ctx.selected.list_begins(None);
    let labels = BTreeMap::from([("push".to_owned(), "yes".to_owned())]);
    for name in labelled {
        let _ = fixture.ctx.selected.observe("shop", name, Some(&labels));
    }
    let _ = fixture.ctx.selected.list_ends(None);
    for name in names {
        let version = versions.iter().find(|(of, _)| **of == *name.name);
        let known = version.map_or(Known::Gone, |(_, version)| Known::At((*version).into()));
        let _ = fixture.ctx.refs.observe(&name, known);
    }
}

fn keys(of: &Seen) -> Vec<&str> {
    of.keys.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn what_is_unchanged_is_not_read() {
    let fixture = Fixture::start().await;
    let key = fixture.show_vault_secret(app(both(), 1));
    shown(&fixture, &key, &[("named", "7"), ("labelled", "8")], &["labelled"]);
    let seen = look(&fixture, &key, &mut ObjectState::default()).await.unwrap();
    assert_eq!((keys(&seen), seen.said.len()), (vec!["N", "L"], 0));
    assert_eq!(fixture.api.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn another_spec_may_want_other_keys_of_them() {
    let fixture = Fixture::start().await;
    let key = fixture.show_vault_secret(app(both(), 0));
    for (name, label) in [("named", "no"), ("labelled", "yes")] {
        fixture.api.put("secrets", secret(name, label, &format!("new-{name}")));
    }
    shown(&fixture, &key, &[("named", "7"), ("labelled", "8")], &["labelled"]);
    let mut state = ObjectState::default();
    let seen = look(&fixture, &key, &mut state).await.unwrap();
    assert_eq!(keys(&seen), ["new-named", "new-labelled"]);
    assert_eq!(fixture.api.requests().len(), 2);
    // From here on all of their keys are known, though no status says so yet.
    assert_eq!(keys(&look(&fixture, &key, &mut state).await.unwrap()), ["new-named", "new-labelled"]);
    assert_eq!(fixture.api.requests().len(), 2);
}

/// A watch that is behind, a read that fails: neither says that a Secret is gone.
#[tokio::test]
async fn what_cannot_be_asked_does_not_leave() {
    let fixture = Fixture::start().await;
    let key = fixture.show_vault_secret(app(both(), 1));
    shown(&fixture, &key, &[("named", "7")], &[]);
    let mut state = ObjectState::default();
    fixture.api.fail_next("GET", 500, "away");
    assert!(matches!(look(&fixture, &key, &mut state).await, Err(ReadError::Api(_))));
    fixture.api.fail_next("GET", 403, "forbidden");
    let seen = look(&fixture, &key, &mut state).await.unwrap();
    assert_eq!(keys(&seen), ["N", "L"]);
    assert!(seen.said[0].contains("cannot read Secret \"labelled\""), "{:?}", seen.said);
    // The watch is behind: the Secret has the label.
    fixture.api.put("secrets", secret("labelled", "yes", "L2"));
    assert_eq!(keys(&look(&fixture, &key, &mut state).await.unwrap()), ["N", "L2"]);
    // It has lost it.
    fixture.api.put("secrets", secret("labelled", "no", "L2"));
    let seen = look(&fixture, &key, &mut state).await.unwrap();
    assert_eq!((keys(&seen), seen.recorded.clone()), (vec!["N"], Some(vec!["named@true".to_owned()])));
    // Once that is known, it is not asked again.
    fixture.api.forget();
    assert_eq!(keys(&look(&fixture, &key, &mut state).await.unwrap()), ["N"]);
    assert_eq!(fixture.api.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_named_secret_that_is_gone_keeps_its_keys() {
    let fixture = Fixture::start().await;
    let key = fixture.show_vault_secret(app(json!([{"secretRef": {"name": "named"}}]), 1));
    shown(&fixture, &key, &[], &[]);
    let seen = look(&fixture, &key, &mut ObjectState::default()).await.unwrap();
    assert_eq!((keys(&seen), seen.recorded.clone()), (vec!["N"], Some(vec!["named@true".to_owned()])));
    assert!(seen.said[0].contains("dataFrom[0]: Secret \"named\" not found"), "{:?}", seen.said);
}

/// What the status says of the Secrets is what the generation wants that it was written for.
#[tokio::test]
async fn what_is_refused_is_not_recorded_as_known() {
    let fixture = Fixture::start().await;
    let bad = json!([{"secretRef": {"name": "named"}, "match": {"regexp": "("}}]);
    let key = fixture.show_vault_secret(app(bad, 0));
    fixture.api.put("secrets", secret("named", "no", "N"));
    shown(&fixture, &key, &[("named", "7")], &[]);
    let seen = look(&fixture, &key, &mut ObjectState::default()).await.unwrap();
    assert!(seen.said[0].contains("is no regular expression"), "{:?}", seen.said);
    assert_eq!(seen.recorded, Some(vec!["named@false".to_owned(), "labelled@false".to_owned()]));
}

/// A list by it would be refused for ever, and nobody would be told.
#[test]
fn what_can_be_no_label_is_found() {
    let bad = |selector: Value| {
        let selector: LabelSelector = serde_json::from_value(selector).unwrap();
        no_label(&selector).map(str::to_owned)
    };
    for good in ["a", "app.kubernetes.io/name", "A-b_c.d"] {
        assert_eq!(bad(json!({"matchLabels": {good: "x"}})), None, "{good}");
    }
    for wrong in ["", "a b", "-a", "a/", "/a", "A/b", "a/b/c"] {
        assert_eq!(bad(json!({"matchLabels": {wrong: ""}})).as_deref(), Some(wrong));
    }
    let values = json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y z"]}]});
    assert_eq!(bad(values).as_deref(), Some("y z"));
    let long = "x".repeat(64);
    assert_eq!(bad(json!({"matchLabels": {"a": long}})), Some(long));
}

/// The keys of one version and the values of another are no set.
#[tokio::test]
async fn a_secret_that_changes_between_two_looks_is_looked_at_again() {
    let fixture = Fixture::start().await;
    let key = fixture.show_vault_secret(app(both(), 1));
    shown(&fixture, &key, &[("named", "7"), ("labelled", "8")], &["labelled"]);
    let (vs, mut state) = (fixture.ctx.vault_secrets.get(&key).unwrap(), ObjectState::default());
    let mut pass = Pass::begin(&fixture.ctx, &key, &mut state, vs, fixture.ctx.clock.now());
    observe(&mut pass, &fixture.ctx, &mut None).await.unwrap();
    fixture.api.put("secrets", secret("named", "no", "N"));
    fixture.api.put("secrets", secret("labelled", "yes", "L"));
    assert_eq!(
        crate::controller::values::read(&pass, &ReadValues::default()).await.err(),
        Some(ReadError::Moved("labelled".to_owned()))
    );
}
