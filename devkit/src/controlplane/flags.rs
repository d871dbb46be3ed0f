//! How etcd, the API server and the controller manager are called.

use std::path::{Path, PathBuf};

/// Service addresses; nothing listens there, but the API server wants to allot them.
const SERVICE_RANGE: &str = "10.0.0.0/24";

/// The issuer of service account tokens, as in a real cluster.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What the API server's certificate is valid for.
pub(super) const SERVER_NAMES: &[&str] =
    &["127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.0.0.1"];

/// The controllers that tests and the demo lean on. Of the others most watch nodes, volumes or certificates, which nobody
/// makes here, and each costs memory and a slower start.
const CONTROLLERS: &[&str] = &[
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
];

/// Every request leaves one record: of a watch the start (and the end, which the reader leaves out), of others the end.
pub(super) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// etcd's arguments for data and sockets in `folder`.
pub(crate) fn etcd_flags(folder: &Path) -> Vec<String> {
    Layout::new(folder).etcd()
}

/// The files of a control plane.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The files under `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// One of the files.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The socket at which etcd answers. A socket needs no port, and nobody else can reach it.
    pub(super) fn etcd_socket(&self) -> PathBuf {
        self.file("etcd.sock")
    }

    fn text(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// etcd's arguments. Its data is thrown away, so it never waits for the disk.
    pub(super) fn etcd(&self) -> Vec<String> {
        let client = format!("unix://{}", self.text("etcd.sock"));
        let peer = format!("unix://{}", self.text("peer.sock"));
        vec![
            "--name=devkit".into(),
            format!("--data-dir={}", self.text("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=devkit={peer}"),
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
        ]
    }

    /// The API server's arguments.
    pub(super) fn apiserver(&self, port: u16, controller_manager: bool, more: &[String]) -> Vec<String> {
        let mut args = vec![
            format!("--etcd-servers=unix://{}", self.text("etcd.sock")),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            // A loopback address is no endpoint, so nobody keeps the endpoints of the service `kubernetes`.
            "--endpoint-reconciler-type=none".into(),
            format!("--secure-port={port}"),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            format!("--tls-cert-file={}", self.text("server.crt")),
            format!("--tls-private-key-file={}", self.text("server.key")),
            // No requestheader CA: there is no front proxy, and 1.37 refuses one that is the client CA as well.
            format!("--client-ca-file={}", self.text("ca.crt")),
            format!("--service-account-issuer={ISSUER}"),
            format!("--service-account-key-file={}", self.text("tokens.pub")),
            format!("--service-account-signing-key-file={}", self.text("tokens.key")),
            "--authorization-mode=RBAC".into(),
            "--allow-privileged=true".into(),
            "--max-requests-inflight=2000".into(),
            "--max-mutating-requests-inflight=1000".into(),
            "--profiling=false".into(),
            format!("--audit-policy-file={}", self.text("audit-policy.yaml")),
            format!("--audit-log-path={}", self.text("audit.log")),
            // A request is answered after its record is written, so that a count right after it is exact …
            "--audit-log-mode=blocking".into(),
            // … and the file is never rotated away from its reader (megabytes).
            "--audit-log-maxsize=1000000".into(),
        ];
        if !controller_manager {
            // Without the controller that makes the account `default`, this plugin would refuse every Pod.
            args.push("--disable-admission-plugins=ServiceAccount".into());
        }
        args.extend_from_slice(more);
        args
    }

    /// The controller manager's arguments.
    pub(super) fn controller_manager(&self) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.text("controller-manager.kubeconfig")),
            format!("--controllers={}", CONTROLLERS.join(",")),
            format!("--service-account-private-key-file={}", self.text("tokens.key")),
            format!("--root-ca-file={}", self.text("ca.crt")),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
            "--profiling=false".into(),
        ]
    }
}
