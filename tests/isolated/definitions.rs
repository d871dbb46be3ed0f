//! Behaviour 36 where the definitions are not installed at all, or not all of them. One control plane.

use devkit::controlplane::Options;

use crate::common::{Cluster, Operator, PATIENCE, POLL};

const OURS: [&str; 3] = ["vaultsecrets", "vaultconnections", "clustervaultconnections"];

#[tokio::test]
async fn b36_missing_definitions_are_named_until_they_are_there() {
    let options = Options { controller_manager: false, ..Options::default() };
    let cluster = Cluster::bare(options).await;
    let mut plugin = tokio::process::Command::new(env!("CARGO_BIN_EXE_vaultsecret"));
    plugin.args(["status", "-A"]).env_clear().env("KUBECONFIG", cluster.admin_kubeconfig());
    let said = plugin.output().await.unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(text.starts_with("error: the cluster does not know VaultSecrets: install the definitions first"), "{text}");
    let operator = Operator::begun(&cluster).await;
    for (installed, missing) in [(0, "vaultsecrets"), (1, "vaultconnections"), (2, "clustervaultconnections")] {
        let told = format!("CRD {missing}.vaultsecret.dev is not installed: vaultsecret crd | kubectl apply -f -");
        let (status, text) = says(&operator, &told).await;
        assert_eq!(status, 503, "{text}");
        // It goes on trying, and says so once.
        let lists = || {
            let wanted = format!("/{missing}");
            cluster.audit().requests(|record| record.user == operator.user() && record.uri.contains(&wanted)).len()
        };
        let before = lists();
        eventually("it is tried twice more", async || lists() >= before + 2).await;
        let log = operator.log_since(0);
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&told)).collect();
        assert!(lines.len() == 1 && lines[0].contains("\"WARN\""), "{lines:#?}");
        cluster.install_some(|name| name.starts_with(OURS[installed])).await;
    }
    eventually("it is ready by itself", async || matches!(operator.get("/readyz").await, Ok((200, _)))).await;

    // A cluster with the definitions of an older version goes on as before: what is new is not served, and that is said once.
    let lists = || {
        let asked = |uri: &str| uri.contains("/clustervaultsecrets");
        cluster.audit().requests(|record| record.user == operator.user() && asked(&record.uri)).len()
    };
    eventually("it is looked for", async || lists() >= 2).await;
    let told = "CRD clustervaultsecrets.vaultsecret.dev is not installed, and nothing of it is served";
    let log = operator.log_since(0);
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(told)).collect();
    assert!(lines.len() == 1 && lines[0].contains("\"WARN\""), "{lines:#?}");
    assert!(matches!(operator.get("/readyz").await, Ok((200, _))));
    cluster.install_some(|name| name.starts_with("clustervaultsecrets")).await;
    let there = "clustervaultsecrets.vaultsecret.dev can be listed now";
    eventually("it is served", async || operator.log_since(0).contains(there)).await;
    operator.stop().await;
}

async fn says(operator: &Operator, part: &str) -> (u16, String) {
    let began = std::time::Instant::now();
    loop {
        let answer = operator.get("/readyz").await;
        match answer {
            Ok((status, text)) if text.contains(part) => return (status, text),
            answer => assert!(began.elapsed() < PATIENCE, "{part:?} is not in {answer:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn eventually(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !look().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(POLL).await;
    }
}
