//! Conditions and their reasons: closed lists, documented in the README.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant),+ }
        impl $name {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The CamelCase word that stands in the condition.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }
    };
}

reasons! {
    /// Reasons of a VaultSecret's `Ready` condition.
    Reason {
        /// Every entry is in sync and the Secret is projected.
        Synced,
        /// The turn at the remote has not come yet.
        Queued,
        /// A write is under way or about to be.
        Pushing,
        /// A write's outcome is not known for certain yet.
        Confirming,
        /// A Secret, a ConfigMap or a key in it is missing.
        SourceMissing,
        /// A value is empty, too large or not text.
        ValueRefused,
        /// The provider does not take a name, or two keys become one name.
        NameRefused,
        /// The connection does not exist.
        ConnectionMissing,
        /// The connection exists and is not usable yet.
        ConnectionNotReady,
        /// The cluster connection does not allow this namespace.
        NotAllowed,
        /// An entry of that name exists and is not ours.
        RemoteEntryExists,
        /// Another VaultSecret has the entry.
        OwnedByAnother,
        /// Somebody else changed an entry.
        RemoteDrifted,
        /// Somebody else removed an entry.
        RemoteMissing,
        /// Too much of the remote changed at once: frozen until approved.
        RemoteDiverged,
        /// The remote refused or failed.
        RemoteError,
        /// The remote lists the entry and will not update it.
        UpdateUnsupported,
        /// The target Secret is not ours.
        TargetConflict,
        /// The Secret to merge into does not exist.
        TargetMissing,
        /// A template failed.
        TemplateError,
        /// `spec.suspend` is set.
        Suspended,
        /// The object is going and its entries are being deleted.
        Deleting,
    }
}

reasons! {
    /// Reasons of a connection's `Ready` condition.
    ConnectionReason {
        /// The last probe succeeded.
        Connected,
        /// No probe has been answered yet.
        Connecting,
        /// A Secret or ConfigMap that the connection names is missing or unusable.
        CredentialsMissing,
        /// The remote does not take the credential.
        AuthenticationFailed,
        /// The credential may not list.
        PermissionDenied,
        /// The remote does not answer, or not with a list.
        Unreachable,
        /// The remote asked us to wait.
        RateLimited,
        /// Too many failures in a row: resting.
        CircuitOpen,
        /// Too much changed at once: frozen until approved.
        RemoteDiverged,
        /// The spec cannot be used.
        Invalid,
    }
}

reasons! {
    /// Reasons of a ClusterVaultSecret's `Ready` condition.
    ClusterReason {
        /// Every namespace has what it should.
        Synced,
        /// No namespace is to have it.
        NoNamespaces,
        /// Some namespaces do not have it yet, and are about to.
        Progressing,
        /// Some namespaces cannot have it as things are.
        NamespacesNotReady,
        /// The one VaultSecret of all namespaces is not Ready.
        SharedNotReady,
        /// The connection does not exist, so whether it tells namespaces apart is not known.
        ConnectionMissing,
        /// The connection's prefix gives all namespaces the same entries.
        NamesCollide,
        /// The spec cannot be used.
        Invalid,
    }
}

reasons! {
    /// Reasons in a namespace of a ClusterVaultSecret, beside those of the VaultSecret there.
    NamespaceReason {
        /// It has what it should.
        Synced,
        /// It is about to get it.
        Pending,
        /// There is no such namespace.
        NamespaceMissing,
        /// A VaultSecret of that name is there and is not ours.
        VaultSecretConflict,
        /// A Secret of that name is there and is not ours.
        TargetConflict,
        /// The connection does not exist.
        ConnectionMissing,
        /// The connection's prefix gives it the entries of another namespace.
        NamesCollide,
        /// The API server does not take what is to be written.
        WriteFailed,
    }
}

impl ConnectionReason {
    /// Whether only a person can end it: kstatus calls that Stalled. Credentials that are missing may be on their way.
    #[must_use]
    pub fn is_stalled(self) -> bool {
        matches!(self, Self::Invalid | Self::AuthenticationFailed | Self::PermissionDenied | Self::RemoteDiverged)
    }
}

impl NamespaceReason {
    /// Whether only a person can end it. A namespace or a connection that is missing may be on its way, and a write is tried again.
    #[must_use]
    pub fn is_stalled(self) -> bool {
        matches!(self, Self::VaultSecretConflict | Self::TargetConflict | Self::NamesCollide)
    }
}

/// Condition types of the custom resources.
pub mod types {
    /// Everything is as the spec wants it.
    pub const READY: &str = "Ready";
    /// Every entry is at the remote.
    pub const PUSHED: &str = "Pushed";
    /// The target Secret shows the current set.
    pub const PROJECTED: &str = "Projected";
    /// kstatus: work is under way. Absent when healthy.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: nothing will happen without a person. Absent when healthy.
    pub const STALLED: &str = "Stalled";
}

/// A condition that shall hold; `last_transition_time` is added by [`upsert`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// One of [`types`].
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// CamelCase reason.
    pub reason: &'static str,
    /// One sentence for a person, never with a value.
    pub message: String,
}

/// Puts a condition into the list; the time moves only when the status does.
pub fn upsert(conditions: &mut Vec<Condition>, wanted: Wanted, generation: Option<i64>, now: jiff::Timestamp) {
    match conditions.iter_mut().find(|c| c.type_ == wanted.kind) {
        Some(found) => {
            if found.status != wanted.status {
                found.last_transition_time = Time(now);
                wanted.status.clone_into(&mut found.status);
            }
            wanted.reason.clone_into(&mut found.reason);
            found.message = wanted.message;
            found.observed_generation = generation;
        }
        None => conditions.push(Condition {
            type_: wanted.kind.to_owned(),
            status: wanted.status.to_owned(),
            reason: wanted.reason.to_owned(),
            message: wanted.message,
            observed_generation: generation,
            last_transition_time: Time(now),
        }),
    }
}

/// Takes a condition out of the list (kstatus conditions are absent when healthy).
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|c| c.type_ != kind);
}

/// The condition of that type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn wanted(status: &'static str, reason: &'static str) -> Wanted {
        Wanted { kind: types::READY, status, reason, message: String::new() }
    }

    #[test]
    fn the_time_moves_only_on_a_transition() {
        let (t1, t2, t3) = (
            "2026-01-01T00:00:00Z".parse().expect("time"),
            "2026-01-02T00:00:00Z".parse().expect("time"),
            "2026-01-03T00:00:00Z".parse().expect("time"),
        );
        let mut list = Vec::new();
        upsert(&mut list, wanted("False", "Queued"), Some(1), t1);
        upsert(&mut list, wanted("False", "Pushing"), Some(2), t2);
        assert_eq!(list[0].last_transition_time.0, t1);
        assert_eq!((list[0].reason.as_str(), list[0].observed_generation), ("Pushing", Some(2)));
        upsert(&mut list, wanted("True", "Synced"), Some(2), t3);
        assert_eq!(list[0].last_transition_time.0, t3);
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn reasons_are_camel_case_words() {
        for reason in Reason::ALL {
            assert!(reason.as_str().chars().all(|c| c.is_ascii_alphabetic()), "{reason:?}");
        }
        assert_eq!(Reason::ALL.len(), 22);
    }

    #[test]
    fn the_readme_says_what_to_do_about_each() {
        let readme = include_str!("../../README.md");
        let words = Reason::ALL.iter().map(|r| r.as_str()).chain(ConnectionReason::ALL.iter().map(|r| r.as_str()));
        for word in words {
            assert!(readme.contains(&format!("\n| {word} | ")), "{word} has no row");
        }
    }
}
