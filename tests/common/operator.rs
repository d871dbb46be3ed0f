//! The real operator as a process of its own.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use devkit::controlplane::Process;
use tokio::sync::OnceCell;

use super::cluster::{ACCOUNT, Cluster, SYSTEM};
use super::{PATIENCE, POLL};

/// How often another port is tried when somebody else takes the free one first.
const PORTS: usize = 3;

/// Everything that the operator's own code has to say; tests look for secrets in it.
const LOG_FILTER: &str = "info,vaultsecret_operator=trace,vaultsecret=trace";

/// How an operator is run.
#[derive(Debug, Clone)]
pub struct OperatorOptions {
    /// Kubeconfig of its service account.
    pub kubeconfig: PathBuf,
    /// Its own namespace.
    pub system: String,
    /// Further arguments, such as `--namespaces=a,b`.
    pub args: Vec<String>,
    /// The name of the Pod that it is taken for.
    pub host: Option<String>,
}

struct State {
    process: Option<Process>,
    port: u16,
}

/// A running operator. It ends with the last who holds it, and with the test process, however that ends.
pub struct Operator {
    options: OperatorOptions,
    program: PathBuf,
    log: PathBuf,
    state: Mutex<State>,
}

impl Operator {
    /// The operator for all namespaces of the shared cluster, with the rights of `deploy/cluster`.
    pub async fn shared() -> Arc<Self> {
        static SHARED: OnceCell<Arc<Operator>> = OnceCell::const_new();
        let start = async || {
            let cluster = Cluster::shared().await;
            // Where the test of a Vault that knows service accounts puts a token.
            let token = format!("--vault-token-file={}", cluster.folder().join("vault-token").display());
            Arc::new(Self::cluster_wide(&cluster, &[&token]).await)
        };
        Arc::clone(SHARED.get_or_init(start).await)
    }

    /// Starts one for all namespaces, with the rights of `deploy/cluster`.
    pub async fn cluster_wide(cluster: &Cluster, args: &[&str]) -> Self {
        let kubeconfig = cluster.cluster_rights().await;
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self::start(cluster, OperatorOptions { kubeconfig, system: SYSTEM.to_owned(), args, host: None }).await
    }

    /// Starts one for all namespaces without waiting for it.
    pub async fn begun(cluster: &Cluster) -> Self {
        let kubeconfig = cluster.cluster_rights().await;
        let operator = Self::made(
            cluster,
            OperatorOptions { kubeconfig, system: SYSTEM.to_owned(), args: Vec::new(), host: None },
        );
        operator.spawn();
        operator
    }

    /// Starts one for one namespace, with the rights of `deploy/namespaced` and an own namespace that nobody else uses.
    pub async fn namespaced(cluster: &Cluster, watched: &str, args: &[&str]) -> Self {
        let system = format!("{watched}-system");
        let kubeconfig = cluster.namespaced_rights(&system, watched).await;
        let mut all = vec![format!("--namespaces={watched}")];
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        Self::start(cluster, OperatorOptions { kubeconfig, system, args: all, host: None }).await
    }

    /// Starts one and waits until it is ready.
    pub async fn start(cluster: &Cluster, options: OperatorOptions) -> Self {
        let operator = Self::made(cluster, options);
        operator.spawn_until_ready().await;
        operator
    }

