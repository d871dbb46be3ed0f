//! What the operator says of itself: readiness and version, through the API server's proxy.

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt as _};

use super::model::{Area, Finding};
use super::seen::{Answer, raw};
use crate::cli::VERSION;

/// What one Pod said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its name.
    pub pod: String,
    /// To `/readyz?verbose`.
    pub ready: Result<Answer, String>,
    /// To `/metrics`.
    pub metrics: Result<Answer, String>,
}

/// Asks each Pod that runs.
pub async fn look(client: &Client, namespace: &str, pods: &[Pod], port: u16) -> Vec<Said> {
    let mut all = Vec::new();
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase != Some("Running") || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let name = pod.name_any();
        let at = |path: &str| format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/{path}");
        let (ready, metrics) = (raw(client, &at("readyz?verbose")).await, raw(client, &at("metrics")).await);
        all.push(Said { pod: name, ready, metrics });
    }
    all
}

/// Judges what they said.
#[must_use]
pub fn judge(said: &[Said], namespace: &str) -> Vec<Finding> {
    if said.is_empty() {
        return vec![Finding::skipped(Area::Operator, "readiness", "no Pod of the operator runs that could be asked")];
    }
    said.iter().map(|said| one(said, namespace)).collect()
}

fn one(said: &Said, namespace: &str) -> Finding {
    let subject = format!("readiness {}", said.pod);
    let answer = match &said.ready {
        Ok(answer) => answer,
        Err(why) => return Finding::skipped(Area::Operator, subject, format!("the Pod could not be asked: {why}")),
    };
    if is_status(answer) {
        let text = match answer.status {
            403 => "you may not ask Pods through the API server (pods/proxy)".to_owned(),
            status => format!("the API server does not reach the Pod ({status}): a NetworkPolicy may be in the way"),
        };
        let mend =
            format!("kubectl port-forward {} -n {namespace} 8080, then curl localhost:8080/readyz?verbose", said.pod);
        return Finding::skipped(Area::Operator, subject, text).mend(mend);
    }
    let closed: Vec<&str> = answer.body.lines().filter_map(|line| line.strip_prefix("[-] ")).collect();
    if answer.status != 200 {
        let why = if closed.is_empty() { format!("it answers {}", answer.status) } else { closed.join("; ") };
        return Finding::failed(Area::Operator, subject, format!("not ready: {why}"))
            .mend(format!("kubectl logs {} -n {namespace}", said.pod));
    }
    let text = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix("[+] standing by: "))
        .map_or_else(|| "ready, and leads or works alone".to_owned(), |leader| format!("ready, standing by: {leader}"));
    match said.metrics.as_ref().ok().filter(|answer| answer.status == 200).and_then(|answer| version(&answer.body)) {
        Some(version) if version != VERSION => {
            let text = format!("{text}; it runs {version}, and this program is {VERSION}");
            Finding::warning(Area::Operator, subject, text)
                .mend(format!("run doctor with a vaultsecret of version {version}"))
        }
        Some(version) => Finding::passed(Area::Operator, subject, format!("{text}; runs {version}")),
        None => Finding::passed(Area::Operator, subject, text),
    }
}

/// Whether the API server answers in place of the Pod.
fn is_status(answer: &Answer) -> bool {
    serde_json::from_str::<serde_json::Value>(&answer.body).is_ok_and(|body| body["kind"] == "Status")
}

fn version(metrics: &str) -> Option<&str> {
    let line = metrics.lines().find(|line| line.starts_with("vaultsecret_build_info"))?;
    line.split_once("version=\"")?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::model::State;
    use super::*;

    fn judged(status: u16, body: &str, metrics: &str) -> Finding {
        let answer = |status, body: &str| Ok(Answer { status, date: None, body: body.to_owned() });
        let said = Said { pod: "vault-1".to_owned(), ready: answer(status, body), metrics: answer(200, metrics) };
        judge(&[said], "ops").remove(0)
    }

    #[test]
    fn what_the_pod_says_is_told() {
        let metrics = format!("vaultsecret_build_info{{version=\"{VERSION}\",commit=\"abc\"}} 1\n");
        let good = judged(200, "[+] leader\nready\n", &metrics);
        assert!(good.state == State::Passed && good.message.ends_with(&format!("runs {VERSION}")), "{good:?}");
        let standby = judged(200, "[+] standing by: vault-2_x leads\nready\n", "");
        assert!(standby.message.contains("standing by: vault-2_x leads"), "{standby:?}");
        let closed = judged(503, "[+] leader\n[-] CRDs: vaultsecrets is not installed\nnot ready\n", "");
        assert_eq!(
            (closed.state, closed.message.as_str()),
            (State::Failed, "not ready: CRDs: vaultsecrets is not installed")
        );
        let other = judged(200, "ready\n", "vaultsecret_build_info{version=\"9.0.0\"} 1");
        assert_eq!(other.state, State::Warning);
    }

    #[test]
    fn what_the_api_server_says_in_its_place_is_no_failure() {
        assert_eq!(judged(403, "{\"kind\": \"Status\", \"code\": 403}", "").state, State::Skipped);
        assert_eq!(judged(503, "{\"kind\": \"Status\", \"code\": 503}", "").state, State::Skipped);
        assert_eq!(judge(&[], "ops")[0].state, State::Skipped);
    }
}
