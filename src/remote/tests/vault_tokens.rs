//! Vault's tokens: had, renewed, and replaced once when they are refused.

use super::vault::{errors, server};
use super::*;

fn app_role() -> Access {
    vault_with(VaultAuth::AppRole {
        mount: "auth/role".to_owned(),
        role_id: "r-1".to_owned(),
        secret_id: "s-1\n".into(),
    })
}

fn granted(token: &str, lease: u64) -> Reply {
    answer(200, json!({"auth": {"client_token": token, "lease_duration": lease, "renewable": true}}))
}

fn is_login(seen: &Seen) -> bool {
    seen.target.ends_with("/login")
}

#[tokio::test]
async fn an_app_role_logs_in_once_for_many_calls() {
    let server = server(|seen| if is_login(seen) { granted("t-1", 3600) } else { errors(404, &[]) }).await;
    let remote = client(&server, app_role());
    let calls = (0..5).map(|_| remote.list(no_pace()));
    for listed in futures::future::join_all(calls).await {
        listed.unwrap();
    }
    let logins: Vec<_> = server.seen().into_iter().filter(is_login).collect();
    assert_eq!(logins.len(), 1);
    assert_eq!(logins[0].line(), "POST /v1/auth/auth/role/login");
    assert_eq!(logins[0].json(), json!({"role_id": "r-1", "secret_id": "s-1"}));
    assert_eq!(logins[0].header("x-vault-namespace"), Some("team1"));
    assert_eq!(server.seen().pop().unwrap().header("x-vault-token"), Some("t-1"));
}

#[tokio::test]
async fn a_service_account_shows_its_token_as_it_is_then() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let server =
        server(|seen| if is_login(seen) { granted("t", 0) } else { errors(403, &["permission denied"]) }).await;
    let auth = VaultAuth::Kubernetes {
        mount: "kubernetes".to_owned(),
        role: "operator".to_owned(),
        token_file: file.path().to_owned(),
    };
    let remote = client(&server, vault_with(auth));
    for jwt in ["first", "second"] {
        std::fs::write(file.path(), format!("{jwt}\n")).unwrap();
        let _ = remote.create("DB", &r#"{"value":"v"}"#.into()).await;
        let login = server.seen().into_iter().rfind(is_login).unwrap();
        assert_eq!(login.json(), json!({"role": "operator", "jwt": jwt}));
    }
    let path = file.path().to_owned();
    drop(file);
    let _ = remote.create("DB", &r#"{"value":"v"}"#.into()).await;
    let error = remote.create("DB", &r#"{"value":"v"}"#.into()).await.unwrap_err();
    assert_eq!((error.operation, error.class), (Operation::Login, ErrorClass::Authentication), "{}", path.display());
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    for said in ["permission denied", "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"] {
        let server = server(move |seen| match (is_login(seen), seen.header("x-vault-token")) {
            (true, _) => granted(if seen.body.contains("s-1") { "t-2" } else { "" }, 3600),
            _ => errors(403, &[said]),
        })
        .await;
        let error = client(&server, app_role()).create("DB", &r#"{"value":"v"}"#.into()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Authentication);
        let lines: Vec<_> = server.seen().iter().map(Seen::line).collect();
        let (login, write) = ("POST /v1/auth/auth/role/login", "POST /v1/kv/two/data/teams/shop/DB");
        assert_eq!(lines, [login, write, login, write]);
    }
}

#[tokio::test]
async fn what_a_policy_forbids_needs_no_login() {
    let denied = "1 error occurred:\n\t* permission denied\n\n";
    let server = server(move |seen| if is_login(seen) { granted("t", 3600) } else { errors(403, &[denied]) }).await;
    let remote = client(&server, app_role());
    for _ in 0..3 {
        assert_eq!(remote.create("DB", &r#"{"value":"v"}"#.into()).await.unwrap_err().class, ErrorClass::Forbidden);
    }
    assert_eq!(server.seen().iter().filter(|seen| is_login(seen)).count(), 1);
}

#[tokio::test]
async fn a_short_token_is_renewed_and_then_replaced() {
    let renewed = Mutex::new(0_u32);
    let server = server(move |seen| {
        if is_login(seen) {
            return granted("t-1", 1);
        }
        if seen.target.ends_with("/renew-self") {
            let mut renewed = renewed.lock().unwrap();
            *renewed += 1;
            // Renewed once for a whole life; then it nears the longest that it may have.
            return if *renewed == 1 { granted("t-1", 1) } else { granted("t-1", 0) };
        }
        errors(404, &[])
    })
    .await;
    let remote = client(&server, app_role());
    let renewals = || server.seen().iter().filter(|seen| seen.target.ends_with("/renew-self")).count();
    remote.prepare().await.unwrap();
    while renewals() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        remote.prepare().await.unwrap();
    }
    let logins = |server: &Server| server.seen().iter().filter(|seen| is_login(seen)).count();
    let renewal = server.seen().into_iter().find(|seen| seen.target.ends_with("/renew-self")).unwrap();
    assert_eq!(renewal.header("x-vault-token"), Some("t-1"));
    while logins(&server) < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        remote.prepare().await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_secret_is_an_authentication_that_failed() {
    for (status, said) in [(400, "invalid role or secret ID"), (403, "permission denied"), (401, "")] {
        let server = server(move |_| errors(status, &[said])).await;
        let error = client(&server, app_role()).list(no_pace()).await.unwrap_err();
        assert_eq!((error.operation, error.class), (Operation::Login, ErrorClass::Authentication));
    }
}

#[tokio::test]
async fn a_given_token_that_is_dead_is_told_before_anything_is_sent() {
    let dead = Server::answering(403, json!({"errors": ["permission denied"]})).await;
    let remote = client(&dead, access(Provider::Vault));
    let error = remote.create("DB", &r#"{"value":"v"}"#.into()).await.unwrap_err();
    assert_eq!((error.operation, error.class), (Operation::Login, ErrorClass::Authentication));
    assert_eq!(dead.seen().len(), 1);
    // One that may not look at itself is used all the same.
    let silent = Server::answering(403, json!({"errors": ["1 error occurred:\n\t* permission denied\n\n"]})).await;
    let error = client(&silent, access(Provider::Vault)).create("DB", &r#"{"value":"v"}"#.into()).await.unwrap_err();
    assert_eq!((error.operation, error.class), (Operation::Create, ErrorClass::Forbidden));
}
