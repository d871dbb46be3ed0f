//! `vaultsecret plan` without a cluster, as a process of its own. Whatever it is given, it shows no value.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use serde_json::Value;

const CONNECTION: &str = "apiVersion: vaultsecret.dev/v1alpha1
kind: VaultConnection
metadata: {name: kelvin, namespace: shop}
spec:
  kelvin:
    url: https://acme.kelvin.ai
    auth: {accessTokenRef: {name: token, key: token}}
";

/// A text that must not turn up, in any of its spellings.
const CANARY: &str = "hunter2-canary";

fn run_with(args: &[&str], env: &[(&str, &str)], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultsecret"));
    command.arg("plan").args(args).env_clear().envs(env.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end without reading all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let encoded = base64::engine::general_purpose::STANDARD.encode(CANARY);
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        assert!(!text.contains("hunter2") && !text.contains(encoded.trim_end_matches('=')), "{text}");
    }
    output
}

fn run(args: &[&str], input: &str) -> Output {
    run_with(args, &[], input)
}

fn offline(args: &[&str], input: &str) -> Output {
    run(&[&["--offline", "-f", "-"], args].concat(), input)
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn vault_secret(name: &str, data: &str) -> String {
    format!(
        "---\napiVersion: vaultsecret.dev/v1alpha1\nkind: VaultSecret\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  connectionRef: {{name: kelvin}}\n  data:\n{data}"
    )
}

fn json(args: &[&str], input: &str) -> (i32, Value) {
    let output = offline(&[args, &["-o", "json"]].concat(), input);
    (code(&output), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output))))
}

#[test]
fn a_folder_that_is_as_it_should_be_is_0() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("connection.yaml", CONNECTION);
    let data = format!(
        "  - {{key: A, remoteName: a, value: {CANARY}}}\n  - {{key: B, remoteName: b, valueFrom: {{generate: {{uuid: {{}}}}}}}}\n"
    );
    write("apps/app.yml", &vault_secret("app", &data));
    write(
        "apps/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [app.yml]\n",
    );
    write("notes.txt", "not: [yaml");
    let output = run(&["--offline", "-f", folder.path().to_str().unwrap()], "");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for part in [
        "VaultSecret shop/app",
        "entry a at VaultConnection/kelvin, from A",
        "Secret app",
        "VaultConnection shop/kelvin",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.contains("made from the manifests alone"), "{text}");
}

#[test]
fn what_would_be_refused_is_2_with_the_sentence_in_every_format() {
    let input = format!("{CONNECTION}{}", vault_secret("app", &format!("  - {{key: STRIPE_KEY, value: {CANARY}}}\n")));
    for format in ["table", "json", "yaml", "markdown"] {
        let output = offline(&["-o", format], &input);
        assert_eq!(code(&output), 2, "{format}: {}", stderr(&output));
        let text = stdout(&output).replace('\\', "");
        assert!(text.contains("NameRefused") && text.contains("stripe-key"), "{format}: {text}");
    }
    let (code, plan) = json(&[], &input);
    assert_eq!((code, &plan["refused"], &plan["mode"]), (2, &Value::from(true), &Value::from("offline")));
    assert_eq!(plan["objects"][1]["entries"][0]["reason"], "NameRefused");
}

#[test]
fn markdown_is_fit_for_a_comment() {
    let input = format!(
        "{CONNECTION}{}",
        vault_secret("app", "  - {key: A, value: v}\n  - {key: B, remoteName: b, value: v}\n")
    );
    let text = stdout(&offline(&["-o", "markdown"], &input));
    assert!(
        text.starts_with("### VaultSecret plan\n\n2 objects (2 apply), and in them 1 refused, 2 apply\n"),
        "{text}"
    );
    assert!(text.contains("**This would be refused:**\n\n- entry A at VaultConnection/kelvin"), "{text}");
    assert!(text.contains("| apply | ↳ entry b at VaultConnection/kelvin, from B |"), "{text}");
}

