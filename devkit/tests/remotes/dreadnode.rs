//! Dreadnode's entries.

use std::time::Duration;

use devkit::remotes::{DREADNODE_KEY, Dreadnode, DreadnodeOptions, Op};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::{answer, call, client};

struct Session {
    dreadnode: Dreadnode,
    http: Client,
}

impl Session {
    async fn start(options: DreadnodeOptions) -> Self {
        Self { dreadnode: Dreadnode::start(options).await.unwrap(), http: client() }
    }

    fn bare(&self, method: Method, path: &str, body: Value) -> RequestBuilder {
        call(&self.http, method, &format!("{}/api/v1/user/secrets{path}", self.dreadnode.url()), &body)
    }

    fn call(&self, method: Method, path: &str, body: Value) -> RequestBuilder {
        self.bare(method, path, body).header("X-API-Key", DREADNODE_KEY.1)
    }

    fn create(&self, name: &str, value: &str) -> RequestBuilder {
        self.call(Method::POST, "", json!({ "name": name, "value": value }))
    }
}

#[tokio::test]
async fn an_entry_lives_as_documented() {
    let session = Session::start(DreadnodeOptions::default()).await;
    let body = json!({ "name": "openai_api_key", "value": "sk-proj-abcdefghi789", "provider": "openai" });
    let (status, made) = answer(session.call(Method::POST, "", body)).await;
    assert_eq!(status, 201);
    assert_eq!((made["name"].as_str(), made["provider"].as_str()), (Some("OPENAI_API_KEY"), Some("openai")));
    assert_eq!(made["masked_value"], "sk-pro••••789");
    let id = made["id"].as_str().unwrap();
    assert_eq!(id, id.to_uppercase());
    assert_eq!(made.as_object().unwrap().len(), 6);

    assert_eq!(
        answer(session.call(Method::GET, &format!("/{}", id.to_lowercase()), Value::Null)).await,
        (200, made.clone())
    );
    let (status, changed) = answer(session.call(Method::PUT, &format!("/{id}"), json!({ "value": "new" }))).await;
    assert_eq!((status, &changed["id"], &changed["created_at"]), (200, &made["id"], &made["created_at"]));
    assert_ne!(changed["updated_at"], made["updated_at"]);
    let list = answer(session.call(Method::GET, "", Value::Null)).await;
    assert_eq!(list, (200, json!({ "secrets": [changed], "total": 1 })));
    assert_eq!(session.dreadnode.value("OPENAI_API_KEY").as_deref(), Some("new"));
    assert_eq!(answer(session.call(Method::DELETE, &format!("/{id}"), Value::Null)).await, (204, Value::Null));
    assert!(session.dreadnode.entries().is_empty());
    let log = session.dreadnode.requests();
    assert!(
        log.iter()
            .filter(|request| request.op != Op::List)
            .all(|request| request.name.as_deref() == Some("OPENAI_API_KEY"))
    );
}

#[tokio::test]
async fn presets_name_the_entry() {
    let session = Session::start(DreadnodeOptions::default()).await;
    let made = answer(session.call(Method::POST, "/preset", json!({ "provider": "github", "value": "v" }))).await;
    assert_eq!((made.0, made.1["name"].as_str()), (201, Some("GITHUB_TOKEN")));
    let presets = answer(session.call(Method::GET, "/presets", Value::Null)).await.1;
    assert_eq!(
        presets["presets"][2],
        json!({ "provider": "github", "env_var_name": "GITHUB_TOKEN", "configured": true })
    );
    assert_eq!(presets["presets"][0]["configured"], false);
    assert_eq!(answer(session.call(Method::POST, "/preset", json!({ "provider": "acme", "value": "v" }))).await.0, 422);
}

