//! Kelvin's token flows.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;

use super::*;

const EMPTY: &str = r#"{"data":[],"pagination":null}"#;

/// A server whose n-th login gives the token `t<n>`, and whose API takes what `valid` takes.
async fn keycloak(expires_in: u64, refresh: Value, valid: impl Fn(&str) -> bool + Send + Sync + 'static) -> Server {
    let logins = AtomicUsize::new(0);
    Server::start(move |seen| {
        if seen.is_login() {
            let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
            let mut body = json!({"access_token": format!("t{number}"), "expires_in": expires_in});
            if let (Some(body), Some(refresh)) = (body.as_object_mut(), refresh.as_object()) {
                body.extend(refresh.clone());
            }
            return answer(200, body);
        }
        let token = seen.header("authorization").unwrap_or_default().trim_start_matches("Bearer ");
        if valid(token) { raw(200, EMPTY) } else { answer(401, json!({})) }
    })
    .await
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn client_credentials_log_in_once_and_use_the_token(make: Make) {
    let server = keycloak(3600, json!({}), |_| true).await;
    let remote = make.client(&server, service_account());
    for _ in 0..3 {
        attempt(&remote, Operation::List).await.unwrap();
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].line(), "POST /auth/realms/kelvin/protocol/openid-connect/token");
    assert_eq!(seen[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(
        seen[0].form(),
        pairs(&[("grant_type", "client_credentials"), ("client_id", "robot"), ("client_secret", "s&c=r t")])
    );
    assert_eq!(seen[3].header("authorization"), Some("Bearer t1"));
}

async fn client_credentials_ask_for_a_new_token_when_the_old_one_ends(make: Make) {
    let server = keycloak(0, json!({}), |_| true).await;
    let remote = make.client(&server, service_account());
    attempt(&remote, Operation::List).await.unwrap();
    attempt(&remote, Operation::List).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[2].form()[0].1, "client_credentials");
    assert_eq!(seen[3].header("authorization"), Some("Bearer t2"));
}

async fn a_user_renews_by_refresh_token(make: Make) {
    let server = keycloak(0, json!({"refresh_token": "r", "refresh_expires_in": 1800}), |_| true).await;
    let remote = make.client(&server, user());
    attempt(&remote, Operation::List).await.unwrap();
    attempt(&remote, Operation::List).await.unwrap();
    let seen = server.seen();
    assert_eq!(
        seen[0].form(),
        pairs(&[
            ("grant_type", "password"),
            ("client_id", "kelvin-client"),
            ("username", "ann@example.com"),
            ("password", "pass word")
        ])
    );
    assert_eq!(
        seen[2].form(),
        pairs(&[("grant_type", "refresh_token"), ("refresh_token", "r"), ("client_id", "kelvin-client")])
    );
    assert_eq!(seen[3].header("authorization"), Some("Bearer t2"));
}

async fn a_refresh_token_without_an_end_is_used(make: Make) {
    let server = keycloak(0, json!({"refresh_token": "offline", "refresh_expires_in": 0}), |_| true).await;
    let remote = make.client(&server, user());
    attempt(&remote, Operation::List).await.unwrap();
    attempt(&remote, Operation::List).await.unwrap();
    assert_eq!(server.seen()[2].form()[0].1, "refresh_token");
}

async fn a_refused_refresh_token_leads_to_a_full_login(make: Make) {
    let server = Server::start(|seen| {
        if seen.body.contains("grant_type=refresh_token") {
            answer(400, json!({"error": "invalid_grant"}))
        } else if seen.is_login() {
            answer(200, json!({"access_token": "t", "expires_in": 0, "refresh_token": "r"}))
        } else {
            raw(200, EMPTY)
        }
    })
    .await;
    let remote = make.client(&server, user());
    attempt(&remote, Operation::List).await.unwrap();
    attempt(&remote, Operation::List).await.unwrap();
    let grants: Vec<_> =
        server.seen().iter().filter(|seen| seen.is_login()).map(|seen| seen.form()[0].1.clone()).collect();
    assert_eq!(grants, ["password", "refresh_token", "password"]);
}

async fn a_prepared_client_sends_a_write_without_a_login_before_it(make: Make) {
    let server = keycloak(3600, json!({}), |_| true).await;
    let remote = make.client(&server, service_account());
    remote.prepare().await.unwrap();
    assert!(server.only().is_login());
    attempt(&remote, Operation::Create).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    for provider in PROVIDERS {
        make.client(&server, access(provider)).prepare().await.unwrap();
    }
    assert_eq!(server.seen().len(), 2, "a static key is always at hand");
}

async fn calls_that_start_together_log_in_once(make: Make) {
    let server = keycloak(3600, json!({}), |_| true).await;
    let remote = make.client(&server, service_account());
    for result in join_all((0..8).map(|_| attempt(&remote, Operation::List))).await {
        result.unwrap();
    }
    assert_eq!(server.logins(), 1);
}

async fn calls_that_are_refused_together_log_in_once_more(make: Make) {
    let server = keycloak(3600, json!({}), |token| token != "t1").await;
    let remote = make.client(&server, service_account());
    for result in join_all((0..8).map(|_| attempt(&remote, Operation::List))).await {
        result.unwrap();
    }
    assert_eq!(server.logins(), 2);
}

async fn a_wrong_password_is_tried_once_for_all_who_wait_and_again_for_who_comes_later(make: Make) {
    let server = Server::answering(401, json!({"error": "invalid_grant"})).await;
    let remote = make.client(&server, user());
    for result in join_all((0..8).map(|_| attempt(&remote, Operation::Create))).await {
        let error = result.unwrap_err();
        assert_eq!((error.operation, error.class), (Operation::Login, ErrorClass::Authentication));
    }
    assert_eq!(server.seen().len(), 1);
    attempt(&remote, Operation::Create).await.unwrap_err();
    assert_eq!(server.seen().len(), 2);
}

async fn a_401_is_followed_by_one_login_and_one_retry(make: Make) {
    let server = keycloak(3600, json!({"refresh_token": "r"}), |token| token == "t2").await;
    let remote = make.client(&server, user());
    attempt(&remote, Operation::Create).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[2].form()[0].1, "password", "the refresh token of a session that ended is of no use");
    assert_eq!(seen[3].header("authorization"), Some("Bearer t2"));
    assert_eq!(seen[3].json(), seen[1].json());
}

