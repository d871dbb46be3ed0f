//! HashiCorp Vault and OpenBao, KV version 2: an entry is `<mount>/<path>/<name>`, its value one field of it. What is pushed is
//! never read back: what is looked at is metadata, a version and when it was made. Values are read where they are a source.

mod list;
mod metadata;
mod read;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::json;

use super::auth::{Session, is_path};
use super::client::{Answer, Body, Request, refused_here};
use super::entry::{entry_segment, json as json_body, value_text};
use super::{
    BuildError, CallError, Content, DriftSignal, EntryRef, ErrorClass, Listing, Named, Operation, Owner, Pace,
    Provider, Remote, Sighted, VaultPlace, Written, spec, status,
};
use crate::value::SecretValue;
use metadata::{Meta, Sight};

/// The client of one folder of a KV engine.
pub(crate) struct Vault {
    session: Session,
    mount: Vec<String>,
    path: Vec<String>,
    /// That the mount is a KV engine of version 2 was asked, or cannot be.
    mount_known: AtomicBool,
    /// The list with details (OpenBao) is not there, or not allowed.
    plain_lists: AtomicBool,
    /// Marks may not be written.
    unmarked: AtomicBool,
}

#[derive(Serialize)]
struct WriteBody<'a> {
    options: Options,
    data: BTreeMap<Cow<'a, str>, Option<Cow<'a, str>>>,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

/// The headers of every request.
pub(super) fn headers(place: &VaultPlace) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    // Asked for by agents that stand between, against requests that a browser was made to send.
    headers.insert(HeaderName::from_static("x-vault-request"), HeaderValue::from_static("true"));
    if !place.namespace.is_empty() {
        let value = HeaderValue::from_str(&place.namespace)
            .map_err(|_| BuildError("the namespace cannot stand in a header".to_owned()))?;
        headers.insert(HeaderName::from_static("x-vault-namespace"), value);
    }
    Ok(headers)
}

impl Vault {
    pub(crate) fn new(session: Session, place: &VaultPlace) -> Result<Self, BuildError> {
        let split = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
        if !is_path(&place.mount) {
            return Err(BuildError("the mount is not a path".to_owned()));
        }
        if !place.path.is_empty() && !is_path(&place.path) {
            return Err(BuildError("the path is not a path without slashes at its ends".to_owned()));
        }
        Ok(Self {
            session,
            mount: split(&place.mount),
            path: if place.path.is_empty() { Vec::new() } else { split(&place.path) },
            mount_known: AtomicBool::new(false),
            plain_lists: AtomicBool::new(false),
            unmarked: AtomicBool::new(false),
        })
    }

    /// The URL of an entry, or of the folder, in one of the engine's trees: `data`, `metadata`, `detailed-metadata`.
    fn url(&self, tree: &str, name: Option<&str>) -> url::Url {
        self.url_below(tree, name)
    }