#[test]
fn schema_and_rules_speak_and_quote_nothing() {
    for (data, part) in [
        (
            format!("  - {{key: A, value: {CANARY}, valueFrom: {{sealed: {CANARY}}}}}\n"),
            "exactly one of value and valueFrom",
        ),
        (format!("  - {{key: A, valueFrom: {{sealed: {CANARY}}}}}\n"), "sealed must be what vaultsecret seal printed"),
        (format!("  - {{key: '{CANARY} !', value: v}}\n"), "spec.data[0].key: must match"),
        (format!("  - {{key: A, value: v, encoding: {CANARY}}}\n"), "must be one of UTF8"),
        (format!("  - {{key: A, value: {{a: {CANARY}}}}}\n"), "spec.data[0].value: must be a text"),
        (format!("  - {{key: A, value: v, {CANARY}: {CANARY}}}\n"), "a field that is not known"),
        ("  - {key: A, value: 7}\n".to_owned(), "put it in quotes"),
        ("  - {key: A, value: v, remotename: a}\n".to_owned(), "did you mean remoteName?"),
    ] {
        let output = offline(&[], &format!("{CONNECTION}{}", vault_secret("app", &data)));
        assert_eq!(code(&output), 2, "{data}: {}", stderr(&output));
        assert!(stdout(&output).contains(part), "{data}: {}", stdout(&output));
    }
}

#[test]
fn secrets_and_maps_of_the_folder_are_values_and_are_not_shown() {
    let encoded = base64::engine::general_purpose::STANDARD.encode(CANARY);
    let sources = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: shop}}\nstringData: {{a: {CANARY}, empty: ''}}\ndata: {{b: {encoded}, bytes: /w==}}\n\
         ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m, namespace: shop}}\ndata: {{c: {CANARY}}}\n"
    );
    let from = |key: &str, kind: &str, name: &str, at: &str| {
        format!(
            "  - {{key: {key}, remoteName: {}, valueFrom: {{{kind}: {{name: {name}, key: {at}}}}}}}\n",
            key.to_lowercase()
        )
    };
    let data = [
        from("A", "secretKeyRef", "s", "a"),
        from("B", "secretKeyRef", "s", "b"),
        from("C", "configMapKeyRef", "m", "c"),
        format!("  - {{key: T, remoteName: t, valueFrom: {{template: '{CANARY} {{{{ A }}}}'}}}}\n"),
    ]
    .concat();
    let (status, plan) = json(&[], &format!("{CONNECTION}{sources}{}", vault_secret("app", &data)));
    assert_eq!(status, 0, "{plan}");
    let actions: Vec<_> = plan["objects"][1]["entries"].as_array().unwrap().iter().map(|e| &e["action"]).collect();
    assert_eq!(actions, ["apply", "apply", "apply", "apply"]);
    for (at, part) in [("empty", "the value is empty"), ("bytes", "not UTF-8")] {
        let output =
            offline(&[], &format!("{CONNECTION}{sources}{}", vault_secret("app", &from("A", "secretKeyRef", "s", at))));
        assert_eq!((code(&output), stdout(&output).contains(part)), (2, true), "{}", stdout(&output));
    }
    // What is not in the folder may be in the cluster.
    let output =
        offline(&[], &format!("{CONNECTION}{}", vault_secret("app", &from("A", "secretKeyRef", "other", "a"))));
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("there is no cluster to look at"), "{}", stdout(&output));
}

