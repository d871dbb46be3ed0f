#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::BTreeSet;

use serde_json::json;

use super::*;

const ESO: &str = include_str!("../../../tests/migrate/eso.yaml");
const VSO: &str = include_str!("../../../tests/migrate/vso.yaml");
const INFISICAL: &str = include_str!("../../../tests/migrate/infisical.yaml");

struct Result {
    objects: Vec<Value>,
    left: Vec<String>,
}

impl Result {
    fn spec(&self, kind: &str, name: &str) -> Value {
        let right = |o: &&Value| o["kind"] == kind && o["metadata"]["name"] == name;
        self.objects.iter().find(right).unwrap_or_else(|| panic!("no {kind} {name}: {:#?}", self.left))["spec"].clone()
    }

    fn names(&self, kind: &str) -> BTreeSet<&str> {
        let of = self.objects.iter().filter(|o| o["kind"] == kind);
        of.map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
    }

    /// What is left of an object, without its name.
    fn of(&self, object: &str) -> Vec<&str> {
        let start = format!("{object}: ");
        self.left.iter().filter_map(|left| left.strip_prefix(&start)).collect()
    }
}

fn run(text: &str, wishes: Wishes) -> Result {
    let world = World::new(&read::parse("x", text).unwrap(), wishes);
    let (objects, left) = migrate(&world);
    let left: Vec<String> = left.iter().map(ToString::to_string).collect();
    let written: String = objects.iter().map(|object| serde_saphyr::to_string(object).unwrap()).collect();
    for text in [&written, &left.concat()] {
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMi"), "a value is shown: {text}");
    }
    assert!(!left.iter().any(|left| left.contains("would be refused")), "{left:#?}");
    for object in &objects {
        let again: Value = serde_saphyr::from_str(&serde_saphyr::to_string(object).unwrap()).unwrap();
        assert_eq!(again, *object, "what is written is read as it was meant");
    }
    Result { objects, left }
}

fn to_kelvin() -> Wishes {
    Wishes { connection: Some(Reference::namespaced("kelvin")), ..Wishes::default() }
}

#[test]
fn stores_become_connections_that_are_polled_as_often_as_was_wanted() {
    let got = run(ESO, to_kelvin());
    assert_eq!(got.names("VaultConnection"), ["vault", "vault-teams-shop"].into());
    assert_eq!(
        got.spec("VaultConnection", "vault"),
        json!({
            "vault": {"url": "https://vault.example:8200", "mount": "kv", "namespace": "teams/shop",
                "auth": {"appRole": {"roleId": "6db69698-0000", "secretIdRef": {"name": "vault-role", "key": "secret-id"}}}},
            "tls": {"caRef": {"kind": "ConfigMap", "name": "vault-ca", "key": "ca.crt"}},
            "probeInterval": "10m"})
    );
    assert_eq!(
        got.spec("ClusterVaultConnection", "shared"),
        json!({
            "vault": {"url": "https://vault.example:8200", "auth": {"kubernetes": {"role": "eso"}}},
            "allowedNamespaces": {"names": ["shop", "blog"]}, "probeInterval": "1h0m0s"})
    );
    assert!(got.of("ClusterSecretStore shared").iter().any(|left| left.contains("bind the role eso")));
    assert!(got.of("SecretStore shop/cloud").iter().any(|left| left.contains("no counterpart for the provider aws")));
}

#[test]
fn an_external_secret_reads_and_pushes_nothing() {
    let got = run(ESO, to_kelvin());
    let spec = got.spec("VaultSecret", "database");
    assert_eq!(spec["connectionRef"], json!({"name": "vault"}));
    let read = |field: &str| json!({"remote": {"name": "apps/db", "field": field}});
    assert_eq!(
        spec["data"],
        json!([
            {"key": "username", "push": false, "valueFrom": read("username")},
            {"key": "password.source", "push": false, "project": false, "valueFrom": read("password")},
            {"key": "name", "push": false, "project": false, "valueFrom": read("name")},
        ]),
        "the template says what the Secret has"
    );
    assert_eq!(
        spec["target"],
        json!({"name": "database-credentials", "creationPolicy": "Orphan", "template": {
            "metadata": {"labels": {"app": "shop"}},
            "data": {"password": "{{ values[\"password.source\"] | trim }}",
                     "url": "postgres://{{ username }}:{{ values[\"password.source\"] | urlencode }}@db/{{ name }}"}}})
    );
    assert_eq!(got.of("ExternalSecret shop/database"), Vec::<&str>::new());
}

