//! Described APIs of other kinds than the three: logins elsewhere, numbered pages, links, forms, errors that come with 200.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::api::vault_secret::KeyRef;
use crate::remote::http::HttpAccess;

const SECRET: &str = "s&c=r:t \"x";

/// The client of a description, which is that of a small API with these changes. Every key of the Secret `creds` holds
/// `<key>-` and the secret.
fn described(server: &Server, changes: Value) -> Result<Arc<dyn Remote>, BuildError> {
    let mut whole = json!({
        "url": server.url,
        "create": {"path": "/s", "json": {"n": "{{ name }}", "v": "{{ value }}"}, "answer": {"id": "/id"}},
        "update": {"path": "/s/{{ name }}", "json": {"v": "{{ value }}"}},
        "delete": {"path": "/s/{{ name }}"},
        "list": {"path": "/s?size=2", "items": "", "entry": {"name": ""}},
    });
    merge(&mut whole, changes);
    let spec: crate::api::http::HttpSpec = serde_json::from_value(whole).unwrap();
    let secret = |of: &KeyRef| (of.clone(), SecretValue::from(format!("{}-{SECRET}\n", of.key)));
    let secrets = spec.key_refs().into_iter().map(secret).collect();
    build(config(&server.url, Access::Http(HttpAccess { spec: Arc::new(spec), secrets })))
}

fn merge(whole: &mut Value, changes: Value) {
    match (whole, changes) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(fields.entry(name).or_insert(Value::Null), change);
            }
        }
        (whole, change) => *whole = change,
    }
}

fn key(key: &str) -> Value {
    json!({"name": "creds", "key": key})
}

async fn names(remote: &Arc<dyn Remote>) -> Result<Vec<String>, CallError> {
    remote.list(no_pace()).await.map(|listing| listing.entries.into_iter().map(|entry| entry.name).collect())
}

#[tokio::test]
async fn basic_and_several_headers() {
    let server = Server::answering(200, json!([])).await;
    let basic = json!({"auth": {"basic": {"usernameRef": key("u"), "passwordRef": key("p")}}});
    assert!(described(&server, basic).err().unwrap().0.contains("no colon"));
    let mut spec: crate::api::http::HttpSpec = super::described::spec(Provider::Mixpeek);
    spec.auth = serde_json::from_value(json!({"basic": {"usernameRef": key("u"), "passwordRef": key("p")}})).unwrap();
    let of = |name: &str| KeyRef { name: "creds".to_owned(), key: name.to_owned() };
    let secrets = vec![(of("u"), "ann".into()), (of("p"), "pass:word\n".into())];
    let access = Access::Http(HttpAccess { spec: Arc::new(spec), secrets });
    attempt(&build(config(&server.url, access)).unwrap(), Operation::Create).await.unwrap();
    assert_eq!(server.seen()[0].header("authorization"), Some("Basic YW5uOnBhc3M6d29yZA=="));

    let keys = json!([{"name": "DD-API-KEY", "valueRef": key("k")}, {"name": "x-app", "prefix": "Token ", "valueRef": key("a")}]);
    let error = described(&server, json!({"auth": {"headers": keys}})).err().unwrap();
    assert!(error.0.contains("key or token"), "a key with a space is none: {error}");
    assert!(!error.0.contains(SECRET));
}

#[tokio::test]
async fn no_auth_sends_none() {
    let server = Server::answering(200, json!(["a"])).await;
    assert_eq!(names(&described(&server, json!({})).unwrap()).await.unwrap(), ["a"]);
    assert_eq!(server.only().line(), "GET /s?size=2");
    assert_eq!(server.only().header("authorization"), None);
}

