//! Mixpeek's entries.

use devkit::remotes::{Duplicate, ErrorShape, MIXPEEK_KEY, Mixpeek, MixpeekOptions};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::{answer, call, client};

struct Session {
    mixpeek: Mixpeek,
    http: Client,
}

impl Session {
    async fn start(options: MixpeekOptions) -> Self {
        Self { mixpeek: Mixpeek::start(options).await.unwrap(), http: client() }
    }

    fn bare(&self, method: Method, path: &str, body: Value) -> RequestBuilder {
        call(&self.http, method, &format!("{}/v1/organizations/secrets{path}", self.mixpeek.url()), &body)
    }

    fn call(&self, method: Method, path: &str, body: Value) -> RequestBuilder {
        self.bare(method, path, body).bearer_auth(MIXPEEK_KEY.1)
    }

    fn create(&self, name: &str, value: &str) -> RequestBuilder {
        self.call(Method::POST, "", json!({ "secret_name": name, "secret_value": value }))
    }
}

#[tokio::test]
async fn an_entry_lives_as_documented() {
    let session = Session::start(MixpeekOptions::default()).await;
    let flags = |created: Value, updated: Value, deleted: Value| json!({ "secret_name": "stripe_api_key", "created": created, "updated": updated, "deleted": deleted });
    assert_eq!(
        answer(session.create("stripe_api_key", "one")).await,
        (201, flags(true.into(), Value::Null, Value::Null))
    );
    let put = answer(session.call(Method::PUT, "/stripe_api_key", json!({ "secret_value": "two" }))).await;
    assert_eq!(put, (200, flags(Value::Null, true.into(), Value::Null)));
    let list = answer(session.call(Method::GET, "", Value::Null)).await;
    assert_eq!(list, (200, json!({ "secrets": ["stripe_api_key"], "count": 1 })));
    assert_eq!(session.mixpeek.entry("stripe_api_key").unwrap().values, ["one", "two"]);
    let deleted = answer(session.call(Method::DELETE, "/stripe_api_key", Value::Null)).await;
    assert_eq!(deleted, (200, flags(Value::Null, Value::Null, true.into())));
    assert!(session.mixpeek.entries().is_empty());
    assert_eq!((session.mixpeek.mutations(), session.mixpeek.lists()), (3, 1));
}