#[test]
fn an_entry_that_is_taken_whole_needs_its_fields() {
    let got = run(ESO, to_kelvin());
    let spec = got.spec("VaultSecret", "mail");
    let shared = json!({"kind": "ClusterVaultConnection", "name": "shared"});
    assert_eq!(
        spec["data"],
        json!([
            {"key": "host", "push": false, "valueFrom": {"remote": {"name": "apps/mail", "field": "host"}}},
            {"key": "token", "push": false, "valueFrom": {"remote": {"name": "apps/mail", "field": "token"}}},
            {"key": "ca.pem.encoded", "push": false, "project": false,
             "valueFrom": {"remote": {"connectionRef": shared, "name": "ca", "field": "pem"}}},
            {"key": "ca.pem", "push": false, "valueFrom": {"template": "{{ values[\"ca.pem.encoded\"] | b64decode }}"}},
        ]),
        "the Secret in the manifests tells them"
    );
    let without = ESO.replace("{name: mail, namespace: shop}\ndata:", "{name: mail, namespace: other}\ndata:");
    let got = run(&without, to_kelvin());
    assert!(got.of("ExternalSecret shop/mail").iter().any(|left| left.contains("--fields apps/mail=FIELD,FIELD")));
    let fields = [("apps/mail".to_owned(), vec!["from".to_owned()])].into();
    let got = run(&without, Wishes { fields, ..to_kelvin() });
    assert_eq!(got.spec("VaultSecret", "mail")["data"][0]["valueFrom"]["remote"]["field"], "from");
}

#[test]
fn a_generator_becomes_a_generated_value_that_is_rotated() {
    let got = run(ESO, to_kelvin());
    assert_eq!(
        got.spec("VaultSecret", "session")["data"],
        json!([{"key": "session_key", "push": false, "valueFrom": {"generate": {"rotateEvery": "720h", "password": {
            "length": 40, "digits": 5, "symbols": 5, "symbolCharacters": "-_", "allowRepeat": true}}}}])
    );
    assert!(got.of("ExternalSecret shop/session").iter().any(|left| left.contains("another one than the Secret has")));
}

#[test]
fn what_cannot_be_read_is_said_and_left_out() {
    let got = run(ESO, to_kelvin());
    assert!(!got.names("VaultSecret").contains("lost"));
    assert!(got.of("ExternalSecret shop/lost").iter().any(|left| left.contains("gives no value back")));
}

#[test]
fn a_push_secret_pushes_and_makes_no_secret() {
    let got = run(ESO, Wishes { suspend: true, ..to_kelvin() });
    let source = |key: &str| json!({"secretKeyRef": {"name": "stripe-source", "key": key}});
    assert_eq!(
        got.spec("VaultSecret", "stripe"),
        json!({"connectionRef": {"name": "kelvin"}, "adoptionPolicy": "TakeOver", "deletionPolicy": "Delete",
            "target": {"creationPolicy": "None"}, "suspend": true, "data": [
            {"key": "api-key", "remoteName": "stripe-api-key", "valueFrom": source("api-key")},
            {"key": "combined", "remoteName": "stripe-basic", "valueFrom": {"template": "{{ user }}:{{ values[\"api-key\"] }}"}},
            {"key": "user", "push": false, "project": false, "valueFrom": source("user")}]})
    );
    assert_eq!(
        got.spec("VaultSecret", "everything")["dataFrom"],
        json!([{"secretRef": {"name": "everything-source"}, "match": {"regexp": "^DB_"}, "rewrite": [
            {"regexp": {"source": "^DB_(.*)$", "target": "db-${1}"}}, {"template": "{{ key | lower }}"}]}])
    );
    assert_eq!(got.spec("VaultSecret", "everything").get("adoptionPolicy"), None);
}