#[tokio::test]
async fn a_token_from_another_host_goes_to_the_api_and_the_secret_does_not() {
    let login = Server::answering(200, json!({"access_token": "t1", "expires_in": 3600})).await;
    let api = Server::answering(200, json!(["a"])).await;
    for (basic, fields) in [(false, 4), (true, 2)] {
        let auth = json!({"clientCredentials": {
            "tokenUrl": format!("{}oauth/token?tenant=x", login.url),
            "clientIdRef": key("id"), "clientSecretRef": key("secret"), "basic": basic,
            "parameters": [{"name": "scope", "value": "secrets write"}],
        }});
        // With Basic, id and secret are form-encoded first (RFC 6749, 2.3.1), so that a colon is none.
        let remote = described(&api, json!({"auth": auth})).unwrap();
        assert_eq!(names(&remote).await.unwrap(), ["a"]);
        let asked = login.seen().pop().unwrap();
        assert_eq!(asked.line(), "POST /oauth/token?tenant=x");
        let form = asked.form();
        assert_eq!(form.len(), fields);
        assert_eq!(form[0], ("grant_type".to_owned(), "client_credentials".to_owned()));
        assert_eq!(form[fields - 1], ("scope".to_owned(), "secrets write".to_owned()));
        if basic {
            assert!(asked.header("authorization").unwrap().starts_with("Basic "));
        } else {
            assert_eq!(form[2], ("client_secret".to_owned(), format!("secret-{SECRET}")));
        }
    }
    for seen in api.seen() {
        assert_eq!(seen.header("authorization"), Some("Bearer t1"));
        assert!(!format!("{:?}{}{}", seen.headers, seen.target, seen.body).contains("s&c=r"));
    }
    assert!(login.seen().iter().all(|seen| !format!("{:?}", seen.headers).contains("t1")));
}

#[tokio::test]
async fn a_login_of_its_own_and_its_header() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/login" => answer(200, json!({"data": {"token": "t1", "ttl": "3600"}})),
        _ => answer(200, json!(["a"])),
    })
    .await;
    let login = json!({"path": "/login", "credentials": [{"name": "pin", "valueRef": key("pin")}],
        "headers": [{"name": "x-kind", "value": "robot"}],
        "json": {"auth": {"pin": "{{ pin }}", "remember": true}},
        "token": "/data/token", "expiresIn": "/data/ttl", "header": "X-Session"});
    let remote = described(&server, json!({"auth": {"login": login}})).unwrap();
    names(&remote).await.unwrap();
    names(&remote).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 3, "one login for both");
    assert_eq!(seen[0].json(), json!({"auth": {"pin": format!("pin-{SECRET}"), "remember": true}}));
    assert_eq!((seen[0].header("x-kind"), seen[0].header("x-session")), (Some("robot"), None));
    assert_eq!((seen[1].header("x-session"), seen[1].header("authorization")), (Some("t1"), None));
}

#[tokio::test]
async fn a_login_that_is_described_wrong_is_said_when_the_client_is_built() {
    let server = Server::answering(200, json!([])).await;
    let good = json!({"path": "/login", "credentials": [{"name": "pin", "valueRef": key("pin")}],
        "json": {"p": "{{ pin }}"}, "token": "/t"});
    assert!(described(&server, json!({"auth": {"login": good.clone()}})).is_ok());
    for (change, words) in [
        (json!({"json": {"p": "x"}}), "the credential pin is in no part of the request"),
        (json!({"json": {"p": "{{ pni }}"}}), "\"pni\" is no placeholder"),
        (json!({"token": "t"}), "no JSON pointer"),
        (json!({"account": "user"}), "account is the name of no credential"),
        (json!({"header": "Host"}), "made by the client"),
        (json!({"refresh": {"token": "/r", "json": {"x": "y"}}}), "refresh: the body holds no {{ refreshToken }}"),
        (json!({"url": "https://b.example/x"}), "exactly one of a URL and a path"),
    ] {
        let mut login = good.clone();
        merge(&mut login, change);
        let error = described(&server, json!({"auth": {"login": login}})).err().unwrap().0;
        assert!(error.contains(words), "{error}");
    }
    let two = json!({"bearerTokenRef": key("k"), "login": good});
    assert!(described(&server, json!({"auth": two})).err().unwrap().0.contains("exactly one of bearerTokenRef"));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn numbered_pages_are_read_to_their_end() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/s?size=2&page=0" => answer(200, json!(["a", "b"])),
        "/s?size=2&page=1" => answer(200, json!(["c"])),
        _ => answer(200, json!([])),
    })
    .await;
    let paging = json!({"list": {"paging": {"page": {"parameter": "page", "first": 0}}}});
    let paces = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&paces);
    let pace: Pace = Arc::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::ready(()).boxed()
    });
    let listing = described(&server, paging).unwrap().list(pace).await.unwrap();
    assert_eq!(listing.entries.len(), 3);
    assert_eq!(paces.load(Ordering::SeqCst), 2, "each further page is paid for");
}