    /// The same for an entry in a folder of the folder.
    fn url_below<'a>(&'a self, tree: &'a str, segments: impl IntoIterator<Item = &'a str>) -> url::Url {
        let segments: Vec<&str> = self
            .mount
            .iter()
            .map(String::as_str)
            .chain([tree])
            .chain(self.path.iter().map(String::as_str))
            .chain(segments)
            .collect();
        self.session.http().url("/v1", &segments)
    }

    async fn exchange(
        &self,
        operation: Operation,
        method: Method,
        url: url::Url,
        body: Body,
    ) -> Result<Answer, CallError> {
        self.session.exchange(Provider::Vault, &Request::new(operation, method, url, body)).await
    }

    async fn call(&self, operation: Operation, method: Method, url: url::Url, body: Body) -> Result<Answer, CallError> {
        self.session.call(Provider::Vault, &Request::new(operation, method, url, body)).await
    }

    /// The metadata of an entry, and the remote's clock; `None` when there is none.
    async fn look_at(&self, operation: Operation, name: &str) -> Result<Option<(Meta, Timestamp)>, CallError> {
        self.look_at_url(operation, self.url("metadata", Some(entry_segment(operation, name)?))).await
    }

    async fn look_at_url(&self, operation: Operation, url: url::Url) -> Result<Option<(Meta, Timestamp)>, CallError> {
        let answer = self.exchange(operation, Method::GET, url, Body::None).await?;
        if answer.status.as_u16() == 404 && metadata::is_silent(answer.body_or_empty()) {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(status::refusal(Some(Provider::Vault), &answer, Timestamp::now()));
        }
        let meta = metadata::read(answer.required_body()?)
            .ok_or_else(|| answer.unreadable("the answer is not the metadata of an entry"))?;
        Ok(Some((meta, answer.date.unwrap_or_else(Timestamp::now))))
    }

    async fn write(
        &self,
        operation: Operation,
        name: &str,
        cas: u64,
        value: &SecretValue,
        patch: bool,
    ) -> Result<Written, CallError> {
        let text = value_text(operation, value)?;
        let mut data: BTreeMap<Cow<'_, str>, Option<Cow<'_, str>>> =
            serde_json::from_str(text).map_err(|_| refused_here(operation, "the value is no object of fields"))?;
        if !patch {
            // A null takes a field away; where the whole entry is written, it is left out.
            data.retain(|_, value| value.is_some());
        }
        let body = WriteBody { options: Options { cas }, data };
        let url = self.url("data", Some(entry_segment(operation, name)?));
        let (method, body) = match json_body(operation, &body)? {
            Body::Json(bytes) if patch => (Method::PATCH, Body::MergePatch(bytes)),
            body => (Method::POST, body),
        };
        let answer = self.call(operation, method, url, body).await?;
        let version = metadata::written(answer.body_or_empty());
        Ok(Written { id: None, version, principal: None })
    }

    /// Creates; over what somebody deleted and did not destroy, it is the next version of that.
    async fn create_entry(&self, name: &str, value: &SecretValue) -> Result<Written, CallError> {
        let taken = match self.write(Operation::Create, name, 0, value, false).await {
            Err(error) if error.class == ErrorClass::Exists => error,
            done => return done,
        };
        match self.look_at(Operation::Create, name).await {
            Ok(Some((meta, now))) if meta.sight(now) == Sight::Gone => {
                self.write(Operation::Create, name, meta.current_version, value, false).await
            }
            Ok(_) => Err(taken),
            Err(error) if error.class == ErrorClass::Forbidden => Err(taken),
            // Nothing was stored, whatever became of the question.
            Err(error) if error.class.is_transient() => Err(CallError { class: ErrorClass::RefusedClean, ..error }),
            Err(error) => Err(error),
        }
    }

    async fn update_entry(&self, entry: &EntryRef, value: &SecretValue) -> Result<Written, CallError> {
        let cas = match entry.version.as_deref().and_then(metadata::number) {
            Some(known) => known,
            None => self.current_version(&entry.name).await?,
        };
        // A patch leaves the fields of others as they are.
        match self.write(Operation::Update, &entry.name, cas, value, true).await {
            Err(error)
                if matches!(error.status, Some(403 | 405 | 415)) && error.class != ErrorClass::Authentication =>
            {
                self.write(Operation::Update, &entry.name, cas, value, false).await
            }
            done => done,
        }
    }

    /// The version to update when none was seen.
    async fn current_version(&self, name: &str) -> Result<u64, CallError> {
        let found = self.look_at(Operation::Update, name).await.map_err(|error| {
            // Nothing was sent that could have changed anything.
            let class = if error.class.is_transient() { ErrorClass::RefusedClean } else { error.class };
            CallError { class, ..error }
        })?;
        match found {
            Some((meta, now)) if meta.sight(now) != Sight::Gone => Ok(meta.current_version),
            _ => Err(CallError {
                operation: Operation::Update,
                class: ErrorClass::NotFound,
                status: Some(404),
                retry_after: None,
                message: "update failed: there is no such entry".to_owned(),
            }),
        }
    }

    /// Deletes for good where the policy allows that; else the latest version, which can be undeleted.
    async fn delete_entry(&self, entry: &EntryRef) -> Result<(), CallError> {
        let name = entry_segment(Operation::Delete, &entry.name)?;
        self.is_as_decided_on(entry).await?;
        match self.call(Operation::Delete, Method::DELETE, self.url("metadata", Some(name)), Body::None).await {
            Err(error) if error.class == ErrorClass::Forbidden => {}
            done => return done.map(drop),
        }
        self.call(Operation::Delete, Method::DELETE, self.url("data", Some(name)), Body::None).await.map(drop)
    }

    /// There is no check-and-set on a delete, so the version is looked at right before it. What somebody writes between the two
    /// requests is deleted with the rest.
    async fn is_as_decided_on(&self, entry: &EntryRef) -> Result<(), CallError> {
        let Some(expected) = entry.version.as_deref() else { return Ok(()) };
        let failed = |class, status, why: &str| CallError {
            operation: Operation::Delete,
            class,
            status: Some(status),
            retry_after: None,
            message: format!("delete was not sent: {why}"),
        };
        match self.look_at(Operation::Delete, &entry.name).await {
            Ok(Some((meta, now))) => match meta.sight(now) {
                Sight::Live { version, .. } if version == expected => Ok(()),
                Sight::Live { .. } => Err(failed(ErrorClass::Stale, 400, "somebody else wrote the entry meanwhile")),
                Sight::Gone => Err(failed(ErrorClass::NotFound, 404, "there is no such entry")),
            },
            Ok(None) => Err(failed(ErrorClass::NotFound, 404, "there is no such entry")),
            // Of this entry nothing can be seen, and what the list showed has to do.
            Err(error) if error.class == ErrorClass::Forbidden => Ok(()),
            // Nothing was deleted, whatever became of the question.
            Err(error) if error.class.is_transient() => Err(CallError { class: ErrorClass::RefusedClean, ..error }),
            Err(error) => Err(error),
        }
    }

    async fn mark_entry(&self, entry: &EntryRef, owner: &Owner) -> Result<(), CallError> {
        if self.unmarked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let url = self.url("metadata", Some(entry_segment(Operation::Update, &entry.name)?));
        let marks = json!({"custom_metadata": {metadata::OWNER: owner.name, metadata::UID: owner.uid}});
        let body = match json_body(Operation::Update, &marks)? {
            Body::Json(bytes) => Body::MergePatch(bytes),
            body => body,
        };
        // A patch again: the marks of others stay.
        match self.call(Operation::Update, Method::PATCH, url, body).await {
            Err(error)
                if matches!(error.status, Some(403 | 405 | 415)) && error.class != ErrorClass::Authentication =>
            {
                self.unmarked.store(true, Ordering::Relaxed);
                Ok(())
            }
            done => done.map(drop),
        }
    }
}

