//! Building the control plane's programs from the pinned Go modules.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::binaries::{BinariesError, missing};
use super::process::Process;

/// Programs and the packages they are built from.
pub(super) type Programs = &'static [(&'static str, &'static str)];

/// Those of the control plane; the slowest is last but one, the one that only people use is last.
pub(super) const PROGRAMS: Programs = &[
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// How often a build that takes long says that it still goes on.
const PULSE: Duration = Duration::from_secs(15);

/// What is built and how.
#[derive(Debug)]
pub(super) struct Plan {
    programs: Programs,
    module: PathBuf,
    go_version: String,
    /// The linker's flags.
    pub(super) ldflags: String,
}

impl Plan {
    /// Reads what go.mod pins.
    pub(super) fn new(programs: Programs, module: &Path, go_mod: &str) -> Self {
        let word_after = |first: &str| {
            go_mod
                .lines()
                .find_map(|line| line.trim().strip_prefix(first)?.strip_prefix(' ')?.split_whitespace().next())
        };
        Self {
            programs,
            module: module.to_owned(),
            go_version: word_after("go").unwrap_or("1").to_owned(),
            ldflags: ldflags(word_after("k8s.io/kubernetes")),
        }
    }
}

/// Without these flags Kubernetes calls itself v0.0.0-master, which a chart's `kubeVersion` refuses, and its clients name no
/// version.
fn ldflags(kubernetes: Option<&str>) -> String {
    let mut flags = String::from("-s -w");
    let Some(version) = kubernetes else { return flags };
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in [("Version", version), ("Major", major), ("Minor", minor), ("TreeState", "clean")] {
            flags.push_str(&format!(" -X {package}.git{name}={value}"));
        }
    }
    flags
}

/// Tells the person who waits. Written past the test harness, which would hold it back until the test has ended.
pub(crate) fn say(line: &str) {
    // Nothing is lost when standard error is closed.
    let _ = writeln!(std::io::stderr(), "devkit: {line}");
}