#[test]
fn broken_yaml_names_file_document_and_line_and_quotes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    for (text, part) in [
        (format!("a: b\n---\nvalue: [{CANARY}\n"), "document 2, line "),
        (format!("a: \"{CANARY}\nb: c\n"), "document 1, line "),
        (format!("value: {CANARY}\nvalue: {CANARY}\n"), "document 1, line 2"),
        (format!("a: b\n\tvalue: {CANARY}\n"), "there is a tab"),
        (format!("value: {{{{ .Values.{CANARY} }}}}\n"), "rendered first"),
    ] {
        fs::write(&file, &text).unwrap();
        let output = run(&["--offline", "-f", folder.path().to_str().unwrap()], "");
        assert_eq!((code(&output), output.stdout.len()), (1, 0), "{text}");
        let said = stderr(&output);
        assert!(said.contains("broken.yaml, ") && said.contains(part), "{text}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    fs::write(&file, [0xff, b'h']).unwrap();
    assert!(stderr(&run(&["--offline", "-f", file.to_str().unwrap()], "")).contains("not UTF-8"));
}

#[test]
fn a_wrong_secret_of_the_folder_is_noted_and_quoted_nowhere() {
    let wrong = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: shop}}\ndata: {{a: '{CANARY}!'}}\n"
    );
    let data = "  - {key: A, remoteName: a, valueFrom: {secretKeyRef: {name: s, key: a}}}\n";
    let output = offline(&[], &format!("{CONNECTION}{wrong}{}", vault_secret("app", data)));
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("does not have the form of a Secret"), "{}", stdout(&output));
}

#[test]
fn objects_without_a_namespace_are_in_the_flags() {
    let input = format!("{CONNECTION}{}", vault_secret("app", "  - {key: A, remoteName: a, value: v}\n"));
    let bare = input.replace(", namespace: shop", "");
    for (args, wanted) in [(&["-n", "blog"][..], "blog"), (&[], "default")] {
        let (status, plan) = json(args, &bare);
        assert_eq!((status, &plan["objects"][1]["namespace"]), (0, &Value::from(wanted)));
        assert_eq!(plan["objects"][1]["entries"][0]["action"], "apply", "the connection is found there");
    }
}

#[test]
fn two_objects_for_one_entry_one_object_twice_and_a_secret_of_the_same_name() {
    let data = "  - {key: A, remoteName: a, value: v}\n";
    let two = format!("{CONNECTION}{}{}", vault_secret("one", data), vault_secret("two", data));
    let output = offline(&[], &two);
    assert_eq!(code(&output), 2);
    assert!(stdout(&output).contains("is named before by VaultSecret shop/one"), "{}", stdout(&output));
    let twice = format!("{CONNECTION}{}{}", vault_secret("one", data), vault_secret("one", data));
    assert!(stdout(&offline(&[], &twice)).contains("in the manifests twice"));
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: one, namespace: shop}\n";
    let output = offline(&[], &format!("{CONNECTION}{secret}{}", vault_secret("one", data)));
    assert_eq!((code(&output), stdout(&output).contains("TargetConflict")), (2, true), "{}", stdout(&output));
}

#[test]
fn connections_are_judged_as_the_operator_judges_them() {
    for (from, to, part) in [
        ("https://acme", "http://acme", "sends secrets in the clear"),
        ("url: https://acme.kelvin.ai", "url: hunter2", "url must be an http or https URL"),
        ("https://acme", "https://u:hunter2@acme", "url must not hold a credential"),
    ] {
        let output = offline(&[], &CONNECTION.replace(from, to));
        assert_eq!((code(&output), stdout(&output).contains(part)), (2, true), "{to}: {}", stdout(&output));
    }
    let shared = CONNECTION
        .replace("kind: VaultConnection", "kind: ClusterVaultConnection")
        .replace("spec:\n", "spec:\n  allowedNamespaces: {names: [blog]}\n");
    let app = vault_secret("app", "  - {key: A, remoteName: a, value: v}\n")
        .replace("{name: kelvin}", "{kind: ClusterVaultConnection, name: kelvin}");
    let output = offline(&[], &format!("{shared}{app}"));
    assert_eq!((code(&output), stdout(&output).contains("NotAllowed")), (2, true), "{}", stdout(&output));
}

