//! Wiring only: client, key ring, watches, workers, server; one token ends them all.

mod gates;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::Resource;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::api::vault_secret::ConnectionKind;
use crate::api::{VaultSecret, names};
use crate::cli::run::RunArgs;
use crate::clock::Clock;
use crate::controller::changes::Changes;
use crate::controller::context::{Context, Settings};
use crate::controller::definitions::Definitions;
use crate::controller::events::Events;
use crate::controller::guard::Guarded;
use crate::controller::keys::Wake;
use crate::controller::store::{Change, Store, watch};
use crate::controller::{connection, reconcile, scrape, sealing, watch_metadata, worker};
use crate::keyring;
use crate::leader::{Candidate, Leadership};
use crate::metrics::Metrics;
use crate::server::{Readiness, Server};
use crate::traces;
use gates::Gates;

/// How long what is in flight may take when the process ends: a request's longest timeout and the writing of its outcome.
const END_LIMIT: Duration = Duration::from_secs(25);

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start: no cluster, no key ring, an address that is taken.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let end = CancellationToken::new();
    let metrics = Metrics::new();
    let readiness = Readiness::new();
    let gates = Gates::new(&readiness);
    let server = Server::bind(args.listen).await?;
    tracing::info!(address = %server.address(), "listening");
    let server = tokio::spawn(server.serve(readiness, Arc::clone(&metrics), end.clone()));
    let signals = tokio::spawn(end_on_signal(end.clone()));
    let result = operate(args, metrics, gates, end.clone()).await;
    end.cancel();
    signals.abort();
    server.await.context("the server's task failed")?;
    result
}

async fn end_on_signal(end: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be received");
        return;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    tracing::info!("ending: what is in flight is finished first");
    end.cancel();
}

/// A client whose retries are short and seen: kube's own default waits silently for minutes.
pub(crate) async fn client() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer()
        .await
        .context("no cluster: KUBECONFIG names no usable file, and this is no pod with a service account")?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).context("the client of the API server could not be built")
}

async fn operate(args: RunArgs, metrics: Arc<Metrics>, gates: Gates, end: CancellationToken) -> anyhow::Result<()> {
    let client = client().await?;
    if !args.leader_elect {
        metrics.leads(true);
        return lead(args, metrics, gates, end, client, Leadership::alone()).await;
    }
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| names::OPERATOR.to_owned());
    let candidate = Candidate::new(client.clone(), &args.operator_namespace, &host, args.lease_duration);
    let Some((leadership, lease)) = campaign(&candidate, &args.operator_namespace, &gates, &metrics, &end).await?
    else {
        return Ok(());
    };
    metrics.leads(true);
    // Renewed until the work is done and not only until its end is asked for: what is in flight is still ours.
    let done = CancellationToken::new();
    let keeping = leadership.clone();
    let keeper = tokio::spawn({
        let done = done.clone();
        async move { candidate.keep(&keeping, lease, &done).await }
    });
    let result = tokio::select! {
        result = lead(args, metrics, gates, end, client, leadership.clone()) => result,
        // Another may write from now on: what is under way is dropped, not finished.
        () = leadership.lost() => return Err(anyhow::anyhow!("the lease was lost: another replica may lead now")),
    };
    done.cancel();
    let _ = keeper.await;
    result
}

/// Waits until this replica leads; `None` when the process is to end meanwhile.
async fn campaign(
    candidate: &Candidate,
    namespace: &str,
    gates: &Gates,
    metrics: &Metrics,
    end: &CancellationToken,
) -> anyhow::Result<Option<(Leadership, Lease)>> {
    metrics.leads(false);
    let mut told = String::new();
    let won = candidate.campaign(end, |state| match state {
        Ok(leader) => {
            if told != leader {
                tracing::info!(me = candidate.name(), leader, "standing by");
                leader.clone_into(&mut told);
            }
            gates.readiness.stand_by(Some(leader));
        }
        Err(error) => {
            tracing::warn!(%error, "the lease is not known; it is tried again");
            gates.readiness.stand_by(None);
            gates.api_server.fail(error.to_string());
        }
    });
    match won.await {
        Ok(won) => {
            if won.is_some() {
                tracing::info!(me = candidate.name(), "leading");
                gates.readiness.stand_by(None);
            }
            Ok(won)
        }
        Err(error) if error.kind == crate::kube_error::ApiErrorKind::NotFound => Err(anyhow::anyhow!(
            "the operator's namespace {namespace} does not exist; create it, or set --operator-namespace"
        )),
        Err(error) => Err(anyhow::Error::new(error).context(format!(
            "leader election needs get, create and update on leases.coordination.k8s.io in namespace {namespace}; allow it, or run \
             one replica with --leader-elect=false"
        ))),
    }
}

