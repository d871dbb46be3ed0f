//! Any REST API that somebody describes in YAML (`spec.http`).
//!
//! The description is read once; what is wrong with it is said before anything is sent. Values, names and ids are put into
//! structures that were parsed before, never into text that is parsed afterwards.

mod answer;
mod auth;
mod body;
mod description;
#[cfg(test)]
mod garbled;
mod paging;
mod path;
mod request;
mod rules;
mod template;

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use url::Url;

use super::auth::Session;
use super::client::{Answer, Http, Request, refused_here};
use super::entry::value_text;
use super::{
    BuildError, CallError, DriftSignal, EntryRef, ErrorClass, Listing, Operation, Pace, Provider, Remote, RemoteConfig,
    Written,
};
use crate::api::http::HttpSpec;
use crate::api::vault_secret::KeyRef;
use crate::value::SecretValue;
pub use description::Description;
use description::Write;
use paging::{MAX_PAGES, Next, Pager, next_url};
pub use rules::DescribedRules;
use template::Values;

/// A description and what its references hold. No `Debug`: it holds credentials.
pub struct HttpAccess {
    /// The description.
    pub spec: Arc<HttpSpec>,
    /// What each key that `spec.auth` refers to holds.
    pub secrets: Vec<(KeyRef, SecretValue)>,
}

/// The client of a described API.
pub(crate) struct Described {
    description: Description,
    session: Session,
}

/// The client of the host that a login goes to, where the description names another one than that of the API.
pub(crate) fn elsewhere(config: &RemoteConfig, access: &HttpAccess) -> Result<Option<Http>, BuildError> {
    let Some(mut url) = auth::other_host(&access.spec)? else { return Ok(None) };
    url.set_path("/");
    url.set_query(None);
    url.set_fragment(None);
    Http::elsewhere(config, url).map(Some)
}

impl Described {
    pub(crate) fn new(http: Http, elsewhere: Option<Http>, access: &HttpAccess) -> Result<Self, BuildError> {
        let description = Description::read(&access.spec)?;
        let credential = auth::credential(&access.spec, &access.secrets, http.base(), elsewhere)?;
        Ok(Self { description, session: Session::new(http, credential) })
    }

    /// Sends a request; `Ok` is an answer that says that it was done.
    async fn send(&self, request: &Request, success: &[u16]) -> Result<Answer, CallError> {
        let answer = self.session.exchange(Provider::Http, request).await?;
        self.description.judge.judge(&answer, success, Timestamp::now())?;
        Ok(answer)
    }

    async fn write(&self, write: &Write, values: &[(&str, &str)]) -> Result<Written, CallError> {
        let request = write.request.render(self.session.http().base(), Values(values))?;
        let answer = self.send(&request, &write.success).await?;
        let places = write.answer.as_ref();
        Ok(places.map(|places| places.written(answer.operation, answer.body_or_empty())).unwrap_or_default())
    }

    async fn list_all(&self, pace: Pace) -> Result<Listing, CallError> {
        let mut pager = Pager::new(&self.description.layout, &self.description.rules);
        let plain = self.description.list.render(self.session.http().base(), Values(&[]))?;
        let first = pager.first().and_then(|next| next_url(&plain.url, &next)).unwrap_or(plain.url);
        let mut url = first.clone();
        let mut remote_time = None;
        for number in 0..MAX_PAGES {
            if number > 0 {
                pace().await;
            }
            let answer = self.page(url).await?;
            if number == 0 {
                remote_time = answer.date;
            }
            let next = pager.take(answer.required_body()?, &answer.link).map_err(|why| answer.unreadable(why))?;
            let Some(next) = next else {
                return Ok(Listing {
                    entries: pager.entries,
                    is_null: pager.is_null,
                    remote_time,
                    ..Listing::default()
                });
            };
            url = following(&first, &next, &answer)?;
        }
        Err(CallError {
            operation: Operation::List,
            class: ErrorClass::Unreadable,
            status: None,
            retry_after: None,
            message: format!("list failed: it has not ended after {MAX_PAGES} pages"),
        })
    }

    async fn page(&self, url: Url) -> Result<Answer, CallError> {
        let request = self.description.list.render(self.session.http().base(), Values(&[]))?;
        self.send(&Request { url, ..request }, &self.description.list_success).await
    }

    /// What stands for the placeholders of an entry. An id that is none is not sent.
    fn entry_values<'a>(
        &self,
        operation: Operation,
        write: &Write,
        entry: &'a EntryRef,
    ) -> Result<Vec<(&'static str, &'a str)>, CallError> {
        let mut values = vec![("name", entry.name.as_str())];
        if let Some(id) = entry.id.as_deref().filter(|_| write.request.uses("id")) {
            if !self.description.rules.takes_id(id) {
                return Err(refused_here(operation, "the entry's id is not one"));
            }
            values.push(("id", id));
        }
        Ok(values)
    }
}

fn following(first: &Url, next: &Next, answer: &Answer) -> Result<Url, CallError> {
    next_url(first, next).ok_or_else(|| answer.unreadable("the next page of the list is on another host"))
}

impl Remote for Described {
    fn provider(&self) -> Provider {
        Provider::Http
    }

    fn drift_signal(&self) -> DriftSignal {
        self.description.rules.drift_signal()
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), CallError>> {
        self.session.prepare().boxed()
    }

    fn list(&self, pace: Pace) -> BoxFuture<'_, Result<Listing, CallError>> {
        self.list_all(pace).boxed()
    }

    fn create<'a>(&'a self, name: &'a str, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        async move {
            let value = value_text(Operation::Create, value)?;
            self.write(&self.description.create, &[("name", name), ("value", value)]).await
        }
        .boxed()
    }

    fn update<'a>(&'a self, entry: &'a EntryRef, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>> {
        async move {
            let write = &self.description.update;
            let mut values = self.entry_values(Operation::Update, write, entry)?;
            values.push(("value", value_text(Operation::Update, value)?));
            self.write(write, &values).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, entry: &'a EntryRef) -> BoxFuture<'a, Result<(), CallError>> {
        async move {
            let write = &self.description.delete;
            let values = self.entry_values(Operation::Delete, write, entry)?;
            self.write(write, &values).await.map(drop)
        }
        .boxed()
    }
}
