//! The image's description says the same as the rest of the repository.

use crate::helm::{chart, in_repository};

fn read(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).unwrap()
}

/// What stands after a prefix, up to a space or the end of the line.
fn after<'a>(text: &'a str, prefix: &str) -> &'a str {
    let rest = text.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_else(|| panic!("no line {prefix}…"));
    rest.split(' ').next().unwrap().trim_matches('"')
}

#[test]
fn one_version_and_one_compiler_everywhere() {
    let containerfile = read("Containerfile");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(after(&containerfile, "ARG VERSION="), version);
    let chart = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    assert_eq!(after(&chart, "appVersion: "), version);
    let image = after(&containerfile, "ARG RUST_IMAGE=docker.io/library/rust:");
    let compiler = read("rust-toolchain.toml");
    assert_eq!(image.split('-').next().unwrap(), after(&compiler, "channel = "));
}

/// The account of the image is that of the chart's Pods, who are refused as root.
#[test]
fn one_user_everywhere() {
    let user = after(&read("Containerfile"), "USER ").to_owned();
    let pod = &crate::helm::render(&[]);
    let context = crate::helm::of_kind(pod, "Deployment")[0].pointer("/spec/template/spec/securityContext").unwrap();
    assert_eq!(user, format!("{}:{}", context["runAsUser"], context["runAsGroup"]));
}