async fn a_second_401_is_the_end(make: Make) {
    let server = keycloak(3600, json!({}), |_| false).await;
    let error = attempt(&make.client(&server, service_account()), Operation::Create).await.unwrap_err();
    assert_eq!((error.operation, error.class), (Operation::Create, ErrorClass::Authentication));
    assert_eq!(server.seen().len(), 4, "login, call, login, call");
}

async fn a_key_that_nobody_can_renew_is_tried_once(make: Make) {
    let server = Server::answering(401, json!({})).await;
    for provider in PROVIDERS {
        let error = attempt(&make.client(&server, access(provider)), Operation::Update).await.unwrap_err();
        assert_eq!((error.class, error.status), (ErrorClass::Authentication, Some(401)));
    }
    assert_eq!(server.seen().len(), 3);
}

async fn a_failed_login_keeps_its_class_and_leaves_no_doubt_about_the_write(make: Make) {
    let token_without_end = json!({"access_token": "a b"});
    for (status, body, class) in [
        (400, json!({}), ErrorClass::Authentication),
        (401, json!({}), ErrorClass::Authentication),
        (403, json!({}), ErrorClass::Forbidden),
        (404, json!({}), ErrorClass::Refused),
        (409, json!({}), ErrorClass::Refused),
        (410, json!({}), ErrorClass::Refused),
        (429, json!({}), ErrorClass::RateLimited),
        (500, json!({}), ErrorClass::Unavailable),
        (503, json!({}), ErrorClass::Unavailable),
        (200, json!({}), ErrorClass::Unreadable),
        (200, token_without_end, ErrorClass::Unreadable),
    ] {
        let server = Server::answering(status, body).await;
        let remote = make.client(&server, service_account());
        for operation in [Operation::Create, Operation::Update, Operation::Delete] {
            let error = attempt(&remote, operation).await.unwrap_err();
            assert_eq!((error.operation, error.class), (Operation::Login, class), "{status}");
            assert_eq!(error.certainty(), Certainty::Clean);
        }
        assert_eq!(server.logins(), server.seen().len(), "no call without a token");
    }
}

