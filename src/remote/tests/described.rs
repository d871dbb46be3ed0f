//! The three providers as `examples/http` describes them.

use serde::de::DeserializeOwned;

use super::*;
use crate::api::http::HttpSpec;
use crate::api::vault_secret::KeyRef;
use crate::remote::http::{Description, HttpAccess};

/// How a person logs in at Kelvin, with a refresh token. Another `auth` for the example.
const AS_USER: &str = r#"{"login": {
    "path": "/auth/realms/kelvin/protocol/openid-connect/token",
    "account": "username",
    "credentials": [
        {"name": "username", "valueRef": {"name": "kelvin-user", "key": "username"}},
        {"name": "password", "valueRef": {"name": "kelvin-user", "key": "password"}}
    ],
    "form": [
        {"name": "grant_type", "value": "password"},
        {"name": "client_id", "value": "kelvin-client"},
        {"name": "username", "value": "{{ username }}"},
        {"name": "password", "value": "{{ password }}"}
    ],
    "token": "/access_token",
    "expiresIn": "/expires_in",
    "refresh": {
        "token": "/refresh_token",
        "expiresIn": "/refresh_expires_in",
        "form": [
            {"name": "grant_type", "value": "refresh_token"},
            {"name": "refresh_token", "value": "{{ refreshToken }}"},
            {"name": "client_id", "value": "kelvin-client"}
        ]
    }
}}"#;

/// The connection of an example.
pub(super) fn example(provider: Provider) -> Value {
    let text = match provider {
        Provider::Kelvin => include_str!("../../../examples/http/kelvin.yaml"),
        Provider::Dreadnode => include_str!("../../../examples/http/dreadnode.yaml"),
        Provider::Mixpeek => include_str!("../../../examples/http/mixpeek.yaml"),
        Provider::Vault | Provider::Http => unreachable!("each of the three is described"),
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().find(|document| document["kind"] == "VaultConnection").unwrap()["spec"].clone()
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The description of an example.
pub(super) fn spec(provider: Provider) -> HttpSpec {
    read(example(provider)["http"].clone())
}

/// The same, read.
pub(super) fn description(provider: Provider) -> Description {
    Description::read(&spec(provider)).unwrap()
}

/// The description of what a built-in access opens, with its credentials.
pub(super) fn access(of: Access, url: &url::Url) -> Access {
    let key = |name: &str, key: &str| KeyRef { name: name.to_owned(), key: key.to_owned() };
    let mut secrets = Vec::new();
    let mut spec = match of {
        Access::Kelvin { realm, auth } => {
            assert_eq!(realm, "kelvin", "the realm is a part of the description");
            let mut spec = spec(Provider::Kelvin);
            match auth {
                KelvinAuth::ClientCredentials { client_id, client_secret } => {
                    secrets.push((key("kelvin-credentials", "client-id"), client_id.into()));
                    secrets.push((key("kelvin-credentials", "client-secret"), client_secret));
                }
                KelvinAuth::Password { username, password, .. } => {
                    spec.auth = Some(serde_json::from_str(AS_USER).unwrap());
                    secrets.push((key("kelvin-user", "username"), username.into()));
                    secrets.push((key("kelvin-user", "password"), password));
                }
                KelvinAuth::AccessToken(token) => {
                    spec.auth = Some(read(json!({"bearerTokenRef": {"name": "kelvin", "key": "token"}})));
                    secrets.push((key("kelvin", "token"), token));
                }
            }
            spec
        }
        Access::Dreadnode(auth) => {
            let mut spec = spec(Provider::Dreadnode);
            match auth {
                DreadnodeAuth::ApiKey(api_key) => secrets.push((key("dreadnode-credentials", "api-key"), api_key)),
                DreadnodeAuth::Bearer(token) => {
                    spec.auth = Some(read(json!({"bearerTokenRef": {"name": "dreadnode", "key": "token"}})));
                    secrets.push((key("dreadnode", "token"), token));
                }
            }
            spec
        }
        Access::Mixpeek { api_key } => {
            secrets.push((key("mixpeek-credentials", "api-key"), api_key));
            spec(Provider::Mixpeek)
        }
        // Nobody describes a Vault.
        other @ (Access::Http(_) | Access::Vault { .. }) => return other,
    };
    spec.url = url.to_string();
    Access::Http(HttpAccess { spec: Arc::new(spec), secrets })
}
