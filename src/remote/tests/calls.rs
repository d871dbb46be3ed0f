//! Each call as its provider documents it: method, path, headers, body, and what is read from the answer.

use super::*;

const META: &str = r#"{"name":"demosecret","created":"2025-11-24T07:05:46.789693Z","created_by":"krn:user:example@kelvin.ai",
    "updated":"2025-11-24T07:06:03.694621Z","updated_by":"krn:user:robot"}"#;
const USER_SECRET: &str = r#"{"id":"2489E9AD-2EE2-8E00-8EC9-32D5F69181C0","name":"OPENAI_API_KEY","provider":"openai",
    "masked_value":"sk-pro••••789","created_at":"2026-04-15T12:00:00Z","updated_at":"2026-04-15T12:00:01.500Z"}"#;
const ID: &str = "2489E9AD-2EE2-8E00-8EC9-32D5F69181C0";

fn text(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

async fn every_request_says_who_it_is_and_carries_the_credential(make: Make) {
    let bearer = Access::Dreadnode(DreadnodeAuth::Bearer("jwt\n".into()));
    for (access, header, value) in [
        (kelvin_access(), "authorization", "Bearer tok-static"),
        (access(Provider::Dreadnode), "x-api-key", "dn_key_abc"),
        (bearer, "authorization", "Bearer jwt"),
        (access(Provider::Mixpeek), "authorization", "Bearer sk_abc"),
    ] {
        let server = Server::answering(200, json!({"data": [], "secrets": []})).await;
        make.client(&server, access).list(no_pace()).await.unwrap();
        let seen = server.only();
        assert_eq!(seen.header(header), Some(value));
        assert_eq!(seen.header("accept"), Some("application/json"));
        assert!(seen.header("user-agent").unwrap().starts_with("vaultsecret-operator/"));
        assert_eq!(seen.header("content-type"), None);
    }
}

async fn kelvin_create(make: Make) {
    let server = Server::answering(201, text(META)).await;
    let written = make.client(&server, kelvin_access()).create("demosecret", &"big \"secret\"".into()).await.unwrap();
    let seen = server.only();
    assert_eq!(seen.line(), "POST /api/v4/secrets/create");
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.json(), json!({"name": "demosecret", "value": "big \"secret\""}));
    assert_eq!(written.version.as_deref(), Some("2025-11-24T07:06:03.694621Z"));
    assert_eq!(written.principal.as_deref(), Some("krn:user:robot"));
    assert_eq!(written.id, None);
}

async fn an_acknowledged_write_without_a_stamp_is_written_all_the_same(make: Make) {
    for body in ["", "{\"name\":\"demosecret\"}", "not json", "[]", "{\"updated\":7}"] {
        let server = Server::start(move |_| raw(201, body)).await;
        let written = make.client(&server, kelvin_access()).create("demosecret", &"v".into()).await.unwrap();
        assert_eq!(written, Written::default(), "{body}");
        let written = make.client(&server, access(Provider::Dreadnode)).create("DEMO", &"v".into()).await.unwrap();
        assert_eq!(written, Written::default(), "{body}");
    }
}

async fn kelvin_update_and_delete(make: Make) {
    let server = Server::answering(200, text(META)).await;
    let remote = make.client(&server, kelvin_access());
    let written = remote.update(&entry("old.name/x", None), &"v".into()).await.unwrap();
    assert_eq!(written.version.as_deref(), Some("2025-11-24T07:06:03.694621Z"));
    remote.delete(&entry("demosecret", None)).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line(), "POST /api/v4/secrets/old.name%2Fx/update");
    assert_eq!(seen[0].json(), json!({"value": "v"}));
    assert_eq!(seen[1].line(), "POST /api/v4/secrets/demosecret/delete");
    assert_eq!(seen[1].body, "");
    assert_eq!(seen[1].header("content-length"), Some("0"));
}