#[tokio::test]
async fn each_refusal_has_its_status_and_the_envelope() {
    let session = Session::start(MixpeekOptions::default()).await;
    answer(session.create("taken", "v")).await;
    let url = format!("{}/v1/organizations/secrets", session.mixpeek.url());
    let no_type = session.http.post(url).bearer_auth(MIXPEEK_KEY.1).body(r#"{"secret_name":"a","secret_value":"v"}"#);
    let extra = json!({ "secret_name": "a", "secret_value": "v", "description": "x" });
    let cases = [
        (422, "ValidationError", session.create("", "v")),
        (422, "ValidationError", session.create(&"a".repeat(101), "v")),
        (422, "ValidationError", session.create("a", "")),
        (422, "ValidationError", session.call(Method::POST, "", json!({ "secret_name": "a" }))),
        (422, "ValidationError", session.call(Method::POST, "", extra)),
        (422, "ValidationError", no_type),
        (
            422,
            "ValidationError",
            session.call(Method::PUT, "/taken", json!({ "secret_value": "v", "secret_name": "taken" })),
        ),
        (409, "AlreadyExistsError", session.create("taken", "v")),
        (404, "NotFoundError", session.call(Method::PUT, "/nope", json!({ "secret_value": "v" }))),
        (404, "NotFoundError", session.call(Method::DELETE, "/nope", Value::Null)),
        (401, "UnauthorizedError", session.bare(Method::GET, "", Value::Null)),
        (401, "UnauthorizedError", session.bare(Method::GET, "", Value::Null).bearer_auth("sk_wrong")),
    ];
    for (at, (wanted, kind, request)) in cases.into_iter().enumerate() {
        let (status, body) = answer(request).await;
        assert_eq!(status, wanted, "case {at}: {body}");
        assert_eq!((&body["success"], &body["status"]), (&false.into(), &wanted.into()), "case {at}: {body}");
        assert_eq!(body["error"]["type"], kind, "case {at}: {body}");
        assert!(body["error"]["message"].is_string());
    }
    assert_eq!((session.mixpeek.entries().len(), session.mixpeek.mutations()), (1, 1));
    assert_eq!(answer(session.create(&"Ä".repeat(100), "v")).await.0, 201);
}

#[tokio::test]
async fn only_an_admin_writes_and_reading_needs_a_key() {
    let session = Session::start(MixpeekOptions::default()).await;
    session.mixpeek.add_key("default", "sk_default", "main", &["read", "write", "delete"]);
    session.mixpeek.add_key("nothing", "sk_nothing", "main", &[]);
    session.mixpeek.foreign_put("a", "v");
    let with = |key: &str, method, path: &str, body| session.bare(method, path, body).bearer_auth(key);
    let body = json!({ "secret_value": "w" });
    for request in [
        with("sk_default", Method::POST, "", json!({ "secret_name": "b", "secret_value": "w" })),
        with("sk_default", Method::PUT, "/a", body.clone()),
        with("sk_default", Method::DELETE, "/a", Value::Null),
        with("sk_nothing", Method::GET, "", Value::Null),
    ] {
        let (status, body) = answer(request).await;
        assert_eq!((status, body["error"]["type"].as_str()), (403, Some("ForbiddenError")));
    }
    assert_eq!(answer(with("sk_default", Method::GET, "", Value::Null)).await.0, 200);
    session.mixpeek.set_permissions_of("default", &["admin"]).unwrap();
    assert_eq!(answer(with("sk_default", Method::PUT, "/a", body)).await.0, 200);
    session.mixpeek.revoke("default").unwrap();
    assert_eq!(answer(with("sk_default", Method::GET, "", Value::Null)).await.0, 401);
    session.mixpeek.rotate("default", "sk_rotated").unwrap();
    assert_eq!(answer(with("sk_rotated", Method::GET, "", Value::Null)).await.0, 200);
    session.mixpeek.set_tenant_of("default", "empty").unwrap();
    assert_eq!(answer(with("sk_rotated", Method::GET, "", Value::Null)).await.1["count"], 0);
}

#[tokio::test]
async fn a_duplicate_is_refused_in_each_of_the_ways() {
    let session = Session::start(MixpeekOptions::default()).await;
    answer(session.create("a", "v")).await;
    for (duplicate, wanted, kind) in [
        (Duplicate::Conflict, 409, "AlreadyExistsError"),
        (Duplicate::BadRequest, 400, "AlreadyExistsError"),
        (Duplicate::Unprocessable, 422, "ValidationError"),
    ] {
        session.mixpeek.reconfigure(|options| options.duplicate = duplicate);
        let (status, body) = answer(session.create("a", "w")).await;
        assert_eq!((status, body["error"]["type"].as_str()), (wanted, Some(kind)));
        assert!(body.to_string().contains("already exists"));
    }
    assert_eq!(session.mixpeek.value("a").as_deref(), Some("v"));
}

#[tokio::test]
async fn errors_come_in_each_of_the_shapes() {
    let session = Session::start(MixpeekOptions::default()).await;
    let extra = || session.call(Method::POST, "", json!({ "secret_name": "a", "secret_value": "v", "x": 1 }));
    let violation = answer(extra()).await.1["error"]["details"]["validation_errors"][0].clone();
    assert_eq!((&violation["type"], &violation["location"]), (&"extra_forbidden".into(), &json!(["body", "x"])));
    assert!(violation["message"].as_str().unwrap().contains("secret_name, secret_value"));

    session.mixpeek.reconfigure(|options| options.errors = ErrorShape::FastApi422);
    let violation = answer(extra()).await.1["detail"][0].clone();
    assert_eq!((&violation["type"], &violation["loc"]), (&"extra_forbidden".into(), &json!(["body", "x"])));
    let absent = answer(session.call(Method::DELETE, "/nope", Value::Null)).await.1;
    assert_eq!(absent["error"]["type"], "NotFoundError");

    session.mixpeek.reconfigure(|options| options.errors = ErrorShape::Nested);
    let absent = answer(session.call(Method::DELETE, "/nope", Value::Null)).await.1;
    assert_eq!(absent["detail"]["error"]["type"], "NotFoundError");
}

#[tokio::test]
async fn what_is_open_can_be_switched() {
    let options = MixpeekOptions {
        create_status: 200,
        null_flags: false,
        refuse_unknown: false,
        null_data: true,
        ..MixpeekOptions::default()
    };
    let session = Session::start(options).await;
    assert_eq!(answer(session.call(Method::GET, "", Value::Null)).await.1, json!({ "secrets": null, "count": 0 }));
    assert_eq!(answer(session.create("a", "v")).await, (200, json!({ "secret_name": "a", "created": true })));
    let extra = json!({ "secret_name": "b", "secret_value": "v", "x": 1 });
    assert_eq!(answer(session.call(Method::POST, "", extra)).await.1["warnings"].as_array().unwrap().len(), 1);
}
