//! A real control plane for tests and the demo: etcd, the Kubernetes API server and, if wanted, the controller manager, run
//! as child processes of this one.
//!
//! ```no_run
//! # async fn example() -> Result<(), devkit::controlplane::Error> {
//! use devkit::controlplane::ControlPlane;
//!
//! let cp = ControlPlane::shared().await;
//! let namespace = cp.namespace("lifecycle").await;
//! let client = cp.admin_client();
//! # Ok(()) }
//! ```
//!
//! There are no nodes, so no Pod ever runs. The garbage collector looks for new kinds only every 30 seconds, and what belongs
//! to an owner of a kind that it does not know yet can wait longer still: a test of that installs its definitions first and
//! calls [`ControlPlane::restart_controller_manager`] then.

mod audit;
mod binaries;
mod build;
mod cli;
mod error;
mod flags;
mod kubeconfig;
mod pki;
pub(crate) mod process;
mod start;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use tokio::sync::OnceCell;

pub use audit::{AuditLog, AuditMark, AuditRecord};
pub use binaries::{Binaries, BinariesError, chart_tool};
pub(crate) use binaries::{cache, name_programs, node_programs};
pub(crate) use build::say;
pub use cli::{Args, cli, helm_cli};
pub use error::{Error, chain};
pub use process::Process;

use flags::Layout;
pub(crate) use flags::etcd_flags;
pub(crate) use kubeconfig::{Credential, text as kubeconfig_text, write_private};
pub(crate) use pki::{Authority, Signed, token_keys};
use process::Folder;

/// How long a service account's token is valid: longer than any test or demo.
const TOKEN_SECONDS: i64 = 30 * 24 * 3600;

/// How a control plane is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether the controller manager runs too. Without it nothing collects the objects of a deleted owner, deleted
    /// namespaces stay, and a namespace has no service account `default`.
    pub controller_manager: bool,
    /// More arguments for the API server.
    pub apiserver_args: Vec<String>,
    /// How long each process may take until it is ready.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { controller_manager: true, apiserver_args: Vec::new(), deadline: Duration::from_secs(120) }
    }
}

/// The running processes. Dropped in this order: the API server ends before its store.
#[derive(Debug, Default)]
struct Processes {
    controller_manager: Option<Process>,
    apiserver: Option<Process>,
    etcd: Option<Process>,
}

/// A running control plane. Dropping it ends its processes and removes its files; so does the end of this process, even by
/// SIGKILL.
#[derive(Debug)]
pub struct ControlPlane {
    // Before `folder`: what writes there ends before it is removed.
    processes: Mutex<Processes>,
    options: Options,
    binaries: Binaries,
    layout: Layout,
    port: u16,
    url: String,
    ca_pem: String,
    admin_kubeconfig: PathBuf,
    admin_config: kube::Config,
    audit: AuditLog,
    folder: Folder,
}

impl ControlPlane {
    /// The control plane that all tests of this process share; started by the first who asks.
    ///
    /// # Panics
    /// When it cannot be started; the message says why.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        match SHARED.get_or_try_init(|| Self::start(Options::default())).await {
            Ok(shared) => shared,
            Err(error) => panic!("no control plane: {}", chain(&error)),
        }
    }

    /// Makes a namespace with a name that no other test has.
    ///
    /// # Panics
    /// When the API server refuses.
    pub async fn namespace(&self, prefix: &str) -> String {
        let namespace = Namespace {
            metadata: ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let created = Api::<Namespace>::all(self.admin_client()).create(&PostParams::default(), &namespace).await;
        match created {
            Ok(namespace) => namespace.metadata.name.unwrap_or_default(),
            Err(error) => panic!("making a namespace for {prefix}: {}", chain(&error)),
        }
    }

    /// A new client that may do everything. It belongs to the async runtime of the caller and ends with it, so ask for one a
    /// test.
    ///
    /// # Panics
    /// Outside an async runtime.
    pub fn admin_client(&self) -> Client {
        match Client::try_from(self.admin_config.clone()) {
            Ok(client) => client,
            // The first client was made from the same configuration when the control plane started.
            Err(error) => panic!("making the admin client: {}", chain(&error)),
        }
    }

    /// A kubeconfig file of a user who may do everything.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// Writes a kubeconfig file for a service account (which must exist), with a token that outlives every test.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let asked = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let answer = Api::<ServiceAccount>::namespaced(self.admin_client(), namespace)
            .create_token_request(name, &PostParams::default(), &asked)
            .await
            .map_err(Error::api(format!("make a token for {namespace}/{name}")))?;
        let token = answer.status.unwrap_or_default().token.unwrap_or_default();
        let text = kubeconfig::text(&self.url, &self.ca_pem, name, namespace, &Credential::Token(&token));
        let path = self.layout.file(&format!("{namespace}.{name}.kubeconfig"));
        kubeconfig::write_private(&path, &text).map_err(Error::io(format!("writing {}", path.display())))?;
        Ok(path)
    }

    /// A new client from a kubeconfig file. It belongs to the async runtime of the caller and ends with it.
    pub async fn client_from(&self, kubeconfig: &Path) -> Result<Client, Error> {
        let config = load(kubeconfig).await?;
        Client::try_from(config).map_err(Error::api("accept a client"))
    }

    /// The API server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate that the API server's certificate is signed with, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What was asked of the API server.
    pub fn audit(&self) -> AuditLog {
        self.audit.clone()
    }

    /// Where the programs are, kubectl among them.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The folder with the processes' logs (`etcd.log` …); it goes away with the control plane.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Names and ids of the running processes, to measure them.
    pub fn process_ids(&self) -> Vec<(&'static str, u32)> {
        let processes = self.processes();
        [&processes.etcd, &processes.apiserver, &processes.controller_manager]
            .into_iter()
            .flatten()
            .map(|process| (process.name(), process.id()))
            .collect()
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        // Every change under the lock is one assignment, so a panic elsewhere leaves nothing half done.
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a kubeconfig file. A proxy from the environment is for the world outside, never for a server on this machine.
pub(crate) async fn load(path: &Path) -> Result<kube::Config, Error> {
    let failed = |source| Error::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)?;
    config.proxy_url = None;
    Ok(config)
}
