//! Values that are read from a remote: where a key's entry is, what is known of it, and the read itself.
//!
//! What tells that a value changed is the version in the entry's metadata, which the remote's prober looks at for all users of
//! the entry together. The value is read when another version is seen, or when it is to be written and nobody holds it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::Instant;

use super::backoff::{Pace, REFUSED, TRANSIENT};
use super::connections::ConnectionHandle;
use super::context::Context;
use super::desired::{Issue, Naming, Prefix};
use super::keys::ConnectionKey;
use super::pass::Pass;
use super::prober::RemoteHandle;
use super::prober::sources::{Seen, Sight};
use super::reconcile::{PATIENCE, PATIENCE_AT_A_START, was_ready};
use super::route::Route;
use super::source_name;
use crate::api::vault_secret::{ConnectionRef, DataEntry, RemoteRef};
use crate::api::{Reason, VaultSecret};
use crate::remote::lane::{ObjectKey, Outcome};
use crate::remote::{Content, ErrorClass, Operation};
use crate::sync::plan::after;
use crate::value::SecretValue;

/// How many entries an object reads at one time.
const READS_AT_ONCE: usize = 8;
/// How long a read waits for the budget and for its answer.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// Where the entry is that a key is read from.
struct Place {
    handle: Arc<ConnectionHandle>,
    /// Its name as the remote stores it.
    name: String,
    /// Why nothing can be read there now, though it may have been seen before.
    trouble: Option<Issue>,
}

impl Place {
    fn remote(&self) -> &Arc<RemoteHandle> {
        &self.handle.remote
    }

    fn seen(&self) -> Seen {
        self.remote().sources.seen(&self.name).unwrap_or(Seen { sight: Sight::Unseen(None), trouble: None })
    }

    /// The entry, for messages.
    fn told(&self) -> String {
        format!("entry {:?} at {}", self.name, self.handle.display)
    }

    fn issue(&self, key: &str, reason: Reason, why: &str) -> Issue {
        Issue::new(reason, format!("key {key}: its source, {}: {why}", self.told()))
    }
}

/// Why there is no place.
struct Nowhere {
    issue: Issue,
    /// It will pass in a moment.
    passing: bool,
}

/// What came of reading.
#[derive(Default)]
pub struct ReadValues {
    /// Values with their versions, by position in `spec.data`.
    pub by_index: HashMap<usize, Result<(SecretValue, String), Issue>>,
    /// Something was refused or failed that is to be tried again by itself, at this pace.
    pub retry: Option<Pace>,
}

/// A key that is read from a remote.
type Reader<'a> = (usize, &'a DataEntry, &'a RemoteRef);

/// The keys that are read from a remote, with their place in `spec.data`.
fn readers(vs: &VaultSecret) -> impl Iterator<Item = Reader<'_>> {
    vs.spec.data.iter().enumerate().filter_map(|(index, entry)| Some((index, entry, entry.remote()?)))
}

/// Whether a VaultSecret reads through a connection.
fn reads_through(vs: &VaultSecret, is: &impl Fn(&ConnectionRef) -> bool) -> bool {
    readers(vs).any(|(_, _, from)| is(from.connection(&vs.spec.connection_ref)))
}

/// The connection that a VaultSecret of that namespace means.
fn key_of(of: &ConnectionRef, namespace: &str) -> ConnectionKey {
    ConnectionKey::new(of.kind(), namespace, &of.name)
}

/// VaultSecrets that read through a connection.
#[must_use]
pub fn readers_of(ctx: &Context, key: &ConnectionKey) -> Vec<ObjectKey> {
    let all = ctx.vault_secrets.all();
    let reads = |vs: &&Arc<VaultSecret>| {
        let namespace = vs.metadata.namespace.as_deref().unwrap_or_default();
        reads_through(vs, &|of| key_of(of, namespace) == *key)
    };
    all.iter().filter(reads).map(|vs| super::key_of(vs)).collect()
}

