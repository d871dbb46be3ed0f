#![allow(clippy::unwrap_used, clippy::expect_used)]
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::model::State;
use super::*;

fn read<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

fn deployment(name: &str, namespace: &str, ready: i32, args: &[&str]) -> Deployment {
    let args: Vec<&str> = ["run"].into_iter().chain(args.iter().copied()).collect();
    read(json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 2, "selector": {}, "template": {"spec": {"serviceAccountName": "vaultsecret-operator",
            "containers": [{"name": "operator", "image": format!("vaultsecret:{VERSION}"), "args": args}]}}},
        "status": {"readyReplicas": ready},
    }))
}

fn pod(status: Value) -> Pod {
    read(json!({"metadata": {"name": "vault-1", "namespace": "ops"}, "status": status}))
}

fn running(container: Value) -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [container]})
}

fn lease_of(holder: &str, renewed: &str) -> Lease {
    read(json!({"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 30}}))
}

fn now() -> Timestamp {
    "2026-11-26T18:00:00Z".parse().unwrap()
}

fn installed() -> Installed {
    let container = json!({"name": "operator", "restartCount": 0, "ready": true, "state": {"running": {}}});
    Installed {
        namespace: Seen::Here(Namespace::default()),
        deployments: Seen::Here(vec![deployment("vault", "ops", 2, &[])]),
        anywhere: Seen::Forbidden,
        pods: Seen::Here(vec![pod(running(container))]),
        lease: Seen::Here(lease_of("vault-1_ab", "2026-11-26T17:59:55Z")),
    }
}

fn judged(change: impl Fn(&mut Installed)) -> Vec<Finding> {
    let mut installed = installed();
    change(&mut installed);
    let main = installed.deployments.here().and_then(|all| Setup::main(all)).cloned();
    judge(&installed, &Setup::of(main.as_ref(), "ops", None, None), now())
}

fn of<'f>(found: &'f [Finding], subject: &str) -> &'f Finding {
    found.iter().find(|f| f.subject.starts_with(subject)).unwrap_or_else(|| panic!("{subject}: {found:#?}"))
}

#[test]
fn as_it_should_be_it_is_three_good_lines() {
    let found = judged(|_| {});
    assert!(found.iter().all(|f| f.state == State::Passed) && found.len() == 3, "{found:#?}");
    assert_eq!(of(&found, "Lease").message, "vault-1_ab leads, renewed 5s ago");
}

#[test]
fn an_operator_that_is_not_there_is_looked_for_elsewhere() {
    let found = judged(|i| {
        (i.namespace, i.deployments, i.pods) = (Seen::Absent, Seen::Here(vec![]), Seen::Here(vec![]));
        i.anywhere = Seen::Here(vec![deployment("vault", "secrets", 2, &[])]);
    });
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].mend.as_deref(),
        Some("there is an operator in namespace secrets: --operator-namespace=secrets")
    );
    let found = judged(|i| i.deployments = Seen::Here(vec![]));
    let missing = of(&found, "Deployment");
    assert!(
        missing.state == State::Failed && missing.mend.as_deref().unwrap().contains("helm upgrade --install"),
        "{missing:?}"
    );
}

#[test]
fn replicas_and_versions_are_judged() {
    let state =
        |ready| judged(move |i| i.deployments = Seen::Here(vec![deployment("vault", "ops", ready, &[])]))[0].state;
    assert_eq!([2, 1, 0].map(state), [State::Passed, State::Warning, State::Failed]);
    let other = judged(|i| {
        let mut one = deployment("vault", "ops", 2, &[]);
        one.spec.template.spec.as_mut().unwrap().containers[0].image =
            Some("registry:5000/vaultsecret:v9.1.2@sha256:ab".to_owned());
        i.deployments = Seen::Here(vec![one]);
    });
    assert!(other[0].state == State::Warning && other[0].mend.as_deref().unwrap().ends_with("9.1.2"), "{other:?}");
    assert_eq!(tag("registry:5000/vaultsecret"), None);
    assert_eq!(tag("vaultsecret:latest"), None);
    let none = judged(|i| {
        let mut one = deployment("vault", "ops", 0, &[]);
        one.spec.replicas = Some(0);
        i.deployments = Seen::Here(vec![one]);
    });
    assert!(none[0].mend.as_deref().unwrap().starts_with("kubectl scale deployment vault -n ops"), "{none:?}");
}

#[test]
fn pods_that_do_not_run_say_why() {
    let one = |status: Value| {
        let found = judged(|i| i.pods = Seen::Here(vec![pod(status.clone())]));
        of(&found, "Pod vault-1").clone()
    };
    let loops = one(running(
        json!({"name": "operator", "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}),
    ));
    assert_eq!(loops.message, "ends again and again: 7 restarts, last Error with exit code 1");
    assert_eq!(loops.mend.as_deref(), Some("kubectl logs vault-1 -n ops --previous"));
    let image = one(json!({"phase": "Pending", "containerStatuses": [{"name": "operator", "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}));
    assert_eq!((image.state, image.message.as_str()), (State::Failed, "ImagePullBackOff"));
    let pending = one(
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node"}]}),
    );
    assert_eq!(pending.message, "Pending, not scheduled: no node");
    let ended = |at: &str| {
        one(running(json!({"name": "operator", "restartCount": 1, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": at}}})))
    };
    assert_eq!(ended("2026-11-26T17:30:00Z").state, State::Warning);
    assert_eq!(ended("2026-11-20T17:30:00Z").state, State::Passed);
}

#[test]
fn leases_are_judged_by_holder_and_age() {
    let state = |lease: Seen<Lease>| {
        let found = judged(|i| i.lease = lease.clone());
        of(&found, "Lease").state
    };
    assert_eq!(state(Seen::Absent), State::Failed);
    assert_eq!(state(Seen::Forbidden), State::Skipped);
    assert_eq!(state(Seen::Here(lease_of("", "2026-11-26T17:59:55Z"))), State::Failed);
    assert_eq!(state(Seen::Here(lease_of("vault-1_ab", "2026-11-26T17:50:00Z"))), State::Failed);
    assert_eq!(state(Seen::Here(lease_of("laptop_ab", "2026-11-26T17:59:55Z"))), State::Warning);
    let alone = judged(|i| {
        i.lease = Seen::Absent;
        i.deployments = Seen::Here(vec![deployment("vault", "ops", 2, &["--leader-elect=false"])]);
    });
    assert_eq!(of(&alone, "Lease").state, State::Passed);
}

#[test]
fn two_that_write_the_same_are_told() {
    let with = |ours: &[&str], theirs: &[&str]| {
        let found = judged(|i| {
            i.deployments = Seen::Here(vec![deployment("vault", "ops", 2, ours)]);
            i.anywhere = Seen::Here(vec![deployment("vault", "ops", 2, ours), deployment("other", "beta", 1, theirs)]);
        });
        found.iter().find(|f| f.subject == "rivals").map(|f| f.message.clone())
    };
    let both = with(&[], &[]).unwrap();
    assert_eq!(both, "Deployment beta/other works in all namespaces too, and both write");
    assert!(with(&["--namespaces=a,b"], &["--namespaces=b,c"]).unwrap().contains("works in b too"));
    assert_eq!(with(&["--namespaces=a"], &["--namespaces=b"]), None);
    let unelected = judged(|i| {
        let one = |name| deployment(name, "ops", 2, &["--leader-elect=false"]);
        i.deployments = Seen::Here(vec![one("a"), one("b")]);
    });
    assert_eq!(of(&unelected, "rivals").state, State::Failed);
}
