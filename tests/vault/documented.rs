//! The examples of the README and of docs/vault.md, applied as they stand but for the address and the folder.

use serde_json::{Value, json};

use crate::bao::Bao;
use crate::common::{Kind, Object, Scene};

/// The folder of the examples.
const FOLDER: &str = "teams/shop";

fn page(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What is between the lines `begin` and `end`, each time.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> Vec<&'t str> {
    text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

/// Applies a manifest in the test's namespace, a connection with the test's address and folder.
async fn apply(scene: &Scene, bao: &Bao, mut manifest: Value) {
    manifest["metadata"]["namespace"] = json!(scene.namespace);
    if manifest["kind"] == "VaultConnection" {
        manifest["spec"]["vault"]["url"] = json!(bao.proxy.url);
        manifest["spec"]["vault"]["path"] = json!(bao.folder);
        manifest["spec"]["allowInsecureUrl"] = json!(true);
    }
    scene.apply(&manifest).await;
}

#[tokio::test]
async fn readme_example() {
    let scene = Scene::new("vault-readme").await;
    let readme = page("README.md");
    let section = between(&readme, "\n### HashiCorp Vault, OpenBao\n", "\n### ")[0];
    let policy = between(section, "bao policy write vaultsecret - <<EOF\n", "\nEOF")[0].replace(FOLDER, "FOLDER");
    let bao = Bao::with(&scene, &policy).await;
    scene.create("Secret", "bao-token", json!({"stringData": {"token": bao.token}})).await;
    let value = scene.canary("value");
    scene.create("Secret", "db-source", json!({"stringData": {"password": value}})).await;
    for manifests in between(section, "kubectl apply -f - <<EOF\n", "\nEOF") {
        for manifest in serde_saphyr::from_multiple::<Value>(manifests).unwrap() {
            apply(&scene, &bao, manifest).await;
        }
    }
    scene.ready("db").await;
    bao.has(&scene, "db-password", &value).await;
    scene.secret_has("db", "DB_PASSWORD", &value).await;
}

/// Read from OpenBao: pushed to Kelvin and shown, and shown alone.
#[tokio::test]
async fn reading_as_documented() {
    let scene = Scene::new("vault-docs").await;
    let text = page("docs/vault.md");
    let section = between(&text, "\n## Reading values\n", "\n## ")[0];
    let policy = between(section, "```hcl\n", "```")[0].replace(FOLDER, "FOLDER");
    let bao = Bao::with(&scene, &policy).await;
    let password = scene.canary("password");
    bao.foreign_put("db/creds", json!({"username": "app", "password": password})).await;
    scene.create("Secret", "bao-token", json!({"stringData": {"token": bao.token}})).await;
    let connection = json!({"vault": {"auth": {"tokenRef": {"name": "bao-token", "key": "token"}}}});
    let object = json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection",
                        "metadata": {"name": "bao"}, "spec": connection});
    apply(&scene, &bao, object).await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let blocks = between(section, "```yaml\n", "```");
    assert_eq!(blocks.len(), 2);
    apply(&scene, &bao, serde_saphyr::from_str(blocks[0]).unwrap()).await;
    scene.ready("checkout").await;
    assert_eq!(remote.value("db-password").as_ref(), Some(&password));
    scene.secret_has("checkout", "DB_USER", "app").await;

    let part: Value = serde_saphyr::from_str(blocks[1]).unwrap();
    scene.vault_secret("pulled", part["spec"].clone()).await;
    scene.until("VaultSecret", "pulled", "is Ready", Object::is_ready).await;
    scene.secret_has("pulled", "DATABASE_URL", &format!("postgres://app:{password}@db/shop")).await;
    assert!(bao.proxy.mutations().is_empty());
}
