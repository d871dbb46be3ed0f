//! The Secret that shows the values.

use std::collections::BTreeMap;

use super::*;
use crate::controller::project::desired_of;
use crate::projection::owner::Owner;
use crate::projection::target::{TargetPlan, plan as plan_target};

fn app(target: Value) -> Value {
    vault_secret("app", json!({"data": [inline("A", "a", "hunter2")], "target": target}))
}

/// The Secret as the operator makes it for the object.
fn made(object: &Value) -> k8s_openapi::api::core::v1::Secret {
    let vs = live(object.clone(), &[]);
    let data = BTreeMap::from([("A".to_owned(), "hunter2".into())]);
    let desired = desired_of(&vs.spec, "shop", "app", data, Default::default());
    match plan_target(None, &desired, &Owner::vault_secret("app", UID)) {
        TargetPlan::Create(secret) => *secret,
        other => panic!("{other:?}"),
    }
}

/// What would become of the Secrets of `now`, where `before` is in sync and `secret` is what there is.
fn secrets(
    before: &Value,
    now: &Value,
    secret: Option<k8s_openapi::api::core::v1::Secret>,
) -> Vec<(String, Action, String)> {
    let world = with_cluster(&[connection(), token(), now.clone()], |cluster| {
        put_live(cluster, before.clone(), &[row("a", "A", &print_of("a", "hunter2"), "InSync")]);
        let vs = cluster.vault_secrets.values_mut().next().unwrap();
        let recorded = json!({"name": vs.spec.target_name("app"), "resourceVersion": "1"});
        vs.status.as_mut().unwrap().target = Some(serde_json::from_value(recorded).unwrap());
        let observed = secret.map_or(Observed::Absent, |secret| Observed::Here(Blob::from(secret)));
        cluster.objects.insert((SourceKind::Secret, "shop".to_owned(), "app".to_owned()), observed);
        cluster.objects.insert((SourceKind::Secret, "shop".to_owned(), "new".to_owned()), Observed::Absent);
    });
    let plan = plan(&world);
    let all = object(&plan, "app").secrets.iter();
    all.map(|s| (s.name.clone(), s.verdict.action, s.verdict.message.clone())).collect()
}

#[test]
fn one_that_is_as_it_should_be_stays_and_what_changes_is_said() {
    let plain = app(json!({}));
    let one = |now: Value, secret| {
        let found = secrets(&plain, &app(now), secret);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].1
    };
    assert_eq!(one(json!({}), Some(made(&plain))), Action::Unchanged);
    assert_eq!(one(json!({"template": {"metadata": {"labels": {"x": "y"}}}}), Some(made(&plain))), Action::Update);
    assert_eq!(one(json!({"template": {"data": {"B": "b {{ A }}"}}}), Some(made(&plain))), Action::Update);
    assert_eq!(one(json!({"type": "example.com/x"}), Some(made(&plain))), Action::Replace);
    assert_eq!(one(json!({}), None), Action::Create, "it was deleted by hand");
}

#[test]
fn one_of_somebody_else_is_refused_and_one_to_merge_into_is_waited_for() {
    let foreign =
        || serde_json::from_value(json!({"metadata": {"name": "app"}, "stringData": {"x": "hunter2"}})).unwrap();
    let plain = app(json!({}));
    let found = secrets(&plain, &plain, Some(foreign()));
    assert_eq!(found[0].1, Action::Refused);
    assert!(found[0].2.contains("was not made by this VaultSecret"), "{found:?}");
    let merge = app(json!({"creationPolicy": "Merge"}));
    assert_eq!(secrets(&merge, &merge, None)[0].1, Action::Waits);
    assert_eq!(secrets(&merge, &merge, Some(foreign()))[0].1, Action::Update);
}

#[test]
fn a_renamed_one_is_made_and_the_old_one_goes() {
    let plain = app(json!({}));
    let found = secrets(&plain, &app(json!({"name": "new"})), Some(made(&plain)));
    let found: Vec<_> = found.iter().map(|(name, action, _)| (name.as_str(), *action)).collect();
    assert_eq!(found, [("new", Action::Create), ("app", Action::Delete)]);
    let found = secrets(&plain, &app(json!({"creationPolicy": "None"})), Some(made(&plain)));
    assert_eq!((found.len(), found[0].1), (1, Action::Delete));
}

#[test]
fn a_type_that_gives_rights_is_refused_before_anything() {
    let offline = plan(&world(&[connection(), app(json!({"type": "kubernetes.io/service-account-token"}))]));
    assert!(offline.is_refused());
    assert!(object(&offline, "app").verdict.message.contains("give rights"), "{:?}", object(&offline, "app").verdict);
}
