#![allow(clippy::unwrap_used, clippy::expect_used)]

use clap::{CommandFactory as _, Parser};

use super::*;

#[derive(Debug, Parser)]
struct Harness {
    #[command(flatten)]
    args: SealArgs,
}

fn parse(args: &[&str]) -> Result<SealArgs, clap::Error> {
    Harness::try_parse_from(std::iter::once("seal").chain(args.iter().copied())).map(|harness| harness.args)
}

#[test]
fn every_flag_is_an_environment_variable() {
    let command = Harness::command();
    let flags: Vec<_> = command.get_arguments().filter(|arg| arg.get_long().is_some_and(|l| l != "help")).collect();
    assert_eq!(flags.len(), 14);
    for flag in flags {
        let name = flag.get_long().expect("a long flag").replace('-', "_").to_uppercase();
        let env = flag.get_env().and_then(std::ffi::OsStr::to_str);
        assert_eq!(env, Some(format!("VAULTSECRET_{name}").as_str()));
    }
}

#[test]
fn flags_that_make_no_sense_together_are_refused() {
    assert!(parse(&["--name=a", "--key=K", "-n", "shop"]).is_ok());
    assert!(parse(&["--rewrap", "-f", "x.yaml", "--in-place"]).is_ok());
    for args in [
        &["--value=hunter2"][..],
        &["--rewrap", "--validate"],
        &["-f", "x.yaml"],
        &["--rewrap", "-f", "x.yaml", "--name=a"],
        &["--rewrap", "--in-place"],
        &["--validate", "-f", "x.yaml", "--in-place"],
        &["--add-identity", "--name=a"],
        &["-o", "json"],
        &["-n", "Shop"],
    ] {
        assert!(parse(args).is_err(), "{args:?}");
    }
}

#[test]
fn the_entry_is_yaml_that_reads_back() {
    let sealed = "-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n-----END AGE ENCRYPTED FILE-----\n";
    let text = show(Output::Yaml, "on", sealed);
    let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(read, serde_json::json!([{"key": "on", "valueFrom": {"sealed": sealed}}]));
    assert_eq!(show(Output::Text, "on", sealed), sealed);
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(&path, "old").unwrap();
    write_in_place(&path, "new").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(write_in_place(&folder.path().join("b.yaml"), "new").is_err());
}

#[test]
fn input_is_limited() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("value");
    std::fs::write(&path, [7; 10]).unwrap();
    assert_eq!(read_input(Some(&path), 10).unwrap().len(), 10);
    let error = read_input(Some(&path), 9).unwrap_err().to_string();
    assert!(error.contains("more than the 9 bytes"), "{error}");
}
