//! Mixpeek: `/v1/organizations/secrets`, entries by name; of an entry nothing can be seen but that it is there.

use futures::future::{BoxFuture, FutureExt};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::auth::Session;
use super::client::{Answer, Body, Request};
use super::entry::{entry_segment, json, value_text};
use super::{CallError, DriftSignal, EntryRef, Listed, Listing, Operation, Pace, Provider, Remote, Written, spec};
use crate::value::SecretValue;

const SECRETS: &str = "/v1/organizations/secrets";

/// The client of a Mixpeek organization.
pub(crate) struct Mixpeek {
    session: Session,
}

/// Exactly these fields: keys that the API does not declare are refused.
#[derive(Serialize)]
struct CreateBody<'a> {
    secret_name: &'a str,
    secret_value: &'a str,
}

#[derive(Serialize)]
struct UpdateBody<'a> {
    secret_value: &'a str,
}

#[derive(Deserialize)]
struct SecretsList {
    secrets: Option<Vec<String>>,
    count: Option<u64>,
}

impl Mixpeek {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    async fn send(
        &self,
        operation: Operation,
        method: Method,
        segments: &[&str],
        body: Body,
    ) -> Result<Answer, CallError> {
        let url = self.session.http().url(SECRETS, segments);
        self.session.call(Provider::Mixpeek, &Request::new(operation, method, url, body)).await
    }
}

impl Remote for Mixpeek {
    fn provider(&self) -> Provider {
        Provider::Mixpeek
    }

    fn drift_signal(&self) -> DriftSignal {
        spec::drift_signal(Provider::Mixpeek)
    }

    fn list(&self, _: Pace) -> BoxFuture<'_, Result<Listing, CallError>> {
        async move {
            let answer = self.send(Operation::List, Method::GET, &[], Body::None).await?;
            let list: SecretsList = serde_json::from_slice(answer.required_body()?)
                .map_err(|_| answer.unreadable("the answer is not a list of secrets"))?;
            let names = list.secrets.ok_or_else(|| answer.unreadable("the answer holds no list of secrets"))?;
            if list.count.is_some_and(|count| count != names.len() as u64) {
                return Err(answer.unreadable("the list is not as long as it says"));
            }
            if names.iter().any(String::is_empty) {
                return Err(answer.unreadable("an entry of the list has no name"));
            }
            Ok(Listing {
                entries: names.into_iter().map(listed).collect(),
                remote_time: answer.date,
                ..Listing::default()
            })
        }
        .boxed()
    }

    fn create<'a>(&'a self, name: &'a str, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        async move {
            let secret_value = value_text(Operation::Create, value)?;
            let body = json(Operation::Create, &CreateBody { secret_name: name, secret_value })?;
            self.send(Operation::Create, Method::POST, &[], body).await?;
            Ok(Written::default())
        }
        .boxed()
    }

    fn update<'a>(&'a self, entry: &'a EntryRef, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        async move {
            let secret_value = value_text(Operation::Update, value)?;
            let body = json(Operation::Update, &UpdateBody { secret_value })?;
            let name = entry_segment(Operation::Update, &entry.name)?;
            self.send(Operation::Update, Method::PUT, &[name], body).await?;
            Ok(Written::default())
        }
        .boxed()
    }

    fn delete<'a>(&'a self, entry: &'a EntryRef) -> BoxFuture<'a, Result<(), CallError>> {
        async move {
            let name = entry_segment(Operation::Delete, &entry.name)?;
            self.send(Operation::Delete, Method::DELETE, &[name], Body::None).await.map(drop)
        }
        .boxed()
    }
}

fn listed(name: String) -> Listed {
    Listed { name, id: None, version: None, created: None, created_by: None, updated_by: None, owner: None }
}