/// Whether entries of a remote are read, and none is pushed there or left to be looked after.
#[must_use]
pub fn only_reads(ctx: &Context, remote: &RemoteHandle) -> bool {
    let through: Vec<ConnectionKey> = ctx.connections.through(remote).iter().map(|c| c.key.clone()).collect();
    let mut reads = false;
    for vs in ctx.vault_secrets.all() {
        let namespace = vs.metadata.namespace.as_deref().unwrap_or_default();
        let goes = |of: &ConnectionRef| through.contains(&key_of(of, namespace));
        let rows = vs.status.iter().flat_map(|status| &status.entries);
        let mut held = rows.filter_map(|row| ConnectionKey::parse(&row.connection, namespace));
        if vs.spec.pushes() && goes(&vs.spec.connection_ref) || held.any(|key| through.contains(&key)) {
            return false;
        }
        reads = reads || reads_through(&vs, &goes);
    }
    reads
}

fn place(pass: &Pass<'_>, entry: &DataEntry, from: &RemoteRef) -> Result<Place, Nowhere> {
    let reference = from.connection(&pass.vs.spec.connection_ref);
    let refused = |reason, text: String| Nowhere {
        issue: Issue::new(reason, format!("key {}: its source: {text}", entry.key)),
        passing: false,
    };
    let route = Route::through(pass.ctx, pass.key, reference);
    let Some(handle) = route.handle.clone() else {
        let problem = route.problem.map(|problem| (problem.issue, problem.passing));
        let (issue, passing) =
            problem.unwrap_or_else(|| (Issue::new(Reason::ConnectionMissing, reference.display()), false));
        return Err(Nowhere { passing, ..refused(issue.reason, issue.message) });
    };
    if route.behind {
        let text = format!("{} is being read", handle.display);
        return Err(Nowhere { passing: true, ..refused(Reason::ConnectionNotReady, text) });
    }
    let allows = |other: &str| route.allows(pass.ctx, other);
    let prefix =
        handle.prefix.as_deref().map(|template| Prefix { template, namespace: &pass.key.namespace, allows: &allows });
    let naming = Naming { rules: &handle.rules, prefix, connection: &handle.display };
    let name = source_name::of(&naming, &from.name).map_err(|issue| refused(issue.reason, issue.message))?;
    if is_own(pass, &handle, &name) {
        let issue = source_name::written_here(&name, &handle.display);
        return Err(refused(issue.reason, issue.message));
    }
    let trouble = if let Some(freeze) = handle.frozen() {
        Some((Reason::RemoteDiverged, format!("{} is frozen: {}", handle.display, freeze.reason)))
    } else {
        let blocked = handle.blocked.as_ref().map(|(reason, text)| format!("{}: {text}", reason.as_str()));
        let why = blocked.or_else(|| handle.remote.unreadable());
        why.map(|why| (Reason::ConnectionNotReady, format!("{}: {why}", handle.display)))
    };
    let trouble = trouble.map(|(reason, text)| refused(reason, text).issue);
    Ok(Place { handle, name, trouble })
}

/// Whether the entry is one that the VaultSecret writes: what it reads would be what it wrote.
fn is_own(pass: &Pass<'_>, handle: &ConnectionHandle, name: &str) -> bool {
    let Some(own) = &pass.route.handle else { return false };
    let wanted = source_name::location(&handle.remote.base, name);
    pass.wants
        .iter()
        .filter_map(|want| want.row)
        .any(|row| source_name::location(&own.remote.base, &pass.rows[row].remote_name) == wanted)
}

/// Says which entries the object reads, so that they are looked at and their changes wake it.
pub fn register(pass: &mut Pass<'_>) {
    let mut wanted: Vec<(Arc<RemoteHandle>, BTreeSet<String>)> = Vec::new();
    if !pass.is_deleting() {
        for (_, entry, from) in readers(&pass.vs) {
            let Ok(place) = place(pass, entry, from) else { continue };
            match wanted.iter_mut().find(|(remote, _)| Arc::ptr_eq(remote, place.remote())) {
                Some((_, names)) => drop(names.insert(place.name)),
                None => wanted.push((Arc::clone(place.remote()), BTreeSet::from([place.name]))),
            }
        }
    }
    if wanted.is_empty() && !pass.state.reads {
        return;
    }
    pass.state.reads = !wanted.is_empty();
    for (remote, names) in &wanted {
        remote.sources.set(pass.key, names, pass.now);
    }
    leave(pass.ctx, pass.key, |remote| wanted.iter().any(|(kept, _)| Arc::ptr_eq(kept, remote)));
}

