//! Starting a control plane: files, processes, and waiting until they answer.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::Request;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::DeleteParams;
use kube::{Api, Client};

use super::audit::AuditLog;
use super::binaries::Binaries;
use super::error::{Error, chain};
use super::flags::{AUDIT_POLICY, Layout, SERVER_NAMES};
use super::kubeconfig::{self, Credential};
use super::pki::{self, Authority};
use super::process::{Folder, Process};
use super::{ControlPlane, Options, Processes, load};

/// How often a process is asked whether it is ready.
const POLL: Duration = Duration::from_millis(20);

/// How long one question may take; a server that starts may accept a connection and say nothing.
const QUESTION: Duration = Duration::from_secs(5);

/// How often another port is tried when somebody else takes the free one first.
const PORTS: usize = 5;

impl ControlPlane {
    /// Starts a control plane and waits until it answers. The first time on a machine this builds the programs.
    pub async fn start(options: Options) -> Result<Self, Error> {
        // kube takes the process-wide provider; an error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let binaries = tokio::task::spawn_blocking(Binaries::find)
            .await
            .map_err(std::io::Error::other)
            .map_err(Error::io("looking for the control plane's programs"))??;
        let folder = Folder::new("vaultsecret-controlplane-").map_err(Error::io("making a temporary folder"))?;
        let layout = Layout::new(folder.path());
        let authority = write_files(&layout)?;
        let admin = authority.client("admin", "system:masters")?;
        let manager = authority.client("system:kube-controller-manager", "system:masters")?;
        let ca_pem = authority.certificate().to_owned();

        let mut processes =
            Processes { etcd: Some(start_etcd(&binaries, &layout, &options).await?), ..Processes::default() };
        let admin_kubeconfig = layout.file("admin.kubeconfig");
        let mut attempt = 1;
        let (port, url, admin_config) = loop {
            let port = free_port().map_err(Error::io("looking for a free port"))?;
            let url = format!("https://127.0.0.1:{port}");
            for (file, user, signed) in [
                ("admin.kubeconfig", "admin", &admin),
                ("controller-manager.kubeconfig", "controller-manager", &manager),
            ] {
                let credential = Credential::Certificate(signed);
                let text = kubeconfig::text(&url, &ca_pem, user, "default", &credential);
                write(&layout, file, &text)?;
            }
            let config = load(&admin_kubeconfig).await?;
            match start_apiserver(&binaries, &layout, &options, port, &config).await {
                Ok(process) => {
                    processes.apiserver = Some(process);
                    break (port, url, config);
                }
                Err(Error::Exited { log, .. }) if port_was_taken(&log) && attempt < PORTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        if options.controller_manager {
            let process = start_controller_manager(&binaries, &layout, &options, &admin_config);
            processes.controller_manager = Some(process.await?);
        }
        Ok(Self {
            processes: Mutex::new(processes),
            audit: AuditLog::new(layout.file("audit.log")),
            options,
            binaries,
            layout,
            port,
            url,
            ca_pem,
            admin_kubeconfig,
            admin_config,
            folder,
        })
    }

    pub(super) async fn spawn_etcd(&self) -> Result<Process, Error> {
        start_etcd(&self.binaries, &self.layout, &self.options).await
    }

    pub(super) async fn spawn_apiserver(&self) -> Result<Process, Error> {
        let config = &self.admin_config;
        start_apiserver(&self.binaries, &self.layout, &self.options, self.port, config).await
    }

    pub(super) async fn spawn_controller_manager(&self) -> Result<Process, Error> {
        let config = &self.admin_config;
        start_controller_manager(&self.binaries, &self.layout, &self.options, config).await
    }
}

/// Writes everything that does not depend on the port.
fn write_files(layout: &Layout) -> Result<Authority, Error> {
    let authority = Authority::new()?;
    let server = authority.server(SERVER_NAMES)?;
    let (public, private) = pki::token_keys()?;
    write(layout, "ca.crt", authority.certificate())?;
    write(layout, "server.crt", &server.certificate)?;
    write(layout, "server.key", &server.key)?;
    write(layout, "tokens.pub", &public)?;
    write(layout, "tokens.key", &private)?;
    write(layout, "audit-policy.yaml", AUDIT_POLICY)?;
    Ok(authority)
}

fn write(layout: &Layout, name: &str, text: &str) -> Result<(), Error> {
    let path = layout.file(name);
    kubeconfig::write_private(&path, text).map_err(Error::io(format!("writing {}", path.display())))
}

async fn start_etcd(binaries: &Binaries, layout: &Layout, options: &Options) -> Result<Process, Error> {
    let socket = layout.etcd_socket();
    // What a killed etcd left behind would look like a running one.
    if socket.exists() {
        fs::remove_file(&socket).map_err(Error::io("removing etcd's old socket"))?;
    }
    let mut process = spawn(binaries, layout, "etcd", layout.etcd())?;
    await_ready(&mut process, options.deadline, || async {
        UnixStream::connect(&socket).map(drop).map_err(|error| error.to_string())
    })
    .await?;
    Ok(process)
}

async fn start_apiserver(
    binaries: &Binaries,
    layout: &Layout,
    options: &Options,
    port: u16,
    config: &kube::Config,
) -> Result<Process, Error> {
    let args = layout.apiserver(port, options.controller_manager, &options.apiserver_args);
    let mut process = spawn(binaries, layout, "kube-apiserver", args)?;
    let client = Client::try_from(config.clone()).map_err(Error::api("accept a client"))?;
    await_ready(&mut process, options.deadline, || async {
        let request = Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
        client.request_text(request).await.map_err(|error| chain(&error))?;
        // Made by the API server itself, but not before it calls itself ready.
        let namespaces = Api::<Namespace>::all(client.clone());
        let default = namespaces.get("default").await;
        default.map(drop).map_err(|error| chain(&error))
    })
    .await?;
    Ok(process)
}

async fn start_controller_manager(
    binaries: &Binaries,
    layout: &Layout,
    options: &Options,
    config: &kube::Config,
) -> Result<Process, Error> {
    let args = layout.controller_manager();
    let client = Client::try_from(config.clone()).map_err(Error::api("accept a client"))?;
    let accounts = Api::<ServiceAccount>::namespaced(client, "default");
    // Its own port is closed; that this account appears shows that it works. One that worked before has left it.
    match accounts.delete("default", &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => return Err(Error::api("delete the service account default")(error)),
    }
    let mut process = spawn(binaries, layout, "kube-controller-manager", args)?;
    await_ready(&mut process, options.deadline, || async {
        let default = accounts.get("default").await;
        default.map(drop).map_err(|error| chain(&error))
    })
    .await?;
    Ok(process)
}

fn spawn(binaries: &Binaries, layout: &Layout, name: &'static str, args: Vec<String>) -> Result<Process, Error> {
    let log = layout.file(&format!("{name}.log"));
    Process::spawn(name, &binaries.program(name), args, &log, |command| {
        // As in a cluster, a proxy for the world outside is not for these.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.env_remove(name);
        }
    })
    .map_err(Error::io(format!("starting {name}")))
}

/// Asks until the process answers, ends, or has had its time.
async fn await_ready<F>(process: &mut Process, deadline: Duration, ask: impl Fn() -> F) -> Result<(), Error>
where
    F: Future<Output = Result<(), String>>,
{
    let began = Instant::now();
    loop {
        let answer =
            tokio::time::timeout(QUESTION, ask()).await.unwrap_or_else(|_| Err(format!("no answer in {QUESTION:?}")));
        let ended = process.try_wait().map_err(Error::io(format!("awaiting {}", process.name())))?;
        // An answer may come from somebody else who has the port, so a process that has ended is never ready.
        if let Some(status) = ended {
            return Err(Error::Exited { process: process.name(), status, log: process.log_tail() });
        }
        match answer {
            Ok(()) => return Ok(()),
            Err(last) if began.elapsed() >= deadline => {
                return Err(Error::NotReady {
                    process: process.name(),
                    after: deadline,
                    last,
                    log: process.log_tail(),
                });
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// A port that is free now. Somebody may take it before the API server does.
fn free_port() -> std::io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}

fn port_was_taken(log: &str) -> bool {
    log.contains("address already in use")
}
