//! Reconciles connections: reads spec and credentials, publishes what VaultSecrets use, and keeps the status.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::backoff::{TRANSIENT, jittered};
use super::connection_status::Written;
use super::connections::{Adopting, Blocked, ConnectionHandle, FreezeNote};
use super::context::Context;
use super::credentials::{self, CredentialsError, Material};
use super::keys::{ConnectionKey, Waker};
use super::prober::RemoteHandle;
use super::refs::{Known, Ref};
use super::watch_remote;
use super::worker::NEVER;
use crate::api::connection::{AllowedNamespaces, ConnectionSpec, ConnectionStatus};
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ConnectionReason, names};
use crate::remote::lane::{Lane, LaneLimits};
use crate::remote::spec::Rules;
use crate::remote::{self, spec};
use crate::sync::freeze::{self, Approval, tolerated};

/// A connection of either kind, as the watch shows it.
pub struct Shown {
    /// Its key.
    pub key: ConnectionKey,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What both kinds have.
    pub spec: ConnectionSpec,
    /// Only on a ClusterVaultConnection.
    pub allowed: Option<AllowedNamespaces>,
    /// Only on a ClusterVaultConnection.
    pub prefix: Option<String>,
    /// Its status.
    pub status: ConnectionStatus,
}

impl Shown {
    /// The connection as the watch shows it.
    #[must_use]
    pub fn get(ctx: &Context, key: &ConnectionKey) -> Option<Self> {
        let key = key.clone();
        match key.kind {
            ConnectionKind::VaultConnection => {
                let found = ctx.vault_connections.get(&key.object)?;
                Some(Self {
                    metadata: found.metadata.clone(),
                    spec: found.spec.connection.clone(),
                    allowed: None,
                    prefix: None,
                    status: found.status.clone().unwrap_or_default(),
                    key,
                })
            }
            ConnectionKind::ClusterVaultConnection => {
                let found = ctx.cluster_connections.get(&key.object)?;
                Some(Self {
                    metadata: found.metadata.clone(),
                    spec: found.spec.connection.clone(),
                    allowed: Some(found.spec.allowed_namespaces.clone().unwrap_or_default()),
                    prefix: found.spec.remote_name_prefix.clone().filter(|p| !p.is_empty()),
                    status: found.status.clone().unwrap_or_default(),
                    key,
                })
            }
        }
    }

    /// Namespace of the credentials: the connection's own, or the operator's for a ClusterVaultConnection.
    #[must_use]
    pub fn credentials_namespace<'a>(&'a self, ctx: &'a Context) -> &'a str {
        match self.key.kind {
            ConnectionKind::VaultConnection => &self.key.object.namespace,
            ConnectionKind::ClusterVaultConnection => &ctx.settings.operator_namespace,
        }
    }
}

/// Reconciles a connection. Returns when to look at it again.
pub async fn reconcile(ctx: &Arc<Context>, key: &ConnectionKey) -> Duration {
    let began = tokio::time::Instant::now();
    let Some(shown) = Shown::get(ctx, key) else {
        removed(ctx, key);
        return NEVER;
    };
    let permit = ctx.workers.acquire().await;
    let wiring = ctx.wiring.read().await;
    let result = run(ctx, shown).await;
    drop(wiring);
    drop(permit);
    let (outcome, wait) = match result {
        Ok(wait) => ("ok", wait),
        Err(error) => {
            tracing::warn!(connection = %key.object, %error, "reading the connection failed; it is tried again");
            ("error", jittered(TRANSIENT.first * 2))
        }
    };
    ctx.metrics.reconcile("connection", outcome, began.elapsed());
    wait
}

fn removed(ctx: &Arc<Context>, key: &ConnectionKey) {
    ctx.refs.set(&Waker::Connection(key.clone()), Vec::new());
    if ctx.connections.get(key).is_some() {
        ctx.connections.retire(key);
        wake_objects(ctx, key);
    }
    watch_remote::release_unused(ctx);
}

/// Wakes every VaultSecret that names the connection or has rows of it.
pub fn wake_objects(ctx: &Context, key: &ConnectionKey) {
    for object in super::objects_of(ctx, key) {
        ctx.wake.object(object);
    }
}

