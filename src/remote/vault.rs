//! HashiCorp Vault and OpenBao, KV version 2: an entry is `<mount>/<path>/<name>`, its value one field of it. Values are never
//! read; what can be seen is metadata: a version, and when it was made.

mod metadata;

use std::collections::HashSet;
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
    BuildError, CallError, DriftSignal, EntryRef, ErrorClass, Listed, Listing, Named, Operation, Owner, Pace, Provider,
    Remote, VaultPlace, Written, spec, status,
};
use crate::value::SecretValue;
use metadata::{Keys, Meta, Mount, Sight};

/// Entries on a page of the list with details. Vault and older OpenBaos answer without pages.
const PAGE_SIZE: usize = 1000;
/// A list that is longer than a million entries is taken for one that does not end.
const MAX_PAGES: usize = 1000;
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
    data: Fields<'a>,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

#[derive(Serialize)]
struct Fields<'a> {
    value: &'a str,
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
        let segments: Vec<&str> = self
            .mount
            .iter()
            .map(String::as_str)
            .chain([tree])
            .chain(self.path.iter().map(String::as_str))
            .chain(name)
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

    async fn list_all(&self, pace: Pace, named: Named) -> Result<Listing, CallError> {
        if !self.mount_known.load(Ordering::Relaxed) {
            self.look_at_mount().await?;
            pace().await;
        }
        if !self.plain_lists.load(Ordering::Relaxed) {
            if let Some(listing) = self.list_with_details(&pace).await? {
                return Ok(listing);
            }
            pace().await;
        }
        let mut url = self.url("metadata", None);
        url.set_query(Some("list=true"));
        let answer = self.exchange(Operation::List, Method::GET, url, Body::None).await?;
        let mut listing = Listing { remote_time: answer.date, ..Listing::default() };
        let Some(keys) = keys_of(&answer)? else { return Ok(listing) };
        // Only now, so that whoever was named while the list was under way is among them.
        let named = named();
        let (mut looked_at, mut denied) = (0_usize, None);
        for name in keys.names {
            if !named.contains(&name) {
                listing.unread.insert(name);
                continue;
            }
            pace().await;
            looked_at += 1;
            match self.look_at(Operation::List, &name).await {
                Ok(Some((meta, now))) => listing.entries.extend(listed(name, &meta, now)),
                Ok(None) => {}
                // Of this one nothing can be seen but that it is there.
                Err(error) if error.class == ErrorClass::Forbidden => {
                    listing.entries.push(Listed { name, ..Listed::default() });
                    denied = Some((denied.map_or(0, |(count, _)| count) + 1, error));
                }
                Err(error) => return Err(error),
            }
        }
        match denied {
            // Not one entry that the policy leaves out, but a policy without `read` on metadata.
            Some((count, error)) if count == looked_at => Err(error),
            _ => Ok(listing),
        }
    }

    /// A KV engine of version 1 would take what is meant for the other one for an entry of its own.
    async fn look_at_mount(&self) -> Result<(), CallError> {
        let mut segments = vec!["sys", "internal", "ui", "mounts"];
        segments.extend(self.mount.iter().map(String::as_str));
        let url = self.session.http().url("/v1", &segments);
        let answer = self.exchange(Operation::List, Method::GET, url, Body::None).await?;
        if answer.status.is_success() {
            let mount: Option<Mount> = serde_json::from_slice(answer.body_or_empty()).ok();
            if let Some(fault) = mount.and_then(|mount| mount.fault()) {
                return Err(refused(Operation::List, fault));
            }
        } else if answer.status.is_server_error() || answer.status.as_u16() == 429 {
            return Err(status::refusal(Some(Provider::Vault), &answer, Timestamp::now()));
        }
        self.mount_known.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// One request a thousand entries instead of one an entry. `None`: this server, or its policy, does not have it.
    async fn list_with_details(&self, pace: &Pace) -> Result<Option<Listing>, CallError> {
        let mut listing = Listing::default();
        let mut after: Option<String> = None;
        for page in 0..MAX_PAGES {
            if page > 0 {
                pace().await;
            }
            let mut url = self.url("detailed-metadata", None);
            url.query_pairs_mut().append_pair("list", "true").append_pair("limit", &PAGE_SIZE.to_string());
            if let Some(after) = &after {
                url.query_pairs_mut().append_pair("after", after);
            }
            let answer = self.exchange(Operation::List, Method::GET, url, Body::None).await?;
            if page == 0 {
                listing.remote_time = answer.date;
                // 404 without a word is an empty folder for OpenBao, and may be an unknown path for another server.
                if matches!(answer.status.as_u16(), 403 | 404 | 405) && !status::refuses_token(Provider::Vault, &answer)
                {
                    let silent = answer.status.as_u16() == 404 && matches!(keys_of(&answer), Ok(None));
                    self.plain_lists.store(!silent, Ordering::Relaxed);
                    return Ok(None);
                }
            }
            let Some(keys) = keys_of(&answer)? else { return Ok(Some(listing)) };
            let Some(mut details) = keys.details else {
                self.plain_lists.store(true, Ordering::Relaxed);
                return Ok(None);
            };
            let now = answer.date.unwrap_or_else(Timestamp::now);
            after = keys.last;
            for name in keys.names {
                let meta = details.remove(&name);
                let meta = meta.ok_or_else(|| answer.unreadable("an entry of the list has no metadata"))?;
                listing.entries.extend(listed(name, &meta, now));
            }
            if keys.count < PAGE_SIZE {
                return Ok(Some(listing));
            }
        }
        Err(refused(Operation::List, "the list does not end"))
    }

    /// The metadata of an entry, and the remote's clock; `None` when there is none.
    async fn look_at(&self, operation: Operation, name: &str) -> Result<Option<(Meta, Timestamp)>, CallError> {
        let url = self.url("metadata", Some(entry_segment(operation, name)?));
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
        let body = WriteBody { options: Options { cas }, data: Fields { value: value_text(operation, value)? } };
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
        match self.call(Operation::Delete, Method::DELETE, self.url("metadata", Some(name)), Body::None).await {
            Err(error) if error.class == ErrorClass::Forbidden => {}
            done => return done.map(drop),
        }
        self.call(Operation::Delete, Method::DELETE, self.url("data", Some(name)), Body::None).await.map(drop)
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

    fn mark<'a>(&'a self, entry: &'a EntryRef, owner: &'a Owner) -> BoxFuture<'a, Result<(), CallError>> {
        self.mark_entry(entry, owner).boxed()
    }
}

/// The keys of a list; `None` when the folder is empty, which is a 404 without a word.
fn keys_of(answer: &Answer) -> Result<Option<Keys>, CallError> {
    if answer.status.as_u16() == 404 && metadata::is_silent(answer.body_or_empty()) {
        return Ok(None);
    }
    if !answer.status.is_success() {
        return Err(status::refusal(Some(Provider::Vault), answer, Timestamp::now()));
    }
    let keys = metadata::keys(answer.required_body()?);
    keys.map(Some).ok_or_else(|| answer.unreadable("the answer holds no list of keys"))
}

/// An entry as its metadata shows it; none when it was deleted.
fn listed(name: String, meta: &Meta, now: Timestamp) -> Option<Listed> {
    let Sight::Live { version, created } = meta.sight(now) else { return None };
    Some(Listed { name, version: Some(version), created, owner: meta.owner(), ..Listed::default() })
}

fn refused(operation: Operation, why: &str) -> CallError {
    CallError {
        class: ErrorClass::Refused,
        message: format!("{} failed: {why}", operation.as_str()),
        ..refused_here(operation, why)
    }
}
