//! The places where no secret may be, and those where it belongs.

use std::fs;
use std::process::Output;

use base64::Engine as _;

use crate::common::Scene;

/// Kinds whose objects are shown to people who may not read Secrets.
const SHOWN: &str = "vaultsecrets,vaultconnections,clustervaultconnections,clustervaultsecrets,configmaps,events.events.k8s.io,events,leases,\
                     serviceaccounts,namespaces,customresourcedefinitions";

/// What can be read in each place: all objects but Secrets, what the HTTP server tells, what the system tells of the process.
pub async fn everywhere(scene: &Scene) -> Vec<(&'static str, String)> {
    let mut places = Vec::new();
    let printed = |output: Output| String::from_utf8(output.stdout).unwrap();
    for format in ["json", "yaml", "wide"] {
        let output = scene.kubectl(&["get", SHOWN, "-A", "--show-managed-fields", "-o", format]).await;
        places.push(("the API server's objects", printed(output)));
    }
    let described = scene.kubectl(&["describe", "vaultsecrets,vaultconnections", "-A"]).await;
    places.push(("kubectl describe", printed(described)));
    // What kubectl says of a Secret without its data: a digest could be in an annotation.
    let heads = scene.kubectl(&["get", "secrets", "-A", "-o", "jsonpath={.items[*].metadata}"]).await;
    places.push(("the metadata of Secrets", printed(heads)));
    places.push(("the metrics", scene.operator.metrics().await));
    for path in ["/readyz?verbose", "/healthz?verbose", "/nothing", "/"] {
        let (status, text) = scene.operator.get(path).await.unwrap();
        places.push(("the HTTP server", format!("{path} was answered with {status}: {text}")));
    }
    let process = format!("/proc/{}", scene.operator.process_id());
    for (what, file) in [("the command line", "cmdline"), ("the environment", "environ")] {
        places.push((what, fs::read_to_string(format!("{process}/{file}")).unwrap()));
    }
    places
}

/// Each secret is in a Secret: so it was there to be found, and the search is one that finds.
pub async fn secrets_are_where_they_belong(scene: &Scene, secrets: &[(String, String)]) {
    let all = scene.list("Secret").await;
    let values: Vec<Vec<u8>> =
        all.iter().flat_map(|secret| secret.keys().into_iter().filter_map(|key| secret.secret_value(&key))).collect();
    let holds = |secret: &str| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(secret);
        let has = |value: &Vec<u8>, text: &str| String::from_utf8_lossy(value).contains(text);
        values.iter().any(|value| has(value, secret) || has(value, &encoded))
    };
    let found = secrets.iter().filter(|(_, secret)| holds(secret)).count();
    assert!(found > secrets.len() / 2, "only {found} of {} secrets are in a Secret", secrets.len());
}