#[tokio::test]
async fn each_refusal_has_its_status_and_the_envelope() {
    let session = Session::start(DreadnodeOptions::default()).await;
    let id = answer(session.create("taken", "v")).await.1["id"].as_str().unwrap().to_owned();
    let absent = "/2489E9AD-2EE2-8E00-8EC9-32D5F69181C0";
    let put = |path: &str, body: Value| session.call(Method::PUT, path, body);
    let url = format!("{}/api/v1/user/secrets", session.dreadnode.url());
    let no_type = session.http.post(url).header("X-API-Key", DREADNODE_KEY.1).body(r#"{"name":"A","value":"v"}"#);
    let cases = [
        (422, "string_too_short", session.create("", "v")),
        (422, "string_too_long", session.create(&"a".repeat(256), "v")),
        (422, "string_pattern_mismatch", session.create("1a", "v")),
        (422, "string_pattern_mismatch", session.create("a-b", "v")),
        (422, "string_too_short", session.create("a", "")),
        (422, "missing", session.call(Method::POST, "", json!({ "name": "a" }))),
        (422, "string_type", session.call(Method::POST, "", json!({ "name": "a", "value": 1 }))),
        (422, "extra_forbidden", session.call(Method::POST, "", json!({ "name": "a", "value": "v", "x": 1 }))),
        (
            422,
            "literal_error",
            session.call(Method::POST, "", json!({ "name": "a", "value": "v", "provider": "acme" })),
        ),
        (422, "model_attributes_type", no_type),
        (422, "uuid_parsing", put("/TAKEN", json!({ "value": "v" }))),
        (422, "string_too_short", put(&format!("/{id}"), json!({ "value": "" }))),
        (422, "extra_forbidden", put(&format!("/{id}"), json!({ "value": "v", "name": "OTHER" }))),
        (409, "", session.create("TAKEN", "v")),
        (409, "", session.create("Taken", "v")),
        (404, "", put(absent, json!({ "value": "v" }))),
        (404, "", session.call(Method::GET, absent, Value::Null)),
        (404, "", session.call(Method::DELETE, absent, Value::Null)),
        (401, "", session.bare(Method::GET, "", Value::Null)),
        (401, "", session.bare(Method::GET, "", Value::Null).header("X-API-Key", "wrong")),
        (401, "", session.bare(Method::GET, "", Value::Null).bearer_auth(DREADNODE_KEY.1)),
    ];
    for (at, (wanted, kind, request)) in cases.into_iter().enumerate() {
        let (status, body) = answer(request).await;
        assert_eq!(status, wanted, "case {at}: {body}");
        assert_eq!(body["code"], wanted, "case {at}: {body}");
        assert!(body["detail"].is_string() && body["type"].is_string(), "case {at}: {body}");
        if !kind.is_empty() {
            assert_eq!(body["errors"][0]["type"], kind, "case {at}: {body}");
            assert!(body["errors"][0]["loc"].is_array() && body["errors"][0]["msg"].is_string());
        }
    }
    let wrong = answer(session.bare(Method::GET, "", Value::Null)).await.1;
    assert_eq!(wrong, json!({ "code": 401, "detail": "Authentication failed", "type": "authentication_error" }));
    assert_eq!((session.dreadnode.entries().len(), session.dreadnode.mutations()), (1, 1));
}

#[tokio::test]
async fn keys_and_tokens_are_told_apart() {
    let session = Session::start(DreadnodeOptions::default()).await;
    let list = || session.bare(Method::GET, "", Value::Null);
    let token = session.dreadnode.issue_token(DREADNODE_KEY.0, Duration::from_secs(60));
    assert_eq!(answer(list().bearer_auth(&token)).await.0, 200);
    assert_eq!(answer(list().header("X-API-Key", &token)).await.0, 401);
    session.dreadnode.shift_clock(jiff::SignedDuration::from_secs(60));
    assert_eq!(answer(list().bearer_auth(&token)).await.0, 401);
    session.dreadnode.reconfigure(|options| options.key_as_bearer = true);
    assert_eq!(answer(list().bearer_auth(DREADNODE_KEY.1)).await.0, 200);

    session.dreadnode.rotate(DREADNODE_KEY.0, "dn_key_fresh").unwrap();
    assert_eq!(answer(list().header("X-API-Key", DREADNODE_KEY.1)).await.0, 401);
    assert_eq!(answer(list().header("X-API-Key", "dn_key_fresh")).await.0, 200);
    session.dreadnode.set_suspended(DREADNODE_KEY.0, true).unwrap();
    let (status, body) = answer(list().header("X-API-Key", "dn_key_fresh")).await;
    assert_eq!((status, &body["code"], &body["detail"]), (403, &403.into(), &"Access forbidden".into()));
    session.dreadnode.revoke(DREADNODE_KEY.0).unwrap();
    assert_eq!(answer(list().header("X-API-Key", "dn_key_fresh")).await.0, 401);
}

#[tokio::test]
async fn users_do_not_see_each_other() {
    let session = Session::start(DreadnodeOptions::default()).await;
    let id = answer(session.create("a", "v")).await.1["id"].as_str().unwrap().to_owned();
    session.dreadnode.add_key("second", "dn_key_second", "another-user");
    let second = |method, path: &str| session.bare(method, path, Value::Null).header("X-API-Key", "dn_key_second");
    assert_eq!(answer(second(Method::GET, "")).await.1, json!({ "secrets": [], "total": 0 }));
    assert_eq!(answer(second(Method::DELETE, &format!("/{id}"))).await.0, 404);
    session.dreadnode.set_permissions_of("second", &["read"]).unwrap();
    assert_eq!(answer(second(Method::DELETE, &format!("/{id}"))).await.0, 403);
    assert_eq!(session.dreadnode.value("a").as_deref(), Some("v"));
}

#[tokio::test]
async fn what_is_open_can_be_switched() {
    let options = DreadnodeOptions {
        create_status: 200,
        delete_status: 200,
        uppercase_ids: false,
        same_value_moves: false,
        refuse_unknown: false,
        null_data: true,
        ..DreadnodeOptions::default()
    };
    let session = Session::start(options).await;
    assert_eq!(answer(session.call(Method::GET, "", Value::Null)).await.1, json!({ "secrets": null, "total": 0 }));
    let (status, made) = answer(session.call(Method::POST, "", json!({ "name": "a", "value": "v", "x": 1 }))).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!((status, id), (200, id.to_lowercase().as_str()));
    let same = answer(session.call(Method::PUT, &format!("/{id}"), json!({ "value": "v" }))).await;
    assert_eq!(same, (200, made.clone()));
    assert_eq!(answer(session.call(Method::DELETE, &format!("/{id}"), Value::Null)).await, (200, Value::Null));
}