/// Does the work of the replica that leads.
async fn lead(
    args: RunArgs,
    metrics: Arc<Metrics>,
    gates: Gates,
    end: CancellationToken,
    client: Client,
    leadership: Leadership,
) -> anyhow::Result<()> {
    let Some(keys) = start_up(&client, &args.operator_namespace, &gates, &end).await? else { return Ok(()) };
    let (objects, woken_objects) = mpsc::unbounded_channel();
    let (connections, woken_connections) = mpsc::unbounded_channel();
    let settings = Settings {
        operator_namespace: args.operator_namespace,
        namespaces: args.namespaces,
        finalizer_deadline: args.finalizer_deadline,
        max_retry_after: args.max_retry_after,
        workers: args.workers,
        safety_net: args.safety_net,
        vault_token_file: args.vault_token_file,
    };
    let ctx = Arc::new(Context {
        events: Events::new(client.clone(), names::OPERATOR, std::env::var("HOSTNAME").ok()),
        client,
        clock: Clock::start(),
        leadership,
        keys,
        vault_secrets: Arc::default(),
        vault_connections: Arc::default(),
        cluster_connections: Arc::default(),
        namespaces: crate::controller::namespaces::Namespaces::default(),
        objects: crate::controller::object::Objects::default(),
        entries: crate::controller::entries::Entries::default(),
        refs: crate::controller::refs::Refs::default(),
        selected: crate::controller::selected::Selected::default(),
        sealing: crate::controller::sealing::Sealing::default(),
        connections: crate::controller::connections::Connections::default(),
        remotes: Mutex::new(HashMap::new()),
        restarts: crate::controller::restart::RestartBudget::new(args.rollout_restarts_per_minute),
        wake: Wake { objects, connections },
        metrics: Arc::clone(&metrics),
        workers: Semaphore::new(settings.workers),
        wiring: tokio::sync::RwLock::new(()),
        settings,
    });
    let seen = Arc::downgrade(&ctx);
    metrics.on_scrape(move || seen.upgrade().map(|ctx| scrape::look(&ctx)).unwrap_or_default());
    if !watch_all(&ctx, &gates, &end).await {
        return Ok(());
    }
    crate::controller::index_all(&ctx);
    let (on_objects, on_connections) = (Arc::clone(&ctx), Arc::clone(&ctx));
    let objects = worker::run(
        woken_objects,
        move |key| {
            let ctx = Arc::clone(&on_objects);
            async move {
                match ctx.vault_secrets.get(&key) {
                    Some(shown) => {
                        let work = Box::pin(reconcile::reconcile(&ctx, &key, shown));
                        traces::reconcile("VaultSecret", &key.namespace, &key.name, work).await
                    }
                    None => worker::NEVER,
                }
            }
        },
        end.clone(),
    );
    let connections = worker::run(
        woken_connections,
        move |key| {
            let ctx = Arc::clone(&on_connections);
            async move {
                let work = connection::reconcile(&ctx, &key);
                traces::reconcile(key.kind.as_str(), &key.object.namespace, &key.object.name, work).await
            }
        },
        end.clone(),
    );
    tracing::info!("running");
    let work = async { tokio::join!(objects, connections) };
    tokio::pin!(work);
    tokio::select! {
        _ = &mut work => {}
        () = async { end.cancelled().await; tokio::time::sleep(END_LIMIT).await } => {
            tracing::warn!("some work did not end in time; what it left open is taken up at the next start");
        }
    }
    ctx.events.flush(Duration::from_secs(2)).await;
    Ok(())
}

