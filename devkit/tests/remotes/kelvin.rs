//! Kelvin's entries.

use devkit::remotes::{
    AuthKind, KELVIN_CLIENT, KELVIN_PERMISSIONS, Kelvin, KelvinOptions, Op, Precision, SOMEBODY_ELSE,
};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::{answer, call, client};

/// A platform, a client of it and a token.
pub struct Session {
    pub kelvin: Kelvin,
    pub http: Client,
    pub token: String,
}

impl Session {
    pub async fn start(options: KelvinOptions) -> Self {
        let kelvin = Kelvin::start(options).await.unwrap();
        let token = kelvin.issue_token(KELVIN_CLIENT.0);
        Self { kelvin, http: client(), token }
    }

    pub fn post(&self, path: &str, body: Value) -> RequestBuilder {
        let url = format!("{}/api/v4/secrets/{path}", self.kelvin.url());
        call(&self.http, Method::POST, &url, &body).bearer_auth(&self.token)
    }

    pub fn create(&self, name: &str, value: &str) -> RequestBuilder {
        self.post("create", json!({ "name": name, "value": value }))
    }

    pub fn update(&self, name: &str, value: &str) -> RequestBuilder {
        self.post(&format!("{name}/update"), json!({ "value": value }))
    }

    pub fn delete(&self, name: &str) -> RequestBuilder {
        self.post(&format!("{name}/delete"), Value::Null)
    }

    pub fn list(&self, query: &str) -> RequestBuilder {
        let url = format!("{}/api/v4/secrets/list{query}", self.kelvin.url());
        self.http.get(url).bearer_auth(&self.token)
    }
}

#[tokio::test]
async fn an_entry_lives_as_documented() {
    let session = Session::start(KelvinOptions::default()).await;
    let (status, made) = answer(session.create("demosecret", "This is a really big secret!")).await;
    assert_eq!(status, 201);
    assert_eq!(made["name"], "demosecret");
    assert_eq!(made["created"], made["updated"]);
    assert_eq!(made["created_by"], "krn:user:service-account-vaultsecret");
    let keys: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["created", "created_by", "name", "updated", "updated_by"]);
    assert_eq!(session.kelvin.value("demosecret").as_deref(), Some("This is a really big secret!"));

    let (status, changed) = answer(session.update("demosecret", "new")).await;
    assert_eq!((status, &changed["created"]), (200, &made["created"]));
    assert_ne!(changed["updated"], made["updated"]);
    assert_eq!(session.kelvin.entry("demosecret").unwrap().values, ["This is a really big secret!", "new"]);

    let (status, list) = answer(session.list("")).await;
    assert_eq!(status, 200);
    assert_eq!(
        list,
        json!({ "pagination": { "next_page": null, "previous_page": null, "page_size": 20 }, "data": [changed] })
    );

    assert_eq!(answer(session.delete("demosecret")).await, (200, Value::Null));
    assert_eq!(session.kelvin.value("demosecret"), None);
    assert_eq!(answer(session.list("")).await.1["data"], json!([]));
    assert_eq!((session.kelvin.mutations(), session.kelvin.lists()), (3, 2));
}