    fn made(cluster: &Cluster, options: OperatorOptions) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            program: program(cluster.folder()),
            log: cluster.folder().join(format!("operator-{number}.log")),
            options,
            state: Mutex::new(State { process: None, port: 0 }),
        }
    }

    /// A second one beside it, with the same rights and arguments.
    pub async fn replica(&self, cluster: &Cluster) -> Self {
        Self::start(cluster, self.options.clone()).await
    }

    async fn spawn_until_ready(&self) {
        for attempt in 1..=PORTS {
            self.spawn();
            match self.wait_until_ready().await {
                Ok(()) => return,
                Err(problem) if attempt == PORTS || !problem.contains("in use") => panic!("{problem}"),
                Err(_) => {}
            }
        }
    }

    /// Starts the process without waiting for it.
    pub fn spawn(&self) {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).unwrap().port();
        let mut args: Vec<String> = ["run", "--log-format=json"].map(str::to_owned).into();
        if !self.options.args.iter().any(|arg| arg.starts_with("--leader-elect")) {
            args.push("--leader-elect=false".to_owned());
        }
        args.push(format!("--listen=127.0.0.1:{port}"));
        args.push(format!("--operator-namespace={}", self.options.system));
        args.extend(self.options.args.iter().cloned());
        let process = Process::spawn("vaultsecret", &self.program, &args, &self.log, |command| {
            // A proxy is for the world outside.
            command.env_clear();
            command.env("KUBECONFIG", &self.options.kubeconfig);
            command.env("RUST_LOG", LOG_FILTER).env("RUST_BACKTRACE", "1");
            command.envs(self.options.host.iter().map(|host| ("HOSTNAME", host)));
        });
        *self.lock() = State { process: Some(process.unwrap()), port };
    }

    async fn wait_until_ready(&self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            self.check()?;
            let answer = self.get("/readyz").await;
            if matches!(&answer, Ok((200, _))) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                let tail = self.with(Process::log_tail);
                return Err(format!("the operator is not ready; /readyz: {answer:?}; the end of its log:\n{tail}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether it runs as it should; what happened, if not. One that was stopped on purpose is all right.
    pub fn check(&self) -> Result<(), String> {
        let mut state = self.lock();
        let Some(process) = &mut state.process else { return Ok(()) };
        match process.try_wait() {
            Ok(None) => Ok(()),
            ended => {
                Err(format!("the operator ended by itself: {ended:?}; the end of its log:\n{}", process.log_tail()))
            }
        }
    }

    /// Whether the process has ended, without being asked to.
    pub fn has_ended(&self) -> bool {
        self.check().is_err()
    }

    /// Asks it to end and expects that it does, with exit code 0.
    pub async fn stop(&self) {
        self.with(|process| process.terminate().unwrap());
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.with_mut(|process| process.try_wait().unwrap()) {
                break status;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the operator does not end at SIGTERM:\n{}",
                self.with(Process::log_tail)
            );
            tokio::time::sleep(POLL).await;
        };
        assert!(status.success(), "the operator ended with {status}:\n{}", self.with(Process::log_tail));
        self.lock().process = None;
    }

    /// Kills it: no handler runs, nothing is finished.
    pub fn kill(&self) {
        let killed = self.lock().process.take();
        drop(killed);
    }

    /// Stops it in good order and starts it again.
    pub async fn restart(&self) {
        self.stop().await;
        self.spawn_until_ready().await;
    }

    /// Kills it and starts it again.
    pub async fn crash(&self) {
        self.kill();
        self.spawn_until_ready().await;
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill).
    pub async fn start_again(&self) {
        self.spawn_until_ready().await;
    }

    /// Expects that it ends by itself, with a failure.
    pub async fn ends_by_itself(&self) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.with_mut(|process| process.try_wait().unwrap()) {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "the operator goes on:\n{}", self.with(Process::log_tail));
            tokio::time::sleep(POLL).await;
        };
        assert!(!status.success(), "the operator ended with {status}");
        self.lock().process = None;
    }

    /// Halts it without ending it.
    pub fn pause(&self) {
        self.with(|process| process.pause().unwrap());
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.with(|process| process.resume().unwrap());
    }

    /// Asks its HTTP server: status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let port = self.lock().port;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build();
        let answer = client.unwrap().get(format!("http://127.0.0.1:{port}{path}")).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| error.to_string())?))
    }

    /// Its metrics, in the text format.
    pub async fn metrics(&self) -> String {
        match self.get("/metrics").await {
            Ok((200, text)) => text,
            other => panic!("no metrics: {other:?}"),
        }
    }

    /// The sum of a metric's samples whose labels contain all of `labels` (each written `name="value"`).
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics().await;
        let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
        let wanted = samples.filter(|(series, _)| {
            series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
        });
        wanted.filter_map(|(_, number)| number.parse::<f64>().ok()).sum()
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.with(Process::id)
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most resident memory that it has had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, field: &str) -> u64 {
        let id = self.with(Process::id);
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// The user as whom it speaks to the API server.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{ACCOUNT}", self.options.system)
    }

    /// Its own namespace.
    pub fn system(&self) -> &str {
        &self.options.system
    }

    /// How much it has logged so far, in bytes.
    pub fn log_end(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |metadata| metadata.len())
    }

    /// What it logged since then.
    pub fn log_since(&self, start: u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = fs::File::open(&self.log) {
            file.seek(SeekFrom::Start(start)).unwrap();
            file.read_to_end(&mut bytes).unwrap();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, look: impl FnOnce(&Process) -> T) -> T {
        look(self.lock().process.as_ref().expect("the operator runs"))
    }

    fn with_mut<T>(&self, look: impl FnOnce(&mut Process) -> T) -> T {
        look(self.lock().process.as_mut().expect("the operator runs"))
    }
}

/// The operator's program, kept from the moment of the first start: a build that runs meanwhile must not change what is tested.
fn program(folder: &Path) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_vaultsecret"));
    let kept = folder.join("vaultsecret");
    if !kept.exists() && fs::hard_link(built, &kept).is_err() && !kept.exists() {
        fs::copy(built, &kept).unwrap();
    }
    kept
}
