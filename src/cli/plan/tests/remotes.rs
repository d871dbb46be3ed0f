//! Connections of other kinds, and values that the operator makes or opens.

use super::*;
use crate::source::escrow::{self, WantedValue};
use crate::source::sealed::{Ring, Scope, generate, seal};

fn shared(prefix: &str) -> Value {
    json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "ClusterVaultConnection", "metadata": {"name": "all"},
           "spec": {"allowedNamespaces": {"names": ["shop"]}, "remoteNamePrefix": prefix,
                    "kelvin": {"url": "https://acme.kelvin.ai", "auth": {"accessTokenRef": {"name": "token", "key": "t"}}}}})
}

#[test]
fn a_prefix_is_part_of_the_name() {
    let reference = json!({"kind": "ClusterVaultConnection", "name": "all"});
    let app = vault_secret("app", json!({"connectionRef": reference, "data": [inline("A", "a", "hunter2")]}));
    let offline = plan(&world(&[shared("{{ namespace }}-"), app.clone()]));
    assert_eq!(entries(&offline, "app"), [("shop-a".to_owned(), Action::Apply)]);
    let (action, why) = only(&plan(&world(&[shared("{{ namespace }}_"), app])), "app");
    assert_eq!((action, why.contains("NameRefused")), (Action::Refused, true), "{why}");
}

fn vault() -> Value {
    json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection", "metadata": {"name": "kelvin"},
           "spec": {"vault": {"url": "https://bao.internal", "auth": {"tokenRef": {"name": "token", "key": "t"}}}}})
}

#[test]
fn keys_of_one_entry_are_judged_as_one() {
    let field = |key: &str, value: &str| json!({"key": key, "remoteName": "db", "remoteField": key.to_lowercase(), "value": value});
    let of = |password: &str| vault_secret("app", json!({"data": [field("USER", "app"), field("PASSWORD", password)]}));
    let whole = r#"{"password":"hunter2","user":"app"}"#;
    for (password, wanted) in [("hunter2", Action::Unchanged), ("hunter2-new", Action::Update)] {
        let world = with_cluster(&[vault(), token(), of(password)], |cluster| {
            put_live(cluster, of("hunter2"), &[row("db", "USER", &print_of("db", whole), "InSync")]);
        });
        let plan = plan(&world);
        assert_eq!(only(&plan, "app").0, wanted);
        assert_eq!(object(&plan, "app").entries[0].keys, ["USER", "PASSWORD"]);
    }
}

#[test]
fn two_connections_of_one_account_lead_to_one_entry() {
    let named = |name: &str| {
        json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection", "metadata": {"name": name},
               "spec": {"mixpeek": {"auth": {"apiKeyRef": {"name": "token", "key": "t"}}}}})
    };
    let through = |name: &str, connection: &str| {
        vault_secret(name, json!({"connectionRef": {"name": connection}, "data": [inline("A", "a", "hunter2")]}))
    };
    let both = [named("x"), named("y"), through("one", "x"), through("two", "y")];
    assert!(only(&plan(&world(&both)), "two").1.contains("is named before by VaultSecret shop/one"));
    // Where the account is part of the credential, and that is not known, they are taken for two.
    let kelvin = |name: &str| {
        let auth = json!({"clientCredentials": {"clientIdRef": {"name": name, "key": "id"}, "clientSecretRef": {"name": name, "key": "s"}}});
        json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection", "metadata": {"name": name},
               "spec": {"kelvin": {"url": "https://acme.kelvin.ai", "auth": auth}}})
    };
    let both = [kelvin("x"), kelvin("y"), through("one", "x"), through("two", "y")];
    assert!(!plan(&world(&both)).is_refused());
}

fn generated(epoch: i64) -> Value {
    let generate = json!({"password": {"length": 20}, "epoch": epoch});
    vault_secret("app", json!({"data": [{"key": "G", "remoteName": "g", "valueFrom": {"generate": generate}}]}))
}

