#![allow(clippy::unwrap_used, clippy::expect_used)]

use k8s_openapi::api::coordination::v1::LeaseSpec;
use serde_json::json;

use super::*;

#[test]
fn the_operators_finalizer_goes_and_others_stay_in_their_order() {
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let mixed = list(&["b.example/hold", crate::api::names::FINALIZER, "a.example/hold"]);
    let (first, last) = ("b.example/hold".to_owned(), "a.example/hold".to_owned());
    assert_eq!(objects::others(&mixed), Some(vec![&first, &last]));
    assert_eq!(objects::others(&list(&[crate::api::names::FINALIZER])), Some(Vec::new()));
    assert_eq!(objects::others(&list(&["a.example/hold"])), None);
    assert_eq!(objects::others(&[]), None);
}

#[test]
fn what_stays_at_the_remote_is_named_by_connection() {
    let row = |connection: &str, name: &str| json!({"connection": connection, "remoteName": name, "state": "InSync", "claimed": true, "fingerprint": "1:canary"});
    let rows = [
        row("VaultConnection/kelvin", "b"),
        row("ClusterVaultConnection/vault", "teams/x"),
        row("VaultConnection/kelvin", "a"),
    ];
    let text = objects::line("shop/checkout", Some(&rows));
    assert_eq!(
        text,
        "shop/checkout: released; it was being deleted, and its entries stay: at ClusterVaultConnection/vault \"teams/x\"; at \
         VaultConnection/kelvin \"b\", \"a\""
    );
    assert_eq!(objects::line("shop/checkout", None), "shop/checkout: released");
}

#[test]
fn an_entry_of_somebody_elses_is_not_named_and_one_that_cannot_be_read_is() {
    let refused = json!({"connection": "VaultConnection/kelvin", "remoteName": "theirs", "state": "Refused"});
    let text = objects::line("shop/x", Some(std::slice::from_ref(&refused)));
    assert_eq!(text, "shop/x: released; it was being deleted, and had no entries at a remote");
    let strange = json!({"connection": "VaultConnection/kelvin", "remoteName": "strange", "state": 7});
    assert!(
        objects::line("shop/x", Some(&[refused, strange])).ends_with("stay: at VaultConnection/kelvin \"strange\"")
    );
}

#[test]
fn who_holds_the_lease_is_named_with_what_to_do() {
    let lease = LeaseSpec { holder_identity: Some("pod-1_uuid".to_owned()), ..LeaseSpec::default() };
    let text = lease::still_held(Some(&lease), "vaultsecret-system", Duration::from_secs(120));
    for part in ["after 120s", "vaultsecret-system", "\"pod-1_uuid\"", "scale it to no replicas"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_is_left_is_said_in_one_line() {
    let done = |released, failed, unlisted: &[&str]| {
        let unlisted = unlisted.iter().map(|&name| name.to_owned()).collect();
        objects::Done { released, failed, unlisted }.left()
    };
    assert_eq!(done(3, 0, &[]), None);
    let text = done(1, 2, &["blog", "mall"]).unwrap();
    assert_eq!(
        text,
        "2 VaultSecrets could not be released, and namespaces blog, mall could not be listed; 1 was released; run it again"
    );
    assert_eq!(done(2, 0, &["blog"]).unwrap(), "namespace blog could not be listed; 2 were released; run it again");
}

#[test]
fn numbers_are_said_as_people_do() {
    assert_eq!([0, 1, 2].map(objects::count), ["0 VaultSecrets", "1 VaultSecret", "2 VaultSecrets"]);
}