async fn run(ctx: &Arc<Context>, shown: Shown) -> Result<Duration, CredentialsError> {
    let key = shown.key.clone();
    let namespace = shown.credentials_namespace(ctx).to_owned();
    let refs: Vec<Ref> = credentials::refs(&shown.spec, &namespace);
    ctx.refs.set(&Waker::Connection(key.clone()), refs.clone());
    let before = ctx.connections.get(&key);
    let generation = shown.metadata.generation.unwrap_or_default();
    let versions = |ctx: &Context| refs.iter().map(|r| (r.clone(), ctx.refs.known(r))).collect::<Vec<_>>();
    let made_from = versions(ctx);
    // Woken by a probe or an annotation, with spec and credentials as they were: nothing is read again.
    let unchanged = before.as_ref().filter(|b| {
        b.blocked.is_none()
            && b.generation == generation
            && b.made_from == made_from
            && made_from.iter().all(|(_, known)| matches!(known, Known::At(_)))
    });
    if let Some(same) = unchanged {
        let (remote, rules, made_from) = (Arc::clone(&same.remote), same.rules.clone(), same.made_from.clone());
        return go_on(ctx, shown, before, remote, rules, made_from).await;
    }
    // Refused by the schema, too; a definition can be older than the operator.
    let shows_itself = shown.spec.vault.as_ref().is_some_and(|vault| vault.auth.kubernetes.is_some());
    if shows_itself && key.kind == ConnectionKind::VaultConnection {
        let message =
            "vault.auth.kubernetes is for a ClusterVaultConnection: it shows the operator's own identity to the url";
        return Ok(blocked(ctx, &shown, before, ConnectionReason::Invalid, message.to_owned()).await);
    }
    let material = match credentials::read(ctx, &shown.spec, &namespace).await {
        Ok(material) => material,
        Err(CredentialsError::Api(error)) => return Err(CredentialsError::Api(error)),
        Err(error) => {
            let reason = match error {
                CredentialsError::Missing(_) => ConnectionReason::CredentialsMissing,
                _ => ConnectionReason::Invalid,
            };
            return Ok(blocked(ctx, &shown, before, reason, error.to_string()).await);
        }
    };
    let remote = match remote_of(ctx, &shown, &material) {
        Ok(remote) => remote,
        Err(error) => return Ok(blocked(ctx, &shown, before, ConnectionReason::Invalid, error.0).await),
    };
    // The versions as they were read, not as they may be by now: a newer one wakes the connection and differs from these.
    go_on(ctx, shown, before, remote, material.rules, material.versions).await
}

/// With a client at hand: freeze, approval, adoption, status.
async fn go_on(
    ctx: &Arc<Context>,
    shown: Shown,
    before: Option<Arc<ConnectionHandle>>,
    remote: Arc<RemoteHandle>,
    rules: Rules,
    made_from: Vec<(Ref, Known)>,
) -> Result<Duration, CredentialsError> {
    let key = shown.key.clone();
    let mut status = shown.status.clone();
    let note = before.as_ref().map(|b| Arc::clone(&b.freeze)).unwrap_or_default();
    let seen = note.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let (None, Some(recorded)) = (&seen, &status.freeze) {
        // After a restart the freeze goes on, under the same token.
        set_note(&note, Some(FreezeNote { token: recorded.token.clone(), reason: recorded.reason.clone() }));
    }
    follow_identity(ctx, &shown, &remote.base, &mut status, &note);
    let released = approve(&shown, &remote.base, &mut status, &note);
    let handle = Arc::new(ConnectionHandle {
        display: key.display().into(),
        generation: shown.metadata.generation.unwrap_or_default(),
        settle: credentials::settle(&shown.spec, rules.provider()),
        rules,
        incarnation: status.incarnation.unwrap_or_default(),
        max_age: credentials::interval(&shown.spec).map(super::prober::max_age),
        prefix: shown.prefix.clone(),
        allowed: shown.allowed.clone(),
        blocked: None,
        freeze: Arc::clone(&note),
        adopting: adopting(ctx, &shown, &mut status, before.as_deref()),
        remote,
        made_from,
        key: key.clone(),
    });
    publish(ctx, handle, before, &shown, status, released).await
}

