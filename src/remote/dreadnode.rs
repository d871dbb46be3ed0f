//! Dreadnode: `/api/v1/user/secrets`, entries by id, names stored in upper case.

use futures::future::{BoxFuture, FutureExt};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::auth::Session;
use super::client::{Answer, Body, Request, refused_here};
use super::entry::{entry_segment, id_not_known, json, lenient_id, lenient_text, value_text};
use super::{
    CallError, DriftSignal, EntryRef, Listed, Listing, Operation, Pace, Provider, Remote, Written, spec, stamp,
};
use crate::value::SecretValue;

/// The client of a Dreadnode platform.
pub(crate) struct Dreadnode {
    session: Session,
    /// Path of the secrets below the base URL.
    prefix: &'static str,
}

#[derive(Serialize)]
struct CreateBody<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct UpdateBody<'a> {
    value: &'a str,
}

/// `UserSecretResponse`, without its `masked_value`: that shows a part of the value, so it is not even read.
#[derive(Deserialize)]
struct UserSecret {
    #[serde(default, deserialize_with = "lenient_id")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    updated_at: Option<String>,
}

#[derive(Deserialize)]
struct UserSecrets {
    secrets: Option<Vec<UserSecret>>,
    total: Option<u64>,
}

impl Dreadnode {
    pub(crate) fn new(session: Session) -> Self {
        // As the vendor's client does it: a URL that ends in the API's prefix is used as it is.
        let path = session.http().base().path().trim_end_matches('/');
        let prefix =
            if path.ends_with("/api/v1") || path.ends_with("/api") { "/user/secrets" } else { "/api/v1/user/secrets" };
        Self { session, prefix }
    }

    async fn send(
        &self,
        operation: Operation,
        method: Method,
        segments: &[&str],
        body: Body,
    ) -> Result<Answer, CallError> {
        let url = self.session.http().url(self.prefix, segments);
        self.session.call(Provider::Dreadnode, &Request::new(operation, method, url, body)).await
    }
}

impl Remote for Dreadnode {
    fn provider(&self) -> Provider {
        Provider::Dreadnode
    }

    fn drift_signal(&self) -> DriftSignal {
        spec::drift_signal(Provider::Dreadnode)
    }

    fn list(&self, _: Pace) -> BoxFuture<'_, Result<Listing, CallError>> {
        async move {
            let answer = self.send(Operation::List, Method::GET, &[], Body::None).await?;
            let list: UserSecrets = serde_json::from_slice(answer.required_body()?)
                .map_err(|_| answer.unreadable("the answer is not a list of secrets"))?;
            let secrets = list.secrets.ok_or_else(|| answer.unreadable("the answer holds no list of secrets"))?;
            if list.total.is_some_and(|total| total != secrets.len() as u64) {
                return Err(answer.unreadable("the list is not as long as it says"));
            }
            let entries = secrets
                .into_iter()
                .map(listed)
                .collect::<Option<_>>()
                .ok_or_else(|| answer.unreadable("an entry of the list has no name or no id"))?;
            Ok(Listing { entries, remote_time: answer.date, ..Listing::default() })
        }
        .boxed()
    }

    fn create<'a>(&'a self, name: &'a str, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        async move {
            let body = json(Operation::Create, &CreateBody { name, value: value_text(Operation::Create, value)? })?;
            Ok(written(&self.send(Operation::Create, Method::POST, &[], body).await?))
        }
        .boxed()
    }

    fn update<'a>(&'a self, entry: &'a EntryRef, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        async move {
            let body = json(Operation::Update, &UpdateBody { value: value_text(Operation::Update, value)? })?;
            let id = id_of(Operation::Update, entry)?;
            Ok(written(&self.send(Operation::Update, Method::PUT, &[id], body).await?))
        }
        .boxed()
    }

    fn delete<'a>(&'a self, entry: &'a EntryRef) -> BoxFuture<'a, Result<(), CallError>> {
        async move {
            let id = id_of(Operation::Delete, entry)?;
            self.send(Operation::Delete, Method::DELETE, &[id], Body::None).await.map(drop)
        }
        .boxed()
    }
}

/// The id, as it was received. Never the name: other routes share the id's place in the path.
fn id_of(operation: Operation, entry: &EntryRef) -> Result<&str, CallError> {
    let id = entry.id.as_deref().ok_or_else(|| id_not_known(operation))?;
    if matches!(id, "preset" | "presets") {
        return Err(refused_here(operation, "the entry's id is not one"));
    }
    entry_segment(operation, id)
}

fn listed(secret: UserSecret) -> Option<Listed> {
    let name = secret.name.filter(|name| !name.is_empty())?;
    Some(Listed {
        name: spec::stored_name(Provider::Dreadnode, &name),
        id: Some(secret.id.filter(|id| !id.is_empty())?),
        version: secret.updated_at.as_deref().and_then(stamp::canonical),
        created: secret.created_at.as_deref().and_then(stamp::instant),
        created_by: None,
        updated_by: None,
        owner: None,
    })
}

/// An acknowledged write. What its answer does not say, or what cannot be read, is left out: the write is done.
fn written(answer: &Answer) -> Written {
    let Ok(secret) = serde_json::from_slice::<UserSecret>(answer.body_or_empty()) else { return Written::default() };
    Written {
        id: secret.id.filter(|id| !id.is_empty()),
        version: secret.updated_at.as_deref().and_then(stamp::canonical),
        principal: None,
    }
}
