//! Behaviour 27: a remote that repeats what it was sent in its errors. The scene looks for the secrets in every status and event
//! that is read, and in the operator's log at the end.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use devkit::remotes::{Action, Fault, Hint, Op};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::common::{Kind, Scene, entry, for_each_remote};

/// Statuses that a remote may answer a write with.
const STATUSES: [u16; 12] = [400, 402, 403, 404, 405, 409, 413, 422, 426, 429, 500, 503];

/// A value with characters that every encoding changes. None of its spellings may turn up.
fn value(scene: &Scene) -> String {
    let value = format!("{}/\"ü\" &<§>\n{}", scene.canary("value"), scene.canary("value"));
    let json = Value::from(value.clone()).to_string();
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent = utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string();
    let spellings = [
        json.trim_matches('"').to_owned(),
        percent.to_lowercase(),
        percent,
        URL_SAFE.encode(&value),
        STANDARD.encode(&value),
        STANDARD_NO_PAD.encode(&value),
        URL_SAFE_NO_PAD.encode(&value),
        hex.to_uppercase(),
        hex,
    ];
    for spelling in spellings {
        scene.secret_text(&spelling);
    }
    value
}

/// Everything that a user or a collector of logs and metrics sees.
async fn look_everywhere(scene: &Scene) {
    for kind in ["VaultSecret", "VaultConnection"] {
        for object in scene.list(kind).await {
            scene.expect_no_secret(&format!("{kind} {}", object.name()), &object.at("/status").to_string());
            let annotations = object.at("/metadata/annotations").to_string();
            scene.expect_no_secret("annotations", &annotations);
        }
    }
    scene.list("Event").await;
    scene.expect_no_secret("the metrics", &scene.operator.metrics().await);
}

async fn b27_echoed_by_an_update(kind: Kind) {
    let scene = Scene::new("b27").await;
    let synced = scene.synced(kind, json!({})).await;
    let remote = &synced.remote;
    for status in STATUSES {
        let fault = remote.faults().add(Fault::new(Action::EchoValue(status)).on(Op::Update).times(1));
        scene.set_source("source", "value", &value(&scene)).await;
        scene.eventually(&format!("{status} is echoed"), async || remote.faults().hits(fault) == 1).await;
        let told = |app: &crate::common::Object| {
            let message = app.row(&synced.entry).unwrap().text("/message").to_owned();
            message.contains(&status.to_string()) || app.is_ready()
        };
        scene.until("VaultSecret", "app", &format!("speaks of {status}, or is past it"), told).await;
        look_everywhere(&scene).await;
    }
    remote.faults().clear();
    let last = value(&scene);
    scene.set_source("source", "value", &last).await;
    scene.remote_has(remote, &synced.entry, &last).await;
    scene.ready("app").await;
    look_everywhere(&scene).await;
}

async fn b27_echoed_by_a_create(kind: Kind) {
    let scene = Scene::new("b27-create").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    for status in [400, 409, 422, 500] {
        let name = kind.name(&format!("entry {status}"));
        remote.faults().add(Fault::new(Action::EchoValue(status)).on(Op::Create).named(&name));
        let source = format!("source-{status}");
        scene.source(&source, &[("value", &value(&scene))]).await;
        let spec = json!({"connectionRef": {"name": kind.member()},
                          "data": [entry("VALUE", &name, &format!("{source}/value"))]});
        scene.vault_secret(&format!("app-{status}"), spec).await;
    }
    for status in [400, 409, 422, 500] {
        let name = kind.name(&format!("entry {status}"));
        scene.eventually("the value is echoed", async || remote.count_for(Op::Create, &name) > 0).await;
        let app = format!("app-{status}");
        let failed = |app: &crate::common::Object| app.ready().status == "False" && app.row(&name).is_some();
        scene.until("VaultSecret", &app, "says so", failed).await;
        if status != 409 {
            scene.not_ready(&app, "RemoteError").await;
        }
    }
    look_everywhere(&scene).await;
    scene
        .stays("nothing shows", std::time::Duration::from_secs(3), async || {
            look_everywhere(&scene).await;
            true
        })
        .await;
}

/// Bodies that repeat the value in the very fields that are read.
async fn b27_echoed_where_hints_are_read(kind: Kind) {
    let scene = Scene::new("b27-hint").await;
    let synced = scene.synced(kind, json!({})).await;
    for status in [400, 409, 422, 429, 500, 503] {
        let value = value(&scene);
        let body = json!({
            "success": false, "status": status, "code": status, "type": value, "detail": value,
            "error": {"type": value, "code": value, "message": value, "details": {"retry_after_seconds": value}},
            "errors": [{"name": value, "title": value, "description": value, "loc": [value], "msg": value, "type": value}],
        });
        let action = Action::Status {
            code: status,
            retry_after: Some(value.replace('\n', " ").replace(['ü', '§'], "")),
            hint: Some(Hint::Body(body)),
        };
        let fault = synced.remote.faults().add(Fault::new(action).on(Op::Update).times(1));
        scene.set_source("source", "value", &value).await;
        scene.eventually(&format!("{status} is echoed"), async || synced.remote.faults().hits(fault) == 1).await;
        scene.until("VaultSecret", "app", "is not Ready, or past it", |app| app.is_observed()).await;
        look_everywhere(&scene).await;
        let next = self::value(&scene);
        scene.set_source("source", "value", &next).await;
        scene.remote_has(&synced.remote, &synced.entry, &next).await;
    }
    scene.ready("app").await;
    look_everywhere(&scene).await;
}

/// Kelvin's login repeats the client's secret.
#[tokio::test]
async fn b27_credential_echoed_by_a_login() {
    let scene = Scene::new("b27-login").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    for status in [400, 401, 403, 500] {
        let fault = synced.remote.faults().add(Fault::new(Action::EchoValue(status)).on(Op::Token));
        let secret = scene.canary("credential/+= ");
        scene.secret_text(&utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string());
        synced.remote.rotate(&secret);
        let credentials = json!({"stringData": synced.remote.credentials_with(&secret)});
        scene.patch("Secret", "kelvin-credentials", credentials).await;
        scene.eventually(&format!("{status} is echoed"), async || synced.remote.faults().hits(fault) >= 1).await;
        let bad = |connection: &crate::common::Object| connection.ready().status == "False";
        scene.until("VaultConnection", "kelvin", "says so", bad).await;
        look_everywhere(&scene).await;
        synced.remote.faults().clear();
    }
    let secret = scene.canary("credential");
    synced.remote.rotate(&secret);
    let credentials = json!({"stringData": synced.remote.credentials_with(&secret)});
    scene.patch("Secret", "kelvin-credentials", credentials).await;
    scene.connection_is("kelvin", "Connected").await;
    look_everywhere(&scene).await;
}

for_each_remote!(b27_echoed_by_an_update, b27_echoed_by_a_create, b27_echoed_where_hints_are_read);