/// The connection cannot be used. What was had before is kept for entries that leave.
async fn blocked(
    ctx: &Arc<Context>,
    shown: &Shown,
    before: Option<Arc<ConnectionHandle>>,
    reason: ConnectionReason,
    message: String,
) -> Duration {
    let mut status = shown.status.clone();
    if let Some(before) = before {
        let handle = Arc::new(ConnectionHandle {
            key: before.key.clone(),
            display: Arc::clone(&before.display),
            generation: shown.metadata.generation.unwrap_or_default(),
            rules: before.rules.clone(),
            remote: Arc::clone(&before.remote),
            incarnation: before.incarnation,
            settle: before.settle,
            max_age: before.max_age,
            prefix: before.prefix.clone(),
            allowed: shown.allowed.clone(),
            blocked: Some((reason, message.clone())),
            freeze: Arc::clone(&before.freeze),
            adopting: before.adopting.clone(),
            made_from: Vec::new(),
        });
        let changed = before.blocked != handle.blocked || before.generation != handle.generation;
        ctx.connections.publish(handle);
        if changed {
            wake_objects(ctx, &shown.key);
        }
    } else {
        let why =
            Blocked { generation: shown.metadata.generation.unwrap_or_default(), reason, message: message.clone() };
        if ctx.connections.block(&shown.key, why) {
            wake_objects(ctx, &shown.key);
        }
    }
    let _ = super::connection_status::write(ctx, shown, &mut status, reason, &message).await;
    jittered(Duration::from_secs(60))
}

/// The remote of a budget identity, made when this is its first connection.
fn remote_of(ctx: &Arc<Context>, shown: &Shown, material: &Material) -> Result<Arc<RemoteHandle>, remote::BuildError> {
    let defaults = spec::default_limits(material.rules.provider());
    let limits = shown.spec.limits.clone().unwrap_or_default();
    let limits = LaneLimits {
        requests_per_minute: limits.requests_per_minute.unwrap_or(defaults.requests_per_minute),
        burst: limits.burst.unwrap_or(defaults.burst),
        max_in_flight: limits.max_in_flight.unwrap_or(defaults.max_in_flight),
        max_retry_after: ctx.settings.max_retry_after,
        ..LaneLimits::default()
    };
    let config: Arc<str> = material.config.as_str().into();
    let found = ctx.remotes().get(&material.budget).cloned();
    let remote = match found {
        Some(remote) => {
            remote.lane.set_limits(limits);
            if remote.config() != config {
                remote.set_client(config, remote::build(material.remote_config())?);
            }
            remote
        }
        None => {
            let client = remote::build(material.remote_config())?;
            let lane = Lane::new(shown.key.object.to_string(), limits, ctx.wake.objects.clone());
            let remote = Arc::new(RemoteHandle::new(material.base.as_str().into(), lane, config, client, ctx.clock));
            // Another connection with the same key may have been first.
            Arc::clone(ctx.remotes().entry(material.budget.clone()).or_insert(remote))
        }
    };
    let others = ctx.connections.through(&remote);
    let shortest = others
        .iter()
        .filter(|c| c.key != shown.key)
        .filter_map(|c| Shown::get(ctx, &c.key))
        .filter_map(|c| credentials::interval(&c.spec))
        .chain(credentials::interval(&shown.spec))
        .min();
    remote.set_interval(shortest);
    Ok(remote)
}

fn set_note(note: &Mutex<Option<FreezeNote>>, to: Option<FreezeNote>) {
    *note.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

/// The connection is pointed at another remote: freezes when it has many entries, else its rows speak of another remote from
/// now on.
fn follow_identity(
    ctx: &Context,
    shown: &Shown,
    base: &str,
    status: &mut ConnectionStatus,
    note: &Mutex<Option<FreezeNote>>,
) {
    let Some(old) = status.remote.clone() else {
        status.remote = Some(base.to_owned());
        return;
    };
    if old == base {
        return;
    }
    let own = super::rows_of(ctx, &shown.key);
    if own > tolerated(own) {
        let mut guard = note.lock().unwrap_or_else(PoisonError::into_inner);
        guard.get_or_insert_with(|| FreezeNote {
            token: new_token(),
            reason: format!("it was pointed from {old} at {base} while it has {own} entries"),
        });
    } else {
        status.remote = Some(base.to_owned());
        status.incarnation = Some(status.incarnation.unwrap_or_default() + 1);
    }
}

/// A new token of a freeze.
#[must_use]
pub fn new_token() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// Reads the approve annotation. Returns the token of the freeze that it releases.
fn approve(
    shown: &Shown,
    base: &str,
    status: &mut ConnectionStatus,
    note: &Mutex<Option<FreezeNote>>,
) -> Option<String> {
    let Some(current) = note.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
        status.freeze = None;
        return None;
    };
    status.freeze =
        Some(crate::api::connection::Freeze { token: current.token.clone(), reason: current.reason.clone() });
    let annotation = shown.metadata.annotations.as_ref().and_then(|a| a.get(names::APPROVE));
    match annotation.map(|a| freeze::approval(a, &current.token)) {
        Some(Ok(Some(approval))) => {
            status.freeze = None;
            status.last_handled_approve = annotation.cloned();
            if approval == Approval::New {
                status.incarnation = Some(status.incarnation.unwrap_or_default() + 1);
            }
            status.remote = Some(base.to_owned());
            Some(current.token)
        }
        Some(Err(text)) => {
            tracing::warn!(connection = %shown.key.object, %text, "the approve annotation cannot be read");
            None
        }
        Some(Ok(None)) | None => None,
    }
}

