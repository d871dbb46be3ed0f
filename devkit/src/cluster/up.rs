//! Bringing a node up: files, a process in namespaces of its own, and waiting until Pods can run.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node as NodeObject, ServiceAccount};
use kube::Api;

use super::error::Error;
use super::layout::{FIRST, Layout, NODE_NAME};
use super::missing::{self, which};
use super::net::{API_SERVICE, NODE_ADDRESS, NODE_LINK};
use super::node::{Node, stop, take_down};
use super::programs::{self, API_PORT, BASE, Folders, Program};
use super::{cgroups, config, net, pod, run};
use crate::controlplane::{self, Authority, Binaries, Credential, Signed};

/// How long a part may take to answer; a machine may be busy.
const ANSWERING: Duration = Duration::from_secs(120);
/// Folders that the programs expect.
const FOLDERS: [&str; 11] =
    ["programs", "start", "pid", "log", "sysctl", "cni", "var-lib", "var-log", "pod-logs", "volume-plugins", "kubelet"];

/// How a node came up.
#[derive(Debug)]
pub enum Arrival {
    /// It was up.
    Already,
    /// It was started: how long it took after its programs were there.
    Started(Duration),
}

impl Node {
    /// Brings a node up, or finds the one that is. The first time on a machine this builds the programs, which takes minutes.
    pub async fn up() -> Result<(Self, Arrival), Error> {
        // kube takes the process-wide provider; an error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if let Some(missing) = missing::missing(&tokio::task::block_in_place(missing::look)) {
            // Its own link and routes are no obstacle to the node that has them.
            return Err(missing.into());
        }
        let _lock = super::lock()?;
        if let Some(node) = Self::find() {
            return Ok((node, Arrival::Already));
        }
        let layout = Layout::default();
        let folders = tokio::task::block_in_place(built)?;
        // What one left that did not come up, or that was killed.
        take_down(&layout).await?;
        let began = Instant::now();
        match start(&layout, &folders).await {
            Ok(node) => Ok((node, Arrival::Started(began.elapsed()))),
            Err(error) => {
                // The folder stays, with the logs.
                stop(&layout).await?;
                Err(error)
            }
        }
    }
}

/// Folders with programs that are there.
struct Built {
    binaries: Binaries,
    node: std::path::PathBuf,
    names: std::path::PathBuf,
    pod: std::path::PathBuf,
}

fn built() -> Result<Built, Error> {
    let binaries = Binaries::find()?;
    let (node, names) = (controlplane::node_programs()?, controlplane::name_programs()?);
    let pod = pod::program(&controlplane::cache()?)?;
    Ok(Built { binaries, node, names, pod })
}

