//! Every kind of error that an operator can have with a secret in its hands.

use super::*;
use devkit::remotes::{Action, Fault, Hint};

/// What a remote can do to a request that carries a value.
fn actions() -> Vec<Action> {
    let echoes = [400, 403, 404, 409, 413, 422, 429, 500, 503].map(Action::EchoValue);
    let mut all: Vec<Action> = echoes.into();
    all.extend([
        Action::NotJson(200),
        Action::NotJson(502),
        Action::CutBefore,
        Action::CutAfter,
        Action::TruncatedList,
    ]);
    all.extend([Action::status(426), Action::retry_after(429, "1")]);
    all
}

/// The remote refuses, fails, repeats what it was sent, and goes away: each entry of one VaultSecret meets another trouble.
pub async fn at_the_remote(stage: &Stage, remote: &Remote) {
    let (scene, kind) = (&stage.scene, remote.kind());
    let value = stage.secret("in a hint");
    let body = json!({"detail": value, "error": {"message": value, "type": value, "details": {"retry_after_seconds": value}},
                      "errors": [{"name": value, "title": value, "description": value}], "message": value});
    let hint = Action::Status { code: 422, retry_after: Some("soon".to_owned()), hint: Some(Hint::Body(body)) };
    let actions: Vec<_> = actions().into_iter().chain([hint]).collect();
    let (app, source) = (format!("trouble-{}", kind.member()), format!("trouble-source-{}", kind.member()));
    let key = |number: usize| format!("KEY-{number}");
    let name = |number: usize| kind.name(&format!("trouble {number}"));
    let data: Vec<_> = (0..actions.len()).map(|n| entry(&key(n), &name(n), &format!("{source}/{}", key(n)))).collect();
    let values = || {
        let values = (0..actions.len()).map(|number| (key(number), json!(stage.secret("value in trouble"))));
        json!({"stringData": values.collect::<serde_json::Map<_, _>>()})
    };
    scene.create("Secret", &source, values()).await;
    for op in [Op::Create, Op::Update] {
        let faults: Vec<_> = actions
            .iter()
            .enumerate()
            .map(|(number, action)| {
                remote.faults().add(Fault::new(action.clone()).on(op).named(&name(number)).times(1))
            })
            .collect();
        match op {
            Op::Create => drop(
                scene
                    .vault_secret(
                        &app,
                        json!({"connectionRef": {"name": kind.member()}, "data": data, "adoptionPolicy": "TakeOver"}),
                    )
                    .await,
            ),
            _ => drop(scene.patch("Secret", &source, values()).await),
        }
        scene
            .eventually("each trouble has come", async || faults.iter().all(|fault| remote.faults().hits(*fault) == 1))
            .await;
        scene.ready(&app).await;
    }
    for action in [Action::EchoValue(500), Action::TruncatedList, Action::NotJson(200)] {
        let fault = remote.faults().add(Fault::new(action).on(Op::List).times(1));
        scene.eventually("a list is spoilt", async || remote.faults().hits(fault) == 1).await;
    }
    remote.faults().clear();
}

/// Values that are refused before they are sent.
pub async fn of_values(stage: &Stage, remote: &Remote, app: &str) {
    let scene = &stage.scene;
    let source = format!("source-{}", remote.kind().member());
    let good = stage.secret("good value");
    let mut not_text = stage.secret("value that is not text").into_bytes();
    not_text.extend([0xff, 0xfe]);
    let long = stage.secret("long value").repeat(1000);
    for value in [not_text, long.into_bytes()] {
        let value = base64::engine::general_purpose::STANDARD.encode(value);
        scene.patch("Secret", &source, json!({"data": {"value": value}})).await;
        scene.not_ready(app, "ValueRefused").await;
        scene.set_source(&source, "value", &good).await;
        scene.ready(app).await;
    }
    scene.patch("Secret", &source, json!({"data": {"value": null}})).await;
    scene.not_ready(app, "SourceMissing").await;
    scene.set_source(&source, "value", &good).await;
    scene.ready(app).await;
}

/// Entries and Secrets of others.
pub async fn with_others(stage: &Stage, remote: &Remote) {
    let (scene, kind) = (&stage.scene, remote.kind());
    let source = format!("source-{}", kind.member());
    remote.foreign_put(&kind.name("taken"), &stage.secret("foreign entry"));
    let target = format!("theirs-{}", kind.member());
    scene.create("Secret", &target, json!({"stringData": {"VALUE": stage.secret("foreign Secret")}})).await;
    let conflicts = [
        (
            "entry",
            "RemoteEntryExists",
            json!([entry("VALUE", &kind.name("taken"), &format!("{source}/value"))]),
            json!({}),
        ),
        (
            "target",
            "TargetConflict",
            json!([entry("VALUE", &kind.name("free"), &format!("{source}/value"))]),
            json!({"name": target}),
        ),
    ];
    for (what, reason, data, target) in conflicts {
        let name = format!("{what}-{}", kind.member());
        scene
            .vault_secret(&name, json!({"connectionRef": {"name": kind.member()}, "data": data, "target": target}))
            .await;
        scene.not_ready(&name, reason).await;
    }
    // Somebody changes what is ours.
    remote.foreign_put(&kind.name("the value"), &stage.secret("foreign change"));
    remote.foreign_delete(&kind.name("encoded"));
    scene.eventually("it is put right", async || remote.value(&kind.name("encoded")).is_some()).await;
    scene
        .patch(
            "Secret",
            &format!("app-{}", kind.member()),
            json!({"stringData": {"VALUE": stage.secret("edit by hand")}}),
        )
        .await;
    scene.ready(&format!("app-{}", kind.member())).await;
}

