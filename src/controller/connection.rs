//! Reconciles connections: reads spec and credentials, publishes what VaultSecrets use, and keeps the status.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::approval::{adopting, approve, follow_identity, set_note};
use super::backoff::{TRANSIENT, jittered};
use super::connection_status::Written;
use super::connections::{Blocked, ConnectionHandle, FreezeNote};
use super::context::Context;
use super::credentials::{self, CredentialsError, Material};
use super::keys::{ConnectionKey, Waker};
use super::prober::RemoteHandle;
use super::refs::{Known, Ref};
use super::shown::Shown;
use super::watch_remote;
use super::worker::NEVER;
use crate::api::connection::ConnectionStatus;
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ConnectionReason, names};
use crate::remote::lane::{Lane, LaneLimits};
use crate::remote::spec::Rules;
use crate::remote::{self, spec};

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
        Ok(Some(wait)) => {
            ctx.connections.went_well(key);
            ("ok", wait)
        }
        Ok(None) => {
            // Decided again on the connection as it is now, which the watch may not show for long.
            if let Some(read) = Shown::read(ctx, key).await {
                ctx.connections.know(read);
            }
            ("waiting", ctx.clock.until(ctx.connections.overtaken(key, ctx.clock.now())))
        }
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
    ctx.connections.retire(key);
    wake_objects(ctx, key);
    watch_remote::release_unused(ctx);
}

/// Wakes every VaultSecret that names the connection or has rows of it.
pub fn wake_objects(ctx: &Context, key: &ConnectionKey) {
    for object in super::objects_of(ctx, key).into_iter().chain(super::readable::readers_of(ctx, key)) {
        ctx.wake.object(object);
    }
}

/// Returns when to look again; `None` when the connection is not as it was any more.
async fn run(ctx: &Arc<Context>, shown: Shown) -> Result<Option<Duration>, CredentialsError> {
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
) -> Result<Option<Duration>, CredentialsError> {
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
        credential: credentials::whereabouts(&shown.spec, shown.credentials_namespace(ctx)).into(),
        host: credentials::host(&shown.spec).into(),
        made_from,
        key: key.clone(),
    });
    ctx.metrics.connection(&handle.metric_name());
    publish(ctx, handle, before, &shown, status, released).await
}

/// The connection cannot be used. What was had before is kept for entries that leave.
async fn blocked(
    ctx: &Arc<Context>,
    shown: &Shown,
    before: Option<Arc<ConnectionHandle>>,
    reason: ConnectionReason,
    message: String,
) -> Option<Duration> {
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
            credential: Arc::clone(&before.credential),
            host: Arc::clone(&before.host),
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
    let written = super::connection_status::write(ctx, shown, &mut status, reason, &message).await;
    (written != Written::Overtaken).then(|| jittered(Duration::from_secs(60)))
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

/// Whether values have been read with this credential; what an earlier process saw of the same remote holds until it is tried.
fn reads_values(shown: &Shown, remote: &RemoteHandle) -> bool {
    let before = shown.status.capabilities.as_ref().is_some_and(|known| known.read_values);
    let same = shown.status.remote.as_deref() == Some(&*remote.base);
    remote.reads_values().unwrap_or(before && same)
}

async fn publish(
    ctx: &Arc<Context>,
    handle: Arc<ConnectionHandle>,
    before: Option<Arc<ConnectionHandle>>,
    shown: &Shown,
    mut status: ConnectionStatus,
    released: Option<String>,
) -> Result<Option<Duration>, CredentialsError> {
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
        None => handle.condition(),
    };
    status.provider = Some(handle.rules.provider().name().to_owned());
    status.capabilities = Some(crate::api::connection::Capabilities {
        read_values: reads_values(shown, &handle.remote),
        drift_signal: format!("{:?}", handle.remote.client().drift_signal()),
    });
    // An approval, another remote: the ledgers are judged by what the status says, so it is written before anything follows.
    let later = match super::connection_status::write(ctx, shown, &mut status, reason, &message).await {
        Written::Done => ctx.settings.safety_net,
        Written::Later(wait) => wait,
        Written::Overtaken => return Ok(None),
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
        return Ok(Some(Duration::ZERO));
    }
    Ok(Some(jittered(later)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;
    use crate::controller::backoff::OVERTAKEN;
    use crate::controller::fixture::Fixture;

    fn connection(generation: i64) -> serde_json::Value {
        json!({
            "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection",
            "metadata": {"name": "mixpeek", "namespace": "shop", "uid": "u1", "generation": generation, "resourceVersion": "0"},
            "spec": {"mixpeek": {"auth": {"apiKeyRef": {"name": "credentials", "key": "api-key"}}}},
        })
    }

    /// The watch lags: the connection is read, and written once more, and its own writes are known without the watch.
    #[tokio::test]
    async fn an_overtaken_connection_is_read_once() {
        let fixture = Fixture::start().await;
        let key = fixture.show_connection(connection(1));
        fixture.api.put("vaultconnections", connection(1));
        assert!(reconcile(&fixture.ctx, &key).await < Duration::from_secs(1));
        let asked = |what: &str| fixture.api.requests().iter().filter(|r| *r == what).count();
        assert_eq!((asked("PATCH mixpeek"), asked("GET mixpeek")), (1, 1));
        assert!(reconcile(&fixture.ctx, &key).await > Duration::from_secs(10), "it rests");
        assert_eq!((asked("PATCH mixpeek"), asked("GET mixpeek")), (2, 1));
        let stored = fixture.api.get("vaultconnections", "shop", "mixpeek").unwrap();
        assert_eq!(stored["status"]["conditions"][0]["reason"], "CredentialsMissing");
        reconcile(&fixture.ctx, &key).await;
        assert_eq!(
            (asked("PATCH mixpeek"), asked("GET mixpeek")),
            (2, 1),
            "our own write is known before the watch shows it"
        );
    }

    /// An edit that the watch has not shown cannot be decided on: it is waited for, ever longer.
    #[tokio::test]
    async fn a_connection_that_stays_overtaken_waits_ever_longer() {
        let fixture = Fixture::start().await;
        let key = fixture.show_connection(connection(1));
        fixture.api.put("vaultconnections", connection(2));
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(reconcile(&fixture.ctx, &key).await);
            tokio::time::pause();
            tokio::time::advance(*waits.last().unwrap()).await;
            tokio::time::resume();
        }
        assert!(waits[0] < Duration::from_millis(100) && waits[11] > OVERTAKEN.longest / 2, "{waits:?}");
    }
}
