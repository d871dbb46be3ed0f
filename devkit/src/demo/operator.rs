//! The operator as a process of its own, with the rights of its service account and nothing more.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::error::Failure;
use super::report::{Reporter, Style};
use crate::controlplane::process::Process;

/// How long it may take to finish what is in flight.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a process or a file is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long one answer of its own may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Everything is on loopback, so a proxy for the world outside would be in the way.
const PROXIES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// Sets a program of the demo apart from the environment of the person who runs it.
pub(super) fn isolate(command: &mut Command, kubeconfig: &Path) {
    for name in PROXIES {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VAULTSECRET_")) {
        command.env_remove(name);
    }
    command.env("KUBECONFIG", kubeconfig);
}

/// The operator's program: as named, else beside this one.
pub(super) fn program(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let path = match named {
        Some(path) => path,
        None => {
            let own =
                std::env::current_exe().map_err(|error| Failure::io("looking for this program's folder", error))?;
            own.with_file_name(format!("vaultsecret{}", std::env::consts::EXE_SUFFIX))
        }
    };
    if path.is_file() { Ok(path) } else { Err(Failure::NoOperator { path }) }
}

/// A running operator; killed when this is dropped.
pub(super) struct Operator {
    process: Mutex<Process>,
    address: String,
    log: PathBuf,
    http: reqwest::Client,
    follower: Option<JoinHandle<()>>,
}

impl Operator {
    /// Starts it; it logs to a file in `folder`.
    pub(super) fn start(program: &Path, kubeconfig: &Path, namespace: &str, folder: &Path) -> Result<Self, Failure> {
        let address = free_address().map_err(|error| Failure::io("looking for a free port", error))?;
        let log = folder.join("operator.log");
        let args = [
            "run",
            "--leader-elect=false",
            "--listen",
            &address,
            "--operator-namespace",
            namespace,
            "--log-format=text",
        ];
        let process = Process::spawn("operator", program, args, &log, |command| isolate(command, kubeconfig))
            .map_err(|error| Failure::io(format!("starting {}", program.display()), error))?;
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER).build();
        let http = http.map_err(|error| Failure::io("making an HTTP client", std::io::Error::other(error)))?;
        Ok(Self { process: Mutex::new(process), address, log, http, follower: None })
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it serves its health and metrics.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.process().id()
    }

    /// Whether it says that it is ready; if not, what it says.
    pub(super) async fn ready(&self) -> Result<(), String> {
        let answer = self.http.get(format!("{}/readyz", self.url())).send().await;
        let answer =
            answer.map_err(|error| format!("/readyz does not answer ({})", crate::controlplane::chain(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(format!("/readyz answers {status}: {}", answer.text().await.unwrap_or_default().trim()))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        self.process().try_wait().ok().flatten()
    }

    /// The last lines of its log.
    pub(super) fn log_tail(&self) -> String {
        self.process().log_tail()
    }

    /// Shows its log as it grows.
    pub(super) fn follow(&mut self, report: Arc<Reporter>) {
        self.follower = Some(tokio::spawn(follow(self.log.clone(), report)));
    }

    /// Asks it to end, as Kubernetes does, and waits for that; how it ended, or nothing if it had to be killed.
    pub(super) async fn stop(mut self) -> Option<ExitStatus> {
        let ended = match self.ended() {
            Some(status) => Some(status),
            None => {
                let _ = self.process().terminate();
                let wait = async {
                    loop {
                        if let Some(status) = self.ended() {
                            return status;
                        }
                        tokio::time::sleep(POLL).await;
                    }
                };
                tokio::time::timeout(PATIENCE, wait).await.ok()
            }
        };
        // What it logged at the end is shown, too.
        if let Some(follower) = self.follower.take() {
            tokio::time::sleep(POLL * 2).await;
            follower.abort();
        }
        ended
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
    }
}

/// Prints whole lines as they are appended.
async fn follow(log: PathBuf, report: Arc<Reporter>) {
    let Ok(mut file) = File::open(&log) else { return };
    let mut unfinished = Vec::new();
    loop {
        if file.read_to_end(&mut unfinished).is_err() {
            return;
        }
        if let Some(end) = unfinished.iter().rposition(|&byte| byte == b'\n') {
            let lines: Vec<u8> = unfinished.drain(..=end).collect();
            for line in String::from_utf8_lossy(&lines).lines() {
                report.text(Style::Dim, &format!("    | {line}"));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// An address that nobody listens at.
fn free_address() -> std::io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_missing_operator_is_one_clear_error() {
        let error = program(Some(PathBuf::from("/nowhere/vaultsecret"))).unwrap_err().to_string();
        assert!(error.starts_with("there is no operator at /nowhere/vaultsecret: build it with"), "{error}");
    }

    #[test]
    fn the_operator_sees_its_own_kubeconfig_and_no_proxy() {
        let mut command = Command::new("true");
        command.env("https_proxy", "http://proxy.example");
        isolate(&mut command, Path::new("/a/kubeconfig"));
        let value = |name: &str| command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
        assert_eq!(value("KUBECONFIG").unwrap(), "/a/kubeconfig");
        assert!(value("https_proxy").is_none());
    }
}
