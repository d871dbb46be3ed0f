//! The three remotes, seen by a client that knows only HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dreadnode;
mod faults;
mod kelvin;
mod kelvin_list;
mod keycloak;
mod mixpeek;
mod running;

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// Far more than anything here takes.
const SOON: Duration = Duration::from_secs(20);

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(SOON).build().unwrap()
}

/// A call with a JSON body, or none if that is null.
fn call(client: &Client, method: Method, url: &str, body: &Value) -> RequestBuilder {
    let request = client.request(method, url);
    if body.is_null() { request } else { request.json(body) }
}

/// Status and JSON body; null if there is none.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body =
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")) };
    (status, body)
}
