//! The files that the node's programs read.

use std::path::Path;

use serde_json::{Value, json};

use super::layout::{CGROUP, Layout, NODE_NAME};
use super::net::{NODE_ADDRESS, NODE_LINK, PODS};

/// The image of the container that holds a Pod's namespaces.
pub(super) const PAUSE_IMAGE: &str = "localhost/vaultsecret-node-pause:1";
/// The image of the node's own program for Pods.
pub const POD_IMAGE: &str = "localhost/vaultsecret-node-pod:1";
/// Where distributions put the CNI plugins.
pub(super) const CNI_PLUGINS: &str = "/usr/lib/cni";
/// What Pods ask for names.
const DNS_ADDRESS: &str = NODE_ADDRESS;

/// What kubelet reads. JSON is YAML.
pub(super) fn kubelet(layout: &Layout) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", layout.text("containerd.sock")),
        // Where the machine has these, the node puts up with them: a laptop has swap, an older machine the first cgroups.
        "failCgroupV1": false,
        "failSwapOn": false,
        "cgroupDriver": "cgroupfs",
        // Its own tree, so that it can be removed without a look at what else is there.
        "cgroupRoot": format!("/{CGROUP}"),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": layout.text("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": layout.text("kubelet.crt"),
        "tlsPrivateKeyFile": layout.text("kubelet.key"),
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": layout.text("resolv.conf"),
        "podLogsDir": layout.text("pod-logs"),
        "volumePluginDir": layout.text("volume-plugins"),
        // A changed Secret is in a running Pod's file within seconds instead of a minute.
        "syncFrequency": "2s",
        // The disk is the developer's own: it may be as full as it is.
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    })
}

/// What containerd reads; its second version has other names for the same. `runc` and `shim` are programs.
pub(super) fn containerd(layout: &Layout, second: bool, runc: &Path, shim: &Path) -> String {
    let text = |name: &str| layout.text(name);
    let (runc, shim) = (runc.display(), shim.display());
    let common = format!(
        "root = \"{}\"\nstate = \"{}\"\n\n[grpc]\n  address = \"{}\"\n\n[plugins.\"io.containerd.internal.v1.opt\"]\n  \
         path = \"{}\"\n",
        text("containerd"),
        text("containerd-run"),
        text("containerd.sock"),
        text("containerd-opt"),
    );
    // A container may lack the right to make itself a better victim of the kernel, and a machine AppArmor.
    let relaxed = "  disable_apparmor = true\n  restrict_oom_score_adj = true\n";
    let conf = text("cni");
    if second {
        format!(
            "version = 3\n{common}
[plugins.\"io.containerd.cri.v1.images\".pinned_images]
  sandbox = \"{PAUSE_IMAGE}\"

[plugins.\"io.containerd.cri.v1.runtime\"]
{relaxed}
[plugins.\"io.containerd.cri.v1.runtime\".cni]
  bin_dirs = [\"{CNI_PLUGINS}\"]
  conf_dir = \"{conf}\"

[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc]
  runtime_type = \"io.containerd.runc.v2\"
  runtime_path = \"{shim}\"

[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc.options]
  BinaryName = \"{runc}\"
  SystemdCgroup = false
"
        )
    } else {
        format!(
            "version = 2\n{common}
[plugins.\"io.containerd.grpc.v1.cri\"]
  sandbox_image = \"{PAUSE_IMAGE}\"
{relaxed}
[plugins.\"io.containerd.grpc.v1.cri\".cni]
  bin_dir = \"{CNI_PLUGINS}\"
  conf_dir = \"{conf}\"

[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
  runtime_type = \"io.containerd.runc.v2\"

[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
  BinaryName = \"{runc}\"
  SystemdCgroup = false
"
        )
    }
}

/// Whether `containerd --version` names the second version: `containerd github.com/containerd/containerd/v2 v2.1.0 …`.
pub(super) fn is_second(version: &str) -> bool {
    let number = version.split_whitespace().nth(2).unwrap_or_default();
    number.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(1) >= 2
}

/// The Pods' network: a bridge, and addresses counted in a folder.
pub(super) fn network(layout: &Layout) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": NODE_NAME,
        "plugins": [{
            "type": "bridge",
            "bridge": "vspods0",
            "isGateway": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": layout.text("pod-addresses"),
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

/// What CoreDNS reads: names of Services and Pods, and none of the world outside, which Pods cannot reach.
pub(super) fn names(layout: &Layout) -> String {
    let kubeconfig = layout.text("admin.kubeconfig");
    format!(
        ".:53 {{\n    bind {DNS_ADDRESS}\n    errors\n    kubernetes cluster.local {{\n        kubeconfig {kubeconfig}\n    }}\n}}\n"
    )
}

/// What the node itself asks for names.
pub(super) fn resolver() -> String {
    format!("# of {NODE_LINK}\nnameserver {DNS_ADDRESS}\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn layout() -> Layout {
        Layout::new(Path::new("/state"))
    }

    #[test]
    fn containerd_of_either_version_is_told_the_same() {
        let old = containerd(&layout(), false, Path::new("/x/runc"), Path::new("/x/shim"));
        let new = containerd(&layout(), true, Path::new("/x/runc"), Path::new("/x/shim"));
        for text in [&old, &new] {
            for wanted in [
                PAUSE_IMAGE,
                CNI_PLUGINS,
                "BinaryName = \"/x/runc\"",
                "conf_dir = \"/state/cni\"",
                "root = \"/state/containerd\"",
            ] {
                assert!(text.contains(wanted), "{wanted} in {text}");
            }
        }
        assert!(old.starts_with("version = 2\n"), "{old}");
        assert!(new.starts_with("version = 3\n"), "{new}");
    }

    #[test]
    fn the_version_of_containerd_is_read() {
        assert!(!is_second("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3"));
        assert!(is_second(
            "containerd github.com/containerd/containerd/v2 v2.1.0 061792f0ecf3684fb30a3a0eb006799b8c6638a7"
        ));
        assert!(is_second("containerd github.com/containerd/containerd/v2 2.1.4-0ubuntu1"));
        assert!(!is_second(""));
    }

    #[test]
    fn everything_that_is_written_is_in_the_nodes_folder() {
        let kubelet = kubelet(&layout());
        for pointer in ["/podLogsDir", "/volumePluginDir", "/tlsCertFile", "/resolvConf"] {
            assert!(kubelet.pointer(pointer).unwrap().as_str().unwrap().starts_with("/state/"), "{pointer}");
        }
        assert_eq!(network(&layout())["plugins"][0]["ipam"]["dataDir"], "/state/pod-addresses");
        assert!(names(&layout()).contains("kubeconfig /state/admin.kubeconfig"));
    }
}