#[tokio::test]
async fn a_link_is_followed_on_its_host_alone() {
    let stranger = Server::answering(200, json!([])).await;
    let paging = json!({"list": {"paging": {"link": {"header": true}}}});
    let server = Server::start(|seen| {
        let next = if seen.target.contains("page=2") { "" } else { "</s?page=2>; rel=\"next\"" };
        let headers = vec![("link", next.to_owned())];
        Reply::Answer { status: 200, headers, body: json!([seen.target]).to_string() }
    })
    .await;
    let remote = described(&server, paging.clone()).unwrap();
    assert_eq!(names(&remote).await.unwrap(), ["/s?size=2", "/s?page=2"]);
    let link = format!("<{}s>; rel=next", stranger.url);
    let server = Server::start(move |_| Reply::Answer {
        status: 200,
        headers: vec![("link", link.clone())],
        body: "[\"a\"]".to_owned(),
    })
    .await;
    let error = names(&described(&server, paging).unwrap()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreadable);
    assert!(stranger.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_that_comes_with_200_is_one() {
    let rules = json!({"answers": [
        {"status": [200], "body": {"at": ["/error"], "equals": ["taken"]}, "means": "Exists"},
        {"status": [200], "body": {"at": ["/error"], "equals": ["gone"]}, "means": "NotFound"},
        {"status": [200], "body": {"at": ["/ok"], "equals": ["false"]}, "means": "Refused"},
    ]});
    for (error, operation, class) in [
        ("taken", Operation::Create, ErrorClass::Exists),
        ("gone", Operation::Update, ErrorClass::NotFound),
        ("gone", Operation::Delete, ErrorClass::NotFound),
        ("gone", Operation::List, ErrorClass::Refused),
        ("x", Operation::Create, ErrorClass::Refused),
    ] {
        let server = Server::answering(200, json!({"ok": false, "error": error})).await;
        let failed = attempt(&described(&server, rules.clone()).unwrap(), operation).await.unwrap_err();
        assert_eq!((failed.class, failed.status), (class, Some(200)), "{error} {operation:?}");
    }
    let cut = Server::start(|_| Reply::Cut { status: 200, body: "{\"ok\":" }).await;
    let failed = attempt(&described(&cut, rules).unwrap(), Operation::Create).await.unwrap_err();
    assert_eq!(failed.certainty(), Certainty::Unknown, "whether it was done, the body would have said");
}

#[tokio::test]
async fn another_2xx_than_the_named_ones_leaves_a_doubt() {
    let server = Server::answering(202, json!({})).await;
    let remote = described(&server, json!({"create": {"success": [201]}, "update": {"success": [200, 202]}})).unwrap();
    let failed = attempt(&remote, Operation::Create).await.unwrap_err();
    assert_eq!((failed.status, failed.certainty()), (Some(202), Certainty::Unknown));
    attempt(&remote, Operation::Update).await.unwrap();
}

#[tokio::test]
async fn forms_filters_and_headers() {
    let server = Server::answering(200, json!({"id": 7})).await;
    let create = json!({"method": "PUT", "path": "/s/{{ name | upper }}", "json": null,
        "headers": [{"name": "X-Entry", "value": "e/{{ name }}"}],
        "form": [{"name": "payload", "value": "{{ value | base64 }}"}, {"name": "raw", "value": "<{{ value }}>"}]});
    let remote =
        described(&server, json!({"create": create, "headers": [{"name": "X-Org", "value": "acme"}]})).unwrap();
    let written = remote.create("a", &"b&c=\"d\"".into()).await.unwrap();
    assert_eq!(written.id.as_deref(), Some("7"));
    let seen = server.only();
    assert_eq!(seen.line(), "PUT /s/A");
    assert_eq!((seen.header("x-entry"), seen.header("x-org")), (Some("e/a"), Some("acme")));
    let form = seen.form();
    assert_eq!(form[0], ("payload".to_owned(), "YiZjPSJkIg==".to_owned()));
    assert_eq!(form[1], ("raw".to_owned(), "<b&c=\"d\">".to_owned()));
    let error = remote.create("a\r\nx: y", &"v".into()).await.unwrap_err();
    assert_eq!((error.class, error.certainty()), (ErrorClass::Invalid, Certainty::Clean));
    assert_eq!(server.seen().len(), 1, "nothing was sent");
}
