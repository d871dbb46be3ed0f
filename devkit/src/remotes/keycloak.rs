//! The token endpoint of Kelvin's identity provider, as Keycloak answers.

use std::time::Duration;

use serde_json::json;

use super::accounts::{Caller, CredentialKind, Token, TokenKind, later};
use super::http::{Answer, Call};
use super::kelvin::{KELVIN_PUBLIC_CLIENT, KelvinOptions};
use super::shared::State;

const FORM: &str = "application/x-www-form-urlencoded";

fn refuse(status: u16, error: &str, description: &str) -> Answer {
    Answer::refused(status, &json!({ "error": error, "error_description": description }))
        .header("cache-control", "no-store")
}

fn no_realm() -> Answer {
    Answer::refused(404, &json!({ "error": "Realm does not exist" }))
}

/// The fields of a token request.
struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn repeated(&self) -> bool {
        self.0.iter().enumerate().any(|(at, (key, _))| self.0.iter().skip(at + 1).any(|(other, _)| other == key))
    }
}

/// The credential that a token request names, for the log.
pub(crate) fn caller(_: &KelvinOptions, state: &State, call: &Call) -> Option<Caller> {
    if !call.has_type(FORM) {
        return None;
    }
    let form = Form(call.form());
    let refreshed =
        form.get("refresh_token").and_then(|token| state.accounts.token(token)).map(|token| token.credential.as_str());
    let id = form.get("username").or(refreshed).or(form.get("client_id"))?;
    state.accounts.caller(id)
}

/// The secret that a token request submits.
pub(crate) fn submitted(call: &Call) -> Option<String> {
    if !call.has_type(FORM) {
        return None;
    }
    let form = Form(call.form());
    ["client_secret", "password", "refresh_token"].iter().find_map(|name| form.get(name)).map(str::to_owned)
}

/// Makes a token of a credential.
pub(crate) fn issue(
    options: &KelvinOptions,
    state: &mut State,
    kind: TokenKind,
    credential: &str,
    client: &str,
    base: &str,
) -> String {
    let lifetime = match kind {
        TokenKind::Access => options.expires_in,
        TokenKind::Refresh => options.refresh_expires_in,
    };
    let now = state.now();
    let token = Token {
        kind,
        credential: credential.to_owned(),
        client: client.to_owned(),
        expires: later(now, Duration::from_secs(lifetime)),
    };
    state.accounts.issue(token, &format!("{base}/auth/realms/{}", options.realm), now)
}

/// `…/.well-known/openid-configuration`
pub(crate) fn discovery(options: &KelvinOptions, call: &Call, realm: &str) -> Answer {
    if realm != options.realm {
        return no_realm();
    }
    let issuer = format!("{}/auth/realms/{realm}", call.base());
    let endpoint = |name: &str| format!("{issuer}/protocol/openid-connect/{name}");
    Answer::done(
        200,
        &json!({
            "issuer": issuer, "token_endpoint": endpoint("token"), "revocation_endpoint": endpoint("revoke"),
            "grant_types_supported": ["client_credentials", "password", "refresh_token"],
        }),
    )
}

/// `…/protocol/openid-connect/token`
pub(crate) fn token(options: &KelvinOptions, state: &mut State, call: &Call, realm: &str) -> Answer {
    if realm != options.realm {
        return no_realm();
    }
    if !call.has_type(FORM) {
        return Answer::refused(415, &json!({ "error": "HTTP 415 Unsupported Media Type" }));
    }
    let form = Form(call.form());
    if form.repeated() {
        return refuse(400, "invalid_request", "duplicated parameter");
    }
    let Some(grant) = form.get("grant_type") else {
        return refuse(400, "invalid_request", "Missing form parameter: grant_type");
    };
    let granted = match grant {
        "client_credentials" | "password" | "refresh_token" => client(state, &form).and_then(|client| match grant {
            "client_credentials" => service_account(&client),
            "password" => user(state, &form, client),
            _ => refresh(options, state, &form, client),
        }),
        _ => Err(refuse(400, "unsupported_grant_type", "Unsupported grant_type")),
    };
    match granted {
        Ok((credential, client)) => answer(options, state, call, grant, &credential, &client),
        Err(refusal) => refusal,
    }
}

