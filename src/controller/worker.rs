//! Runs reconciles: one at a time a key, again when it is woken or when it asked for it.
//!
//! kube's scheduler is the queue: it holds each key once, the earlier time wins, and a key that is woken while it runs comes
//! again. kube's controller is built on one store and one watch of one kind, which does not fit a list of namespaces.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _};
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Wait after a reconcile that panicked.
const AFTER_PANIC: Duration = Duration::from_secs(30);

/// The key is gone: it is looked at again only if it is woken.
pub const NEVER: Duration = Duration::MAX;

/// Reconciles every key that comes in, until `end`; then waits for those that run.
///
/// `reconcile` returns how long to wait before the key is looked at again, or [`NEVER`]. How many run at one time is its own affair.
pub async fn run<K, F>(mut woken: mpsc::UnboundedReceiver<K>, reconcile: impl Fn(K) -> F, end: CancellationToken)
where
    K: Clone + Eq + Hash + Unpin + Send + std::fmt::Debug + 'static,
    F: Future<Output = Duration> + Send + 'static,
{
    let (requests, queue) = mpsc::unbounded_channel::<ScheduleRequest<K>>();
    let queue: BoxStream<'static, ScheduleRequest<K>> =
        futures::stream::unfold(queue, |mut queue| async move { queue.recv().await.map(|r| (r, queue)) }).boxed();
    let mut scheduler = Box::pin(scheduler(queue));
    let mut running: HashSet<K> = HashSet::new();
    let mut tasks = FuturesUnordered::new();
    loop {
        let next = {
            let running = &running;
            let mut due = scheduler.as_mut().hold_unless(move |key: &K| !running.contains(key));
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                Some((key, wait)) = tasks.next(), if !tasks.is_empty() => Next::Done(key, wait),
                key = woken.recv() => match key {
                    Some(key) => Next::Woken(key),
                    None => break,
                },
                Some(key) = due.next() => Next::Due(key),
            }
        };
        match next {
            Next::Woken(key) => drop(requests.send(ScheduleRequest { message: key, run_at: Instant::now() })),
            Next::Due(key) => {
                running.insert(key.clone());
                let task = tokio::spawn(reconcile(key.clone()));
                tasks.push(task.map(move |result| {
                    let wait = result.unwrap_or_else(|error| {
                        tracing::error!(
                            ?key,
                            panicked = error.is_panic(),
                            "a reconcile did not end; it is tried again"
                        );
                        AFTER_PANIC
                    });
                    (key, wait)
                }));
            }
            Next::Done(key, wait) => {
                running.remove(&key);
                if wait == NEVER {
                    continue;
                }
                let run_at = Instant::now() + wait.min(Duration::from_secs(86_400));
                let _ = requests.send(ScheduleRequest { message: key, run_at });
            }
        }
    }
    while tasks.next().await.is_some() {}
}

enum Next<K> {
    Woken(K),
    Due(K),
    Done(K, Duration),
}