#[test]
fn a_generated_value_is_made_anew_for_another_epoch_alone() {
    let spec = live(generated(1), &[]).spec;
    let wanted = WantedValue {
        key: "G".to_owned(),
        generate: spec.data[0].value_from.as_ref().unwrap().generate.clone().unwrap(),
        entries: Vec::new(),
        arrived: true,
    };
    let owner = escrow::Owner {
        name: "app".to_owned(),
        namespace: "shop".to_owned(),
        uid: UID.to_owned(),
        delete_policy: spec.deletion(),
    };
    let now = "2025-01-01T00:00:00Z".parse().unwrap();
    let made = escrow::plan(None, &[wanted], &owner, &Default::default(), &|_| true, now, &mut os_rng()).unwrap();
    let escrow::EscrowPlan::Create(secret) = made.step else { panic!("{:?}", made.step) };
    let value = String::from_utf8(secret.data.as_ref().unwrap()["G"].0.clone()).unwrap();
    let rows = [row("g", "G", &print_of("g", &value), "InSync")];
    let at = |epoch, escrow: Observed<Blob>| {
        let world = with_cluster(&[connection(), token(), generated(epoch)], |cluster| {
            put_live(cluster, generated(1), &rows);
            cluster.objects.insert((SourceKind::Secret, "shop".to_owned(), "app-escrow".to_owned()), escrow);
        });
        let plan = plan(&world);
        assert!(!show(&plan, Output::Json).unwrap().contains(&value));
        only(&plan, "app")
    };
    let held = || Observed::Here(Blob::from((*secret).clone()));
    assert_eq!(at(1, held()).0, Action::Unchanged);
    assert_eq!(at(2, held()), (Action::Update, " the value is made anew".to_owned()));
    assert_eq!(at(1, Observed::Unseen("you may not read it")).0, Action::Unchanged, "the same epoch, the same value");
    assert_eq!(at(2, Observed::Unseen("you may not read it")).0, Action::Update);
    assert_eq!(at(1, Observed::Absent).0, Action::Update, "it was lost");
}

#[test]
fn sealed_values_are_opened_where_that_is_allowed() {
    let ring = Ring::read([("i1".to_owned(), generate())]).0.unwrap();
    let sealed = |name: &str| seal(&[ring.newest()], &Scope::new("shop", name, "S").unwrap(), b"hunter2").unwrap();
    let app = |text: &str| {
        vault_secret("app", json!({"data": [{"key": "S", "remoteName": "s", "valueFrom": {"sealed": text}}]}))
    };
    let (here, there) = (sealed("app"), sealed("other"));
    let at = |text: &str, opens: bool| {
        let world = with_cluster(&[connection(), token(), app(text)], |cluster| {
            put_live(cluster, app(&here), &[row("s", "S", &print_of("s", "hunter2"), "InSync")]);
            cluster.ring = opens.then(|| ring.clone());
        });
        only(&plan(&world), "app")
    };
    assert_eq!(at(&sealed("app"), true).0, Action::Unchanged, "another text of the same value");
    assert_eq!((at(&here, false).0, at(&sealed("app"), false).0), (Action::Unchanged, Action::Unknown));
    let (action, why) = at(&there, true);
    assert_eq!((action, why.contains("sealed for key S of VaultSecret other")), (Action::Refused, true), "{why}");
}

#[test]
fn suspended_objects_wait_and_a_push_that_is_asked_for_is_one() {
    let rows = [row("a", "A", &print_of("a", "hunter2"), "InSync")];
    let mut app = vault_secret("app", json!({"data": [inline("A", "a", "hunter2")]}));
    let at = |app: &Value| {
        let world = with_cluster(&[connection(), token(), app.clone()], |c| put_live(c, app.clone(), &rows));
        only(&plan(&world), "app").0
    };
    assert_eq!(at(&app), Action::Unchanged);
    app["metadata"]["annotations"] = json!({"vaultsecret.dev/force-push": "now"});
    assert_eq!(at(&app), Action::Update);
    app["spec"]["suspend"] = json!(true);
    assert_eq!(at(&app), Action::Waits);
}
