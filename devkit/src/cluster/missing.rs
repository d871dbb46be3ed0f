//! What a machine has to have for a real node, and what to do where it has not.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::config::CNI_PLUGINS;
use super::net;

/// Programs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 11] = [
    ("containerd", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("cc", "gcc libc6-dev"),
];
/// CNI plugins that the node's network consists of.
const PLUGINS: [&str; 3] = ["bridge", "host-local", "loopback"];
/// Where administrators' programs are, which is not in everybody's PATH.
const MORE_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What was found on the machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Its system, as Rust calls it.
    pub(super) system: String,
    /// Whether this process may do everything.
    pub(super) root: bool,
    /// Programs.
    pub(super) programs: BTreeSet<String>,
    /// CNI plugins.
    pub(super) plugins: BTreeSet<String>,
    /// Whether there is a file system of control groups.
    pub(super) cgroups: bool,
    /// The compiler's target for static programs, and whether it is there.
    pub(super) target: (String, bool),
    /// What `ip -4 route` prints.
    pub(super) routes: String,
}

/// Everything that stands in the way. Shown as one text with one command at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Missing {
    lacks: Vec<String>,
    packages: BTreeSet<&'static str>,
    commands: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a real node cannot run here:")?;
        for lack in &self.lacks {
            write!(f, "\n  - {lack}")?;
        }
        let packages: Vec<&str> = self.packages.iter().copied().collect();
        if !packages.is_empty() {
            write!(f, "\nOn Debian and Ubuntu: apt-get install {}", packages.join(" "))?;
        }
        for command in &self.commands {
            write!(f, "\nRun: {command}")?;
        }
        Ok(())
    }
}

/// What is missing; nothing if the node can run.
pub(super) fn missing(found: &Found) -> Option<Missing> {
    let mut missing = Missing::default();
    if found.system != "linux" {
        missing
            .lacks
            .push(format!("it needs Linux, and this is {}; a virtual machine with Linux will do", found.system));
        return Some(missing);
    }
    if !found.root {
        missing.lacks.push("it needs root for namespaces, mounts and control groups: run it with sudo -E".to_owned());
    }
    for (program, package) in PROGRAMS.iter().filter(|(program, _)| !found.programs.contains(*program)) {
        missing.lacks.push(format!("there is no program {program}"));
        missing.packages.insert(package);
    }
    for plugin in PLUGINS.iter().filter(|plugin| !found.plugins.contains(**plugin)) {
        missing.lacks.push(format!("there is no CNI plugin {CNI_PLUGINS}/{plugin}"));
        missing.packages.insert("containernetworking-plugins");
    }
    if !found.cgroups {
        missing.lacks.push("there are no control groups at /sys/fs/cgroup".to_owned());
        missing.commands.push("mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_owned());
    }
    let (target, there) = &found.target;
    if !there {
        missing.lacks.push(format!("Rust cannot build static programs ({target})"));
        missing.commands.push(format!("rustup target add {target}"));
    }
    if let Some(route) = net::taken(&found.routes) {
        missing.lacks.push(format!("the node's addresses, 10.199.0.0/16, are in use by this route: {route}"));
    }
    (missing != Missing::default()).then_some(missing)
}

/// The program in one of the folders of PATH or of administrators.
pub(super) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).filter(|folder| !folder.as_os_str().is_empty());
    folders.chain(MORE_FOLDERS.map(PathBuf::from)).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Looks around on this machine.
pub(super) fn look() -> Found {
    use std::os::unix::fs::MetadataExt as _;
    let programs = PROGRAMS.iter().map(|(program, _)| *program).filter(|program| which(program).is_some());
    let plugins = PLUGINS.iter().copied().filter(|plugin| Path::new(CNI_PLUGINS).join(plugin).is_file());
    let target = super::pod::target();
    let there = super::pod::has_target(&target);
    Found {
        system: std::env::consts::OS.to_owned(),
        root: std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0),
        programs: programs.map(str::to_owned).collect(),
        plugins: plugins.map(str::to_owned).collect(),
        cgroups: !super::cgroups::folders(Path::new(super::cgroups::TREE)).is_empty(),
        target: (target, there),
        routes: super::run::output("ip", ["-4", "route"]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn complete() -> Found {
        Found {
            system: "linux".into(),
            root: true,
            programs: PROGRAMS.iter().map(|(program, _)| (*program).to_owned()).collect(),
            plugins: PLUGINS.iter().map(|plugin| (*plugin).to_owned()).collect(),
            cgroups: true,
            target: ("x86_64-unknown-linux-musl".into(), true),
            routes: "default via 192.168.0.1 dev eth0".into(),
        }
    }

    #[test]
    fn a_machine_with_everything_lacks_nothing() {
        assert_eq!(missing(&complete()), None);
    }

    #[test]
    fn packages_are_installed_by_one_command() {
        let mut found = complete();
        for program in ["runc", "containerd", "ctr", "nft"] {
            found.programs.remove(program);
        }
        found.plugins.clear();
        let text = missing(&found).unwrap().to_string();
        let last = text.lines().last().unwrap();
        assert_eq!(last, "On Debian and Ubuntu: apt-get install containerd containernetworking-plugins nftables runc");
        assert!(text.contains("\n  - there is no CNI plugin /usr/lib/cni/bridge\n"), "{text}");
    }

    #[test]
    fn each_other_obstacle_is_named_with_what_mends_it() {
        let with = |change: fn(&mut Found)| {
            let mut found = complete();
            change(&mut found);
            missing(&found).unwrap().to_string()
        };
        assert!(with(|found| found.root = false).contains("sudo -E"));
        assert!(with(|found| found.cgroups = false).ends_with("Run: mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
        assert!(with(|found| found.target.1 = false).ends_with("Run: rustup target add x86_64-unknown-linux-musl"));
        assert!(
            with(|found| found.routes = "10.0.0.0/8 dev vpn0".into())
                .contains("in use by this route: 10.0.0.0/8 dev vpn0")
        );
    }

    #[test]
    fn on_another_system_nothing_else_is_asked_for() {
        let found = Found { system: "macos".into(), ..Found::default() };
        assert_eq!(
            missing(&found).unwrap().to_string(),
            "a real node cannot run here:\n  - it needs Linux, and this is macos; a virtual machine with Linux will do"
        );
    }
}
