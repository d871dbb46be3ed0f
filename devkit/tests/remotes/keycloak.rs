//! Tokens of Kelvin's identity provider.

use devkit::remotes::{AuthKind, KELVIN_CLIENT, KELVIN_PUBLIC_CLIENT, KELVIN_USER, KelvinOptions, Metadata, Op};
use jiff::SignedDuration;
use reqwest::RequestBuilder;
use serde_json::Value;

use super::answer;
use super::kelvin::Session;

const SERVICE: [(&str, &str); 3] =
    [("grant_type", "client_credentials"), ("client_id", KELVIN_CLIENT.0), ("client_secret", KELVIN_CLIENT.1)];
const USER: [(&str, &str); 4] = [
    ("grant_type", "password"),
    ("client_id", KELVIN_PUBLIC_CLIENT),
    ("username", KELVIN_USER.0),
    ("password", KELVIN_USER.1),
];

fn token(session: &Session, form: &[(&str, &str)]) -> RequestBuilder {
    session.http.post(format!("{}/auth/realms/kelvin/protocol/openid-connect/token", session.kelvin.url())).form(form)
}

fn refresh(session: &Session, token_text: &str) -> RequestBuilder {
    token(
        session,
        &[("grant_type", "refresh_token"), ("client_id", KELVIN_PUBLIC_CLIENT), ("refresh_token", token_text)],
    )
}

async fn opens(session: &Session, access: &Value) -> u16 {
    let url = format!("{}/api/v4/secrets/list", session.kelvin.url());
    answer(session.http.get(url).bearer_auth(access.as_str().unwrap())).await.0
}

#[tokio::test]
async fn a_service_account_gets_a_token_that_expires() {
    let session = Session::start(KelvinOptions { expires_in: 60, ..KelvinOptions::default() }).await;
    let (status, body) = answer(token(&session, &SERVICE)).await;
    assert_eq!((status, &body["expires_in"], &body["token_type"]), (200, &60.into(), &"Bearer".into()));
    assert!(body.get("refresh_token").is_none());
    assert_eq!(opens(&session, &body["access_token"]).await, 200);
    session.kelvin.shift_clock(SignedDuration::from_secs(59));
    assert_eq!(opens(&session, &body["access_token"]).await, 200);
    session.kelvin.shift_clock(SignedDuration::from_secs(1));
    assert_eq!(opens(&session, &body["access_token"]).await, 401);
    let again = answer(token(&session, &SERVICE)).await.1;
    assert_eq!(opens(&session, &again["access_token"]).await, 200);
    session.kelvin.expire_tokens();
    assert_eq!(opens(&session, &again["access_token"]).await, 401);
    let log = session.kelvin.requests();
    assert_eq!(
        (log[0].op, log[0].auth, log[0].credential.as_deref()),
        (Op::Token, AuthKind::Form, Some(KELVIN_CLIENT.0))
    );
}

#[tokio::test]
async fn a_user_refreshes_until_the_refresh_token_dies() {
    let options = KelvinOptions { refresh_expires_in: 100, refresh_once: true, ..KelvinOptions::default() };
    let session = Session::start(options).await;
    let first = answer(token(&session, &USER)).await.1;
    assert_eq!(first["refresh_expires_in"], 100);
    let old = first["refresh_token"].as_str().unwrap();
    let (status, second) = answer(refresh(&session, old)).await;
    assert_eq!(status, 200);
    assert_eq!(opens(&session, &second["access_token"]).await, 200);
    let (status, body) = answer(refresh(&session, old)).await;
    assert_eq!((status, &body["error"]), (400, &"invalid_grant".into()), "it is good for one use");
    session.kelvin.shift_clock(SignedDuration::from_secs(100));
    let (status, body) = answer(refresh(&session, second["refresh_token"].as_str().unwrap())).await;
    assert_eq!(
        (status, &body["error"], &body["error_description"]),
        (400, &"invalid_grant".into(), &"Token is not active".into())
    );
    assert_eq!(opens(&session, &second["refresh_token"]).await, 401, "a refresh token opens nothing");
    let third = answer(token(&session, &USER)).await.1;
    session.kelvin.expire_refresh_tokens();
    assert_eq!(answer(refresh(&session, third["refresh_token"].as_str().unwrap())).await.0, 400);
}