/// A one-time adoption for all VaultSecrets of the connection: goes on until each was looked at.
fn adopting(
    ctx: &Context,
    shown: &Shown,
    status: &mut ConnectionStatus,
    before: Option<&ConnectionHandle>,
) -> Option<Arc<Adopting>> {
    let asked = shown.metadata.annotations.as_ref().and_then(|a| a.get(names::ADOPT))?;
    if status.last_handled_adopt.as_ref() == Some(asked) || asked.trim() != "*" {
        return None;
    }
    let running = before.and_then(|b| b.adopting.clone()).filter(|a| a.value == *asked);
    if let Some(running) = running {
        let done = running.pending.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if done {
            status.last_handled_adopt = Some(asked.clone());
            return None;
        }
        return Some(running);
    }
    let pending: HashSet<_> = super::objects_of(ctx, &shown.key).into_iter().collect();
    if pending.is_empty() {
        status.last_handled_adopt = Some(asked.clone());
        return None;
    }
    Some(Arc::new(Adopting { value: asked.clone(), pending: Mutex::new(pending) }))
}

async fn publish(
    ctx: &Arc<Context>,
    handle: Arc<ConnectionHandle>,
    before: Option<Arc<ConnectionHandle>>,
    shown: &Shown,
    mut status: ConnectionStatus,
    released: Option<String>,
) -> Result<Duration, CredentialsError> {
    let (reason, message) = match &status.freeze {
        Some(freeze) => (
            ConnectionReason::RemoteDiverged,
            format!(
                "{}; nothing is written until somebody approves: {}={}=same|new",
                freeze.reason,
                names::APPROVE,
                freeze.token
            ),
        ),
        None => handle.remote.condition(),
    };
    status.provider = Some(handle.rules.provider().name().to_owned());
    status.capabilities = Some(crate::api::connection::Capabilities {
        read_values: false,
        drift_signal: format!("{:?}", handle.remote.client().drift_signal()),
    });
    // An approval, another remote: the ledgers are judged by what the status says, so it is written before anything follows.
    let later = match super::connection_status::write(ctx, shown, &mut status, reason, &message).await {
        Written::Done => ctx.settings.safety_net,
        Written::Later(wait) => wait,
        Written::Overtaken => return Ok(Duration::from_millis(200)),
    };
    if let Some(token) = released {
        // Only that one: a list may have frozen the connection anew while the status was written.
        if handle.frozen().is_some_and(|n| n.token == token) {
            watch_remote::excuse(ctx, &handle);
            set_note(&handle.freeze, None);
        }
    }
    let news = before.as_ref().is_none_or(|b| {
        !Arc::ptr_eq(&b.remote, &handle.remote)
            || b.incarnation != handle.incarnation
            || b.generation != handle.generation
            || b.blocked.is_some()
            || b.rules.provider() != handle.rules.provider()
            || handle.adopting.as_ref().map(|a| &a.value) != b.adopting.as_ref().map(|a| &a.value)
    });
    let thawed = shown.status.freeze.is_some() && status.freeze.is_none();
    let frozen = status.freeze.is_some() && shown.status.freeze.is_none();
    let key = handle.key.clone();
    let replaced = before.as_ref().is_some_and(|b| !Arc::ptr_eq(&b.remote, &handle.remote));
    // What a pass has put into the index says more than the ledger alone: it is not put over it without need.
    let is_other = before.is_none_or(|b| b.remote.base != handle.remote.base);
    let news = news || replaced;
    let remote = Arc::clone(&handle.remote);
    if replaced {
        // Its lists so far were judged for the connections that it had then.
        watch_remote::judge_for(ctx, &handle);
    }
    ctx.connections.publish(Arc::clone(&handle));
    if is_other {
        super::index_objects_of(ctx, &key);
    }
    if replaced {
        watch_remote::judge_for(ctx, &handle);
        watch_remote::release_unused(ctx);
    }
    if news || thawed || frozen {
        wake_objects(ctx, &key);
    }
    // The first list is judged by the ledgers, so it is read only now that they are in the index.
    watch_remote::start(ctx, &remote);
    if status.freeze.is_none() && remote.condition().0 != reason {
        return Ok(Duration::ZERO);
    }
    Ok(jittered(later))
}
