//! `vaultsecret seal` without a cluster, as a process of its own, and what it seals opened by age without us.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use age::secrecy::ExposeSecret as _;

const VALUE: &str = "hunter2 \u{1f511}";
const HEADER: &str = "vaultsecret.dev/sealed/v1 4:shop 8:checkout 5:TOKEN";

/// A folder with an identity and its recipient.
struct Keys {
    folder: tempfile::TempDir,
    recipient: String,
}

impl Keys {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public().to_string();
        let text = format!("# public key: {recipient}\n{}\n", identity.to_string().expose_secret());
        fs::write(folder.path().join("identity"), text).unwrap();
        fs::write(folder.path().join("recipients"), format!("# ours\n{recipient}\n")).unwrap();
        Self { folder, recipient }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.arg(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vaultsecret"))
        .arg("seal")
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("hunter2") && !said.contains("SECRET-KEY-1"), "{said}");
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(code(output), 0, "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const HERE: [&str; 6] = ["--namespace", "shop", "--name", "checkout", "--key", "TOKEN"];

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [base, more].concat()
}

fn sealed(keys: &Keys) -> String {
    stdout(&run(&with(&HERE, &["--recipient", &keys.recipient]), VALUE))
}

/// Opens with age alone, without a line of this repository.
fn age_decrypt(sealed: &str, identity: &Path) -> Vec<u8> {
    let text = fs::read_to_string(identity).unwrap();
    let identity: age::x25519::Identity = text.lines().find(|l| !l.starts_with('#')).unwrap().parse().unwrap();
    let armored = age::armor::ArmoredReader::new(sealed.as_bytes());
    let decryptor = age::Decryptor::new_buffered(armored).unwrap();
    let mut reader = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).unwrap();
    let mut plaintext = Vec::new();
    reader.read_to_end(&mut plaintext).unwrap();
    plaintext
}

/// The program `age`, built from the Go module that devkit/age pins; `None` where that cannot be built.
fn age_program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("age");
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("devkit/age");
    let built = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&program)
        .arg("filippo.io/age/cmd/age")
        .current_dir(module)
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly")
        .env("CGO_ENABLED", "0")
        .output();
    match built {
        Ok(output) if output.status.success() => Some(program),
        other => {
            eprintln!("age cannot be built here, so the crate alone is asked: {other:?}");
            None
        }
    }
}

#[test]
fn what_is_sealed_is_an_age_file_with_one_line_before_the_value() {
    let keys = Keys::new();
    let text = sealed(&keys);
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n") && text.ends_with("FILE-----\n"));
    assert_eq!(age_decrypt(&text, &keys.path("identity")), format!("{HEADER}\n{VALUE}").into_bytes());
}

/// The way out that docs/sealed.md describes, for the day that there is no operator.
#[test]
fn age_and_tail_give_the_value_back() {
    let keys = Keys::new();
    let file = keys.write("sealed", &sealed(&keys));
    let Some(age) = age_program() else { return };
    let script = format!("'{}' -d -i '{}' '{file}' | tail -n +2", age.display(), keys.arg("identity"));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, VALUE.as_bytes());

    // And the other way round: what age encrypts with such a line before it is a sealed value.
    let script = format!("{{ echo '{HEADER}'; printf %s new; }} | '{}' -a -r {}", age.display(), keys.recipient);
    let made = Command::new("sh").args(["-c", &script]).output().unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let checked = run(&with(&HERE, &["--validate", "--identity-file", &keys.arg("identity")]), &made);
    assert!(stdout(&checked).contains("opens"));
}

#[test]
fn the_value_comes_from_stdin_or_a_file_as_it_is() {
    let keys = Keys::new();
    let value = "\thunter2\r\n\n";
    let file = keys.write("value", value);
    let to = ["--recipients-file", &keys.arg("recipients")];
    let of_file = run(&with(&with(&HERE, &to), &["--from-file", &file]), "");
    let of_stdin = run(&with(&HERE, &to), value);
    for output in [of_file, of_stdin] {
        assert!(stderr(&output).contains("ends with a line break"), "{}", stderr(&output));
        let plaintext = age_decrypt(&stdout(&output), &keys.path("identity"));
        assert_eq!(plaintext, format!("{HEADER}\n{value}").into_bytes());
    }
}

#[test]
fn an_entry_is_printed_for_the_manifest() {
    let keys = Keys::new();
    let output = run(&with(&HERE, &["--recipient", &keys.recipient, "-o", "yaml"]), VALUE);
    assert!(stdout(&output).starts_with("- key: \"TOKEN\"\n  valueFrom:\n    sealed: |\n      -----BEGIN AGE"));
}