#[tokio::test]
async fn wrong_credentials_get_keycloaks_answers() {
    let session = Session::start(KelvinOptions::default()).await;
    session.kelvin.add_user("two@kelvin.ai", "pw", "main");
    session.kelvin.set_totp_of("two@kelvin.ai", "123456").unwrap();
    let client = ("client_id", KELVIN_PUBLIC_CLIENT);
    let two = [("grant_type", "password"), client, ("username", "two@kelvin.ai"), ("password", "pw")];
    let cases = [
        (400, "invalid_request", vec![client]),
        (400, "unsupported_grant_type", vec![("grant_type", "magic"), client]),
        (400, "invalid_request", vec![client, client]),
        (
            401,
            "invalid_client",
            vec![("grant_type", "client_credentials"), ("client_id", "nobody"), ("client_secret", "x")],
        ),
        (401, "unauthorized_client", vec![SERVICE[0], SERVICE[1], ("client_secret", "wrong")]),
        (401, "unauthorized_client", vec![SERVICE[0], client]),
        (401, "invalid_grant", vec![USER[0], USER[1], USER[2], ("password", "wrong")]),
        (401, "invalid_grant", two.to_vec()),
        (400, "invalid_request", vec![USER[0], USER[1], USER[3]]),
        (400, "invalid_grant", vec![("grant_type", "refresh_token"), client, ("refresh_token", "garbage")]),
    ];
    for (wanted, error, form) in cases {
        let (status, body) = answer(token(&session, &form)).await;
        assert_eq!((status, body["error"].as_str()), (wanted, Some(error)), "{form:?}");
        assert!(body["error_description"].is_string());
    }
    assert_eq!(answer(token(&session, &[two.as_slice(), &[("totp", "123456")]].concat())).await.0, 200);
    let url = format!("{}/auth/realms/other/protocol/openid-connect/token", session.kelvin.url());
    assert_eq!(answer(session.http.post(url).form(&SERVICE)).await.0, 404);
}

#[tokio::test]
async fn a_secret_is_rotated_and_a_client_revoked() {
    let session = Session::start(KelvinOptions::default()).await;
    session.kelvin.rotate(KELVIN_CLIENT.0, "fresh").unwrap();
    assert_eq!(answer(token(&session, &SERVICE)).await.0, 401);
    assert_eq!(opens(&session, &session.token.as_str().into()).await, 200, "tokens live on");
    let form = [SERVICE[0], SERVICE[1], ("client_secret", "fresh")];
    assert_eq!(answer(token(&session, &form)).await.0, 200);
    session.kelvin.revoke(KELVIN_CLIENT.0).unwrap();
    assert_eq!(answer(token(&session, &form)).await.0, 401);
    assert_eq!(opens(&session, &session.token.as_str().into()).await, 401);
}

#[tokio::test]
async fn the_identity_provider_can_be_found() {
    let session = Session::start(KelvinOptions { metadata: Metadata::LeadingSlash, ..KelvinOptions::default() }).await;
    let url = session.kelvin.url();
    let metadata = answer(session.http.get(format!("{url}/metadata"))).await.1;
    let found = &metadata["authentication"];
    assert_eq!(
        (found["realm"].as_str(), found["url"].as_str(), found["path"].as_str()),
        (Some("kelvin"), Some(url.as_str()), Some("/auth"))
    );
    let known = answer(session.http.get(format!("{url}/auth/realms/kelvin/.well-known/openid-configuration"))).await.1;
    assert_eq!(known["token_endpoint"], format!("{url}/auth/realms/kelvin/protocol/openid-connect/token"));
    session.kelvin.reconfigure(|options| options.metadata = Metadata::Absent);
    assert_eq!(session.http.get(format!("{url}/metadata")).send().await.unwrap().status(), 404);
}