#[test]
fn a_template_of_its_own_name_is_made_of_a_value_beside_it() {
    let text = ESO.replace(
        "combined: \"{{ .user }}",
        "api-key: \"{{ index . \\\"api-key\\\" | trim }}\", combined: \"{{ .user }}",
    );
    let data = run(&text, to_kelvin()).spec("VaultSecret", "stripe")["data"].clone();
    assert_eq!(data[0]["valueFrom"]["template"], "{{ values[\"api-key.source\"] | trim }}", "{data:#}");
    assert_eq!(data[1]["valueFrom"]["template"], "{{ user }}:{{ values[\"api-key.source\"] }}");
    assert_eq!(data[2]["key"], "api-key.source");
    assert_eq!(data[2]["valueFrom"], json!({"secretKeyRef": {"name": "stripe-source", "key": "api-key"}}));
}

#[test]
fn a_folder_of_vault_is_a_connection_of_its_own() {
    let got = run(ESO, to_kelvin());
    assert_eq!(got.spec("VaultConnection", "vault-teams-shop")["vault"]["path"], "teams/shop");
    let spec = got.spec("VaultSecret", "folders-teams-shop");
    assert_eq!(spec["connectionRef"], json!({"name": "vault-teams-shop"}));
    assert_eq!(
        spec["data"],
        json!([
            {"key": "user", "remoteName": "db", "remoteField": "username",
             "valueFrom": {"secretKeyRef": {"name": "folders-source", "key": "user"}}},
            {"key": "pass", "remoteName": "db", "remoteField": "password",
             "valueFrom": {"secretKeyRef": {"name": "folders-source", "key": "pass"}}},
        ])
    );
    assert_eq!(got.spec("VaultSecret", "folders")["data"][0]["remoteName"], "flat");
    assert_eq!(got.of("PushSecret shop/folders").len(), 1, "metadata has no counterpart: {:?}", got.left);
}

#[test]
fn without_a_connection_for_its_store_a_push_secret_is_left() {
    let got = run(ESO, Wishes::default());
    assert!(got.of("PushSecret shop/stripe").iter().any(|left| left.contains("--connection")));
    assert!(!got.names("VaultSecret").contains("stripe"));
}

