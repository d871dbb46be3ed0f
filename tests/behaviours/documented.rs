//! The examples of the README and of docs/rotation.md, applied as they stand.

use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, for_each_remote, merged};

fn page(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The blocks of a text that begin with this fence.
fn blocks<'t>(text: &'t str, fence: &str) -> Vec<&'t str> {
    text.split(&format!("\n{fence}\n")).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// A Secret that is made: its name, and keys with their values.
type Made = (String, Vec<(String, String)>);

/// The commands below a heading of the README: Secrets that are made, and manifests that are applied.
fn commands(heading: &str) -> (Vec<Made>, Vec<Value>) {
    let readme = page("README.md");
    let section = readme.split(&format!("\n### {heading}\n")).nth(1).unwrap().split("\n#").next().unwrap();
    let made = section.lines().filter_map(|line| line.strip_prefix("kubectl create secret generic "));
    let secrets = made.map(|rest| {
        let mut words = rest.split(' ');
        let name = words.next().unwrap().to_owned();
        let pair = |word: &str| {
            word.strip_prefix("--from-literal=").unwrap().split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))
        };
        (name, words.map(|word| pair(word).unwrap()).collect())
    });
    let applied = section.split("kubectl apply -f - <<EOF\n").skip(1).map(|rest| rest.split("\nEOF").next().unwrap());
    let manifests = applied.flat_map(|text| serde_saphyr::from_multiple::<Value>(text).unwrap()).collect();
    (secrets.collect(), manifests)
}

/// A newcomer's first VaultSecret: the stand-in's address and credentials are all that is put in.
async fn readme_first_vault_secret(kind: Kind) {
    let scene = Scene::new("readme").await;
    let remote = scene.remote(kind).await;
    let heading = match kind {
        Kind::Kelvin => "Kelvin",
        Kind::Dreadnode => "Dreadnode",
        Kind::Mixpeek => "Mixpeek",
    };
    let (secrets, manifests) = commands(heading);
    assert!(!secrets.is_empty() && manifests.len() == 2, "{heading}: {secrets:?}");
    for (name, pairs) in secrets {
        let mut data = serde_json::Map::new();
        for (key, value) in pairs {
            let own = remote.credentials().get(&key).cloned().filter(|_| name.ends_with("-credentials"));
            data.insert(key, own.unwrap_or(json!(value)));
        }
        scene.create("Secret", &name, json!({"stringData": data})).await;
    }
    for mut manifest in manifests.clone() {
        manifest["metadata"]["namespace"] = json!(scene.namespace);
        if manifest["kind"] == "VaultConnection" {
            manifest["spec"][kind.member()]["url"] = json!(remote.url());
            manifest["spec"]["allowInsecureUrl"] = json!(true);
        }
        scene.apply(&manifest).await;
    }
    let app = manifests.iter().find(|m| m["kind"] == "VaultSecret").unwrap();
    let name = app["metadata"]["name"].as_str().unwrap();
    scene.ready(name).await;
    let entry = &app["spec"]["data"][0];
    let key = entry["key"].as_str().unwrap();
    let shown = scene.expect("Secret", name).await.secret_value(key).unwrap();
    let at = entry["remoteName"].as_str().unwrap_or(key);
    assert_eq!(remote.value(at).map(String::into_bytes), Some(shown));
    assert_eq!(remote.entries().len(), 1);
}

/// Its host does not exist; all else is right.
#[tokio::test]
async fn readme_any_other_api() {
    let scene = Scene::new("readme-http").await;
    let (secrets, manifests) = commands("Any other REST API");
    for (name, pairs) in secrets {
        let data: serde_json::Map<String, Value> = pairs.into_iter().map(|(k, v)| (k, json!(v))).collect();
        scene.create("Secret", &name, json!({"stringData": data})).await;
    }
    for mut manifest in manifests {
        manifest["metadata"]["namespace"] = json!(scene.namespace);
        scene.apply(&manifest).await;
    }
    let connection = scene.connection_is("acme", "Unreachable").await;
    assert!(connection.ready().message.contains("name cannot be resolved"), "{}", connection.ready().message);
}

/// The parts of docs/rotation.md are those of one VaultSecret.
#[tokio::test]
async fn rotation_as_documented() {
    let scene = Scene::new("rotation-docs").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let text = page("docs/rotation.md");
    let mut spec = json!({"connectionRef": {"name": "kelvin"}});
    let mut data = Vec::new();
    for block in blocks(&text, "```yaml") {
        match serde_saphyr::from_str::<Value>(block).unwrap() {
            Value::Array(entries) => data.extend(entries),
            Value::Object(part) if part.contains_key("data") => data.extend(part["data"].as_array().unwrap().clone()),
            part => spec = merged(spec, part["spec"].clone()),
        }
    }
    assert!(data.len() >= 4 && spec["rolloutRestartTargets"].is_array(), "{spec}");
    spec["data"] = json!(data);
    scene.vault_secret("app", spec).await;
    scene.until("VaultSecret", "app", "is Ready", Object::is_ready).await;
    let shown = scene.expect("Secret", "app").await;
    let wanted: Vec<&str> = data.iter().map(|entry| entry["key"].as_str().unwrap()).collect();
    for key in wanted {
        assert!(shown.secret_value(key).is_some(), "{key}");
    }
    let public = String::from_utf8(shown.secret_value("id_ed25519.pub").unwrap()).unwrap();
    assert!(public.starts_with("ssh-ed25519 ") && public.trim_end().ends_with("deploy@shop"), "{public}");
    assert!(remote.value("signing-key").unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
}

/// The README's command, with the namespace of the test, prints an entry that the operator opens.
#[tokio::test]
async fn readme_sealed_value() {
    let scene = Scene::new("readme-seal").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let readme = page("README.md");
    let command = readme.lines().find(|line| line.contains("| vaultsecret seal -n shop ")).unwrap();
    let token = scene.canary("token");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_vaultsecret")).parent().unwrap();
    let output = tokio::process::Command::new("sh")
        .args(["-c", &command.replace("-n shop", &format!("-n {}", scene.namespace))])
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .env("KUBECONFIG", scene.cluster.admin_kubeconfig())
        .env("TOKEN", &token)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_saphyr::from_str(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    let entry = merged(printed[0].clone(), json!({"remoteName": "stripe-api-key"}));
    scene.vault_secret("checkout", json!({"connectionRef": {"name": "kelvin"}, "data": [entry]})).await;
    scene.ready("checkout").await;
    assert_eq!(remote.value("stripe-api-key"), Some(token));
}

for_each_remote!(readme_first_vault_secret);
