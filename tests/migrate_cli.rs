//! `vaultsecret migrate` as a process of its own: exit codes, what goes where, and that no value is shown.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn run(command: &str, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vaultsecret"))
        .arg(command)
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMi1jYW5hcnk"), "{text}");
    }
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn folder() -> String {
    format!("{}/tests/migrate", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_folder_is_converted_what_is_left_is_told_and_the_code_is_2() {
    let output = run("migrate", &["-f", &folder(), "--connection", "kelvin"], "");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(out.starts_with("---\n") && out.contains("kind: VaultSecret"), "{out}");
    assert!(!out.contains('#') && !err.is_empty(), "remarks go to standard error: {out}");
    let one_line_each = err.lines().all(|line| line.contains(": "));
    assert!(one_line_each && err.lines().any(|line| line.starts_with("SecretStore shop/cloud: ")), "{err}");
}

/// What is printed is what plan takes: its schema, its rules, and each VaultSecret with its connection.
#[test]
fn plan_takes_what_is_written() {
    let output = run("migrate", &["-f", &format!("{}/vso.yaml", folder()), "--fields", "apps/banner=text"], "");
    let plan = run("plan", &["--offline", "-f", "-", "-o", "json"], &text(&output.stdout));
    let said: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan.status.code(), Some(0), "{said:#}");
    let objects = said["objects"].as_array().unwrap();
    assert!(objects.iter().any(|object| object.to_string().contains("database")), "{said:#}");
}

#[test]
fn what_is_converted_whole_is_0_and_a_report_goes_where_it_is_wanted() {
    let input = "apiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nmetadata: {name: a, namespace: shop}\nspec:\n  \
                 secretStoreRefs: [{name: x}]\n  selector: {secret: {name: s}}\n  data: [{match: {secretKey: k, remoteRef: {remoteKey: r}}}]\n";
    let report = tempfile::NamedTempFile::new().unwrap();
    let path = report.path().to_str().unwrap();
    let output = run("migrate", &["-f", "-", "--connection", "ClusterVaultConnection/shared", "--report", path], input);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert!(text(&output.stdout).contains("kind: ClusterVaultConnection"));
    assert_eq!(fs::read_to_string(path).unwrap(), "");
    let output = run("migrate", &["-f", "-", "--report", path], input);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), String::new()));
    assert!(fs::read_to_string(path).unwrap().starts_with("PushSecret shop/a: spec.secretStoreRefs[0]: "));
}

#[test]
fn mistakes_are_1_and_64_and_nothing_at_all_is_said() {
    for (args, input, code) in [
        (&["-f", "-"][..], "a: [hunter2\n", 1),
        (&["-f", "/nowhere"], "", 1),
        (&[], "", 64),
        (&["-f", "-", "--connection", "Secret/x"], "", 64),
        (&["-f", "-", "--fields", "x"], "", 64),
    ] {
        assert_eq!(run("migrate", args, input).status.code(), Some(code), "{args:?}");
    }
    let output = run("migrate", &["-f", "-"], "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: a}\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()));
    assert!(text(&output.stderr).contains("nothing of another operator"));
}