#[tokio::test]
async fn each_refusal_has_its_status_and_the_envelope() {
    let session = Session::start(KelvinOptions::default()).await;
    let long = "x".repeat(64_001);
    assert_eq!(answer(session.create("taken", "v")).await.0, 201);
    let no_type =
        session.http.post(format!("{}/api/v4/secrets/create", session.kelvin.url())).bearer_auth(&session.token);
    let cases = [
        (400, session.create("", "v")),
        (400, session.create(&"a".repeat(33), "v")),
        (400, session.create("Upper", "v")),
        (400, session.create("under_score", "v")),
        (400, session.create("a.b", "v")),
        (400, session.create("a", "")),
        (400, session.create("a", &long)),
        (400, session.post("create", json!({ "name": "a" }))),
        (400, session.post("create", json!({ "name": "a", "value": 1 }))),
        (400, session.post("create", json!({ "name": "a", "value": "v", "labels": {} }))),
        (400, session.post("create", json!([]))),
        (400, no_type.body(r#"{"name":"a","value":"v"}"#)),
        (409, session.create("taken", "other")),
        (404, session.update("absent", "v")),
        (400, session.update("taken", "")),
        (400, session.update("taken", &long)),
        (400, session.post("taken/update", json!({ "value": "v", "name": "taken" }))),
        (404, session.delete("absent")),
        (400, session.post("taken/delete", json!({}))),
        (400, session.list("?page_size=0")),
        (400, session.list("?page_size=10001")),
        (400, session.list("?page=1")),
        (400, session.list("?pagination_type=stream")),
        (400, session.list("?sort_by=value")),
        (400, session.list("?next=garbage")),
        (400, session.list("?limit=5")),
    ];
    for (at, (wanted, request)) in cases.into_iter().enumerate() {
        let (status, body) = answer(request).await;
        assert_eq!(status, wanted, "case {at}: {body}");
        let error = body["errors"][0].as_object().unwrap();
        assert!(["name", "title", "description"].iter().all(|key| error[*key].is_string()), "case {at}: {body}");
    }
    assert_eq!(session.kelvin.entries().len(), 1);
    assert_eq!(session.kelvin.value("taken").as_deref(), Some("v"));
    assert_eq!(session.kelvin.mutations(), 1);
    assert_eq!(answer(session.create("a", &"x".repeat(64_000))).await.0, 201);
    assert_eq!(answer(session.create(&"a".repeat(32), "v")).await.0, 201);
}

#[tokio::test]
async fn a_token_is_asked_for_and_each_permission_stands_alone() {
    let session = Session::start(KelvinOptions::default()).await;
    let url = format!("{}/api/v4/secrets/list", session.kelvin.url());
    let (status, body) = answer(session.http.get(&url)).await;
    assert_eq!((status, body["errors"][0]["name"].as_str()), (401, Some("unauthorized")));
    assert_eq!(answer(session.http.get(&url).bearer_auth("eyJ.nonsense")).await.0, 401);
    assert_eq!(answer(session.http.get(&url).header("x-api-key", &session.token)).await.0, 401);
    let kinds: Vec<AuthKind> = session.kelvin.requests().iter().map(|request| request.auth).collect();
    assert_eq!(kinds, [AuthKind::None, AuthKind::Bearer, AuthKind::ApiKey]);

    session.kelvin.foreign_put("a", "v");
    for (at, permission) in KELVIN_PERMISSIONS.iter().enumerate() {
        session.kelvin.set_permissions_of(KELVIN_CLIENT.0, &[permission]).unwrap();
        let wanted = |own: usize, done: u16| if own == at { done } else { 403 };
        assert_eq!(answer(session.create("b", "v")).await.0, wanted(0, 201), "{permission}");
        assert_eq!(answer(session.list("")).await.0, wanted(1, 200), "{permission}");
        assert_eq!(answer(session.update("a", "w")).await.0, wanted(2, 200), "{permission}");
        assert_eq!(answer(session.delete("a")).await.0, wanted(3, 200), "{permission}");
    }
    session.kelvin.set_permissions_of(KELVIN_CLIENT.0, &["kelvin.permission.*"]).unwrap();
    assert_eq!(answer(session.list("")).await.0, 200);
}

#[tokio::test]
async fn an_old_platform_answers_the_name_alone_and_cannot_update() {
    let options = KelvinOptions {
        create_answers_all: false,
        update_route: false,
        old_alphabet: true,
        ..KelvinOptions::default()
    };
    let session = Session::start(options).await;
    assert_eq!(answer(session.create("a.b_c", "v")).await, (201, json!({ "name": "a.b_c" })));
    let response = session.update("a.b_c", "w").send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert!(serde_json::from_str::<Value>(&response.text().await.unwrap()).is_err());
    assert_eq!(session.kelvin.value("a.b_c").as_deref(), Some("v"));
}

#[tokio::test]
async fn stamps_move_as_the_switches_say() {
    let session = Session::start(KelvinOptions { precision: Precision::Nanos, ..KelvinOptions::default() }).await;
    let made = answer(session.create("a", "v")).await.1;
    session.kelvin.shift_clock(jiff::SignedDuration::from_secs(60));
    session.kelvin.reconfigure(|options| options.same_value_moves = false);
    assert_eq!(answer(session.update("a", "v")).await.1["updated"], made["updated"]);
    assert_eq!(answer(session.post("a/update", json!({}))).await.1, made);
    session.kelvin.reconfigure(|options| options.same_value_moves = true);
    let moved = answer(session.update("a", "v")).await.1;
    assert_ne!(moved["updated"], made["updated"]);
    session.kelvin.reconfigure(|options| options.precision = Precision::Seconds);
    let shown = answer(session.list("")).await.1;
    assert_eq!(shown["data"][0]["updated"].as_str().unwrap().len(), "2026-04-15T12:00:00Z".len());
}

#[tokio::test]
async fn somebody_else_leaves_traces() {
    let session = Session::start(KelvinOptions::default()).await;
    answer(session.create("a", "v")).await;
    let before = answer(session.list("")).await.1["data"][0].clone();
    session.kelvin.foreign_put("a", "theirs");
    let after = answer(session.list("")).await.1["data"][0].clone();
    assert_eq!((&after["created_by"], &after["updated_by"]), (&before["created_by"], &json!(SOMEBODY_ELSE)));
    assert_ne!(after["updated"], before["updated"]);
    assert!(session.kelvin.foreign_delete("a"));
    assert!(!session.kelvin.foreign_delete("a"));
    assert_eq!(session.kelvin.mutations(), 1, "somebody else is not counted");
}

#[tokio::test]
async fn a_credential_can_open_another_tenant() {
    let session = Session::start(KelvinOptions::default()).await;
    answer(session.create("a", "v")).await;
    session.kelvin.set_tenant_of(KELVIN_CLIENT.0, "other").unwrap();
    assert_eq!(answer(session.list("")).await.1["data"], json!([]));
    assert_eq!(answer(session.update("a", "w")).await.0, 404);
    answer(session.create("a", "x")).await;
    assert_eq!(session.kelvin.value("a").as_deref(), Some("v"));
    assert_eq!(session.kelvin.value_in("other", "a").as_deref(), Some("x"));
    assert!(session.kelvin.set_tenant_of("nobody", "other").is_err());
}

#[tokio::test]
async fn the_log_tells_what_happened() {
    let session = Session::start(KelvinOptions::default()).await;
    answer(session.create("a", "v")).await;
    answer(session.create("a", "v")).await;
    answer(session.list("?search=a")).await;
    let log = session.kelvin.requests();
    let told: Vec<_> = log
        .iter()
        .map(|request| (request.seq, request.op, request.name.as_deref(), request.status, request.processed))
        .collect();
    let wanted = [
        (1, Op::Create, Some("a"), Some(201), true),
        (2, Op::Create, Some("a"), Some(409), false),
        (3, Op::List, None, Some(200), true),
    ];
    assert_eq!(told, wanted);
    assert_eq!(log[2].query.as_deref(), Some("search=a"));
    assert!(log.iter().all(|request| request.done && request.credential.as_deref() == Some(KELVIN_CLIENT.0)));
    assert_eq!(
        (session.kelvin.count(Op::Create), session.kelvin.mutations(), session.kelvin.most_in_flight()),
        (2, 1, 1)
    );
    session.kelvin.reset_counters();
    assert_eq!(session.kelvin.count(Op::Create), 0);
}
