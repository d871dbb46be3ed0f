//! The manifest for krew, and the archive that it names, without a cluster.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

fn manifest(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn in_repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn platforms(manifest: &Value) -> Vec<&Value> {
    manifest["spec"]["platforms"].as_array().unwrap().iter().collect()
}

/// What krew's own validation asks of a manifest.
#[test]
fn the_manifest_is_one_that_krew_takes() {
    let manifest = manifest(&in_repository("packaging/krew/vaultsecret.yaml"));
    assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!((&manifest["kind"], &manifest["metadata"]["name"]), (&json!("Plugin"), &json!("vaultsecret")));
    let spec = &manifest["spec"];
    assert_eq!(spec["version"], format!("v{}", env!("CARGO_PKG_VERSION")), "a semantic version with a v");
    let short = spec["shortDescription"].as_str().unwrap();
    assert!(!short.is_empty() && short.len() <= 50 && !short.ends_with('.'), "{short}");
    assert!(spec["homepage"].as_str().unwrap().starts_with("https://"));
    assert!(spec["description"].as_str().unwrap().lines().all(|line| line.len() <= 80));
    let mut seen = Vec::new();
    for platform in platforms(&manifest) {
        let labels = &platform["selector"]["matchLabels"];
        assert_eq!(labels["os"], "linux");
        let arch = labels["arch"].as_str().unwrap().to_owned();
        let uri = platform["uri"].as_str().unwrap();
        assert!(uri.starts_with("https://") && uri.ends_with(&format!("_linux_{arch}.tar.gz")), "{uri}");
        assert!(uri.contains(spec["version"].as_str().unwrap()), "{uri}");
        assert_eq!(platform["bin"], "kubectl-vaultsecret");
        let files: Vec<&str> =
            platform["files"].as_array().unwrap().iter().map(|f| f["from"].as_str().unwrap()).collect();
        assert_eq!(files, ["kubectl-vaultsecret", "LICENSE"], "krew's index wants the licence in the archive");
        assert_eq!(platform["sha256"], format!("SHA256_LINUX_{}", arch.to_uppercase()), "filled by make krew");
        seen.push(arch);
    }
    assert_eq!(seen, ["amd64", "arm64"]);
    // What it says that there is, there is.
    let help = Command::new(env!("CARGO_BIN_EXE_vaultsecret")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for line in spec["description"].as_str().unwrap().lines().filter(|line| line.contains("  ")) {
        let command = line.split_whitespace().next().unwrap();
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
}

#[test]
fn the_archive_holds_program_and_licence_and_the_manifest_its_sum() {
    let out = tempfile::tempdir().unwrap();
    // Any program will do; one that was built for tests is a hundred megabytes.
    let program = out.path().join("program");
    fs::write(&program, "#!/bin/sh\necho \"$0 ran\"\n").unwrap();
    let made = Command::new(in_repository("packaging/krew/archive.sh")).arg(&program).arg(out.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let printed = String::from_utf8(made.stdout).unwrap();
    let archive = Path::new(printed.lines().next().unwrap());
    let sum = Command::new("sha256sum").arg(archive).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap().split(' ').next().unwrap().to_owned();
    let manifest = manifest(&out.path().join("vaultsecret.yaml"));
    let name = archive.file_name().unwrap().to_str().unwrap();
    let platform = platforms(&manifest).into_iter().find(|p| p["uri"].as_str().unwrap().ends_with(name)).cloned();
    let platform = platform.unwrap_or_else(|| panic!("{name} is in no uri of {manifest}"));
    assert_eq!(platform["sha256"], sum, "of {name}");

    let unpacked = tempfile::tempdir().unwrap();
    let tar = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(unpacked.path()).status().unwrap();
    assert!(tar.success());
    for file in platform["files"].as_array().unwrap() {
        assert!(unpacked.path().join(file["from"].as_str().unwrap()).is_file(), "{file}");
    }
    let ran = Command::new(unpacked.path().join("kubectl-vaultsecret")).output().unwrap();
    assert!(ran.stdout.ends_with(b"kubectl-vaultsecret ran\n"), "it can be run: {ran:?}");
}
