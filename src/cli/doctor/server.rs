//! The API server: whether it answers, as what, how fast, and what its clock says.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, PostParams};

use super::model::{Area, Finding};
use super::seen::{Seen, raw};
use crate::kube_error::within;

/// How often it is asked for its version, to know how long it takes.
const ASKED: usize = 3;

/// The oldest minor version of Kubernetes 1 with all that the operator and its admission policies need.
const OLDEST: u32 = 30;

/// From there on requests are slow enough to be felt.
const SLOW: Duration = Duration::from_secs(1);

/// From there on times that are compared by eye mislead.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// From there on tokens and certificates are taken for expired.
const GREAT_SKEW: SignedDuration = SignedDuration::from_mins(2);

/// What the API server said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its version, such as `v1.34.1`.
    pub version: String,
    /// The median of some requests.
    pub latency: Duration,
    /// Its clock, less this machine's.
    pub ahead: Option<SignedDuration>,
}

impl Server {
    /// The time by its clock, which is that of all objects.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        self.ahead.and_then(|ahead| now.checked_add(ahead).ok()).unwrap_or(now)
    }
}

/// Asks it.
///
/// # Errors
/// Why it does not answer.
pub async fn look(client: &Client) -> Result<Server, String> {
    let mut took = Vec::new();
    let mut seen = None;
    for _ in 0..ASKED {
        let (began, local) = (Instant::now(), Timestamp::now());
        let answer = raw(client, "/version").await?;
        took.push(began.elapsed());
        if answer.status != 200 {
            return Err(format!("it answered {} to a request for its version", answer.status));
        }
        // It cuts off the fraction, so on average it is half a second further.
        let middle = local.checked_add(took[took.len() - 1] / 2).unwrap_or(local);
        let ahead = answer.date.map(|date| date.duration_since(middle) + SignedDuration::from_millis(500));
        let version: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let version = version["gitVersion"].as_str().ok_or("what answers is no Kubernetes API server")?.to_owned();
        seen = Some((version, ahead));
    }
    took.sort();
    let (version, ahead) = seen.unwrap_or_default();
    Ok(Server { version, latency: took[took.len() / 2], ahead })
}

/// Who calls.
pub async fn myself(client: &Client) -> Seen<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let asked = within("asking who you are", api.create(&PostParams::default(), &SelfSubjectReview::default())).await;
    Seen::of(asked.map(|review| review.status.and_then(|status| status.user_info).and_then(|user| user.username)))
}

/// Judges the API server and this machine's clock.
#[must_use]
pub fn judge(server: &Server, me: &Seen<String>) -> Vec<Finding> {
    let text = format!("{} answers in {} ms", server.version, server.latency.as_millis());
    let text = match me {
        Seen::Here(user) => format!("{text}; you are {user}"),
        _ => text,
    };
    let mut found = vec![match minor(&server.version) {
        Some(minor) if minor < OLDEST => Finding::failed(Area::Cluster, "API server", format!("{text}; too old"))
            .mend(format!("upgrade the cluster to Kubernetes 1.{OLDEST} or newer")),
        None => Finding::warning(Area::Cluster, "API server", format!("{text}; its version cannot be read"))
            .mend(format!("make sure that it is Kubernetes 1.{OLDEST} or newer")),
        Some(_) if server.latency >= SLOW => Finding::warning(Area::Cluster, "API server", format!("{text}: slow"))
            .mend("look at its load, at etcd, and at the network between"),
        Some(_) => Finding::passed(Area::Cluster, "API server", text),
    }];
    found.push(match server.ahead {
        None => Finding::skipped(Area::Cluster, "clock", "the API server does not say what time it is"),
        Some(ahead) => clock("clock", "this machine", -ahead),
    });
    found
}

/// Judges the operator's clock: its own time in the Lease, against the time at which the API server took that.
#[must_use]
pub fn operators_clock(lease: &Lease) -> Option<Finding> {
    let renewed = lease.spec.as_ref()?.renew_time.as_ref()?.0;
    let written = lease
        .metadata
        .managed_fields
        .as_ref()?
        .iter()
        .filter_map(|field| field.time.as_ref())
        .map(|time| time.0)
        .max()?;
    // The API server cuts off the fraction.
    Some(clock("operator's clock", "the leader", renewed.duration_since(written) - SignedDuration::from_millis(500)))
}

fn clock(subject: &str, whose: &str, ahead: SignedDuration) -> Finding {
    let text = if ahead.abs() < SignedDuration::from_secs(2) {
        format!("{whose} and the API server agree within 2s")
    } else {
        let word = if ahead.is_negative() { "behind" } else { "ahead of" };
        format!("{whose} is {}s {word} the API server", ahead.abs().as_secs())
    };
    let mend = "let NTP set the clocks; timedatectl shows its state";
    match ahead.abs() {
        skew if skew >= GREAT_SKEW => Finding::failed(Area::Cluster, subject, text).mend(mend),
        skew if skew >= SKEW => Finding::warning(Area::Cluster, subject, text).mend(mend),
        _ => Finding::passed(Area::Cluster, subject, text),
    }
}

fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("v1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::super::model::State;
    use super::*;

    fn states(version: &str, millis: u64, ahead: i64) -> Vec<State> {
        let ahead = Some(SignedDuration::from_secs(ahead));
        let server = Server { version: version.to_owned(), latency: Duration::from_millis(millis), ahead };
        judge(&server, &Seen::Here("jane".to_owned())).into_iter().map(|f| f.state).collect()
    }

    #[test]
    fn versions_speed_and_skew_are_judged() {
        use State::{Failed, Passed, Warning};
        assert_eq!(states("v1.34.1+k3s1", 20, 0), [Passed, Passed]);
        assert_eq!(states("v1.29.9", 20, 0), [Failed, Passed]);
        assert_eq!(states("v1.30.0", 1500, -7), [Warning, Warning]);
        assert_eq!(states("edge", 20, 600), [Warning, Failed]);
    }

    #[test]
    fn the_operators_clock_is_told_by_its_lease() {
        let lease = |renewed: &str| -> Lease {
            serde_json::from_value(json!({
                "metadata": {"managedFields": [{"time": "2026-11-26T18:00:00Z"}, {"time": "2026-11-26T17:00:00Z"}]},
                "spec": {"renewTime": renewed},
            }))
            .unwrap()
        };
        let state = |renewed: &str| operators_clock(&lease(renewed)).unwrap().state;
        assert_eq!(state("2026-11-26T18:00:00.900000Z"), State::Passed);
        assert_eq!(state("2026-11-26T18:00:30.000000Z"), State::Warning);
        let behind = operators_clock(&lease("2026-11-26T17:30:00.000000Z")).unwrap();
        assert_eq!((behind.state, behind.message.contains("behind")), (State::Failed, true));
        assert_eq!(operators_clock(&Lease::default()), None);
    }
}
