//! The operator as it is installed: its Deployment, its Pods, and who leads.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::Api;
use kube::{Client, ResourceExt as _};

use super::access::Account;
use super::model::{Area, Finding, count_of, some_of};
use super::rights::Mode;
use super::seen::{Seen, get, list};
use super::setup::Setup;
use crate::api::names;
use crate::cli::VERSION;
use crate::leader::LEASE;

/// Labels that the chart and `deploy/` give to it.
pub const LABELS: &str = "app.kubernetes.io/name=vaultsecret-operator";

/// What installs it.
pub const INSTALL: &str =
    "helm upgrade --install vaultsecret-operator charts/vaultsecret-operator (or kubectl apply -k deploy/cluster)";

/// An end that was so long ago is history.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

/// What there is of it.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its namespace.
    pub namespace: Seen<Namespace>,
    /// Its Deployments there.
    pub deployments: Seen<Vec<Deployment>>,
    /// Those of all namespaces.
    pub anywhere: Seen<Vec<Deployment>>,
    /// Its Pods.
    pub pods: Seen<Vec<Pod>>,
    /// Who leads.
    pub lease: Seen<Lease>,
}

/// Looks for it.
pub async fn look(client: &Client, namespace: &str) -> Installed {
    Installed {
        namespace: get("reading the operator's namespace", &Api::all(client.clone()), namespace).await,
        deployments: list("listing Deployments", &Api::namespaced(client.clone(), namespace), LABELS).await,
        anywhere: list("listing Deployments", &Api::all(client.clone()), LABELS).await,
        pods: list("listing Pods", &Api::namespaced(client.clone(), namespace), LABELS).await,
        lease: get("reading the Lease", &Api::namespaced(client.clone(), namespace), LEASE).await,
    }
}

/// Judges it.
#[must_use]
pub fn judge(installed: &Installed, setup: &Setup, now: Timestamp) -> Vec<Finding> {
    let namespace = &setup.account.namespace;
    if installed.namespace == Seen::Absent {
        let text = "this namespace does not exist";
        return vec![Finding::failed(Area::Operator, namespace, text).mend(elsewhere(installed, namespace))];
    }
    let mut found = deployments(installed, namespace);
    found.extend(pods(installed, namespace, now));
    found.push(lease(installed, setup, now));
    found.extend(rivals(installed, setup));
    found
}

/// Where it is, if it is not where it was looked for.
fn elsewhere(installed: &Installed, namespace: &str) -> String {
    let all = installed.anywhere.here().into_iter().flatten().filter_map(|d| d.namespace());
    let others: BTreeSet<String> = all.filter(|other| other != namespace).collect();
    match others.first() {
        Some(other) => format!("there is an operator in namespace {other}: --operator-namespace={other}"),
        None => format!("{INSTALL} --namespace {namespace}"),
    }
}

fn deployments(installed: &Installed, namespace: &str) -> Vec<Finding> {
    let all = match &installed.deployments {
        Seen::Here(all) => all,
        unseen => {
            let why = unseen.unseen(&format!("list Deployments in namespace {namespace}")).unwrap_or_default();
            return vec![Finding::skipped(Area::Operator, "Deployment", why)];
        }
    };
    if all.is_empty() {
        let text = format!("there is no operator in namespace {namespace}: no Deployment has the label {LABELS}");
        return vec![Finding::failed(Area::Operator, "Deployment", text).mend(elsewhere(installed, namespace))];
    }
    all.iter().map(|one| deployment(one, namespace)).collect()
}

fn deployment(one: &Deployment, namespace: &str) -> Finding {
    let name = one.name_any();
    let subject = format!("Deployment {name}");
    let wanted = one.spec.replicas.unwrap_or(1);
    let status = one.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let pod = one.spec.template.spec.as_ref();
    let image = pod.and_then(super::setup::operators).and_then(|c| c.image.clone()).unwrap_or_default();
    let text = format!("{ready} of {} ready, image {image}", count_of(usize::try_from(wanted).unwrap_or(0), "replica"));
    let look = format!("kubectl describe deployment {name} -n {namespace}");
    if wanted == 0 {
        let scale = format!("kubectl scale deployment {name} -n {namespace} --replicas=2");
        return Finding::failed(Area::Operator, subject, "is scaled to no replicas").mend(scale);
    }
    let conditions = status.conditions.iter().flatten();
    let why = conditions
        .filter(|c| {
            let says = (c.type_.as_deref(), c.status.as_deref());
            matches!(says, (Some("ReplicaFailure"), Some("True")) | (Some("Progressing"), Some("False")))
        })
        .filter_map(|c| c.message.clone())
        .next();
    let text = why.map_or_else(|| text.clone(), |why| format!("{text}: {why}"));
    if ready == 0 {
        return Finding::failed(Area::Operator, subject, text).mend(look);
    }
    if ready < wanted {
        return Finding::warning(Area::Operator, subject, text).mend(look);
    }
    if let Some(other) = tag(&image).filter(|tag| *tag != VERSION) {
        let text = format!("{text}; this program is {VERSION}, and may judge it by what it does not know");
        return Finding::warning(Area::Operator, subject, text)
            .mend(format!("run doctor with a vaultsecret of version {other}"));
    }
    Finding::passed(Area::Operator, subject, text)
}