async fn kelvin_list(make: Make) {
    let server = Server::start(|_| Reply::Answer {
        status: 200,
        headers: vec![("date", "Tue, 15 Nov 1994 08:12:31 GMT".to_owned())],
        body: format!("{{\"data\":[{META},{{\"name\":\"bare\"}}],\"pagination\":{{\"next_page\":null}}}}"),
    })
    .await;
    let listing = make.client(&server, kelvin_access()).list(no_pace()).await.unwrap();
    assert_eq!(server.only().line(), "GET /api/v4/secrets/list?pagination_type=cursor&page_size=1000");
    assert_eq!(listing.remote_time, Some("1994-11-15T08:12:31Z".parse().unwrap()));
    assert_eq!(listing.entries.len(), 2);
    let first = &listing.entries[0];
    assert_eq!((first.name.as_str(), first.id.as_deref()), ("demosecret", None));
    assert_eq!(first.version.as_deref(), Some("2025-11-24T07:06:03.694621Z"));
    assert_eq!(first.created, Some("2025-11-24T07:05:46.789693Z".parse().unwrap()));
    assert_eq!(first.created_by.as_deref(), Some("krn:user:example@kelvin.ai"));
    assert_eq!(first.updated_by.as_deref(), Some("krn:user:robot"));
    assert_eq!((&listing.entries[1].version, listing.entries[1].created), (&None, None));
}

async fn dreadnode_calls(make: Make) {
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => answer(200, json!({"secrets": [text(USER_SECRET)], "total": 1})),
        "DELETE" => raw(204, ""),
        _ => answer(200, text(USER_SECRET)),
    })
    .await;
    let remote = make.client(&server, access(Provider::Dreadnode));
    let written = remote.create("OPENAI_API_KEY", &"sk".into()).await.unwrap();
    assert_eq!(written.id.as_deref(), Some(ID));
    assert_eq!(written.version.as_deref(), Some("2026-04-15T12:00:01.5Z"));
    remote.update(&entry("OPENAI_API_KEY", Some(ID)), &"new".into()).await.unwrap();
    remote.delete(&entry("OPENAI_API_KEY", Some(ID))).await.unwrap();
    let listing = remote.list(no_pace()).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line(), "POST /api/v1/user/secrets");
    assert_eq!(seen[0].json(), json!({"name": "OPENAI_API_KEY", "value": "sk"}));
    assert_eq!(seen[1].line(), format!("PUT /api/v1/user/secrets/{ID}"));
    assert_eq!(seen[1].json(), json!({"value": "new"}));
    assert_eq!(seen[2].line(), format!("DELETE /api/v1/user/secrets/{ID}"));
    assert_eq!(seen[3].line(), "GET /api/v1/user/secrets");
    assert_eq!(listing.entries[0].id.as_deref(), Some(ID));
    assert_eq!(listing.entries[0].version, written.version);
    assert!(!format!("{listing:?}{written:?}").contains("sk-pro"), "a masked value is not kept");
}

async fn dreadnode_without_a_usable_id_sends_nothing(make: Make) {
    let server = Server::answering(200, json!({})).await;
    let remote = make.client(&server, access(Provider::Dreadnode));
    for id in [None, Some(""), Some("presets"), Some("..")] {
        let error = remote.delete(&entry("X", id)).await.unwrap_err();
        assert_eq!((error.class, error.certainty()), (ErrorClass::Invalid, Certainty::Clean), "{id:?}");
    }
    let error = remote.update(&entry("X", None), &"v".into()).await.unwrap_err();
    assert_eq!((error.class, error.certainty()), (ErrorClass::Stale, Certainty::Clean), "a list tells the id");
    assert!(server.seen().is_empty());
}

async fn a_base_url_may_have_a_path(make: Make) {
    for (path, expected) in
        [("", "/api/v1/user/secrets"), ("/", "/api/v1/user/secrets"), ("/dn", "/dn/api/v1/user/secrets")]
    {
        assert_eq!(listed_at(make, path).await, expected);
    }
}