#[test]
fn misuse_is_64_and_failure_is_1() {
    for (args, wanted, part) in [
        (&["--offline"][..], 64, "--filename"),
        (&["--offline", "-f", "-", "--prune"], 64, "--prune"),
        (&["--offline", "-f", "-", "-o", "xml"], 64, "xml"),
        (&["-f", "-", "--prune", "-l", ","], 64, "--selector"),
        (&["--offline", "-f", "/nowhere"], 1, "/nowhere"),
        (&["-f", "-"], 1, "give --offline"),
    ] {
        let output = run(args, "");
        assert_eq!((code(&output), output.stdout.len()), (wanted, 0), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{args:?}: {}", stderr(&output));
    }
    let output = offline(&[], "");
    assert_eq!((code(&output), stdout(&output).contains("no VaultSecret")), (0, true));
}

#[test]
fn flags_are_environment_variables_too() {
    let env = [
        ("VAULTSECRET_OFFLINE", "true"),
        ("VAULTSECRET_FILENAME", "-"),
        ("VAULTSECRET_OUTPUT", "json"),
        ("VAULTSECRET_NAMESPACE", "blog"),
    ];
    let output = run_with(&[], &env, &CONNECTION.replace(", namespace: shop", ""));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&plan["mode"], &plan["objects"][0]["namespace"]), (&Value::from("offline"), &Value::from("blog")));
}

fn whole(from: &str) -> String {
    format!("{CONNECTION}{}", vault_secret("app", "").replace("  data:\n", &format!("  dataFrom: [{from}]\n")))
}

#[test]
fn whole_secrets_of_the_folder_are_entries_of_their_own() {
    let secret = |name: &str, keys: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: shop, labels: {{vault: push}}}}\nstringData: {keys}\n"
        )
    };
    let both =
        [secret("s", &format!("{{a: {CANARY}, b: {CANARY}}}")), secret("t", &format!("{{c: {CANARY}}}"))].concat();
    let (status, plan) = json(&[], &format!("{}{both}", whole("{selector: {matchLabels: {vault: push}}}")));
    let entries = plan["objects"][1]["entries"].as_array().unwrap();
    let names: Vec<_> = entries.iter().filter_map(|e| e["remoteName"].as_str()).collect();
    assert_eq!((status, names), (0, vec!["a", "b", "c"]), "{plan}");
    assert!(plan.to_string().contains("which Secrets its selector selects is not known"), "{plan}");
    let twice = [secret("s", &format!("{{a: {CANARY}}}")), secret("t", &format!("{{a: {CANARY}}}"))].concat();
    let output = offline(&[], &format!("{}{twice}", whole("{selector: {matchLabels: {vault: push}}}")));
    assert_eq!(code(&output), 2);
    assert!(stdout(&output).contains("are both key a here"), "{}", stdout(&output));
    // What is not in the folder may be in the cluster.
    let output = offline(&[], &whole("{secretRef: {name: other}}"));
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("keys of Secret other are not known"), "{}", stdout(&output));
}

#[test]
fn values_at_a_remote_are_not_known_and_not_every_remote_gives_them_back() {
    let bao = "---\napiVersion: vaultsecret.dev/v1alpha1\nkind: VaultConnection\nmetadata: {name: bao, namespace: shop}\n\
               spec:\n  vault:\n    url: https://bao.internal\n    auth: {tokenRef: {name: token, key: token}}\n";
    let reads = |connection: &str| {
        let from = format!("{{connectionRef: {{name: {connection}}}, name: db/creds, field: username}}");
        let data = format!(
            "  - {{key: A, remoteName: a, valueFrom: {{remote: {from}}}}}\n\
             \x20 - {{key: T, remoteName: t, valueFrom: {{template: 'x{{{{ A }}}}'}}}}\n"
        );
        offline(&[], &format!("{CONNECTION}{bao}{}", vault_secret("app", &data)))
    };
    let output = reads("bao");
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    assert_eq!(stdout(&output).matches("updated if the version moved").count(), 2, "{}", stdout(&output));
    let output = reads("kelvin");
    assert_eq!(code(&output), 2);
    assert!(stdout(&output).contains("which gives no value back"), "{}", stdout(&output));
}

/// The examples of this repository would be taken.
#[test]
fn the_examples_would_be_taken() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for example in ["dreadnode", "kelvin", "mixpeek"] {
        let output = run(&["--offline", "-f", examples.join(example).to_str().unwrap()], "");
        assert_eq!(code(&output), 0, "{example}: {}{}", stdout(&output), stderr(&output));
    }
}
