//! Who leads, and since when, as the lease says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::task::JoinHandle;

use crate::demo::table::seconds;

/// The lease's name, and that of the operator's Deployment.
pub(super) const NAME: &str = "vaultsecret-operator";
/// How often it is looked at; a time without a leader is known to this precision.
const POLL: Duration = Duration::from_millis(20);

/// A holder, and since when it was seen.
type Seen = (Instant, Option<String>);

/// Looks at the lease until it is dropped.
pub(super) struct LeaseWatch {
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl LeaseWatch {
    /// Begins to look.
    pub(super) fn start(client: Client, namespace: &str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (api, into) = (Api::<Lease>::namespaced(client, namespace), seen.clone());
        let task = tokio::spawn(async move {
            loop {
                // A failed look says nothing of the leader.
                if let Ok(lease) = api.get_opt(NAME).await {
                    note(&mut lock(&into), Instant::now(), holder(lease));
                }
                tokio::time::sleep(POLL).await;
            }
        });
        Self { seen, task }
    }

    /// The Pod that leads.
    pub(super) fn leader(&self) -> Option<String> {
        lock(&self.seen).last().and_then(|(_, holder)| holder.as_deref()).map(pod)
    }

    /// Who leads as the lease has it: another process in the same Pod is another holder.
    pub(super) fn holder(&self) -> Option<String> {
        lock(&self.seen).last().and_then(|(_, holder)| holder.clone())
    }

    /// How long nobody led since then, and how often another took over.
    pub(super) fn since(&self, begin: Instant) -> (Duration, usize) {
        without_leader(&lock(&self.seen), begin, Instant::now())
    }
}

impl LeaseWatch {
    /// Who led since then, a line each.
    pub(super) fn lines(&self, begin: Instant) -> String {
        let seen = lock(&self.seen);
        let after = seen.iter().filter(|(at, _)| *at > begin).map(|(at, holder)| {
            let who =
                holder.as_deref().map_or_else(|| "nobody leads".to_owned(), |holder| format!("{} leads", pod(holder)));
            format!("after {}: {who}", seconds(at.duration_since(begin)))
        });
        after.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for LeaseWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn holder(lease: Option<Lease>) -> Option<String> {
    lease?.spec?.holder_identity.filter(|holder| !holder.is_empty())
}

fn note(seen: &mut Vec<Seen>, at: Instant, holder: Option<String>) {
    if seen.last().is_none_or(|(_, last)| *last != holder) {
        seen.push((at, holder));
    }
}

/// The Pod of a holder such as `pod_uuid`.
fn pod(holder: &str) -> String {
    holder.rsplit_once('_').map_or(holder, |(pod, _)| pod).to_owned()
}

/// The sum of the times without a holder between `begin` and `end`, and the number of holders that took over in between.
fn without_leader(seen: &[Seen], begin: Instant, end: Instant) -> (Duration, usize) {
    let ends = seen.iter().skip(1).map(|(at, _)| *at).chain([end]);
    let mut gap = Duration::ZERO;
    let mut taken = 0;
    for ((from, holder), until) in seen.iter().zip(ends) {
        match holder {
            None => gap += until.min(end).saturating_duration_since((*from).max(begin)),
            Some(_) if *from > begin => taken += 1,
            Some(_) => {}
        }
    }
    (gap, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_holder_are_added_up_from_the_beginning_on() {
        let zero = Instant::now();
        let at = |seconds: u64| zero + Duration::from_secs(seconds);
        let some = |name: &str| Some(name.to_owned());
        let seen = [(at(0), some("a_1")), (at(5), None), (at(7), some("b_2")), (at(9), None), (at(10), some("c_3"))];
        assert_eq!(without_leader(&seen, at(1), at(20)), (Duration::from_secs(3), 2));
        assert_eq!(without_leader(&seen, at(6), at(20)), (Duration::from_secs(2), 2));
        assert_eq!(without_leader(&seen, at(8), at(20)), (Duration::from_secs(1), 1));
        assert_eq!(without_leader(&seen[..2], at(1), at(20)), (Duration::from_secs(15), 0));
    }

    #[test]
    fn the_same_holder_is_noted_once_and_named_by_its_pod() {
        let mut seen = Vec::new();
        let zero = Instant::now();
        for holder in [Some("a_1"), Some("a_1"), None, None, Some("a_2")] {
            note(&mut seen, zero, holder.map(str::to_owned));
        }
        assert_eq!(seen.len(), 3);
        assert_eq!(pod("operator-5d4f-x2x_0b1c"), "operator-5d4f-x2x");
    }
}
