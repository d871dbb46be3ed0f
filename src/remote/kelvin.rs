//! Kelvin: `/api/v4/secrets`, entries by name, behind Keycloak.

use std::collections::HashSet;

use futures::future::{BoxFuture, FutureExt};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use url::Url;

use super::auth::Session;
use super::client::{Answer, Body, Request};
use super::entry::{entry_segment, json, lenient_text, value_text};
use super::{
    CallError, DriftSignal, EntryRef, Listed, Listing, Operation, Pace, Provider, Remote, Written, spec, stamp,
};
use crate::value::SecretValue;

const SECRETS: &str = "/api/v4/secrets";
const PAGE_SIZE: usize = 1000;
/// A list that is longer than a million entries is taken for one that does not end.
const MAX_PAGES: usize = 1000;

/// The client of a Kelvin instance.
pub(crate) struct Kelvin {
    session: Session,
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

/// `SecretMeta`: everything but the name may be missing.
#[derive(Deserialize)]
struct Meta {
    #[serde(default, deserialize_with = "lenient_text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    created: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    created_by: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    updated: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    updated_by: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    /// `null` is not the same as missing.
    #[serde(default, deserialize_with = "present")]
    data: Option<Option<Vec<Meta>>>,
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct Pagination {
    next_page: Option<String>,
}

impl Kelvin {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    async fn send(&self, operation: Operation, method: Method, url: Url, body: Body) -> Result<Answer, CallError> {
        self.session.call(Provider::Kelvin, &Request::new(operation, method, url, body)).await
    }

    async fn list_all(&self, pace: Pace) -> Result<Listing, CallError> {
        let first = self.page_url(None);
        let mut listing = Listing::default();
        let mut names = HashSet::new();
        let mut seen = HashSet::new();
        let mut url = first.clone();
        let mut after_empty = false;
        for page_number in 0..MAX_PAGES {
            if page_number > 0 {
                pace().await;
            }
            let answer = self.send(Operation::List, Method::GET, url.clone(), Body::None).await?;
            if page_number == 0 {
                listing.remote_time = answer.date;
            }
            let page: Page = serde_json::from_slice(answer.required_body()?)
                .map_err(|_| answer.unreadable("the answer is not a page of secrets"))?;
            // The vendor's own reader takes `null` for an empty page.
            listing.is_null = page_number == 0 && page.data.as_ref().is_some_and(Option::is_none);
            let data = page.data.flatten().or_else(|| listing.is_null.then(Vec::new));
            let data = data.ok_or_else(|| answer.unreadable("the answer holds no list of secrets"))?;
            let read = data.len();
            for meta in data {
                let entry = listed(meta).ok_or_else(|| answer.unreadable("an entry of the list has no name"))?;
                // An entry made or removed between two pages can move one to the next page.
                if names.insert(entry.name.clone()) {
                    listing.entries.push(entry);
                }
            }
            let more =
                page.pagination.as_ref().and_then(|p| p.next_page.as_deref()).is_some_and(|next| !next.is_empty());
            if more && listing.is_null {
                return Err(answer.unreadable("the answer holds no list of secrets, and names another page"));
            }
            if more && read == 0 && after_empty && listing.entries.is_empty() {
                return Err(answer.unreadable("the pages of the list are empty and name others all the same"));
            }
            let next = match page.pagination {
                // An empty page that names another is a contradiction: one more is read before the list is taken for complete.
                Some(pagination) => pagination.next_page.filter(|next| !next.is_empty() && (read > 0 || !after_empty)),
                None if read >= PAGE_SIZE => {
                    return Err(answer.unreadable("a full page does not say whether another follows"));
                }
                None => None,
            };
            let Some(next) = next else { return Ok(listing) };
            after_empty = read == 0;
            if !seen.insert(next.clone()) {
                if after_empty {
                    return Ok(listing);
                }
                return Err(answer.unreadable("the pages of the list go round in a circle"));
            }
            url = self
                .next_url(&first, &next)
                .ok_or_else(|| answer.unreadable("the next page of the list is on another host"))?;
        }
        Err(CallError {
            operation: Operation::List,
            class: super::ErrorClass::Unreadable,
            status: None,
            retry_after: None,
            message: format!("list failed: it has not ended after {MAX_PAGES} pages"),
        })
    }

