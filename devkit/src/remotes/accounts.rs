//! Credentials, the tenants that they open, and the tokens made from them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use rand::RngCore as _;

/// What a credential is presented as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// A static key, sent with each call.
    Key,
    /// A confidential client of the identity provider.
    Client,
    /// A user of the identity provider.
    User,
}

/// A credential that the remote knows.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) kind: CredentialKind,
    pub(crate) secret: String,
    pub(crate) totp: Option<String>,
    pub(crate) tenant: String,
    pub(crate) principal: String,
    pub(crate) permissions: Vec<String>,
    pub(crate) revoked: bool,
    pub(crate) suspended: bool,
}

impl Credential {
    pub(crate) fn new(
        kind: CredentialKind,
        secret: &str,
        tenant: &str,
        principal: String,
        permissions: &[&str],
    ) -> Self {
        Self {
            kind,
            secret: secret.to_owned(),
            totp: None,
            tenant: tenant.to_owned(),
            principal,
            permissions: permissions.iter().map(|&word| word.to_owned()).collect(),
            revoked: false,
            suspended: false,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("kind", &self.kind).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// Who calls, once that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) credential: String,
    pub(crate) tenant: String,
    pub(crate) principal: String,
    pub(crate) permissions: Vec<String>,
    pub(crate) suspended: bool,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Access,
    Refresh,
}

/// A token that was handed out.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) credential: String,
    pub(crate) client: String,
    pub(crate) expires: Timestamp,
}

/// All credentials, by identifier, and all tokens.
#[derive(Default)]
pub(crate) struct Accounts {
    pub(crate) credentials: BTreeMap<String, Credential>,
    tokens: HashMap<String, Token>,
}

impl Accounts {
    /// The live credential of that identifier.
    pub(crate) fn caller(&self, id: &str) -> Option<Caller> {
        let credential = self.credentials.get(id).filter(|credential| !credential.revoked)?;
        Some(Caller {
            credential: id.to_owned(),
            tenant: credential.tenant.clone(),
            principal: credential.principal.clone(),
            permissions: credential.permissions.clone(),
            suspended: credential.suspended,
        })
    }

    /// The caller of a static key.
    pub(crate) fn by_key(&self, key: &str) -> Option<Caller> {
        let found =
            self.credentials.iter().find(|(_, known)| known.kind == CredentialKind::Key && known.secret == key)?;
        self.caller(found.0)
    }

    /// The caller of an access token that has not expired.
    pub(crate) fn by_token(&self, token: &str, now: Timestamp) -> Option<Caller> {
        let found = self.token(token).filter(|found| found.kind == TokenKind::Access && now < found.expires)?;
        self.caller(&found.credential)
    }

    /// A token, expired or not.
    pub(crate) fn token(&self, token: &str) -> Option<&Token> {
        self.tokens.get(token)
    }

    pub(crate) fn forget_token(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// Makes a token that looks like the JWT of an identity provider; its signature is random.
    pub(crate) fn issue(&mut self, token: Token, issuer: &str, now: Timestamp) -> String {
        let claims = serde_json::json!({
            "exp": token.expires.as_second(), "iat": now.as_second(), "iss": issuer, "azp": token.client,
            "typ": match token.kind { TokenKind::Access => "Bearer", TokenKind::Refresh => "Refresh" },
        });
        let mut signature = [0_u8; 32];
        rand::rng().fill_bytes(&mut signature);
        let text = format!(
            "{}.{}.{}",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#),
            URL_SAFE_NO_PAD.encode(claims.to_string()),
            URL_SAFE_NO_PAD.encode(signature)
        );
        self.tokens.insert(text.clone(), token);
        text
    }

    /// Lets all tokens of a kind expire.
    pub(crate) fn expire(&mut self, kind: TokenKind, now: Timestamp) {
        for token in self.tokens.values_mut().filter(|token| token.kind == kind) {
            token.expires = token.expires.min(now);
        }
    }
}

/// A moment after another, at most the last that can be written.
pub(crate) fn later(now: Timestamp, by: std::time::Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}