/// The object is gone: nothing is looked at for it any more.
pub fn forget(ctx: &Context, key: &ObjectKey) {
    leave(ctx, key, |_| false);
}

fn leave(ctx: &Context, key: &ObjectKey, keep: impl Fn(&Arc<RemoteHandle>) -> bool) {
    let all: Vec<Arc<RemoteHandle>> = ctx.remotes().values().cloned().collect();
    for remote in all.iter().filter(|remote| !keep(remote)) {
        remote.sources.set(key, &BTreeSet::new(), ctx.clock.now());
    }
}

/// The version of a value, as far as it is known without reading it.
#[must_use]
pub fn known_version(pass: &Pass<'_>, entry: &DataEntry, from: &RemoteRef) -> Option<Arc<str>> {
    let place = place(pass, entry, from).ok()?;
    place.remote().source_version(&place.name)
}

/// An entry is looked at for the first time in this process: its version may be the one that is known already.
pub fn await_look(pass: &mut Pass<'_>) -> Option<Duration> {
    let awaits = |entry, from| match place(pass, entry, from) {
        Ok(place) => place.trouble.is_none() && matches!(place.seen().sight, Sight::Unseen(_)),
        Err(nowhere) => nowhere.passing,
    };
    if pass.is_deleting() || !readers(&pass.vs).any(|(_, entry, from)| awaits(entry, from)) {
        pass.state.looking_since = None;
        return None;
    }
    let since = *pass.state.looking_since.get_or_insert(pass.now);
    let until = after(since, if was_ready(pass) { PATIENCE_AT_A_START } else { PATIENCE });
    (pass.now < until).then(|| pass.ctx.clock.until(until).max(Duration::from_millis(1)))
}

/// Notes for each key whose source cannot be looked at now that nothing is decided about it: what is there stays.
pub fn hold(pass: &mut Pass<'_>) {
    let mut held: BTreeMap<String, Issue> = BTreeMap::new();
    for (_, entry, from) in readers(&pass.vs) {
        match place(pass, entry, from) {
            Ok(place) => drop(unsure(&place, &entry.key).map(|issue| held.insert(entry.key.clone(), issue))),
            Err(nowhere) if nowhere.passing => drop(held.insert(entry.key.clone(), nowhere.issue)),
            Err(_) => {}
        }
    }
    if held.is_empty() {
        return;
    }
    let vs = Arc::clone(&pass.vs);
    let templates = Arc::clone(&pass.templates);
    for want in &mut pass.wants {
        let key = &vs.spec.data[want.index].key;
        let node = templates.of_key(key).and_then(Result::ok);
        let issue = held.get(key).or_else(|| node?.sources().iter().find_map(|source| held.get(source)));
        if let Some(issue) = issue {
            want.issue.get_or_insert_with(|| issue.clone());
            want.held = true;
        }
    }
}

/// Why what is known of an entry is not to be relied on.
fn unsure(place: &Place, key: &str) -> Option<Issue> {
    if let Some(trouble) = &place.trouble {
        return Some(trouble.clone());
    }
    let seen = place.seen();
    let why = match (&seen.trouble, &seen.sight) {
        (Some(trouble), _) => format!("it has not been seen for long: {trouble}"),
        (None, Sight::Unseen(None)) => "it has not been looked at yet".to_owned(),
        (None, Sight::Unseen(Some(why))) => format!("it could not be looked at yet: {why}"),
        _ => return None,
    };
    Some(place.issue(key, Reason::ConnectionNotReady, &why))
}