/// Credentials that are wrong, that cannot be sent, and files that cannot be read.
pub async fn of_credentials(stage: &Stage, remote: &Remote) {
    let (scene, kind) = (&stage.scene, remote.kind());
    let good = remote.credentials();
    let data = |secret: &str, more: Value| {
        let mut data = remote.credentials_with(secret);
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    let pem = |what: &str, inside: &str| format!("-----BEGIN {what}-----\n{inside}\n-----END {what}-----\n");
    let key = stage.credential("private key");
    let inside = base64::engine::general_purpose::STANDARD.encode(&key);
    let certificate = json!({"tls.crt": pem("CERTIFICATE", &inside), "tls.key": pem("PRIVATE KEY", &inside)});
    let bundle = json!({"ca.crt": pem("CERTIFICATE", &stage.credential("CA bundle"))});
    let cases = [
        ("wrong", data(&stage.credential("wrong credential"), json!({})), json!({})),
        (
            "control",
            data(&format!("{}\n{}", stage.credential("first line"), stage.credential("second line")), json!({})),
            json!({}),
        ),
        (
            "bundle",
            data("good", bundle),
            json!({"tls": {"caRef": {"kind": "Secret", "name": "bundle", "key": "ca.crt"}}}),
        ),
        ("client", data("good", certificate), json!({"tls": {"clientCertificateRef": {"name": "client"}}})),
    ];
    for (what, credentials, more) in cases {
        let secret = format!("{what}-{}", kind.member());
        let text = more.to_string().replace(&format!("\"{what}\""), &format!("\"{secret}\""));
        let more: Value = serde_json::from_str(&text).unwrap();
        scene.create("Secret", &secret, json!({"stringData": credentials})).await;
        let spec = Scene::connection_spec(remote, &secret, more);
        scene.create("VaultConnection", &secret, json!({"spec": spec})).await;
        let told = |connection: &Object| {
            let ready = connection.ready();
            ready.status == "False" && ready.reason != "Connecting"
        };
        scene.until("VaultConnection", &secret, "says what is wrong", told).await;
    }
    // The credential of the connection in use is refused, and renewed.
    let renewed = stage.credential("renewed credential");
    let credentials = format!("{}-credentials", kind.member());
    remote.rotate(&renewed);
    let refused = |connection: &Object| connection.ready().reason == "AuthenticationFailed";
    scene.until("VaultConnection", kind.member(), "is refused", refused).await;
    assert_ne!(good, remote.credentials_with(&renewed));
    scene.patch("Secret", &credentials, json!({"stringData": remote.credentials_with(&renewed)})).await;
    scene.connection_is(kind.member(), "Connected").await;
    scene.ready(&format!("app-{}", kind.member())).await;
}

/// The identity provider: passwords, tokens of others, errors that repeat what was sent to it.
pub async fn with_tokens(stage: &Stage, remote: &Remote) {
    let (scene, kelvin) = (&stage.scene, remote.as_kelvin());
    let (user, password) = ("somebody", stage.credential("password"));
    kelvin.add_user(user, &password, DEFAULT_TENANT);
    let token = stage.keep("fixed token", kelvin.issue_token("suite"));
    let wrong = stage.credential("wrong password");
    scene.source("logins", &[("user", user), ("password", &password), ("token", &token), ("wrong", &wrong)]).await;
    let key = |key: &str| json!({"name": "logins", "key": key});
    let cases = [
        ("by-password", "Connected", json!({"password": {"usernameRef": key("user"), "passwordRef": key("password")}})),
        ("by-token", "Connected", json!({"accessTokenRef": key("token")})),
        (
            "by-wrong-password",
            "AuthenticationFailed",
            json!({"password": {"usernameRef": key("user"), "passwordRef": key("wrong")}}),
        ),
    ];
    for (name, reason, auth) in cases {
        let mut spec = Scene::connection_spec(remote, "unused", json!({}));
        spec["kelvin"]["auth"] = auth;
        scene.create("VaultConnection", name, json!({"spec": spec})).await;
        scene.connection_is(name, reason).await;
    }
    for action in [
        Action::EchoValue(400),
        Action::EchoValue(401),
        Action::EchoValue(500),
        Action::NotJson(200),
        Action::TruncatedList,
    ] {
        let fault = remote.faults().add(Fault::new(action).on(Op::Token).times(2));
        remote.expire_tokens();
        scene.eventually("a login fails", async || remote.faults().hits(fault) >= 1).await;
        remote.faults().clear();
        // A refused credential is tried again after a minute, a renewed one at once.
        let renewed = stage.credential("renewed after a failed login");
        remote.rotate(&renewed);
        scene.patch("Secret", "kelvin-credentials", json!({"stringData": remote.credentials_with(&renewed)})).await;
        scene
            .eventually("it is connected", async || {
                scene.expect("VaultConnection", "kelvin").await.ready().reason == "Connected"
            })
            .await;
    }
    scene.ready("app-kelvin").await;
}
