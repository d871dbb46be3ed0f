//! What the tools that deploy manifests conclude from an object. Their rules are written down here, so that a change of ours that
//! misleads them is seen.

use super::Object;

/// What kstatus (Flux, `kubectl apply --prune`, kpt) concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kstatus {
    /// Something is still to be done.
    InProgress,
    /// It is as the spec wants it.
    Current,
    /// It will not come by itself.
    Failed,
    /// It is being deleted.
    Terminating,
}

/// What Argo CD concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgoHealth {
    /// All is well.
    Healthy,
    /// Something is wrong.
    Degraded,
    /// It is not known yet.
    Progressing,
}

/// The generic rules of kstatus, in their order; for kinds that it does not know there are no others.
pub fn kstatus(object: &Object) -> Kstatus {
    if !object.text("/metadata/deletionTimestamp").is_empty() {
        return Kstatus::Terminating;
    }
    // An object whose status has no such field passes this rule.
    let observed = object.0.pointer("/status/observedGeneration");
    if observed.is_some_and(|observed| observed != object.at("/metadata/generation")) {
        return Kstatus::InProgress;
    }
    // Whichever of the two comes first in the list.
    for condition in object.at("/status/conditions").as_array().into_iter().flatten() {
        if condition["type"] == "Reconciling" && condition["status"] == "True" {
            return Kstatus::InProgress;
        }
        if condition["type"] == "Stalled" && condition["status"] == "True" {
            return Kstatus::Failed;
        }
    }
    // What neither rule decides is decided by a condition Ready, where there is one.
    let ready = object.at("/status/conditions").as_array().into_iter().flatten().find(|c| c["type"] == "Ready");
    match ready {
        Some(ready) if ready["status"] != "True" => Kstatus::InProgress,
        _ => Kstatus::Current,
    }
}

/// The rule that Argo CD's health checks for secret operators follow: the condition Ready alone.
pub fn argo_health(object: &Object) -> ArgoHealth {
    match &*object.ready().status {
        "True" => ArgoHealth::Healthy,
        "False" => ArgoHealth::Degraded,
        _ => ArgoHealth::Progressing,
    }
}