/// Reaches the API server and loads the key ring, however long that takes; `None` when the process is to end meanwhile.
async fn start_up(
    client: &Client,
    namespace: &str,
    gates: &Gates,
    end: &CancellationToken,
) -> anyhow::Result<Option<crate::sync::fingerprint::KeyRing>> {
    let mut wait = Duration::from_millis(200);
    loop {
        let result = tokio::select! {
            result = keyring::load(client.clone(), namespace) => result,
            () = end.cancelled() => return Ok(None),
        };
        let error = match result {
            Ok(keys) => {
                gates.api_server.pass();
                gates.key_ring.pass();
                return Ok(Some(keys));
            }
            Err(error) => error,
        };
        // What a person has to mend ends the process, with one sentence; what passes by itself is waited for.
        let passing = error
            .downcast_ref::<crate::kube_error::ApiError>()
            .is_some_and(|e| e.kind == crate::kube_error::ApiErrorKind::Unknown);
        if !passing {
            return Err(error);
        }
        gates.api_server.fail(error.to_string());
        tracing::warn!(%error, "the API server is not reached; it is tried again");
        tokio::select! { () = tokio::time::sleep(wait) => {}, () = end.cancelled() => return Ok(None) }
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

/// Starts all watches, our own kinds first: what they refer to has to be known before the references are listed. Returns
/// whether everything was listed before the end.
async fn watch_all(ctx: &Arc<Context>, gates: &Gates, end: &CancellationToken) -> bool {
    let changes = Changes::new(Arc::clone(ctx));
    let definitions = Arc::new(Definitions::new(gates.definitions.clone()));
    let on_objects = Arc::clone(&changes);
    let on = move |change: Change<VaultSecret>| on_objects.object(change);
    let objects = spawn_watches(ctx, &ctx.vault_secrets, on, &definitions, end);
    if !all_listed(objects, end).await {
        return false;
    }
    gates.vault_secrets.pass();
    let on_connections = Arc::clone(&changes);
    let connections = spawn_watches(
        ctx,
        &ctx.vault_connections,
        move |change| on_connections.connection(ConnectionKind::VaultConnection, change, |c| c.spec.connection.clone()),
        &definitions,
        end,
    );
    if !all_listed(connections, end).await {
        return false;
    }
    if ctx.settings.is_cluster_wide() {
        let (listed, cluster) = mpsc::unbounded_channel();
        let on_cluster = Arc::clone(&changes);
        tokio::spawn(watch(
            Api::all(ctx.client.clone()),
            None,
            Arc::clone(&ctx.cluster_connections),
            move |change| {
                on_cluster.connection(
                    ConnectionKind::ClusterVaultConnection,
                    change,
                    |c: &crate::api::ClusterVaultConnection| c.spec.connection.clone(),
                );
            },
            listed,
            Arc::clone(&definitions),
            end.clone(),
        ));
        if !all_listed((cluster, 1), end).await {
            return false;
        }
    }
    definitions.all_listed();
    gates.connections.pass();
    let (listed, references) = mpsc::unbounded_channel();
    let mut count = watch_metadata::spawn_refs(ctx, &listed, end) + 1;
    tokio::spawn(sealing::watch(Arc::clone(ctx), listed.clone(), end.clone()));
    if ctx.settings.is_cluster_wide() {
        tokio::spawn(watch_metadata::watch_namespaces(Arc::clone(ctx), listed, end.clone()));
        count += 1;
    }
    if !all_listed((references, count), end).await {
        return false;
    }
    gates.references.pass();
    true
}

/// Watches a kind in every namespace of the operator's.
fn spawn_watches<K>(
    ctx: &Arc<Context>,
    store: &Arc<Store<K>>,
    on: impl Fn(Change<K>) + Clone + Send + Sync + 'static,
    definitions: &Arc<Definitions>,
    end: &CancellationToken,
) -> (mpsc::UnboundedReceiver<()>, usize)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (listed, receiver) = mpsc::unbounded_channel();
    let places: Vec<Option<String>> = if ctx.settings.is_cluster_wide() {
        vec![None]
    } else {
        ctx.settings.namespaces.iter().cloned().map(Some).collect()
    };
    let count = places.len();
    for place in places {
        let api: Api<Guarded<K>> = match &place {
            Some(namespace) => Api::namespaced(ctx.client.clone(), namespace),
            None => Api::all(ctx.client.clone()),
        };
        let (definitions, listed) = (Arc::clone(definitions), listed.clone());
        tokio::spawn(watch(api, place, Arc::clone(store), on.clone(), listed, definitions, end.clone()));
    }
    (receiver, count)
}

/// Waits for so many first lists. A relist of one does not count for another.
async fn all_listed((mut listed, count): (mpsc::UnboundedReceiver<()>, usize), end: &CancellationToken) -> bool {
    for _ in 0..count {
        tokio::select! {
            one = listed.recv() => if one.is_none() { return false },
            () = end.cancelled() => return false,
        }
    }
    true // Later lists of the same watches are sent to nobody.
}