async fn a_login_that_hangs_or_breaks_leaves_no_doubt_about_the_write(make: Make) {
    for (hang, class) in [(true, ErrorClass::Timeout), (false, ErrorClass::Broken)] {
        let server = Server::start(move |_| if hang { Reply::Hang } else { Reply::Close }).await;
        let mut config = config(&server.url, user());
        config.timeout = Duration::from_secs(1);
        let error = attempt(&make.build(config).unwrap(), Operation::Create).await.unwrap_err();
        assert_eq!((error.operation, error.class), (Operation::Login, class));
        assert!(error.class.is_transient());
        assert_eq!(error.certainty(), Certainty::Clean);
    }
}

async fn a_token_endpoint_in_trouble_is_not_asked_twice(make: Make) {
    let server = Server::start(|seen| {
        if seen.body.contains("grant_type=refresh_token") {
            answer(503, json!({}))
        } else if seen.is_login() {
            answer(200, json!({"access_token": "t", "expires_in": 0, "refresh_token": "r"}))
        } else {
            raw(200, EMPTY)
        }
    })
    .await;
    let remote = make.client(&server, user());
    attempt(&remote, Operation::List).await.unwrap();
    let error = attempt(&remote, Operation::List).await.unwrap_err();
    assert_eq!((error.operation, error.class), (Operation::Login, ErrorClass::Unavailable));
    assert_eq!(server.logins(), 2);
}

#[tokio::test]
async fn the_realm_is_one_segment_of_the_path() {
    let server = Server::start(|seen| if seen.is_login() { token("t", 60) } else { raw(200, EMPTY) }).await;
    let auth = KelvinAuth::ClientCredentials { client_id: "robot".to_owned(), client_secret: "s".into() };
    let access = Access::Kelvin { realm: "my realm/x".to_owned(), auth };
    attempt(&Make::BuiltIn.client(&server, access), Operation::List).await.unwrap();
    assert_eq!(server.seen()[0].target, "/auth/realms/my%20realm%2Fx/protocol/openid-connect/token");
}

/// A lifetime may be a number of any kind, or text, or nonsense: the token is good all the same.
#[tokio::test]
async fn a_lifetime_is_read_as_far_as_it_can_be() {
    for (expires_in, logins) in [
        (json!("3600"), 1),
        (json!(3600.0), 1),
        (json!(" 0 "), 2),
        (json!(0.9), 2),
        (json!(-5), 1),
        (json!("soon"), 1),
        (json!([]), 1),
        (Value::Null, 1),
    ] {
        let body = json!({"access_token": "t", "expires_in": expires_in, "refresh_expires_in": "x"});
        let server =
            Server::start(move |seen| if seen.is_login() { answer(200, body.clone()) } else { raw(200, EMPTY) });
        let server = server.await;
        let remote = Make::BuiltIn.client(&server, service_account());
        attempt(&remote, Operation::List).await.unwrap();
        attempt(&remote, Operation::List).await.unwrap();
        assert_eq!(server.logins(), logins, "{expires_in}");
    }
}

conformance!(
    client_credentials_log_in_once_and_use_the_token,
    client_credentials_ask_for_a_new_token_when_the_old_one_ends,
    a_user_renews_by_refresh_token,
    a_refresh_token_without_an_end_is_used,
    a_refused_refresh_token_leads_to_a_full_login,
    a_prepared_client_sends_a_write_without_a_login_before_it,
    calls_that_start_together_log_in_once,
    calls_that_are_refused_together_log_in_once_more,
    a_wrong_password_is_tried_once_for_all_who_wait_and_again_for_who_comes_later,
    a_401_is_followed_by_one_login_and_one_retry,
    a_second_401_is_the_end,
    a_key_that_nobody_can_renew_is_tried_once,
    a_failed_login_keeps_its_class_and_leaves_no_doubt_about_the_write,
    a_login_that_hangs_or_breaks_leaves_no_doubt_about_the_write,
    a_token_endpoint_in_trouble_is_not_asked_twice,
);