/// The vendor's own client takes such a URL, too.
#[tokio::test]
async fn a_base_url_that_is_the_apis() {
    for (path, expected) in [("/api", "/api/user/secrets"), ("/api/v1/", "/api/v1/user/secrets")] {
        assert_eq!(listed_at(Make::BuiltIn, path).await, expected);
    }
}

/// The path that a list asks for, with a base URL that has this path.
async fn listed_at(make: Make, path: &str) -> String {
    let server = Server::answering(200, json!({"secrets": []})).await;
    let url = format!("{}{path}", server.url.as_str().trim_end_matches('/')).parse().unwrap();
    make.build(config(&url, access(Provider::Dreadnode))).unwrap().list(no_pace()).await.unwrap();
    server.only().target
}

async fn mixpeek_calls(make: Make) {
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => answer(200, json!({"secrets": ["stripe_api_key", "github_token"], "count": 2, "warnings": []})),
        _ => answer(200, json!({"secret_name": "stripe_api_key", "created": true})),
    })
    .await;
    let remote = make.client(&server, access(Provider::Mixpeek));
    assert_eq!(remote.create("stripe_api_key", &"sk".into()).await.unwrap(), Written::default());
    remote.update(&entry("a key", None), &"new".into()).await.unwrap();
    remote.delete(&entry("old", None)).await.unwrap();
    let listing = remote.list(no_pace()).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line(), "POST /v1/organizations/secrets");
    assert_eq!(seen[0].json(), json!({"secret_name": "stripe_api_key", "secret_value": "sk"}));
    assert_eq!(seen[1].line(), "PUT /v1/organizations/secrets/a%20key");
    assert_eq!(seen[1].json(), json!({"secret_value": "new"}));
    assert_eq!(seen[2].line(), "DELETE /v1/organizations/secrets/old");
    assert_eq!(seen[3].line(), "GET /v1/organizations/secrets");
    let names: Vec<_> = listing.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["stripe_api_key", "github_token"]);
}

async fn what_is_not_text_or_walks_up_the_path_is_not_sent(make: Make) {
    let server = Server::answering(200, json!({})).await;
    for provider in PROVIDERS {
        let remote = make.client(&server, access(provider));
        let error = remote.create("x", &SecretValue::new(vec![0xff])).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Invalid);
        let error = remote.update(&entry("..", Some("..")), &"v".into()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Invalid);
    }
    assert!(server.seen().is_empty());
}

async fn what_cannot_work_is_said_when_the_client_is_built(make: Make) {
    let good: url::Url = "https://acme.example".parse().unwrap();
    let problem = |config: RemoteConfig| make.build(config).err().expect("is refused").0;
    for (url, words) in [
        ("ftp://acme.example", "https://"),
        ("https://me:pw@acme.example", "credentials"),
        ("https://acme.example/?q=1", "end with its path"),
    ] {
        assert!(problem(config(&url.parse().unwrap(), kelvin_access())).contains(words), "{url}");
    }
    assert!(problem(RemoteConfig { timeout: Duration::ZERO, ..config(&good, kelvin_access()) }).contains("timeout"));
    for key in ["", "  \n", "two words", "line\nbreak"] {
        let message = problem(config(&good, Access::Mixpeek { api_key: key.into() }));
        assert!(message.contains("key or token"));
        assert!(!message.contains("two words"));
    }
    let login = KelvinAuth::ClientCredentials { client_id: "x".to_owned(), client_secret: "\n".into() };
    assert!(problem(config(&good, kelvin_with(login))).contains("login"));
}

conformance!(
    every_request_says_who_it_is_and_carries_the_credential,
    kelvin_create,
    an_acknowledged_write_without_a_stamp_is_written_all_the_same,
    kelvin_update_and_delete,
    kelvin_list,
    dreadnode_calls,
    dreadnode_without_a_usable_id_sends_nothing,
    a_base_url_may_have_a_path,
    mixpeek_calls,
    what_is_not_text_or_walks_up_the_path_is_not_sent,
    what_cannot_work_is_said_when_the_client_is_built,
);
