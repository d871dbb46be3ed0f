//! Rule 14: with everything logged that can be, through a life with every kind of error, no secret turns up where it must not be, in
//! no spelling.

mod places;
mod troubles;

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use devkit::remotes::{DEFAULT_TENANT, Op};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::common::{Kind, Object, Remote, Scene, entry, generated, hexadecimal, spellings};

/// The beginning of every token that an identity provider of the suite hands out.
const TOKEN_HEADER: &str = r#"{"alg":"RS256","typ":"JWT"}"#;

/// A scene, and every secret in it.
struct Stage {
    scene: Scene,
    secrets: Mutex<Vec<(String, String)>>,
}

impl Stage {
    /// A new secret with characters that every encoding changes.
    fn secret(&self, what: &str) -> String {
        let text = format!("{}/\"ü\" &<+>=%\n{}", self.scene.canary(what), uuid::Uuid::new_v4().simple());
        self.keep(what, text)
    }

    /// A new secret that fits into a header.
    fn credential(&self, what: &str) -> String {
        let text = format!("{}/+&=%{}", self.scene.canary(what), uuid::Uuid::new_v4().simple());
        self.keep(what, text)
    }

    fn keep(&self, what: &str, text: String) -> String {
        self.secrets.lock().unwrap().push((what.to_owned(), text.clone()));
        text
    }

    async fn remote(&self, kind: Kind) -> Arc<Remote> {
        let secret = self.credential("connection");
        self.scene.watch(Remote::start(kind, &secret).await)
    }

    /// Makes a VaultSecret with values of every origin, and waits until it is Ready.
    async fn app(&self, remote: &Remote) -> String {
        let (scene, kind) = (&self.scene, remote.kind());
        let (name, source) = (format!("app-{}", kind.member()), format!("source-{}", kind.member()));
        let (value, encoded) = (self.secret("value"), self.secret("encoded"));
        scene.source(&source, &[("value", &value), ("encoded", &encoded)]).await;
        let mut data = vec![
            entry("VALUE", &kind.name("the value"), &format!("{source}/value")),
            entry("ENCODED", &kind.name("encoded"), &format!("{source}/encoded")),
            generated("PASSWORD", &kind.name("password"), 1),
        ];
        data[1]["encoding"] = json!("Base64");
        for (key, generate) in [("UUID", json!({"uuid": {}})), ("BYTES", json!({"bytes": {"length": 24}}))] {
            data.push(
                json!({"key": key, "remoteName": kind.name(&key.to_lowercase()), "valueFrom": {"generate": generate}}),
            );
        }
        let spec = json!({"connectionRef": {"name": kind.member()}, "data": data, "deletionPolicy": "Delete"});
        scene.vault_secret(&name, spec).await;
        scene.ready(&name).await;
        self.learn_generated(&name).await;
        name
    }

    /// Takes the generated values of a VaultSecret to the secrets.
    async fn learn_generated(&self, name: &str) {
        let target = self.scene.expect("Secret", name).await;
        for key in ["PASSWORD", "UUID", "BYTES"] {
            let value = String::from_utf8(target.secret_value(key).unwrap()).unwrap();
            self.keep(&format!("generated {key}"), value);
        }
    }
}

/// A life with every kind of error at one of the remotes.
async fn life_at(stage: &Stage, kind: Kind) {
    let scene = &stage.scene;
    let remote = stage.remote(kind).await;
    scene.connect(&remote).await;
    let app = stage.app(&remote).await;
    troubles::at_the_remote(stage, &remote).await;
    troubles::of_values(stage, &remote, &app).await;
    troubles::with_others(stage, &remote).await;
    troubles::of_credentials(stage, &remote).await;
    if kind == Kind::Kelvin {
        troubles::with_tokens(stage, &remote).await;
    }
    scene.edit(&app, json!({"data": [generated("PASSWORD", &kind.name("password"), 2)]})).await;
    scene.ready(&app).await;
    let again = scene.expect("Secret", &app).await.secret_value("PASSWORD").unwrap();
    stage.keep("generated again", String::from_utf8(again).unwrap());
}

#[tokio::test]
async fn r14_secrets_stay_secret() {
    let stage = Stage { scene: Scene::isolated("canary", &["--log-level=trace"]).await, secrets: Mutex::default() };
    let scene = &stage.scene;
    futures::future::join_all([Kind::Kelvin, Kind::Dreadnode, Kind::Mixpeek].map(|kind| life_at(&stage, kind))).await;
    scene.operator.crash().await;
    scene.ready("app-kelvin").await;
    let places = places::everywhere(scene).await;
    scene.delete("VaultSecret", "app-kelvin").await;
    scene.gone("VaultSecret", "app-kelvin").await;
    scene.operator.stop().await;
    let mut places = places;
    places.push(("the log", scene.operator.log_since(0)));

    let mut secrets = stage.secrets.lock().unwrap().clone();
    secrets.push(("an access token".to_owned(), URL_SAFE_NO_PAD.encode(TOKEN_HEADER)));
    secrets.push(("the head of an access token".to_owned(), TOKEN_HEADER.to_owned()));
    let size: usize = places.iter().map(|(_, text)| text.len()).sum();
    println!("{} secrets, {} places, {} KiB", secrets.len(), places.len(), size / 1024);
    let mut leaks = Vec::new();
    for (what, secret) in &secrets {
        for spelling in spellings(secret) {
            for (place, text) in places.iter().filter(|(_, text)| text.contains(&spelling.text)) {
                let at = text.find(&spelling.text).unwrap();
                let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
                let begin = text.floor_char_boundary(line.max(at.saturating_sub(300)));
                leaks.push(format!(
                    "{what} ({}) is in {place}: …{}",
                    spelling.how,
                    &text[begin..at + spelling.text.len()]
                ));
            }
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    for (what, text) in &places {
        assert!(text.len() > 20, "{what} holds next to nothing, so this test shows nothing: {text}");
    }
    places::secrets_are_where_they_belong(scene, &secrets).await;
}

#[test]
fn a_secret_is_found_in_every_spelling() {
    let secret = "pass/\"wörd\" &<+>=%\n1234567890";
    let found = |text: &str| spellings(secret).iter().any(|spelling| text.contains(&spelling.text));
    for before in ["", "x", "xy", "xyz"] {
        let longer = format!("{before}{secret}and more");
        assert!(
            found(&longer) && found(&STANDARD_NO_PAD.encode(&longer)) && found(&URL_SAFE_NO_PAD.encode(&longer)),
            "{before}"
        );
        assert!(found(&Value::from(longer.clone()).to_string()) && found(&format!("{longer:?}")));
        assert!(found(&Value::from(Value::from(longer.clone()).to_string()).to_string()));
        assert!(found(&hexadecimal(longer.as_bytes())));
        assert!(found(&utf8_percent_encode(&longer, NON_ALPHANUMERIC).to_string()));
    }
    assert!(found(&hexadecimal(&Sha256::digest(secret))));
    assert!(!found("pass word 1234567890"));
}
