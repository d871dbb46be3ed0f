//! What to do next, for every reason that there is: the matches are exhaustive. Pure.

use crate::api::condition::{self, types};
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ConnectionReason, Reason};
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::Shown;

/// Whose remedy it is.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    /// Namespace of the VaultSecret.
    pub(super) namespace: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// Its connection, where it may be looked at.
    pub(super) connection: Option<&'a Shown>,
}

/// What to do about a VaultSecret.
pub(super) fn of_object(reason: Reason, about: &About<'_>) -> String {
    let About { namespace, name, connection } = about;
    match reason {
        Reason::Synced => String::new(),
        Reason::Queued => {
            "wait: its turn comes by itself; raise the connection's limits if the remote allows more".into()
        }
        Reason::Pushing => "wait: a write is under way".into(),
        Reason::Confirming => {
            "wait about a minute (limits.settle): an earlier write may still land, and is watched until then".into()
        }
        Reason::SourceMissing => {
            "make the Secret or ConfigMap that the message names, or mend the reference to it; it goes \
                                  on by itself"
                .into()
        }
        Reason::ValueRefused => {
            "mend the value as the message says; for bytes set encoding: Base64; a sealed value is sealed again".into()
        }
        Reason::NameRefused => "set remoteName to what the message suggests".into(),
        Reason::ConnectionMissing => {
            "make the connection, or mend spec.connectionRef: without kind it is a VaultConnection \
                                      of the same namespace"
                .into()
        }
        Reason::ConnectionNotReady | Reason::RemoteDiverged => of_its_connection(reason, *connection),
        Reason::NotAllowed => {
            format!("have namespace {namespace} added to allowedNamespaces of the ClusterVaultConnection")
        }
        Reason::RemoteEntryExists => format!(
            "if what is there may be overwritten: kubectl vaultsecret adopt {name} -n {namespace}; else set another remoteName"
        ),
        Reason::OwnedByAnother => "remove the entry from one of the two VaultSecrets, or set another remoteName".into(),
        Reason::RemoteDrifted | Reason::RemoteMissing => format!(
            "find out who did it; then set driftPolicy: Reassert, or once: kubectl annotate vsec {name} -n {namespace} \
             --overwrite vaultsecret.dev/force-push=\"$(date)\""
        ),
        Reason::RemoteError => {
            "403: the credential's permissions; 400, 422: the name or the value; 426: the plan; 5xx: wait, \
                                it is tried again by itself"
                .into()
        }
        Reason::UpdateUnsupported => "upgrade the remote, or delete the entry there: it is then made anew".into(),
        Reason::TargetConflict => {
            "set another target.name; a Secret that nothing needs may be deleted; creationPolicy: Merge writes into one"
                .into()
        }
        Reason::TargetMissing => "make the Secret to merge into, or set another creationPolicy".into(),
        Reason::TemplateError => "mend the template: the message has the key and the line".into(),
        Reason::Suspended => "unset spec.suspend to go on".into(),
        Reason::Deleting => "wait: its entries are deleted first; after 15 minutes in vain it goes all the same".into(),
    }
}

fn of_its_connection(reason: Reason, connection: Option<&Shown>) -> String {
    let Some(shown) = connection else {
        return match reason {
            Reason::RemoteDiverged => {
                "have somebody who may look at the connection make sure where it leads, and approve it: kubectl vaultsecret \
                 approve"
            }
            _ => "have somebody who may look at the connection see what is wrong with it",
        }
        .to_owned();
    };
    let word = condition::find(&shown.status.conditions, types::READY).map(|c| c.reason.as_str());
    let found = ConnectionReason::ALL.iter().copied().find(|reason| Some(reason.as_str()) == word);
    of_connection(found.unwrap_or(ConnectionReason::Connecting), &shown.key)
}

/// What to do about a connection.
pub(super) fn of_connection(reason: ConnectionReason, key: &ConnectionKey) -> String {
    match reason {
        ConnectionReason::Connected => {
            "wait: the connection works again, and its VaultSecrets go on by themselves".into()
        }
        ConnectionReason::Connecting => "wait: the remote has not answered yet".into(),
        ConnectionReason::CredentialsMissing => {
            "make or mend the Secret or ConfigMap that the connection's message names; it is taken up at once".into()
        }
        ConnectionReason::AuthenticationFailed => {
            "put a valid credential into the Secret that the connection's message names; it is taken up at once".into()
        }
        ConnectionReason::PermissionDenied => "give the credential the right to list entries".into(),
        ConnectionReason::Unreachable => {
            "check the connection's URL, the network and the CA; it is tried again by itself".into()
        }
        ConnectionReason::RateLimited => {
            "wait: the remote asked for it; lower the connection's limits if it happens often".into()
        }
        ConnectionReason::CircuitOpen => {
            "wait: it rests after many failures; the connection's message has the last one".into()
        }
        ConnectionReason::RemoteDiverged => {
            let command = approve_command(key);
            format!("make sure where the connection's credential leads, then: {command} --same (or --new)")
        }
        ConnectionReason::Invalid => "mend the connection's spec as its message says".into(),
    }
}

/// The command that releases a freeze, without the answer.
pub(super) fn approve_command(key: &ConnectionKey) -> String {
    let name = &key.object.name;
    match key.kind {
        ConnectionKind::VaultConnection => format!("kubectl vaultsecret approve {name} -n {}", key.object.namespace),
        ConnectionKind::ClusterVaultConnection => format!("kubectl vaultsecret approve cvconn/{name}"),
    }
}

/// What to do about a VaultSecret that the operator has not looked at.
pub(super) fn unseen(namespace: &str) -> String {
    format!("if it stays so, no operator runs, or it does not watch namespace {namespace} (--namespaces)")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn about<'a>() -> About<'a> {
        About { namespace: "shop", name: "checkout", connection: None }
    }

    #[test]
    fn every_reason_but_synced_says_what_to_do() {
        for reason in Reason::ALL {
            let text = of_object(*reason, &about());
            assert_eq!(text.is_empty(), *reason == Reason::Synced, "{reason:?}: {text}");
            assert!(!text.contains('\n') && !text.ends_with('.'), "{reason:?}: {text}");
        }
        let key = ConnectionKey::new(ConnectionKind::VaultConnection, "shop", "kelvin");
        let all: std::collections::HashSet<String> =
            ConnectionReason::ALL.iter().map(|reason| of_connection(*reason, &key)).collect();
        assert_eq!(all.len(), ConnectionReason::ALL.len(), "no two say the same");
    }

    #[test]
    fn commands_can_be_copied() {
        let text = of_object(Reason::RemoteEntryExists, &about());
        assert!(text.contains("kubectl vaultsecret adopt checkout -n shop;"), "{text}");
        let key = |kind| ConnectionKey::new(kind, "shop", "kelvin");
        let namespaced = approve_command(&key(ConnectionKind::VaultConnection));
        assert_eq!(namespaced, "kubectl vaultsecret approve kelvin -n shop");
        let cluster = approve_command(&key(ConnectionKind::ClusterVaultConnection));
        assert_eq!(cluster, "kubectl vaultsecret approve cvconn/kelvin");
    }
}