/// Reads every entry once, however many keys are fields of it. Needs no place among those who work at the API server, so that
/// a remote that hangs keeps nobody waiting.
pub async fn read_all(pass: &Pass<'_>) -> ReadValues {
    let mut read = ReadValues::default();
    let mut entries: Vec<(Place, Vec<Reader<'_>>)> = Vec::new();
    for (index, entry, from) in readers(&pass.vs) {
        let issue = match place(pass, entry, from) {
            Err(nowhere) => nowhere.issue,
            Ok(place) => match unsure(&place, &entry.key).or_else(|| absent(&place, &entry.key)) {
                Some(issue) => issue,
                None => {
                    let same = |other: &Place| Arc::ptr_eq(other.remote(), place.remote()) && other.name == place.name;
                    match entries.iter_mut().find(|(other, _)| same(other)) {
                        Some((_, keys)) => keys.push((index, entry, from)),
                        None => entries.push((place, vec![(index, entry, from)])),
                    }
                    continue;
                }
            },
        };
        read.by_index.insert(index, Err(issue));
    }
    let mut reads = Vec::with_capacity(entries.len());
    for (place, _) in &entries {
        reads.push(read_one(pass.ctx, pass.key, place));
    }
    let contents: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).collect().await;
    for ((place, keys), content) in entries.iter().zip(&contents) {
        if let Err((reason, _, true)) = content {
            read.retry = Some(if *reason == Reason::ConnectionNotReady { TRANSIENT } else { REFUSED });
        }
        for (index, entry, from) in keys {
            let value = match content {
                Ok((fields, version)) => {
                    fields.get(from.field()).map(|value| (value.clone(), version.clone())).ok_or_else(|| {
                        let number = version.split('@').next().unwrap_or_default();
                        let why = format!("version {number} has no field {:?}", from.field());
                        place.issue(&entry.key, Reason::SourceMissing, &why)
                    })
                }
                Err((reason, why, _)) => Err(place.issue(&entry.key, *reason, why)),
            };
            read.by_index.insert(*index, value);
        }
    }
    read
}

/// Why an entry that was looked at has nothing to be read.
fn absent(place: &Place, key: &str) -> Option<Issue> {
    match place.seen().sight {
        Sight::Gone(why) => Some(place.issue(key, Reason::SourceMissing, &why)),
        Sight::Refused(why) => {
            let advice = "; allow it to read the metadata, which tells when there is another version";
            Some(place.issue(key, Reason::SourceMissing, &format!("its metadata cannot be read: {why}{advice}")))
        }
        Sight::Live(_) | Sight::Unseen(_) => None,
    }
}

/// The fields of an entry and their version; or why there are none, and whether that is to be tried again by itself.
type FieldsOf = Result<(BTreeMap<String, SecretValue>, String), (Reason, String, bool)>;

async fn read_one(ctx: &Context, key: &ObjectKey, place: &Place) -> FieldsOf {
    let limited = tokio::time::timeout(READ_LIMIT, ask(ctx, place)).await;
    let late = || (Reason::ConnectionNotReady, "it was not read in time".to_owned(), true);
    let content = limited.map_err(|_| late())??;
    let (sight, fields) = match content {
        Content::Fields(fields, version) => (Sight::Live(version.as_str().into()), Ok((fields, version))),
        // The look that has shown it is a moment old.
        Content::Gone(why) => (Sight::Gone(why.as_str().into()), Err((Reason::SourceMissing, why, false))),
    };
    for other in place.remote().sources.note(&place.name, sight, key, ctx.clock.now()) {
        ctx.wake.object(other);
    }
    fields
}

async fn ask(ctx: &Context, place: &Place) -> Result<Content, (Reason, String, bool)> {
    let remote = place.remote();
    let slot = remote
        .lane
        .pace()
        .await
        .map_err(|_| (Reason::ConnectionNotReady, "the remote takes no requests now".to_owned(), true))?;
    let began = Instant::now();
    let result = remote.client().read(&place.name).await;
    slot.report(Outcome::of(&result));
    drop(slot);
    let status = result.as_ref().map_or_else(|error| error.status, |_| Some(200));
    ctx.metrics.remote_call(&place.handle.metric_name(), Operation::Read, status, began.elapsed());
    let may = match &result {
        Ok(Content::Fields(..)) => Some(true),
        Err(error) if error.class == ErrorClass::Forbidden => Some(false),
        _ => None,
    };
    if may.is_some_and(|may| remote.learn_reading(may)) {
        ctx.wake.connection(place.handle.key.clone());
    }
    result.map_err(|error| {
        remote.lane_report(&error);
        let reason = match error.class {
            class if class.is_transient() => Reason::ConnectionNotReady,
            ErrorClass::Authentication | ErrorClass::RateLimited => Reason::ConnectionNotReady,
            _ => Reason::SourceMissing,
        };
        (reason, error.message, true)
    })
}