/// The tag of an image, where it is a version.
fn tag(image: &str) -> Option<&str> {
    let (_, tag) = image.split('@').next()?.rsplit_once(':')?;
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    (tag.starts_with(|c: char| c.is_ascii_digit()) && tag.matches('.').count() == 2).then_some(tag)
}

fn pods(installed: &Installed, namespace: &str, now: Timestamp) -> Vec<Finding> {
    let pods = match &installed.pods {
        Seen::Here(pods) => pods,
        unseen => {
            let why = unseen.unseen(&format!("list Pods in namespace {namespace}")).unwrap_or_default();
            return vec![Finding::skipped(Area::Operator, "Pods", why)];
        }
    };
    pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).map(|one| pod(one, namespace, now)).collect()
}

fn pod(pod: &Pod, namespace: &str, now: Timestamp) -> Finding {
    let (name, status) = (pod.name_any(), pod.status.clone().unwrap_or_default());
    let subject = format!("Pod {name}");
    let failed = |text: String| Finding::failed(Area::Operator, &subject, text);
    let containers = status.container_statuses.unwrap_or_default();
    let restarts: i32 = containers.iter().map(|c| c.restart_count).sum();
    let ended = containers.iter().filter_map(|c| c.last_state.as_ref()?.terminated.as_ref()).next();
    let how = ended.map(|end| {
        let word = end.reason.clone().unwrap_or_else(|| "it ended".to_owned());
        format!(", last {word} with exit code {}", end.exit_code)
    });
    let restarted =
        format!("{}{}", count_of(usize::try_from(restarts).unwrap_or(0), "restart"), how.unwrap_or_default());
    let waiting = containers.iter().filter_map(|c| c.state.as_ref()?.waiting.as_ref()).find_map(|w| w.reason.clone());
    let logs = format!("kubectl logs {name} -n {namespace}");
    match waiting.as_deref() {
        Some("ContainerCreating" | "PodInitializing") | None => {}
        Some("CrashLoopBackOff") => {
            return failed(format!("ends again and again: {restarted}")).mend(format!("{logs} --previous"));
        }
        Some(reason) => return failed(reason.to_owned()).mend(format!("kubectl describe pod {name} -n {namespace}")),
    }
    let conditions = status.conditions.unwrap_or_default();
    let condition = |kind: &str| conditions.iter().find(|c| c.type_ == kind);
    if condition("Ready").is_none_or(|c| c.status != "True") {
        let phase = status.phase.unwrap_or_else(|| "Unknown".to_owned());
        let scheduled = condition("PodScheduled").filter(|c| c.status != "True").and_then(|c| c.message.clone());
        let text =
            scheduled.map_or_else(|| format!("{phase}, not ready"), |why| format!("{phase}, not scheduled: {why}"));
        return failed(text).mend(format!("kubectl describe pod {name} -n {namespace}; {logs}"));
    }
    let recently = ended.and_then(|end| end.finished_at.as_ref()).is_some_and(|at| now.duration_since(at.0) < RECENT);
    if recently {
        return Finding::warning(Area::Operator, subject, format!("ready, with {restarted} within the last hour"))
            .mend(format!("{logs} --previous"));
    }
    Finding::passed(Area::Operator, subject, format!("ready, {restarted}"))
}

