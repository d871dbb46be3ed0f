//! Listing a folder: names, and the versions of the entries that somebody names; or everything at once, where that is allowed.

use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use jiff::Timestamp;
use reqwest::Method;

use super::Vault;
use super::metadata::{self, Keys, Meta, Mount, Sight};
use crate::remote::client::{Answer, Body, refused_here};
use crate::remote::{CallError, ErrorClass, Listed, Listing, Named, Operation, Pace, Provider, status};

/// Entries on a page of the list with details. Vault and older OpenBaos answer without pages.
const PAGE_SIZE: usize = 1000;
/// A list that is longer than a million entries is taken for one that does not end.
const MAX_PAGES: usize = 1000;
/// Entries whose versions are asked for at one time: each is a request of its own, and the list waits for the last.
const LOOKS_AT_ONCE: usize = 4;

impl Vault {
    pub(super) async fn list_all(&self, pace: Pace, named: Named) -> Result<Listing, CallError> {
        self.know_mount(&pace).await?;
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
        let (wanted, unread): (Vec<String>, Vec<String>) =
            keys.names.into_iter().partition(|name| named.contains(name));
        listing.unread.extend(unread);
        let (looked_at, mut denied) = (wanted.len(), None);
        let mut looks = Vec::with_capacity(wanted.len());
        for name in wanted {
            let pace = &pace;
            looks.push(async move {
                pace().await;
                let found = self.look_at(Operation::List, &name).await;
                (name, found)
            });
        }
        let mut looks = futures::stream::iter(looks).buffered(LOOKS_AT_ONCE);
        while let Some((name, found)) = looks.next().await {
            match found {
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

    /// Asks once what the mount is, before anything else is asked of it.
    pub(super) async fn know_mount(&self, pace: &Pace) -> Result<(), CallError> {
        if !self.mount_known.load(Ordering::Relaxed) {
            self.look_at_mount().await?;
            pace().await;
        }
        Ok(())
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
                if matches!(answer.status.as_u16(), 403..=405) && !status::refuses_token(Provider::Vault, &answer) {
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