/// Sees to it that every program is in `folder`. Of several processes that ask at once, one builds and the others wait.
pub(super) fn ensure(plan: &Plan, folder: &Path, path: Option<&OsString>) -> Result<(), BinariesError> {
    let names: Vec<&str> = plan.programs.iter().map(|(name, _)| *name).collect();
    if missing(folder, &names).is_empty() {
        return Ok(());
    }
    let go = find_go(path).ok_or_else(|| BinariesError::NoGo { needed: plan.go_version.clone() })?;
    check_version(plan, &go)?;
    fs::create_dir_all(folder).map_err(BinariesError::io(format!("making {}", folder.display())))?;
    // Held until the function returns; the kernel lets it go when the process dies.
    let _lock = lock(&folder.join(".lock"))?;
    for (position, (name, package)) in plan.programs.iter().enumerate() {
        if missing(folder, &[name]).is_empty() {
            continue;
        }
        let of = format!("{name} ({} of {})", position + 1, plan.programs.len());
        build(plan, &go, folder, name, package, &of)?;
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, BinariesError> {
    let failed = |source| BinariesError::Io { what: format!("locking {}", path.display()), source };
    let file = File::create(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("another process builds the same programs, waiting for it");
            file.lock().map_err(failed)?;
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    Ok(file)
}

fn build(
    plan: &Plan,
    go: &Path,
    folder: &Path,
    name: &'static str,
    package: &str,
    of: &str,
) -> Result<(), BinariesError> {
    let failed = |what: &str| BinariesError::io(format!("{what} {name} in {}", folder.display()));
    let partial = folder.join(format!(".{name}"));
    let log = folder.join(format!(".{name}.log"));
    let ldflags = format!("-ldflags={}", plan.ldflags);
    let args = [
        OsString::from("build"),
        "-trimpath".into(),
        ldflags.into(),
        "-o".into(),
        partial.clone().into(),
        package.into(),
    ];
    say(&format!("building {of}; it is kept in {}", folder.display()));
    let began = Instant::now();
    let mut next = PULSE;
    let mut process = Process::spawn(name, go, args, &log, |command: &mut Command| {
        command
            .current_dir(&plan.module)
            // A workspace around this checkout, or flags that vendor, would choose other versions; without cgo no C compiler
            // is needed.
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=readonly")
            .env("CGO_ENABLED", "0");
    })
    .map_err(failed("starting the build of"))?;
    let status = loop {
        if let Some(status) = process.try_wait().map_err(failed("awaiting the build of"))? {
            break status;
        }
        if began.elapsed() >= next {
            say(&format!("building {of}: {} s", began.elapsed().as_secs()));
            next += PULSE;
        }
        // A build takes minutes, and this thread was made to wait for it.
        #[allow(clippy::disallowed_methods)]
        thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        return Err(BinariesError::Build { program: name, output: process.log_tail() });
    }
    // The name appears with the finished file only.
    fs::rename(&partial, folder.join(name)).map_err(failed("keeping"))?;
    fs::remove_file(&log).map_err(failed("removing the log of"))?;
    say(&format!("built {of} in {} s", began.elapsed().as_secs()));
    Ok(())
}

/// `go` in one of the folders of `path`. An empty entry would mean the working folder, which is nobody's intention.
fn find_go(path: Option<&OsString>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(|folder| folder.join("go"))
        .find(|go| go.is_file())
}

/// Asks Go for its version inside the module, where a Go that may fetch the toolchain that go.mod names does so.
fn check_version(plan: &Plan, go: &Path) -> Result<(), BinariesError> {
    let ask = |folder: &Path| {
        Command::new(go)
            .args(["env", "GOVERSION"])
            .env("GOWORK", "off")
            .current_dir(folder)
            .output()
            .map_err(BinariesError::io(format!("running {}", go.display())))
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let inside = ask(&plan.module)?;
    let found = text(&inside.stdout);
    if inside.status.success() && is_new_enough(&found, &plan.go_version) {
        return Ok(());
    }
    let outside = text(&ask(Path::new("/"))?.stdout);
    Err(BinariesError::OldGo {
        needed: plan.go_version.clone(),
        found: if outside.is_empty() { found } else { outside },
        go: go.to_owned(),
    })
}

/// Compares `go1.26.8` with `1.26.0`. A release candidate comes before its release; a version without numbers (a development
/// version) is left to Go itself.
fn is_new_enough(found: &str, needed: &str) -> bool {
    let numbers = |version: &str| -> Vec<u32> {
        version
            .trim_start_matches("go")
            .split('.')
            .map_while(|part| {
                let end = part.find(|c: char| !c.is_ascii_digit());
                part[..end.unwrap_or(part.len())].parse().ok()
            })
            .collect()
    };
    let found = numbers(found);
    found.is_empty() || found >= numbers(needed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GO_MOD: &str = "module x\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v1.37.2\n)\n";

    fn fake_go(folder: &Path, script: &str) -> OsString {
        let go = folder.join("go");
        fs::write(&go, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&go, fs::Permissions::from_mode(0o755)).unwrap();
        folder.as_os_str().to_owned()
    }

    #[test]
    fn kubernetes_is_told_the_version_that_go_mod_pins() {
        let plan = Plan::new(PROGRAMS, Path::new("/"), GO_MOD);
        assert_eq!(plan.go_version, "1.26.0");
        for flag in ["gitVersion=v1.37.2 ", "gitMajor=1 ", "gitMinor=37 "] {
            assert!(plan.ldflags.contains(flag), "{flag} in {}", plan.ldflags);
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(is_new_enough("go1.26.8", "1.26.0"));
        assert!(is_new_enough("go1.100.0", "1.26.0"));
        assert!(is_new_enough("go2.0", "1.26.0"));
        assert!(!is_new_enough("go1.25.9", "1.26.0"));
        assert!(!is_new_enough("go1.9", "1.26.0"));
        assert!(is_new_enough("devel +abc", "1.26.0"));
        assert!(is_new_enough("go1.27rc1", "1.26.0"));
        assert!(!is_new_enough("go1.26rc2", "1.26.0"));
        assert!(is_new_enough("go1.26.0 X:experiment", "1.26.0"));
    }

    #[test]
    fn an_old_go_is_named_with_the_version_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let path = fake_go(folder.path(), "echo go1.25.4");
        let plan = Plan::new(PROGRAMS, folder.path(), GO_MOD);
        let error = ensure(&plan, &folder.path().join("out"), Some(&path)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("needs Go 1.26.0 or newer"), "{text}");
        assert!(text.contains("/go is go1.25.4"), "{text}");
    }

    #[test]
    fn a_failed_build_shows_what_go_said_and_leaves_no_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = fake_go(folder.path(), "[ \"$1\" = env ] && { echo go1.26.0; exit; }; echo 'disk full' >&2; exit 1");
        let plan = Plan::new(PROGRAMS, folder.path(), GO_MOD);
        let out = folder.path().join("out");
        let error = ensure(&plan, &out, Some(&path)).unwrap_err();
        assert!(error.to_string().contains("building etcd failed"), "{error}");
        assert!(error.to_string().contains("disk full"), "{error}");
        assert!(!out.join("etcd").exists());
    }

    #[test]
    fn parallel_callers_build_each_program_once() {
        let folder = tempfile::tempdir().unwrap();
        let calls = folder.path().join("calls");
        // go build -trimpath -ldflags=… -o FILE PACKAGE
        let script = format!(
            "[ \"$1\" = env ] && {{ echo go1.26.0; exit; }}; echo \"$6\" >> {}; echo program > \"$5\"",
            calls.display()
        );
        let path = fake_go(folder.path(), &script);
        let plan = Plan::new(PROGRAMS, folder.path(), GO_MOD);
        let out = folder.path().join("out");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| ensure(&plan, &out, Some(&path)).unwrap());
            }
        });
        let calls = fs::read_to_string(calls).unwrap();
        let packages: Vec<&str> = PROGRAMS.iter().map(|(_, package)| *package).collect();
        assert_eq!(calls.lines().collect::<Vec<_>>(), packages);
        assert_eq!(fs::read_to_string(out.join("kubectl")).unwrap(), "program\n");
    }
}
