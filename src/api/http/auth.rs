//! `spec.http.auth`: how requests to a described API are authorised.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HttpField, HttpHeader, HttpMethod, any};
use crate::api::vault_secret::KeyRef;

/// Ways to authorise requests: exactly one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.bearerTokenRef), has(self.basic), has(self.headers), has(self.clientCredentials), has(self.login)].filter(x, x).size() == 1").message("exactly one of bearerTokenRef, basic, headers, clientCredentials and login must be set"))]
pub struct HttpAuthSpec {
    /// A token, sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_ref: Option<KeyRef>,
    /// A user name and a password, sent as `Authorization: Basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<HttpBasic>,
    /// Keys in headers of the API's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    pub headers: Option<Vec<HttpAuthHeader>>,
    /// OAuth 2.0, grant `client_credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credentials: Option<HttpClientCredentials>,
    /// A request whose answer holds a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<HttpLogin>,
}

/// A user name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpBasic {
    /// Where the user name is.
    pub username_ref: KeyRef,
    /// Where the password is.
    pub password_ref: KeyRef,
}

/// A key in a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpAuthHeader {
    /// Name of the header.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"))]
    pub name: String,
    /// Put before the key, such as `Token `. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[ -~]*$"))]
    pub prefix: Option<String>,
    /// Where the key is.
    pub value_ref: KeyRef,
}

/// OAuth 2.0, grant `client_credentials`. A new token is asked for when the old one ends or is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.tokenUrl) != has(self.tokenPath)").message("exactly one of tokenUrl and tokenPath must be set"))]
pub struct HttpClientCredentials {
    /// Token endpoint, on whatever host: the client's secret is sent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (self.startsWith('https://') || self.startsWith('http://'))").message("tokenUrl must be an http or https URL"))]
    pub token_url: Option<String>,
    /// Token endpoint below `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^/[^#\\\x00-\x1f]*$"))]
    pub token_path: Option<String>,
    /// Where the client id is.
    pub client_id_ref: KeyRef,
    /// Where its secret is.
    pub client_secret_ref: KeyRef,
    /// Whether id and secret are sent as `Authorization: Basic` and not in the body. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<bool>,
    /// Further fields of the request, such as `scope` or `audience`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub parameters: Vec<HttpField>,
}

/// A request whose answer holds a token. A new token is asked for when the old one ends or is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.path)").message("exactly one of url and path must be set"))]
pub struct HttpLogin {
    /// What the request is made of, by name: each is a placeholder.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub credentials: Vec<HttpCredential>,
    /// The credential that names the account, such as the user name. It tells two accounts at one URL apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub account: Option<String>,
    /// Method. Default: POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// Where to log in, on whatever host: the credentials are sent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (self.startsWith('https://') || self.startsWith('http://'))").message("url must be an http or https URL"))]
    pub url: Option<String>,
    /// Where to log in, below the API's `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^/[^#\\\x00-\x1f]*$"))]
    pub path: Option<String>,
    /// Headers of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HttpHeader>,
    /// Body: any structure, sent as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any")]
    pub json: Option<Value>,
    /// Body: fields, sent as a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub form: Option<Vec<HttpField>>,
    /// Where the token is in the answer.
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub token: String,
    /// Where the answer says for how many seconds the token is good. It is renewed before. Without it, after a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub expires_in: Option<String>,
    /// The header that the token goes into. Default: Authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"))]
    pub header: Option<String>,
    /// Put before the token. Default: `Bearer ` in Authorization, nothing in another header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[ -~]*$"))]
    pub prefix: Option<String>,
    /// How a token is renewed with another that came with it. Absent: by a new login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<HttpRefresh>,
}

/// A part of a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCredential {
    /// Name of the placeholder.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z][a-zA-Z0-9]*$"))]
    pub name: String,
    /// Where it is.
    pub value_ref: KeyRef,
}

/// Renewal of a token, with the same method, place and headers as the login. When it is refused, there is a new login.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRefresh {
    /// Where the refresh token is in the answer to the login.
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub token: String,
    /// Where the answer says for how many seconds it is good; 0 or absent: it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub expires_in: Option<String>,
    /// Path below the URL of the login, or the API, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^/[^#\\\x00-\x1f]*$"))]
    pub path: Option<String>,
    /// Body: any structure, sent as JSON. Placeholders: `refreshToken` and the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any")]
    pub json: Option<Value>,
    /// Body: fields, sent as a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub form: Option<Vec<HttpField>>,
}

impl HttpAuthSpec {
    /// Every key of a Secret that it refers to.
    #[must_use]
    pub fn key_refs(&self) -> Vec<&KeyRef> {
        let mut refs: Vec<&KeyRef> = self.bearer_token_ref.iter().collect();
        if let Some(basic) = &self.basic {
            refs.extend([&basic.username_ref, &basic.password_ref]);
        }
        refs.extend(self.headers.iter().flatten().map(|header| &header.value_ref));
        if let Some(client) = &self.client_credentials {
            refs.extend([&client.client_id_ref, &client.client_secret_ref]);
        }
        if let Some(login) = &self.login {
            refs.extend(login.credentials.iter().map(|credential| &credential.value_ref));
        }
        refs
    }

    /// The reference to what names the account: the client's id, the user's name.
    #[must_use]
    pub fn account_ref(&self) -> Option<&KeyRef> {
        if let Some(basic) = &self.basic {
            return Some(&basic.username_ref);
        }
        if let Some(client) = &self.client_credentials {
            return Some(&client.client_id_ref);
        }
        let login = self.login.as_ref()?;
        let account = login.account.as_ref()?;
        Some(&login.credentials.iter().find(|credential| credential.name == *account)?.value_ref)
    }

    /// The URLs of other hosts that a credential is sent to.
    #[must_use]
    pub fn other_urls(&self) -> Vec<&str> {
        let token_url = self.client_credentials.as_ref().and_then(|client| client.token_url.as_deref());
        token_url.into_iter().chain(self.login.as_ref().and_then(|login| login.url.as_deref())).collect()
    }
}

impl super::HttpSpec {
    /// Every key of a Secret that it refers to.
    #[must_use]
    pub fn key_refs(&self) -> Vec<&KeyRef> {
        self.auth.as_ref().map(HttpAuthSpec::key_refs).unwrap_or_default()
    }
}