impl Remote for Vault {
    fn provider(&self) -> Provider {
        Provider::Vault
    }

    fn drift_signal(&self) -> DriftSignal {
        spec::drift_signal(Provider::Vault)
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), CallError>> {
        self.session.prepare().boxed()
    }

    fn list(&self, pace: Pace) -> BoxFuture<'_, Result<Listing, CallError>> {
        self.list_naming(pace, std::sync::Arc::new(HashSet::new))
    }

    fn list_naming(&self, pace: Pace, named: Named) -> BoxFuture<'_, Result<Listing, CallError>> {
        self.list_all(pace, named).boxed()
    }

    fn create<'a>(&'a self, name: &'a str, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        self.create_entry(name, value).boxed()
    }

    fn update<'a>(&'a self, entry: &'a EntryRef, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        self.update_entry(entry, value).boxed()
    }

    fn delete<'a>(&'a self, entry: &'a EntryRef) -> BoxFuture<'a, Result<(), CallError>> {
        self.delete_entry(entry).boxed()
    }

    fn look<'a>(&'a self, name: &'a str, pace: Pace) -> BoxFuture<'a, Result<Sighted, CallError>> {
        self.look_for_value(name, pace).boxed()
    }

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Content, CallError>> {
        self.read_entry(name).boxed()
    }

    fn mark<'a>(&'a self, entry: &'a EntryRef, owner: &'a Owner) -> BoxFuture<'a, Result<(), CallError>> {
        self.mark_entry(entry, owner).boxed()
    }
}