#[test]
fn static_secrets_read_through_a_connection_made_of_auth_and_engine() {
    let got = run(VSO, Wishes::default());
    assert_eq!(
        got.spec("VaultConnection", "role"),
        json!({"vault": {"url": "https://vault.example:8200", "mount": "kvv2", "auth": {"appRole": {
                "roleId": "6db69698-0000", "secretIdRef": {"name": "shop-role", "key": "id"}}}},
            "tls": {"caRef": {"kind": "Secret", "name": "vault-ca", "key": "ca.crt"}, "serverName": "vault.internal"},
            "limits": {"timeout": "20s"}, "probeInterval": "30s"})
    );
    let spec = got.spec("VaultSecret", "database");
    assert_eq!(spec["rolloutRestartTargets"], json!([{"kind": "Deployment", "name": "checkout"}]));
    let keys: Vec<&str> = spec["data"].as_array().unwrap().iter().map(|d| d["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["password", "username"]);
    assert_eq!(
        spec["target"]["template"]["data"],
        json!({"url": "postgres://{{ username }}:{{ password | urlencode }}@db/shop"})
    );
    assert_eq!(
        got.spec("ClusterVaultConnection", "shop-pods")["allowedNamespaces"],
        json!({"names": ["shop", "blog"]})
    );
    let banner = got.of("VaultStaticSecret shop/banner");
    assert!(banner.iter().any(|left| left.contains("--fields apps/banner=")), "{banner:?}");
    assert!(banner.iter().any(|left| left.contains("probeInterval")), "{banner:?}");
    assert!(got.of("VaultDynamicSecret shop/leased").iter().any(|left| left.contains("leases")));
}

#[test]
fn a_static_secret_that_is_not_created_is_merged() {
    let fields = [("apps/banner".to_owned(), vec!["text".to_owned()])].into();
    let got = run(VSO, Wishes { fields, ..Wishes::default() });
    let spec = got.spec("VaultSecret", "banner");
    assert_eq!(spec["target"], json!({"creationPolicy": "Merge"}));
    assert_eq!(spec["connectionRef"], json!({"kind": "ClusterVaultConnection", "name": "shop-pods"}));
}

#[test]
fn infisical_goes_onto_the_connection_that_is_named() {
    let got = run(INFISICAL, to_kelvin());
    assert_eq!(
        got.spec("VaultSecret", "push"),
        json!({"connectionRef": {"name": "kelvin"}, "adoptionPolicy": "TakeOver", "deletionPolicy": "Delete",
            "target": {"creationPolicy": "None"}, "dataFrom": [{"secretRef": {"name": "push-source"}}],
            "data": [{"key": "SESSION", "valueFrom": {"generate": {"password": {
                "length": 20, "digits": 2, "symbols": 2, "allowRepeat": true}}}}]})
    );
    assert_eq!(
        got.spec("VaultSecret", "pull"),
        json!({"connectionRef": {"name": "kelvin"}, "data": [{"key": "DB_USER", "push": false, "project": false,
                "valueFrom": {"remote": {"name": "prod/shop", "field": "DB_USER"}}}],
            "target": {"name": "pulled", "template": {"data": {"url": "postgres://{{ DB_USER }}@db"}}}})
    );
    assert!(got.of("InfisicalSecret shop/pull").iter().any(|left| left.contains("in the entry prod/shop, before")));
    let without = run(INFISICAL, Wishes::default());
    assert!(without.objects.is_empty() && without.left.len() == 2, "{:#?}", without.left);
}

#[test]
fn a_field_that_nobody_knows_is_said_by_its_path() {
    let text = ESO.replace("  refreshInterval: 10m\n", "  refreshInterval: 10m\n  hunter2: {a: hunter2}\n");
    let world = World::new(&read::parse("x", &text).unwrap(), to_kelvin());
    let (_, left) = migrate(&world);
    assert!(left.iter().any(|l| l.object == "ExternalSecret shop/database" && l.field == "spec.hunter2"));
}

/// Values of the manifests, one after the other, as something else: what is written is right all the same, and nothing goes without
/// a word.
#[test]
fn whatever_stands_in_a_manifest_nothing_wrong_is_written() {
    fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
        let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(k, v)| paths(v, &format!("{path}/{}", escaped(k)), found))
            }
            Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| paths(v, &format!("{path}/{i}"), found)),
            _ => {}
        }
        found.push(path.to_owned());
    }
    let schemas = Schemas::default();
    let mut count = 0;
    for text in [ESO, VSO, INFISICAL] {
        let documents = read::parse("x", text).unwrap();
        for i in 0..documents.len() {
            let mut all = Vec::new();
            paths(&documents[i].value, "", &mut all);
            // One of seven, which are others for each manifest: checking a whole set takes a moment.
            for path in all.into_iter().skip(i % 7).step_by(7) {
                let wrong = [json!(7), json!("hunter2 {{ .x }}/../"), json!([{"hunter2": "hunter2"}])];
                let mut changed = documents.clone();
                *changed[i].value.pointer_mut(&path).unwrap() = wrong[count % wrong.len()].clone();
                let world = World::new(&changed, to_kelvin());
                let (objects, left) = migrate(&world);
                for object in &objects {
                    let kind = object["kind"].as_str().unwrap();
                    assert_eq!(schemas.check(kind, object), Vec::<String>::new(), "{path}");
                }
                let names = objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned());
                let names: Vec<String> = names.chain(left.iter().map(|left| left.object.clone())).collect();
                let gives =
                    ["PushSecret", "ExternalSecret", "VaultStaticSecret", "InfisicalPushSecret", "InfisicalSecret"];
                for source in world.sources.iter().filter(|source| gives.contains(&&*source.kind)) {
                    assert!(names.iter().any(|name| name.contains(&source.name)), "{path}: nothing of {}", source.name);
                }
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn the_same_objects_twice_are_the_same_output() {
    let once = run(ESO, to_kelvin());
    let again = run(ESO, to_kelvin());
    assert_eq!(once.objects, again.objects);
    assert_eq!(once.left, again.left);
}

#[test]
fn connection_and_fields_are_read_from_the_command_line() {
    assert_eq!(reference("kelvin").unwrap(), Reference::namespaced("kelvin"));
    assert_eq!(reference("ClusterVaultConnection/shared").unwrap(), Reference::cluster("shared"));
    assert!(reference("Secret/x").is_err() && reference("Not_A_Name").is_err());
    assert_eq!(fields_of("/apps/db/=a, b").unwrap(), ("apps/db".to_owned(), vec!["a".to_owned(), "b".to_owned()]));
    assert!(fields_of("apps/db").is_err() && fields_of("apps/db=").is_err());
}
