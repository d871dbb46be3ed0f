//! The examples of docs/templates.md, applied as they stand.

use serde_json::Value;

use crate::common::{Kind, Object, Scene};

/// The YAML blocks of the page, each with the manifests in it.
fn examples() -> Vec<Vec<Value>> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/templates.md")).unwrap();
    let blocks = page.split("\n```yaml\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0);
    let manifests = blocks.filter(|block| block.contains("apiVersion:"));
    manifests.map(|block| serde_saphyr::from_multiple(block).unwrap()).collect()
}

#[tokio::test]
async fn b41_documented_examples() {
    let examples = examples();
    assert!(examples.len() >= 5, "{} examples", examples.len());
    let scene = Scene::new("b41-docs").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    for manifest in examples.iter().flatten() {
        let mut manifest = manifest.clone();
        manifest["metadata"]["namespace"] = scene.namespace.clone().into();
        scene.apply(&manifest).await;
    }
    for manifest in examples.iter().flatten().filter(|m| m["kind"] == "VaultSecret") {
        scene.ready(manifest["metadata"]["name"].as_str().unwrap()).await;
    }
    let text = |secret: &Object, key: &str| String::from_utf8(secret.secret_value(key).unwrap()).unwrap();

    let database = scene.expect("Secret", "database").await;
    let (password, url) = (text(&database, "DB_PASSWORD"), text(&database, "DATABASE_URL"));
    let read = url::Url::parse(&url).unwrap();
    assert_eq!((read.username(), read.host_str()), ("app", Some("db.shop.svc")));
    let plain = percent_encoding::percent_decode_str(read.password().unwrap()).decode_utf8().unwrap();
    assert_eq!(plain, password);
    assert_eq!((remote.value("database-url"), remote.value("db-password")), (Some(url), Some(password)));

    let registry = scene.expect("Secret", "registry").await;
    assert_eq!(registry.text("/type"), "kubernetes.io/dockerconfigjson");
    let config: Value = serde_json::from_str(&text(&registry, ".dockerconfigjson")).unwrap();
    assert_eq!(config["auths"]["ghcr.io"]["username"], "robot");

    let netrc = text(&scene.expect("Secret", "netrc").await, ".netrc");
    assert!(netrc.starts_with("machine github.com login robot password "), "{netrc}");

    let tls = scene.expect("Secret", "ingress-tls").await;
    assert_eq!(
        (tls.text("/type"), tls.keys()),
        ("kubernetes.io/tls", vec!["tls.crt".to_owned(), "tls.key".to_owned()])
    );
    assert_eq!(text(&tls, "tls.crt").matches("BEGIN CERTIFICATE").count(), 2);
    assert!(text(&tls, "tls.key").starts_with("-----BEGIN PRIVATE KEY-----\n"));

    let env = text(&scene.expect("Secret", "worker").await, ".env");
    assert_eq!(env, "QUEUE=orders\nTOKEN='it is a \"secret\"'\n");

    let file: Value = serde_saphyr::from_str(&text(&scene.expect("Secret", "service").await, "config.yaml")).unwrap();
    assert_eq!(file["api"]["token"], "yes: #1");
}