fn answer(
    options: &KelvinOptions,
    state: &mut State,
    call: &Call,
    grant: &str,
    credential: &str,
    client: &str,
) -> Answer {
    let access = issue(options, state, TokenKind::Access, credential, client, &call.base());
    let mut body = json!({
        "access_token": access, "expires_in": options.expires_in, "refresh_expires_in": 0,
        "token_type": "Bearer", "not-before-policy": 0, "scope": "profile email",
    });
    if let (Some(body), false) = (body.as_object_mut(), grant == "client_credentials") {
        let refresh = issue(options, state, TokenKind::Refresh, credential, client, &call.base());
        body.insert("refresh_token".to_owned(), refresh.into());
        body.insert("refresh_expires_in".to_owned(), options.refresh_expires_in.into());
        body.insert("session_state".to_owned(), uuid::Uuid::new_v4().to_string().into());
    }
    Answer::done(200, &body).header("cache-control", "no-store")
}

/// The client that asks: the public one, or a confidential one with its secret.
fn client(state: &State, form: &Form) -> Result<String, Answer> {
    let wrong = |error| refuse(401, error, "Invalid client or Invalid client credentials");
    let id = form.get("client_id").ok_or_else(|| wrong("invalid_client"))?;
    if id == KELVIN_PUBLIC_CLIENT {
        return Ok(id.to_owned());
    }
    let known =
        state.accounts.credentials.get(id).filter(|known| known.kind == CredentialKind::Client && !known.revoked);
    let known = known.ok_or_else(|| wrong("invalid_client"))?;
    if form.get("client_secret") != Some(known.secret.as_str()) {
        return Err(wrong("unauthorized_client"));
    }
    Ok(id.to_owned())
}

fn service_account(client: &str) -> Result<(String, String), Answer> {
    if client == KELVIN_PUBLIC_CLIENT {
        return Err(refuse(401, "unauthorized_client", "Public client not allowed to retrieve service account"));
    }
    Ok((client.to_owned(), client.to_owned()))
}

fn user(state: &State, form: &Form, client: String) -> Result<(String, String), Answer> {
    let missing = |field: &str| refuse(400, "invalid_request", &format!("Missing parameter: {field}"));
    let name = form.get("username").ok_or_else(|| missing("username"))?;
    let known =
        state.accounts.credentials.get(name).filter(|known| known.kind == CredentialKind::User && !known.revoked);
    let right = known.is_some_and(|known| {
        form.get("password") == Some(known.secret.as_str())
            && known.totp.as_deref().is_none_or(|totp| form.get("totp") == Some(totp))
    });
    if right { Ok((name.to_owned(), client)) } else { Err(refuse(401, "invalid_grant", "Invalid user credentials")) }
}

fn refresh(
    options: &KelvinOptions,
    state: &mut State,
    form: &Form,
    client: String,
) -> Result<(String, String), Answer> {
    let dead = |text| refuse(400, "invalid_grant", text);
    let text = form.get("refresh_token").ok_or_else(|| refuse(400, "invalid_request", "No refresh token"))?;
    let token = state
        .accounts
        .token(text)
        .filter(|token| token.kind == TokenKind::Refresh)
        .cloned()
        .ok_or_else(|| dead("Invalid refresh token"))?;
    if token.client != client {
        return Err(dead("Invalid refresh token. Token client and authorized client don't match"));
    }
    if state.now() >= token.expires {
        return Err(dead("Token is not active"));
    }
    if state.accounts.caller(&token.credential).is_none() {
        return Err(dead("Session not active"));
    }
    if options.refresh_once {
        state.accounts.forget_token(text);
    }
    Ok((token.credential, client))
}
