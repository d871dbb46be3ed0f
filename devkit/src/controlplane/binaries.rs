//! Where the programs of the control plane are: given by the environment, or built once and kept.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};

use super::build;

/// The Go module that pins Kubernetes and etcd.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/controlplane");

/// The Go module that pins helm and kubeconform, apart from the other: each picks the versions that it needs of what both
/// depend on.
const CHART_MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/chart-tools");

/// What is built of it.
const CHART_TOOLS: build::Programs =
    &[("helm", "helm.sh/helm/v4/cmd/helm"), ("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")];

/// The Go module that pins what a node needs besides a control plane. Of the same version of Kubernetes.
const NODE_MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node");

/// What is built of it.
const NODE_PROGRAMS: build::Programs = &[
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
];

/// The Go module of what answers for names in a cluster.
const NAMES_MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dns");

/// What is built of it.
const NAMES_PROGRAMS: build::Programs = &[("coredns", ".")];

/// The programs without which there is no control plane.
const NEEDED: &[&str] = &["etcd", "kube-apiserver", "kube-controller-manager"];

/// Why the control plane's programs are not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinariesError {
    /// There is no Go.
    #[error(
        "the test control plane is built from Go modules, and there is no `go` in PATH: install Go {needed} or newer \
         (https://go.dev/dl/), or let KUBEBUILDER_ASSETS name a folder with etcd, kube-apiserver and kube-controller-manager"
    )]
    NoGo {
        /// The version that go.mod names.
        needed: String,
    },
    /// There is a Go that cannot build this Kubernetes.
    #[error(
        "the test control plane is built from Go modules and needs Go {needed} or newer, but {} is {found}: install a newer Go \
         (https://go.dev/dl/), or let KUBEBUILDER_ASSETS name a folder with etcd, kube-apiserver and kube-controller-manager",
        go.display()
    )]
    OldGo {
        /// The version that go.mod names.
        needed: String,
        /// The version found.
        found: String,
        /// The program found.
        go: PathBuf,
    },
    /// Neither XDG_CACHE_HOME nor HOME is set.
    #[error("no folder to keep the control plane's programs in: set XDG_CACHE_HOME or HOME")]
    NoCache,
    /// A program did not compile, or its sources could not be downloaded.
    #[error("building {program} failed; the end of what Go said:\n{output}")]
    Build {
        /// Which program.
        program: &'static str,
        /// The tail of Go's output.
        output: String,
    },
    /// A file could not be read or written.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl BinariesError {
    /// A [`BinariesError::Io`], for `map_err`.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// The folder with the control plane's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Finds the programs, and builds them the first time. That takes minutes, which standard error tells; it blocks.
    pub fn find() -> Result<Self, BinariesError> {
        Self::find_with(&Search::from_environment())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// kubectl, unless the folder was given by the environment and has none.
    pub fn kubectl(&self) -> Option<PathBuf> {
        Some(self.program("kubectl")).filter(|path| path.is_file())
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn find_with(search: &Search) -> Result<Self, BinariesError> {
        if let Some(folder) = search.assets.as_deref() {
            match missing(folder, NEEDED).as_slice() {
                [] => {
                    return Ok(Self { folder: folder.to_owned() });
                }
                names => build::say(&format!(
                    "KUBEBUILDER_ASSETS ({}) has no {}: using the control plane built from Go modules",
                    folder.display(),
                    names.join(", ")
                )),
            }
        }
        built(search, "controlplane", Path::new(MODULE), build::PROGRAMS).map(|folder| Self { folder })
    }
}

/// Finds a program that the chart is made and tested with (helm, kubeconform), and builds all of them the first time. It blocks.
///
/// # Errors
/// When there is no Go, or it does not build.
pub fn chart_tool(name: &str) -> Result<PathBuf, BinariesError> {
    let folder = built(&Search::from_environment(), "chart-tools", Path::new(CHART_MODULE), CHART_TOOLS)?;
    Ok(folder.join(name))
}

/// The folder with kubelet, kube-scheduler and kube-proxy, built the first time. It blocks.
pub(crate) fn node_programs() -> Result<PathBuf, BinariesError> {
    built(&Search::from_environment(), "node", Path::new(NODE_MODULE), NODE_PROGRAMS)
}

/// The folder with coredns, built the first time. It blocks.
pub(crate) fn name_programs() -> Result<PathBuf, BinariesError> {
    built(&Search::from_environment(), "dns", Path::new(NAMES_MODULE), NAMES_PROGRAMS)
}

/// Where everything is kept that is built once.
pub(crate) fn cache() -> Result<PathBuf, BinariesError> {
    Search::from_environment().cache.map(|cache| cache.join("vaultsecret-devkit")).ok_or(BinariesError::NoCache)
}

/// The folder with the programs that a Go module pins, built the first time.
fn built(search: &Search, kind: &str, module: &Path, programs: build::Programs) -> Result<PathBuf, BinariesError> {
    let cache = search.cache.as_deref().ok_or(BinariesError::NoCache)?;
    let go_mod = module.join("go.mod");
    let pins = fs::read_to_string(&go_mod).map_err(BinariesError::io(format!("reading {}", go_mod.display())))?;
    let plan = build::Plan::new(programs, module, &pins);
    let folder = cache.join("vaultsecret-devkit").join(format!("{kind}-{}", key(&pins, &plan.ldflags)));
    build::ensure(&plan, &folder, search.path.as_ref())?;
    Ok(folder)
}

/// What of the environment decides where the programs are.
#[derive(Debug, Default)]
struct Search {
    assets: Option<PathBuf>,
    cache: Option<PathBuf>,
    path: Option<OsString>,
}

impl Search {
    fn from_environment() -> Self {
        Self {
            assets: env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()).map(PathBuf::from),
            cache: cache_home(env::var_os("XDG_CACHE_HOME"), env::home_dir()),
            path: env::var_os("PATH"),
        }
    }
}

