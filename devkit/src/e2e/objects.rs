//! The examples as they are applied here, and the workloads that consume what comes of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::demo::manifests::{Entry, Outline, point_at};

/// The name of every workload that consumes a Secret.
pub(super) const CONSUMER: &str = "consumer";
/// The port that it answers at.
pub(super) const PORT: u16 = 8080;
/// Where it has the Secret's files.
const FOLDER: &str = "/secrets";
/// The variable that it has a value in.
const VARIABLE: &str = "VALUE";

/// Lets a connection lead to a stand-in that serves HTTPS with a certificate of this authority.
pub(super) fn connect(connection: &mut Value, url: &str, ca: &str) {
    point_at(connection, url);
    let spec = &mut connection["spec"];
    spec["allowInsecureUrl"] = json!(false);
    spec["tls"]["caBundle"] = json!(STANDARD.encode(ca));
}

/// Lets a VaultSecret restart the workload when its values change.
pub(super) fn restart_consumer(vault_secret: &mut Value) {
    vault_secret["spec"]["rolloutRestartTargets"] = json!([{"kind": "Deployment", "name": CONSUMER}]);
}

/// What the workload calls its variable and its file.
pub(super) fn shown(entry: &Entry) -> [String; 2] {
    [format!("env:{VARIABLE}"), format!("file:{FOLDER}/{}", entry.key)]
}

/// A Deployment that has a key of the projected Secret in its environment and as a file, and passes the strictest Pod security.
pub(super) fn consumer(object: &Outline, entry: &Entry, image: &str, replicas: usize) -> Value {
    let labels = json!({"app": CONSUMER});
    let mut args = vec!["show".to_owned(), PORT.to_string()];
    args.extend(shown(entry));
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": object.namespace, "name": CONSUMER},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    // It has nothing to finish.
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "consumer",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": args,
                        "env": [{
                            "name": VARIABLE,
                            "valueFrom": {"secretKeyRef": {"name": object.target, "key": entry.key}},
                        }],
                        "ports": [{"name": "http", "containerPort": PORT}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [{"name": "secrets", "mountPath": FOLDER, "readOnly": true}],
                    }],
                    "volumes": [{"name": "secrets", "secret": {"secretName": object.target}}],
                },
            },
        },
    })
}

/// Whether an answer of the workload has this hash for everything that it shows; what it has instead otherwise.
pub(super) fn shows(answer: &str, entry: &Entry, hash: &str) -> Result<(), String> {
    for name in shown(entry) {
        let line = answer.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(' '));
        match line {
            Some(found) if found == hash => {}
            Some("-") => return Err(format!("{name} is not there")),
            Some(_) => return Err(format!("{name} has another value")),
            None => return Err(format!("{name} is not shown")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn entry() -> Entry {
        Entry { key: "TOKEN".into(), remote_name: "token".into(), source: None, generated: false }
    }

    #[test]
    fn a_workload_shows_a_value_when_environment_and_file_have_it() {
        let answer = "env:VALUE 0123\nfile:/secrets/TOKEN 0123\n";
        assert_eq!(shows(answer, &entry(), "0123"), Ok(()));
        assert_eq!(shows(answer, &entry(), "4567"), Err("env:VALUE has another value".to_owned()));
        let half = "env:VALUE 0123\nfile:/secrets/TOKEN -\n";
        assert_eq!(shows(half, &entry(), "0123"), Err("file:/secrets/TOKEN is not there".to_owned()));
        assert_eq!(shows("", &entry(), "0123"), Err("env:VALUE is not shown".to_owned()));
    }

    #[test]
    fn a_connection_is_verified_with_the_stand_ins_authority() {
        let mut connection = json!({"spec": {"kelvin": {"url": "https://acme.kelvin.ai"}}});
        connect(&mut connection, "https://10.0.0.1:1", "pem");
        assert_eq!(connection["spec"]["kelvin"]["url"], "https://10.0.0.1:1");
        assert_eq!(connection["spec"]["allowInsecureUrl"], false);
        assert_eq!(connection["spec"]["tls"]["caBundle"], "cGVt");
    }

    #[test]
    fn a_consumer_has_the_key_in_its_environment_and_as_a_file() {
        let outline = Outline { namespace: "n".into(), target: "t".into(), ..Outline::default() };
        let workload = consumer(&outline, &entry(), "image:1", 2);
        let container = &workload["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["env"][0]["valueFrom"]["secretKeyRef"], json!({"name": "t", "key": "TOKEN"}));
        assert_eq!(container["args"], json!(["show", "8080", "env:VALUE", "file:/secrets/TOKEN"]));
        assert_eq!(workload["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"], "t");
    }
}
