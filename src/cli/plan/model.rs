//! What a plan says. Names and sentences only, never a value.

use serde::Serialize;

use crate::api::Reason;
use crate::controller::desired::Issue;

/// What would happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It would not be taken, or nothing would be done about it until a person mends it.
    Refused,
    /// It would wait for something that is not there yet.
    Waits,
    /// It would be deleted.
    Delete,
    /// It would be deleted and made anew.
    Replace,
    /// It would be made.
    Create,
    /// It is somebody else's and would be taken over.
    Adopt,
    /// It would be changed.
    Update,
    /// Workloads would be restarted.
    Restart,
    /// It would be written; without a cluster it is not known whether it is there already.
    Apply,
    /// It would be changed if the value is another one, which could not be found out.
    Unknown,
    /// It would stay at the remote, and not be ours any more.
    Forget,
    /// Nothing would happen to it.
    Unchanged,
}

impl Action {
    /// All of them, those first that a person should see first.
    pub const ALL: [Self; 12] = [
        Self::Refused,
        Self::Waits,
        Self::Delete,
        Self::Replace,
        Self::Create,
        Self::Adopt,
        Self::Update,
        Self::Restart,
        Self::Apply,
        Self::Unknown,
        Self::Forget,
        Self::Unchanged,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Waits => "waits",
            Self::Delete => "delete",
            Self::Replace => "replace",
            Self::Create => "create",
            Self::Adopt => "adopt",
            Self::Update => "update",
            Self::Restart => "restart",
            Self::Apply => "apply",
            Self::Unknown => "unknown",
            Self::Forget => "forget",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What would happen to one thing, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What.
    pub action: Action,
    /// The reason that the VaultSecret's condition would show, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// One sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Verdict {
    /// A verdict that needs no sentence.
    #[must_use]
    pub fn plain(action: Action) -> Self {
        Self { action, reason: None, message: String::new() }
    }

    /// A verdict with a sentence.
    #[must_use]
    pub fn because(action: Action, message: impl Into<String>) -> Self {
        Self { action, reason: None, message: message.into() }
    }

    /// What an issue of a VaultSecret means: some things only have to be there, others have to be mended.
    #[must_use]
    pub fn of(issue: &Issue) -> Self {
        let action = match issue.reason {
            Reason::SourceMissing
            | Reason::ConnectionMissing
            | Reason::ConnectionNotReady
            | Reason::RemoteDiverged
            | Reason::TargetMissing
            | Reason::Suspended => Action::Waits,
            _ => Action::Refused,
        };
        Self { action, reason: Some(issue.reason.as_str()), message: issue.message.clone() }
    }
}

/// An entry at a remote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryPlan {
    /// Keys that it holds; none of an entry that leaves, and of what is said about `spec.dataFrom`.
    pub keys: Vec<String>,
    /// `<kind>/<name>` of the connection; absent for a key that is not pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Its name as the remote stores it, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_name: Option<String>,
    /// What would happen.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A Secret or a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What would happen.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A VaultSecret or a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectPlan {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; absent for a ClusterVaultConnection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The file that it is in; absent for what pruning would delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What would happen to the object itself.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Further reasons to refuse it, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Entries at the remote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<EntryPlan>,
    /// Secrets that show the values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Named>,
    /// Workloads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<Named>,
}

impl ObjectPlan {
    /// An object about which nothing is known yet.
    #[must_use]
    pub fn new(kind: &'static str, namespace: Option<String>, name: String, file: Option<String>) -> Self {
        let verdict = Verdict::plain(Action::Unchanged);
        Self {
            kind,
            namespace,
            name,
            file,
            verdict,
            problems: Vec::new(),
            entries: Vec::new(),
            secrets: Vec::new(),
            restarts: Vec::new(),
        }
    }

    /// The same, refused for these reasons.
    #[must_use]
    pub fn refused(mut self, problems: Vec<String>) -> Self {
        let mut problems = problems.into_iter();
        self.verdict = Verdict::because(Action::Refused, problems.next().unwrap_or_default());
        self.problems = problems.collect();
        self
    }

    /// `<namespace>/<name>`, or the name alone.
    #[must_use]
    pub fn path(&self) -> String {
        self.namespace.as_ref().map_or_else(|| self.name.clone(), |namespace| format!("{namespace}/{}", self.name))
    }

    /// Every verdict that it holds.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        std::iter::once(&self.verdict).chain(self.inner())
    }

    /// Those about entries, Secrets and workloads.
    pub fn inner(&self) -> impl Iterator<Item = &Verdict> {
        let entries = self.entries.iter().map(|e| &e.verdict);
        let others = self.secrets.iter().chain(&self.restarts).map(|n| &n.verdict);
        entries.chain(others)
    }
}

/// What the plan was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// The manifests alone.
    Offline,
    /// The manifests and the cluster.
    Cluster,
}

/// What applying manifests would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What it was made from.
    pub mode: Mode,
    /// By object, in the order of the manifests.
    pub objects: Vec<ObjectPlan>,
    /// What could not be found out, and what else a reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Plan {
    /// Whether something would be refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.objects.iter().flat_map(ObjectPlan::verdicts).any(|verdict| verdict.action == Action::Refused)
    }

    /// How often what would happen to entries, Secrets and workloads, in the order of [`Action::ALL`]; objects that are refused as
    /// a whole count as one.
    #[must_use]
    pub fn counts(&self) -> Vec<(Action, usize)> {
        let whole = self.objects.iter().map(|o| &o.verdict).filter(|v| v.action == Action::Refused);
        counted(self.objects.iter().flat_map(ObjectPlan::inner).chain(whole))
    }

    /// How often what would happen to objects themselves.
    #[must_use]
    pub fn object_counts(&self) -> Vec<(Action, usize)> {
        counted(self.objects.iter().map(|object| &object.verdict))
    }

    /// How often what would happen in them: to entries, Secrets and workloads.
    #[must_use]
    pub fn inner_counts(&self) -> Vec<(Action, usize)> {
        counted(self.objects.iter().flat_map(ObjectPlan::inner))
    }
}

/// How often which action, in the order of [`Action::ALL`].
fn counted<'p>(verdicts: impl Iterator<Item = &'p Verdict>) -> Vec<(Action, usize)> {
    let all: Vec<Action> = verdicts.map(|verdict| verdict.action).collect();
    let count = |action: Action| all.iter().filter(|other| **other == action).count();
    Action::ALL.into_iter().map(|action| (action, count(action))).filter(|(_, count)| *count > 0).collect()
}