/// The user's cache folder. The XDG specification has a relative path ignored.
fn cache_home(xdg: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    xdg.map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| home.filter(|path| path.is_absolute()).map(|path| path.join(".cache")))
}

/// Those of `names` that are no file in `folder`.
pub(super) fn missing<'a>(folder: &Path, names: &[&'a str]) -> Vec<&'a str> {
    names.iter().copied().filter(|name| !folder.join(name).is_file()).collect()
}

/// A name for what is built from these pins with these flags. Not a matter of security: a collision would need two of our
/// own versions to meet.
fn key(pins: &str, ldflags: &str) -> String {
    let mut hash = Fnv::default();
    hash.write(pins.as_bytes());
    hash.write(&[0]);
    hash.write(ldflags.as_bytes());
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "{:016x}", hash.finish());
    text
}

/// FNV-1a. The standard library's hash may change with the compiler, and then everything would be built anew.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn complete_assets_are_used_and_kubectl_is_optional() {
        let folder = folder_with(NEEDED);
        let search = Search { assets: Some(folder.path().to_owned()), ..Search::default() };
        let found = Binaries::find_with(&search).unwrap();
        assert_eq!(found.folder(), folder.path());
        assert_eq!(found.kubectl(), None);
        fs::write(folder.path().join("kubectl"), "").unwrap();
        assert_eq!(found.kubectl(), Some(folder.path().join("kubectl")));
    }

    #[test]
    fn incomplete_assets_fall_back_to_building_which_without_go_says_what_to_install() {
        let assets = folder_with(&["etcd", "kube-apiserver", "kubectl"]);
        let cache = tempfile::tempdir().unwrap();
        for path in [None, Some(OsString::new())] {
            let search = Search { assets: Some(assets.path().to_owned()), cache: Some(cache.path().to_owned()), path };
            let error = Binaries::find_with(&search).unwrap_err().to_string();
            assert_eq!(
                error,
                "the test control plane is built from Go modules, and there is no `go` in PATH: install Go 1.26.0 or newer \
                 (https://go.dev/dl/), or let KUBEBUILDER_ASSETS name a folder with etcd, kube-apiserver and \
                 kube-controller-manager"
            );
        }
    }

    #[test]
    fn without_a_cache_folder_the_error_names_the_variables() {
        let error = Binaries::find_with(&Search::default()).unwrap_err().to_string();
        assert!(error.contains("XDG_CACHE_HOME or HOME"), "{error}");
    }

    #[test]
    fn the_cache_folder_follows_the_xdg_specification() {
        let home = || Some(PathBuf::from("/home/me"));
        assert_eq!(cache_home(Some("/x".into()), home()), Some("/x".into()));
        assert_eq!(cache_home(Some("x".into()), home()), Some("/home/me/.cache".into()));
        assert_eq!(cache_home(Some("".into()), home()), Some("/home/me/.cache".into()));
        assert_eq!(cache_home(None, home()), Some("/home/me/.cache".into()));
        assert_eq!(cache_home(None, Some("".into())), None);
    }

    #[test]
    fn other_pins_or_flags_are_kept_elsewhere() {
        assert_eq!(key("a", "b"), key("a", "b"));
        assert_ne!(key("a", "b"), key("a", "c"));
        assert_ne!(key("a", "b"), key("ab", ""));
        assert_eq!(key("", ""), "af63bd4c8601b7df", "FNV-1a of one zero byte");
    }

    #[test]
    fn a_node_is_of_the_control_planes_version() {
        let version = |module: &str| {
            let pins = fs::read_to_string(Path::new(module).join("go.mod")).unwrap();
            pins.lines().find(|line| line.contains("k8s.io/kubernetes v")).unwrap().trim().to_owned()
        };
        assert_eq!(version(NODE_MODULE).split(' ').nth(1), version(MODULE).split(' ').nth(1));
    }
}
