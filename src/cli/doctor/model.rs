//! What an examination comes to: findings, each with what to do about it.

use serde::Serialize;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// As it should be.
    Passed,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work, or is not safe.
    Failed,
    /// It could not be looked at.
    Skipped,
}

impl State {
    /// Every state, the worst first.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Warning, Self::Skipped, Self::Passed];

    /// The word that is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::Warning => "Warning",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
        }
    }
}

/// What is looked at, in the order in which it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Area {
    /// The API server, and the clocks.
    Cluster,
    /// CustomResourceDefinitions.
    Definitions,
    /// Deployment, Pods, Lease and the operator's own Secrets.
    Operator,
    /// What the operator may do, and what it may not.
    Rights,
    /// Admission policies.
    Policies,
    /// VaultConnections and ClusterVaultConnections.
    Connections,
    /// VaultSecrets.
    Objects,
}

impl Area {
    /// The word that is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Definitions => "definitions",
            Self::Operator => "operator",
            Self::Rights => "rights",
            Self::Policies => "policies",
            Self::Connections => "connections",
            Self::Objects => "objects",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it belongs.
    pub area: Area,
    /// What was looked at: an object, or a word for it.
    pub subject: String,
    /// What it came to.
    pub state: State,
    /// One sentence, without any value.
    pub message: String,
    /// What mends it: a command, or the place to look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn new(area: Area, subject: impl Into<String>, state: State, message: impl Into<String>) -> Self {
        Self { area, subject: subject.into(), state, message: message.into(), mend: None }
    }

    /// It is as it should be.
    #[must_use]
    pub fn passed(area: Area, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(area, subject, State::Passed, message)
    }

    /// Somebody should look at it.
    #[must_use]
    pub fn warning(area: Area, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(area, subject, State::Warning, message)
    }

    /// It is broken.
    #[must_use]
    pub fn failed(area: Area, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(area, subject, State::Failed, message)
    }

    /// It could not be looked at, and why.
    #[must_use]
    pub fn skipped(area: Area, subject: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(area, subject, State::Skipped, why)
    }

    /// The same, with what mends it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

/// All findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which they are printed.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The findings, by area.
    #[must_use]
    pub fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.area);
        Self { findings }
    }

    /// How many findings are in a state.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.findings.iter().filter(|finding| finding.state == state).count()
    }

    /// Whether nothing has to be mended.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.count(State::Failed) + self.count(State::Warning) == 0
    }
}

/// Names of some things, the first few of many.
#[must_use]
pub fn some_of<S: AsRef<str>>(all: &[S], most: usize) -> String {
    let mut text = all.iter().take(most).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if all.len() > most {
        text.push_str(&format!(" and {} more", all.len() - most));
    }
    text
}

/// A number of things.
#[must_use]
pub fn count_of(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    }
}
