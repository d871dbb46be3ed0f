//! How the node's programs are called.

use std::path::Path;

use super::layout::{Layout, NODE_NAME};
use super::net::{NODE_ADDRESS, PODS, SERVICES};
use crate::controlplane;

/// The port of the API server.
pub(super) const API_PORT: u16 = 6443;

/// Folders with the programs.
#[derive(Debug, Clone)]
pub(super) struct Folders<'a> {
    /// etcd, API server and controller manager.
    pub(super) control_plane: &'a Path,
    /// kubelet, scheduler and kube-proxy.
    pub(super) node: &'a Path,
    /// CoreDNS.
    pub(super) names: &'a Path,
    /// The program of containerd.
    pub(super) containerd: &'a Path,
}

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Name, of its log too.
    pub(super) name: &'static str,
    /// The command line.
    pub(super) command: Vec<String>,
}

/// What has to run before anything else can.
pub(super) const BASE: [&str; 3] = ["etcd", "kube-apiserver", "containerd"];

/// All of them, those of [`BASE`] first.
pub(super) fn all(layout: &Layout, folders: &Folders<'_>) -> Vec<Program> {
    let text = |name: &str| layout.text(name);
    let program = |name: &'static str, folder: &Path, args: Vec<String>| {
        let mut command = vec![folder.join(name).display().to_string()];
        command.extend(args);
        Program { name, command }
    };
    // Also to find out who asks it, and what they may.
    let as_user = |file: &str| {
        let path = text(file);
        vec![
            format!("--kubeconfig={path}"),
            format!("--authentication-kubeconfig={path}"),
            format!("--authorization-kubeconfig={path}"),
            "--leader-elect=false".to_owned(),
            "--profiling=false".to_owned(),
            format!("--cert-dir={}", text("own-certificates")),
        ]
    };
    vec![
        program("etcd", folders.control_plane, controlplane::etcd_flags(layout.root())),
        program("kube-apiserver", folders.control_plane, apiserver(layout)),
        Program {
            name: "containerd",
            command: vec![folders.containerd.display().to_string(), format!("--config={}", text("containerd.toml"))],
        },
        program(
            "kube-controller-manager",
            folders.control_plane,
            [
                as_user("controller-manager.kubeconfig"),
                vec![
                    format!("--service-account-private-key-file={}", text("tokens.key")),
                    format!("--root-ca-file={}", text("ca.crt")),
                ],
            ]
            .concat(),
        ),
        program("kube-scheduler", folders.node, as_user("scheduler.kubeconfig")),
        program(
            "kubelet",
            folders.node,
            vec![
                format!("--config={}", text("kubelet.json")),
                format!("--kubeconfig={}", text("kubelet.kubeconfig")),
                format!("--hostname-override={NODE_NAME}"),
                format!("--node-ip={NODE_ADDRESS}"),
                format!("--root-dir={}", text("kubelet")),
                format!("--cert-dir={}", text("own-certificates")),
            ],
        ),
        program(
            "kube-proxy",
            folders.node,
            vec![
                format!("--kubeconfig={}", text("proxy.kubeconfig")),
                "--proxy-mode=nftables".to_owned(),
                format!("--hostname-override={NODE_NAME}"),
                format!("--cluster-cidr={PODS}"),
                // These are the whole machine's.
                "--conntrack-max-per-core=0".to_owned(),
                "--conntrack-min=0".to_owned(),
                "--conntrack-tcp-timeout-established=0".to_owned(),
                "--conntrack-tcp-timeout-close-wait=0".to_owned(),
            ],
        ),
        program("coredns", folders.names, vec![format!("-conf={}", text("Corefile"))]),
    ]
}

fn apiserver(layout: &Layout) -> Vec<String> {
    let text = |name: &str| layout.text(name);
    vec![
        format!("--etcd-servers=unix://{}", text("etcd.sock")),
        "--bind-address=0.0.0.0".into(),
        format!("--advertise-address={NODE_ADDRESS}"),
        format!("--secure-port={API_PORT}"),
        format!("--service-cluster-ip-range={SERVICES}"),
        format!("--tls-cert-file={}", text("apiserver.crt")),
        format!("--tls-private-key-file={}", text("apiserver.key")),
        format!("--client-ca-file={}", text("ca.crt")),
        format!("--cert-dir={}", text("own-certificates")),
        format!("--kubelet-client-certificate={}", text("admin.crt")),
        format!("--kubelet-client-key={}", text("admin.key")),
        format!("--kubelet-certificate-authority={}", text("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", text("tokens.pub")),
        format!("--service-account-signing-key-file={}", text("tokens.key")),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        "--profiling=false".into(),
    ]
}

/// A script that becomes the program.
pub(super) fn script(program: &Program) -> String {
    let words: Vec<String> = program.command.iter().map(|word| quoted(word)).collect();
    // A proxy for the world outside is not for a cluster.
    format!("unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy\nexec {}\n", words.join(" "))
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn programs() -> Vec<Program> {
        let folder = Path::new("/bin folder");
        let folders = Folders { control_plane: folder, node: folder, names: folder, containerd: Path::new("/c") };
        all(&Layout::new(Path::new("/state")), &folders)
    }

    #[test]
    fn what_the_others_need_comes_first() {
        let programs = programs();
        let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
        assert_eq!(names[..BASE.len()], BASE);
        assert_eq!(names.len(), 8);
    }

    #[test]
    fn every_program_is_told_where_to_write() {
        for program in programs() {
            let command = program.command.join(" ");
            assert!(command.contains("/state/"), "{command}");
        }
    }

    #[test]
    fn a_script_keeps_words_with_spaces_and_quotes_whole() {
        let program = Program { name: "x", command: vec!["/a b/x".into(), "it's".into()] };
        assert!(script(&program).ends_with("exec '/a b/x' 'it'\\''s'\n"), "{}", script(&program));
    }
}