fn lease(installed: &Installed, setup: &Setup, now: Timestamp) -> Finding {
    let namespace = &setup.account.namespace;
    let subject = format!("Lease {LEASE}");
    if !setup.leader_elect {
        return Finding::passed(Area::Operator, subject, "is not used: --leader-elect=false");
    }
    let failed = |text: String| {
        Finding::failed(Area::Operator, &subject, text)
            .mend(format!("kubectl logs deployment/{} -n {namespace}", setup.deployment))
    };
    let lease = match &installed.lease {
        Seen::Here(lease) => lease,
        Seen::Absent => return failed("nobody has ever led: no replica has got as far as that".to_owned()),
        unseen => {
            let why = unseen.unseen(&format!("read Lease {namespace}/{LEASE}")).unwrap_or_default();
            return Finding::skipped(Area::Operator, subject, why);
        }
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let Some(holder) = spec.holder_identity.filter(|holder| !holder.is_empty()) else {
        return failed("nobody leads: the last leader released it, and no other took it".to_owned());
    };
    let lasts = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds.unwrap_or(30)));
    let age = spec.renew_time.map_or(SignedDuration::MAX, |at| now.duration_since(at.0));
    if age > lasts {
        let age = if age == SignedDuration::MAX { "never".to_owned() } else { format!("{} ago", spoken(age)) };
        return failed(format!("nobody leads: {holder} renewed it {age}, and it holds for {}", spoken(lasts)));
    }
    let text = format!("{holder} leads, renewed {} ago", spoken(age.max(SignedDuration::ZERO)));
    // The name begins with that of the Pod.
    let pods: Vec<String> = installed.pods.here().into_iter().flatten().map(kube::ResourceExt::name_any).collect();
    if !pods.is_empty() && !pods.iter().any(|pod| holder.starts_with(&format!("{pod}_"))) {
        let text = format!("{text}, which is none of the Pods {}", some_of(&pods, 3));
        return Finding::warning(Area::Operator, subject, text)
            .mend("find the process that runs outside the cluster, or wait until its lease has ended");
    }
    Finding::passed(Area::Operator, subject, text)
}

/// Other operators that would write the same.
fn rivals(installed: &Installed, setup: &Setup) -> Vec<Finding> {
    let namespace = &setup.account.namespace;
    let own: Vec<String> =
        installed.deployments.here().into_iter().flatten().map(kube::ResourceExt::name_any).collect();
    let mut found = Vec::new();
    if own.len() > 1 && !setup.leader_elect {
        let text = format!("{} run without election, and all of them write", some_of(&own, 4));
        found.push(
            Finding::failed(Area::Operator, "rivals", text)
                .mend("leave one of them, or set --leader-elect=true on all"),
        );
    }
    for other in installed.anywhere.here().into_iter().flatten() {
        let theirs = Setup::of(Some(other), &other.namespace().unwrap_or_default(), None, None);
        if theirs.account.namespace == *namespace {
            continue;
        }
        let Some(both) = overlap(&setup.mode, &theirs.mode) else { continue };
        let text =
            format!("Deployment {}/{} works in {both} too, and both write", theirs.account.namespace, other.name_any());
        let mend =
            format!("delete one of them, or give them different --namespaces: kubectl get deployments -A -l {LABELS}");
        found.push(Finding::failed(Area::Operator, "rivals", text).mend(mend));
    }
    found
}

/// Where two operators both work.
fn overlap(ours: &Mode, theirs: &Mode) -> Option<String> {
    match (ours, theirs) {
        (Mode::Cluster, Mode::Cluster) => Some("all namespaces".to_owned()),
        (Mode::Cluster, Mode::Namespaced(some)) | (Mode::Namespaced(some), Mode::Cluster) => Some(some_of(some, 3)),
        (Mode::Namespaced(ours), Mode::Namespaced(theirs)) => {
            let both: Vec<&String> = ours.iter().filter(|name| theirs.contains(name)).collect();
            (!both.is_empty()).then(|| some_of(&both, 3))
        }
    }
}

/// A time span as a person says it.
#[must_use]
pub fn spoken(span: SignedDuration) -> String {
    match span.as_secs() {
        secs if secs < 120 => format!("{secs}s"),
        secs if secs < 7200 => format!("{}m", secs / 60),
        secs if secs < 172_800 => format!("{}h", secs / 3600),
        secs => format!("{}d", secs / 86_400),
    }
}

/// The account by which the operator is taken when nothing tells.
#[must_use]
pub fn usual_account(namespace: &str) -> Account {
    Account { namespace: namespace.to_owned(), name: names::OPERATOR.to_owned() }
}

#[cfg(test)]
mod tests;
