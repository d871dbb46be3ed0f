//! The real helm.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The release's namespace.
pub const SYSTEM: &str = "vaultsecret-system";

/// A file of the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The chart.
pub fn chart() -> PathBuf {
    in_repository("charts/vaultsecret-operator")
}

/// A file with values.
pub fn values(name: &str) -> String {
    in_repository(&format!("tests/chart/values/{name}.yaml")).display().to_string()
}

/// Runs helm with nothing of the user's; standard output, or what it complained about. Blocks, and builds helm the first time.
pub fn helm(args: &[&str]) -> Result<String, String> {
    run("helm", args)
}

/// Runs one of the chart's tools with nothing of the user's.
pub fn run(tool: &str, args: &[&str]) -> Result<String, String> {
    let program = devkit::controlplane::chart_tool(tool).unwrap_or_else(|error| panic!("no {tool}: {error}"));
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(args).env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{}{}", text(&output.stdout), text(&output.stderr))),
    }
}

/// The same, where it must succeed.
pub fn helm_ok(args: &[&str]) -> String {
    helm(args).unwrap_or_else(|complaint| panic!("helm {args:?}: {complaint}"))
}

/// What the chart renders, as text.
pub fn rendered(args: &[&str]) -> Result<String, String> {
    let chart = chart().display().to_string();
    let mut all = vec!["template", "release", &chart, "--namespace", SYSTEM];
    all.extend(args);
    helm(&all)
}

/// The documents of a text, in an order that is the same with every helm.
pub fn documents(text: &str) -> Vec<Value> {
    let mut all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    all.retain(|document| !document.is_null());
    all.sort_by_key(|document| {
        let text = |pointer| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
    });
    all
}

/// All documents that the chart renders, hooks among them.
pub fn render_all(args: &[&str]) -> Vec<Value> {
    documents(&rendered(args).unwrap_or_else(|complaint| panic!("helm template {args:?}: {complaint}")))
}

fn is_hook(document: &Value) -> bool {
    document["metadata"]["annotations"]["helm.sh/hook"].is_string()
}

/// The documents that are installed.
pub fn render(args: &[&str]) -> Vec<Value> {
    render_all(args).into_iter().filter(|document| !is_hook(document)).collect()
}

/// The documents that are installed with a file of values.
pub fn render_with(name: &str) -> Vec<Value> {
    render(&["--values", &values(name)])
}

/// The documents that are made when the release is deleted.
pub fn hooks_with(name: &str) -> Vec<Value> {
    render_all(&["--values", &values(name)]).into_iter().filter(is_hook).collect()
}

/// Those of a kind.
pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}
