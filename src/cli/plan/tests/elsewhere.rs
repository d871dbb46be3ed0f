//! Owners of entries in other namespaces than those of the manifests.

use std::collections::BTreeSet;

use super::*;
use crate::api::VaultConnection;
use crate::api::vault_secret::ConnectionKind;
use crate::cli::plan::observe::rivals;
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::AsShown as _;

/// A connection whose account is told by its credential.
fn by_client(url: &str) -> Value {
    let auth = json!({"clientCredentials": {"clientIdRef": {"name": "client", "key": "id"}, "clientSecretRef": {"name": "client", "key": "s"}}});
    json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection", "metadata": {"name": "kelvin"},
           "spec": {"kelvin": {"url": url, "auth": auth}}})
}

fn client(id: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "client"}, "stringData": {"id": id, "s": "hunter2"}})
}

/// A VaultSecret `old` in namespace `blog`, with a connection of its own to `url`.
fn put_blog(cluster: &mut Cluster, url: &str, rows: &[Value]) {
    let old = live(vault_secret("old", json!({"data": [inline("A", "a", "hunter2")]})), rows);
    cluster.vault_secrets.insert(ObjectKey::new("blog", "old"), old);
    let key = ConnectionKey::new(ConnectionKind::VaultConnection, "blog", "kelvin");
    let connection: VaultConnection = serde_json::from_value(by_client(url)).unwrap();
    cluster.connections.insert(key.clone(), connection.as_shown(&key));
}

fn put_client(cluster: &mut Cluster, seen: Observed<Blob>) {
    cluster.objects.insert((SourceKind::Secret, "blog".to_owned(), "client".to_owned()), seen);
}

fn manifests() -> [Value; 3] {
    [
        by_client("https://acme.kelvin.ai"),
        client("one"),
        vault_secret("new", json!({"data": [inline("A", "a", "hunter2")]})),
    ]
}

/// The connections of the manifests.
fn used() -> BTreeSet<ConnectionKey> {
    [ConnectionKey::new(ConnectionKind::VaultConnection, "shop", "kelvin")].into()
}

#[test]
fn a_connection_elsewhere_to_the_same_place_is_looked_at() {
    for (url, wanted) in [("https://acme.kelvin.ai", 1), ("https://other.kelvin.ai", 0)] {
        let world = with_cluster(&manifests(), |cluster| put_blog(cluster, url, &[]));
        let found = rivals::of(&world, world.cluster.as_ref().unwrap(), &used());
        assert_eq!(found.len(), wanted, "{url}: {found:?}");
    }
}

#[test]
fn an_owner_in_another_namespace_is_told() {
    let rows = [row("a", "A", &print_of("a", "hunter2"), "InSync")];
    for (id, refused) in [("one", true), ("two", false)] {
        let secret: k8s_openapi::api::core::v1::Secret =
            serde_json::from_value(json!({"stringData": {"id": id, "s": "hunter2"}})).unwrap();
        let blob = Blob::from(secret);
        let world = with_cluster(&manifests(), |cluster| {
            put_blog(cluster, "https://acme.kelvin.ai", &rows);
            put_client(cluster, Observed::Here(blob));
        });
        let plan = plan(&world);
        let (action, why) = only(&plan, "new");
        assert_eq!(action == Action::Refused, refused, "{id}: {action:?} {why}");
        assert_eq!(why.contains("belongs to VaultSecret blog/old"), refused, "{why}");
    }
}

#[test]
fn an_account_that_is_not_known_is_a_note() {
    let mut world = with_cluster(&manifests(), |cluster| {
        put_blog(cluster, "https://acme.kelvin.ai", &[]);
        put_client(cluster, Observed::Unseen("you may not read it"));
    });
    let mut cluster = world.cluster.take().unwrap();
    rivals::note_unknown(&world, &mut cluster);
    assert!(cluster.notes[0].contains("whether blog/kelvin opens the same account"), "{:?}", cluster.notes);
}
