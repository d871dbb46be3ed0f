//! Waiting for one VaultSecret by a watch.

use std::io::Write as _;
use std::time::Duration;

use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, Event, watcher};
use tokio::time::{Instant, timeout_at};

use super::cluster::Target;
use super::show::{one_line, span};
use super::{Exit, print};
use crate::api::VaultSecret;
use crate::api::condition::{self, types};
use crate::kube_error::{ApiError, ApiErrorKind};

/// How far it is.
pub(super) enum Progress {
    /// There, with what to say.
    Done(String),
    /// Not yet.
    Waiting,
}

/// Waits until it is there, which is exit code 0, or the time is over, which is 2.
///
/// # Errors
/// When the object goes, or may not be watched.
pub(super) async fn until(
    target: &Target,
    name: &str,
    limit: Duration,
    judge: impl Fn(&VaultSecret) -> Progress,
) -> anyhow::Result<Exit> {
    let config = Config::default().fields(&format!("metadata.name={name}"));
    let mut stream = watcher(target.namespaced::<VaultSecret>(), config).default_backoff().boxed();
    let deadline = Instant::now() + limit;
    let mut last = String::new();
    let mut seen = false;
    while let Ok(Some(event)) = timeout_at(deadline, stream.next()).await {
        let object = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => object,
            Ok(Event::Init) => {
                seen = false;
                continue;
            }
            Ok(Event::InitDone) if seen => continue,
            Ok(Event::Delete(_) | Event::InitDone) => anyhow::bail!("VaultSecret {}/{name} is gone", target.namespace),
            Err(
                watcher::Error::InitialListFailed(error)
                | watcher::Error::WatchStartFailed(error)
                | watcher::Error::WatchFailed(error),
            ) => {
                let error = ApiError::new("watching the VaultSecret", &error);
                if error.kind == ApiErrorKind::Forbidden {
                    return Err(target.explain(&error, "watch", "VaultSecrets", Some(&target.namespace)));
                }
                // It is begun anew, until the time is over.
                continue;
            }
            Err(_) => continue,
        };
        seen = true;
        if let Progress::Done(text) = judge(&object) {
            print(&text)?;
            return Ok(Exit::Done);
        }
        let ready = object.status.as_ref().and_then(|status| condition::find(&status.conditions, types::READY));
        last = ready.map(|c| format!("{}: {}", one_line(&c.reason), one_line(&c.message))).unwrap_or_default();
    }
    let limit = span(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX));
    let last = if last.is_empty() { String::new() } else { format!("; the last that was said: {last}") };
    let _ = writeln!(std::io::stderr(), "error: timed out after {limit}{last}");
    Ok(Exit::Attention)
}
