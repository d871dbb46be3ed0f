//! A node that is up: its process, its images, its programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::Client;

use super::error::Error;
use super::layout::{Layout, is_node};
use super::run;
use super::{cgroups, net};
use crate::controlplane;

/// How often something is looked at while it is awaited.
const POLL: Duration = Duration::from_millis(30);
/// How long processes may take to end, and their mounts to go.
const ENDING: Duration = Duration::from_secs(20);
/// How much of a log an error shows.
const TAIL: usize = 25;

/// The node that is up on this machine. It outlives this process, and ends with [`Node::down`].
#[derive(Debug)]
pub struct Node {
    pub(super) layout: Layout,
    /// The process that started the node's first and ends with it.
    pub(super) process: u32,
}

impl Node {
    /// The node, if one is up.
    pub fn find() -> Option<Self> {
        let node = Self::running(&Layout::default())?;
        node.layout.file("up").is_file().then_some(node)
    }

    /// A node that runs, up or on its way there.
    pub(super) fn running(layout: &Layout) -> Option<Self> {
        let process = fs::read_to_string(layout.file("node.pid")).ok()?.trim().parse().ok()?;
        let node = Self { layout: layout.clone(), process };
        node.lives().then_some(node)
    }

    /// Whether its process is there. One that nobody has waited for yet has no command line any more.
    pub(super) fn lives(&self) -> bool {
        fs::read(format!("/proc/{}/cmdline", self.process)).is_ok_and(|line| is_node(&line, &self.layout))
    }

    /// Whether its process has ended. This process is its parent and has not waited for it, so its number is still its own.
    pub(super) fn has_ended(&self) -> bool {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.process));
        state.map_or(true, |state| state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
    }

    /// Whether its process has left this machine's network already.
    pub(super) fn is_apart(&self) -> bool {
        let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let own = network("self");
        self.lives() && network(&self.process.to_string()).is_some_and(|network| Some(network) != own)
    }

    /// A kubeconfig file of a user who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.file("admin.kubeconfig")
    }

    /// A client that may do everything.
    pub async fn client(&self) -> Result<Client, Error> {
        let config = controlplane::load(&self.kubeconfig()).await?;
        Client::try_from(config).map_err(|error| Error::Io {
            what: "making a client for the node".to_owned(),
            source: std::io::Error::other(error),
        })
    }

    /// Where its programs log.
    pub fn logs(&self) -> PathBuf {
        self.layout.file("log")
    }

    /// Gives the node the images of an archive, as `docker save` or `buildah push oci-archive:` writes it; what ctr says of it.
    pub fn import(&self, archive: &Path) -> Result<String, Error> {
        self.ctr(&["images", "import", &archive.display().to_string()])
    }

    /// Gives an image another name. The name is taken away from what had it.
    pub fn tag(&self, image: &str, name: &str) -> Result<(), Error> {
        self.ctr(&["images", "tag", "--force", image, name]).map(drop)
    }

    /// The names of its images.
    pub fn images(&self) -> Result<Vec<String>, Error> {
        Ok(self.ctr(&["images", "list", "--quiet"])?.lines().map(str::to_owned).collect())
    }

    fn ctr(&self, args: &[&str]) -> Result<String, Error> {
        let socket = self.layout.text("containerd.sock");
        run::output("ctr", ["--address", &socket, "--namespace", "k8s.io"].into_iter().chain(args.iter().copied()))
    }

    /// Kills the process of a container, as a crash does; kubelet starts it again. `container` is its id as a Pod's status has it.
    pub fn crash(&self, container: &str) -> Result<(), Error> {
        let id = container.strip_prefix("containerd://").unwrap_or(container);
        self.ctr(&["tasks", "kill", "--signal", "SIGKILL", id]).map(drop)
    }

    /// Kills a program of the node, which is then started again as a machine's init does; waits until there is another process.
    pub async fn restart(&self, program: &'static str) -> Result<(), Error> {
        let pid = || fs::read_to_string(self.layout.file(&format!("pid/{program}"))).unwrap_or_default();
        let before = pid();
        let first = self.first()?.to_string();
        let kill = ["--target", &first, "--pid", "sh", "-c", "kill -s KILL \"$1\"", "kill", before.trim()];
        run::output("nsenter", kill)?;
        let expected = format!("{program} is started again");
        let look = async || match pid() {
            now if now.trim().is_empty() || now == before => Err("it is not".to_owned()),
            _ => Ok(()),
        };
        self.until(&expected, program, ENDING, look).await
    }

    /// The process that has the number one in the node.
    fn first(&self) -> Result<u32, Error> {
        let path = format!("/proc/{0}/task/{0}/children", self.process);
        let children = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
        children.split_whitespace().next().and_then(|id| id.parse().ok()).ok_or(Error::Down)
    }

    /// Looks until `look` finds what is expected; it says what it saw instead otherwise.
    pub(super) async fn until(
        &self,
        expected: &str,
        program: &'static str,
        deadline: Duration,
        look: impl AsyncFn() -> Result<(), String>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let Err(seen) = look().await else { return Ok(()) };
            let expected = || expected.to_owned();
            if !self.lives() {
                return Err(Error::Ended { expected: expected(), log: self.log_tail("first") });
            }
            if began.elapsed() >= deadline {
                let (logs, tail) = (self.logs(), self.log_tail(program));
                let log = format!("the logs are in {}; the end of that of {program}:\n{tail}", logs.display());
                return Err(Error::NotSeen { expected: expected(), deadline, seen, log });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn log_tail(&self, program: &str) -> String {
        let text = fs::read(self.layout.file(&format!("log/{program}.log"))).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Ends the node and removes everything that it left on this machine; whether there was anything.
    pub async fn down() -> Result<bool, Error> {
        let _lock = super::lock()?;
        let layout = Layout::default();
        let was = layout.root().exists();
        take_down(&layout).await?;
        Ok(was)
    }
}

/// Ends the processes of a node: when the first of a PID namespace ends, the kernel ends all others.
async fn end(layout: &Layout) -> Result<(), Error> {
    let Some(node) = Node::running(layout) else { return Ok(()) };
    let first = node.first().ok();
    run::output("kill", ["-s", "KILL", &node.process.to_string()])?;
    let began = Instant::now();
    let first_lives = || first.is_some_and(|first| Path::new(&format!("/proc/{first}/exe")).read_link().is_ok());
    while (node.lives() || first_lives()) && began.elapsed() < ENDING {
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Takes down whatever there is, also what a node left that ended half way.
pub(super) async fn take_down(layout: &Layout) -> Result<(), Error> {
    stop(layout).await?;
    let root = layout.root();
    patiently(&format!("removing {}", root.display()), || match fs::remove_dir_all(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    })
    .await
}

/// Takes down everything but the node's folder.
pub(super) async fn stop(layout: &Layout) -> Result<(), Error> {
    end(layout).await?;
    if Path::new("/sys/class/net").join(net::HOST_LINK).exists() {
        // It may be going away by itself at this moment, with the namespace that has its other end.
        let _ = run::output("ip", ["link", "delete", net::HOST_LINK]);
    }
    let tree = Path::new(cgroups::TREE);
    patiently("removing the node's control groups", || cgroups::remove(tree)).await
}

/// Tries again for a while: the kernel needs a moment for what processes left that were killed.
async fn patiently(what: &str, attempt: impl Fn() -> std::io::Result<()>) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() >= ENDING => return Err(Error::io(what)(error)),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