async fn start(layout: &Layout, built: &Built) -> Result<Node, Error> {
    let containerd = which("containerd").ok_or(Error::Down)?;
    let folders = Folders {
        control_plane: built.binaries.folder(),
        node: &built.node,
        names: &built.names,
        containerd: &containerd,
    };
    let programs = programs::all(layout, &folders);
    write_files(layout, &programs, &containerd)?;
    cgroups::make(Path::new(cgroups::TREE)).map_err(Error::io("making the node's control groups"))?;
    let node = spawn(layout, &programs)?;
    // `setsid` becomes `unshare`, which leaves this machine's network then; a link that is made before stays in it.
    let began = Instant::now();
    while !node.is_apart() {
        if node.has_ended() || began.elapsed() >= ANSWERING {
            let log = fs::read_to_string(layout.file("log/first.log")).unwrap_or_default();
            return Err(Error::Ended { expected: "it has a network of its own".to_owned(), log });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for call in net::link_up(node.process) {
        run::output("ip", call)?;
    }
    for name in BASE {
        begin(layout, name)?;
    }
    import_own_images(&node, &built.pod).await?;
    pods_can_run(&node, &programs).await?;
    let up = layout.file("up");
    fs::write(&up, "").map_err(Error::io(format!("writing {}", up.display())))?;
    Ok(node)
}

/// The image that holds a Pod's namespaces, and the one for Pods that show what they have.
async fn import_own_images(node: &Node, program: &Path) -> Result<(), Error> {
    let program = fs::read(program).map_err(Error::io("reading the program of the node's own containers"))?;
    for (name, command) in [(config::PAUSE_IMAGE, &["pause"][..]), (config::POD_IMAGE, &[])] {
        let archive = node.layout.file("image.tar");
        let image = pod::Image { name, program: "pod", command, user: "65532:65532" };
        pod::write_archive(&archive, &image, &program).map_err(Error::io(format!("writing the image {name}")))?;
        let import = async || node.import(&archive).map(drop).map_err(|error| error.to_string());
        node.until("containerd takes an image", "containerd", ANSWERING, import).await?;
        fs::remove_file(&archive).map_err(Error::io("removing the archive of an image"))?;
    }
    Ok(())
}

/// Lets the first process start a program.
fn begin(layout: &Layout, program: &str) -> Result<(), Error> {
    let path = layout.file(&format!("start/{program}"));
    fs::write(&path, "").map_err(Error::io(format!("writing {}", path.display())))
}

async fn pods_can_run(node: &Node, programs: &[Program]) -> Result<(), Error> {
    let client = node.client().await?;
    let ready = async || {
        let request = axum::http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
        client.request_text(request).await.map(drop).map_err(|error| controlplane::chain(&error))
    };
    node.until("the API server is ready", "kube-apiserver", ANSWERING, ready).await?;
    for program in programs.iter().filter(|program| !BASE.contains(&program.name)) {
        begin(&node.layout, program.name)?;
    }
    let nodes = Api::<NodeObject>::all(client.clone());
    let look = async || {
        let found = nodes.get_opt(NODE_NAME).await.map_err(|error| error.to_string())?;
        match found {
            Some(found) if is_ready(&found) => Ok(()),
            Some(_) => Err("it is not".to_owned()),
            None => Err("there is no such node".to_owned()),
        }
    };
    node.until(&format!("Node {NODE_NAME} is Ready"), "kubelet", ANSWERING, look).await?;
    let accounts = Api::<ServiceAccount>::namespaced(client, "default");
    let look = async || match accounts.get_opt("default").await.map_err(|error| error.to_string())? {
        Some(_) => Ok(()),
        None => Err("there is none".to_owned()),
    };
    // A Pod that is made before it is refused.
    node.until("there is a service account for Pods", "kube-controller-manager", ANSWERING, look).await
}

/// Whether the node says that it is ready.
fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Starts the first process. It leads a session of its own, so that it outlives this process and its terminal.
fn spawn(layout: &Layout, programs: &[Program]) -> Result<Node, Error> {
    let log = layout.file("log/first.log");
    let output = fs::File::create(&log).map_err(Error::io(format!("writing {}", log.display())))?;
    let both = output.try_clone().map_err(Error::io("opening the log"))?;
    let mut command = Command::new(which("setsid").unwrap_or_else(|| "setsid".into()));
    command
        .args([
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "--propagation",
            "private",
        ])
        .args(["sh", &layout.text(FIRST), &layout.root().display().to_string()])
        .args(programs.iter().map(|program| program.name))
        .env("VSNODE_LINK", NODE_LINK)
        .env("VSNODE_LINK_UP", net::link_inside())
        .env("PATH", search_path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(both);
    let child = command.spawn().map_err(Error::io("starting the node's first process"))?;
    let process = child.id();
    let pid = layout.file("node.pid");
    fs::write(&pid, process.to_string()).map_err(Error::io(format!("writing {}", pid.display())))?;
    Ok(Node { layout: layout.clone(), process })
}

/// Where programs are looked for: runc and nft are administrators' programs.
fn search_path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

fn write(layout: &Layout, name: &str, text: &str) -> Result<(), Error> {
    let path = layout.file(name);
    controlplane::write_private(&path, text).map_err(Error::io(format!("writing {}", path.display())))
}

fn write_files(layout: &Layout, programs: &[Program], containerd: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    let root = layout.root();
    let made = fs::DirBuilder::new().recursive(false).mode(0o700).create(root);
    made.map_err(Error::io(format!("making {}", root.display())))?;
    for folder in FOLDERS {
        fs::create_dir(layout.file(folder)).map_err(Error::io(format!("making {}", layout.text(folder))))?;
    }
    write_certificates(layout)?;
    let version = run::output(&containerd.display().to_string(), ["--version"])?;
    let runc = which("runc").ok_or(Error::Down)?;
    let shim = which("containerd-shim-runc-v2").ok_or(Error::Down)?;
    write(layout, "containerd.toml", &config::containerd(layout, config::is_second(&version), &runc, &shim))?;
    write(layout, "kubelet.json", &config::kubelet(layout).to_string())?;
    write(layout, "cni/10-pods.conflist", &config::network(layout).to_string())?;
    write(layout, "Corefile", &config::names(layout))?;
    write(layout, "resolv.conf", &config::resolver())?;
    write(layout, FIRST, include_str!("first.sh"))?;
    for program in programs {
        write(layout, &format!("programs/{}", program.name), &programs::script(program))?;
    }
    Ok(())
}

/// One authority signs for the server, for kubelet and for everybody who asks them.
fn write_certificates(layout: &Layout) -> Result<(), Error> {
    let authority = Authority::new()?;
    let (public, private) = controlplane::token_keys()?;
    let admin = authority.client("admin", "system:masters")?;
    let url = format!("https://{NODE_ADDRESS}:{API_PORT}");
    let kubeconfig = |file: &str, user: &str, signed: &Signed| {
        let credential = Credential::Certificate(signed);
        write(layout, file, &controlplane::kubeconfig_text(&url, authority.certificate(), user, "default", &credential))
    };
    kubeconfig("admin.kubeconfig", "admin", &admin)?;
    for (file, user, group) in [
        ("controller-manager.kubeconfig", "system:kube-controller-manager", "system:masters"),
        ("scheduler.kubeconfig", "system:kube-scheduler", "devkit"),
        ("proxy.kubeconfig", "system:kube-proxy", "devkit"),
        ("kubelet.kubeconfig", &format!("system:node:{NODE_NAME}"), "system:nodes"),
    ] {
        // The user's name stands in the certificate; a kubeconfig's own name for it is anything without a colon.
        kubeconfig(file, "devkit", &authority.client(user, group)?)?;
    }
    let names = [
        "127.0.0.1",
        "localhost",
        NODE_ADDRESS,
        API_SERVICE,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let (server, kubelet) = (authority.server(&names)?, authority.server(&[NODE_ADDRESS, NODE_NAME])?);
    for (name, signed) in [("apiserver", &server), ("kubelet", &kubelet), ("admin", &admin)] {
        write(layout, &format!("{name}.crt"), &signed.certificate)?;
        write(layout, &format!("{name}.key"), &signed.key)?;
    }
    write(layout, "ca.crt", authority.certificate())?;
    write(layout, "tokens.pub", &public)?;
    write(layout, "tokens.key", &private)
}