    fn page_url(&self, bookmark: Option<&str>) -> Url {
        let mut url = self.session.http().url(SECRETS, &["list"]);
        url.query_pairs_mut().append_pair("pagination_type", "cursor").append_pair("page_size", &PAGE_SIZE.to_string());
        if let Some(bookmark) = bookmark {
            url.query_pairs_mut().append_pair("next", bookmark);
        }
        url
    }

    /// The URL of the next page: a bookmark, or a path with a query. The token goes nowhere but to our own host.
    fn next_url(&self, first: &Url, next: &str) -> Option<Url> {
        if !next.contains('?') {
            return Some(self.page_url(Some(next)));
        }
        let mut url = first.join(next).ok()?;
        if url.origin() != self.session.http().base().origin() || !url.username().is_empty() {
            return None;
        }
        let given: HashSet<String> = url.query_pairs().map(|(key, _)| key.into_owned()).collect();
        let missing: Vec<_> = first.query_pairs().filter(|(key, _)| !given.contains(key.as_ref())).collect();
        if !missing.is_empty() {
            url.query_pairs_mut().extend_pairs(missing);
        }
        Some(url)
    }
}

impl Remote for Kelvin {
    fn provider(&self) -> Provider {
        Provider::Kelvin
    }

    fn drift_signal(&self) -> DriftSignal {
        spec::drift_signal(Provider::Kelvin)
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), CallError>> {
        self.session.prepare().boxed()
    }

    fn list(&self, pace: Pace) -> BoxFuture<'_, Result<Listing, CallError>> {
        self.list_all(pace).boxed()
    }

    fn create<'a>(&'a self, name: &'a str, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        async move {
            let body = json(Operation::Create, &CreateBody { name, value: value_text(Operation::Create, value)? })?;
            let url = self.session.http().url(SECRETS, &["create"]);
            Ok(written(&self.send(Operation::Create, Method::POST, url, body).await?))
        }
        .boxed()
    }

    fn update<'a>(&'a self, entry: &'a EntryRef, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        async move {
            let body = json(Operation::Update, &UpdateBody { value: value_text(Operation::Update, value)? })?;
            let name = entry_segment(Operation::Update, &entry.name)?;
            let url = self.session.http().url(SECRETS, &[name, "update"]);
            Ok(written(&self.send(Operation::Update, Method::POST, url, body).await?))
        }
        .boxed()
    }

    fn delete<'a>(&'a self, entry: &'a EntryRef) -> BoxFuture<'a, Result<(), CallError>> {
        async move {
            let name = entry_segment(Operation::Delete, &entry.name)?;
            let url = self.session.http().url(SECRETS, &[name, "delete"]);
            self.send(Operation::Delete, Method::POST, url, Body::None).await.map(drop)
        }
        .boxed()
    }
}

/// A field that is there, be it `null`.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn listed(meta: Meta) -> Option<Listed> {
    Some(Listed {
        name: meta.name.filter(|name| !name.is_empty())?,
        id: None,
        version: meta.updated.as_deref().and_then(stamp::canonical),
        created: meta.created.as_deref().and_then(stamp::instant),
        created_by: meta.created_by,
        updated_by: meta.updated_by,
        owner: None,
    })
}

/// An acknowledged write. What its answer does not say, or what cannot be read, is left out: the write is done.
fn written(answer: &Answer) -> Written {
    let Ok(meta) = serde_json::from_slice::<Meta>(answer.body_or_empty()) else { return Written::default() };
    Written {
        id: None,
        version: meta.updated.as_deref().and_then(stamp::canonical),
        principal: meta.updated_by.or(meta.created_by.filter(|_| answer.operation == Operation::Create)),
    }
}
