//! The three remotes behind one face, each with the example that leads to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;

use super::manifests::{Entry, Outline};
use crate::remotes::{Op, Remote, Request, StartError};

use crate::remotes::Provider;

/// What the demo asks of a remote, whichever it is.
pub(crate) trait StandIn: Send + Sync {
    /// Its address.
    fn url(&self) -> String;
    /// The value of an entry.
    fn value(&self, name: &str) -> Option<String>;
    /// Every value that any entry has or had.
    fn values(&self) -> Vec<String>;
    /// Changes an entry as somebody else.
    fn foreign_put(&self, name: &str, value: &str);
    /// Deletes an entry as somebody else.
    fn foreign_delete(&self, name: &str);
    /// Creates, updates and deletes that were processed.
    fn mutations(&self) -> usize;
    /// The calls so far.
    fn requests(&self) -> Vec<Request>;
    /// Takes the calls out that have ended.
    fn take_done(&self) -> Vec<Request>;
    /// Closes the port and every connection.
    fn stop(&self) -> BoxFuture<'_, ()>;
    /// Serves again, at the same address with the same entries.
    fn restart(&self) -> BoxFuture<'_, Result<(), StartError>>;
}

impl<P: Provider> StandIn for Remote<P> {
    fn url(&self) -> String {
        Self::url(self)
    }
    fn value(&self, name: &str) -> Option<String> {
        Self::value(self, name)
    }
    fn values(&self) -> Vec<String> {
        self.entries().into_iter().flat_map(|entry| entry.values).collect()
    }
    fn foreign_put(&self, name: &str, value: &str) {
        Self::foreign_put(self, name, value);
    }
    fn foreign_delete(&self, name: &str) {
        Self::foreign_delete(self, name);
    }
    fn mutations(&self) -> usize {
        Self::mutations(self)
    }
    fn requests(&self) -> Vec<Request> {
        Self::requests(self)
    }
    fn take_done(&self) -> Vec<Request> {
        Self::take_done(self)
    }
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::stop(self))
    }
    fn restart(&self) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(Self::restart(self))
    }
}

/// A remote, and the VaultSecret of the example that is pushed there.
pub(crate) struct Site {
    /// Place among the others.
    pub(crate) index: usize,
    /// The remote's name.
    pub(crate) label: &'static str,
    /// The example's folder.
    pub(crate) folder: &'static str,
    /// Whether a change of an entry shows in its list.
    pub(crate) shows_changes: bool,
    /// The remote.
    pub(crate) remote: Arc<dyn StandIn>,
    /// The VaultSecret.
    pub(crate) object: Outline,
    /// Writes that some step answered for.
    accounted: AtomicUsize,
}

impl Site {
    /// A remote, before its example was read.
    pub(crate) fn new(
        index: usize,
        label: &'static str,
        folder: &'static str,
        shows_changes: bool,
        remote: Arc<dyn StandIn>,
    ) -> Self {
        let (object, accounted) = (Outline::default(), AtomicUsize::new(0));
        Self { index, label, folder, shows_changes, remote, object, accounted }
    }

    /// Writes at the remote that no step has answered for yet.
    pub(crate) fn new_writes(&self) -> usize {
        self.remote.mutations().saturating_sub(self.accounted.load(Ordering::Relaxed))
    }

    /// Lets a step answer for the writes so far.
    pub(crate) fn account(&self) -> usize {
        let all = self.remote.mutations();
        all.saturating_sub(self.accounted.swap(all, Ordering::Relaxed))
    }

    /// Calls about an entry; lists and log-ins come by the clock.
    pub(crate) fn entry_calls(&self) -> usize {
        let about_an_entry = |request: &&Request| matches!(request.op, Op::Create | Op::Update | Op::Delete | Op::Get);
        self.remote.requests().iter().filter(about_an_entry).count()
    }

    /// How many lists were begun and answered after the call with that number.
    pub(crate) fn lists_after(&self, seq: u64) -> usize {
        let counts = |request: &&Request| {
            let first_page = request.op == Op::List && request.page.unwrap_or(1) == 1;
            first_page && request.seq > seq && request.status == Some(200)
        };
        self.remote.requests().iter().filter(counts).count()
    }

    /// The number of the last call.
    pub(crate) fn last_call(&self) -> u64 {
        self.remote.requests().last().map_or(0, |request| request.seq)
    }

    /// The entry whose value comes from a Secret, with that Secret's name and key.
    pub(crate) fn sourced(&self) -> Option<(&Entry, &str, &str)> {
        let mut all = self.object.entries.iter();
        all.find_map(|entry| entry.source.as_ref().map(|(name, key)| (entry, name.as_str(), key.as_str())))
    }

    /// The entry whose value the operator made.
    pub(crate) fn generated(&self) -> Option<&Entry> {
        self.object.entries.iter().find(|entry| entry.generated)
    }
}