#[test]
fn validate_says_where_it_opens_and_never_what_it_is() {
    let keys = Keys::new();
    let text = sealed(&keys);
    let identity = keys.arg("identity");
    let check = |place: &[&str], text: &str| run(&with(place, &["--validate", "--identity-file", &identity]), text);
    assert_eq!(stdout(&check(&HERE, &text)), "key TOKEN of VaultSecret shop/checkout: opens\n");
    assert_eq!(stdout(&check(&HERE, &text.replace('\n', "\r\n"))), stdout(&check(&HERE, &text)));
    let elsewhere = ["--namespace", "other", "--name", "checkout", "--key", "TOKEN"];
    let another_key = ["--namespace", "shop", "--name", "checkout", "--key", "OTHER"];
    for (place, text, part) in [
        (&elsewhere, text.as_str(), "sealed for another namespace"),
        (&another_key, &text, "sealed for key TOKEN of VaultSecret checkout"),
        (&HERE, "hunter2", "not what `vaultsecret seal` printed"),
        (&HERE, &sealed(&Keys::new()), "none of the identities opens it"),
    ] {
        let output = check(place, text);
        assert_eq!((code(&output), output.stdout.as_slice()), (2, &b""[..]));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn rewrap_keeps_the_value_and_changes_the_recipient() {
    let (old, new) = (Keys::new(), Keys::new());
    let text = sealed(&old);
    let rewrap = |place: &[&str]| {
        run(&with(place, &["--rewrap", "--identity-file", &old.arg("identity"), "--recipient", &new.recipient]), &text)
    };
    let rewrapped = stdout(&rewrap(&HERE));
    assert_eq!(age_decrypt(&rewrapped, &new.path("identity")), format!("{HEADER}\n{VALUE}").into_bytes());
    let elsewhere = rewrap(&["--namespace", "other", "--name", "checkout", "--key", "TOKEN"]);
    assert_eq!((code(&elsewhere), elsewhere.stdout.len()), (2, 0), "rewrapping moves nothing");
}

#[test]
fn a_manifest_is_rewrapped_and_validated_as_a_whole() {
    let (old, new) = (Keys::new(), Keys::new());
    let entry = stdout(&run(&with(&HERE, &["--recipient", &old.recipient, "-o", "yaml"]), VALUE));
    let manifest = format!(
        "# kept\napiVersion: vaultsecret.dev/v1alpha1\nkind: VaultSecret\nmetadata: {{name: checkout}}\nspec:\n  data:\n{}",
        entry.lines().map(|line| format!("    {line}\n")).collect::<String>()
    );
    let file = old.write("app.yaml", &manifest);
    let opens = |keys: &Keys| {
        let identity = keys.arg("identity");
        code(&run(&["--validate", "-n", "shop", "--identity-file", &identity, "-f", &file], ""))
    };
    assert_eq!((opens(&old), opens(&new)), (0, 2));
    let (from, to) = (old.arg("identity"), ["--recipient", &*new.recipient]);
    let base = ["--rewrap", "--identity-file", &from, "-f", &file];
    assert_eq!(code(&run(&with(&base, &to), "")), 64, "there is no namespace");
    let elsewhere = run(&with(&with(&base, &to), &["-n", "other", "--in-place"]), "");
    assert_eq!(code(&elsewhere), 2);
    assert!(stderr(&elsewhere).contains("nothing was changed"));
    assert_eq!(fs::read_to_string(old.path("app.yaml")).unwrap(), manifest);

    let printed = stdout(&run(&with(&with(&base, &to), &["-n", "shop"]), ""));
    assert!(printed.starts_with("# kept\napiVersion") && printed != manifest);
    assert_eq!(fs::read_to_string(old.path("app.yaml")).unwrap(), manifest);
    assert_eq!(stdout(&run(&with(&with(&base, &to), &["-n", "shop", "--in-place"]), "")), "");
    assert_eq!((opens(&old), opens(&new)), (2, 0));
}

#[test]
fn misuse_is_64_and_failure_is_1() {
    let keys = Keys::new();
    let to = ["--recipient", &*keys.recipient];
    let secret = fs::read_to_string(keys.path("identity")).unwrap();
    let secret = secret.lines().last().unwrap();
    for (args, input, wanted, part) in [
        (with(&HERE, &["hunter2"]), "", 64, "no value is taken from an argument"),
        (with(&HERE[2..], &to), VALUE, 64, "--namespace is needed"),
        (with(&HERE[..4], &to), VALUE, 64, "--key is needed"),
        (with(&["-n", "shop", "--name", "Check Out", "--key", "K"], &to), VALUE, 64, "cannot be the name"),
        (with(&HERE, &["--recipient", "ssh-ed25519 AAAA"]), VALUE, 64, "begins with age1"),
        (with(&HERE, &["--recipient", secret]), VALUE, 64, "keep it secret"),
        (with(&HERE, &to), "", 1, "the value is empty"),
        (with(&HERE, &["--recipients-file", "/nowhere"]), VALUE, 1, "/nowhere"),
        (with(&HERE, &with(&to, &["--from-file", "/nowhere"])), "", 1, "/nowhere"),
        (HERE.to_vec(), VALUE, 1, "give --recipient"),
    ] {
        let output = run(&args, input);
        assert_eq!((code(&output), output.stdout.len()), (wanted, 0), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{args:?}: {}", stderr(&output));
    }
    let large = "x".repeat(65_537);
    let output = run(&with(&HERE, &to), &large);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("65536"), "{}", stderr(&output));
}
