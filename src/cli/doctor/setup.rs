//! How the operator is run, as its Deployment says it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use kube::ResourceExt as _;

use super::access::Account;
use super::operator::usual_account;
use super::rights::Mode;
use crate::api::names;

/// Where it serves metrics and readiness, unless it says otherwise.
const PORT: u16 = 8080;

/// How it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Name of the Deployment.
    pub deployment: String,
    /// Its account.
    pub account: Account,
    /// The namespaces that it works in.
    pub mode: Mode,
    /// Whether its replicas elect a leader.
    pub leader_elect: bool,
    /// Port of metrics and readiness.
    pub port: u16,
}

impl Setup {
    /// What a Deployment says, and where there is none what is usual. The last two are what the person says, who knows better.
    #[must_use]
    pub fn of(
        deployment: Option<&Deployment>,
        namespace: &str,
        account: Option<&str>,
        namespaces: Option<&[String]>,
    ) -> Self {
        let pod = deployment.and_then(|d| d.spec.template.spec.as_ref());
        let container = pod.and_then(operators);
        let flag = |name: &str, env: &str| container.and_then(|container| flag(container, name, env));
        let listed = namespaces.map(<[String]>::to_vec).unwrap_or_else(|| {
            let text = flag("--namespaces", "VAULTSECRET_NAMESPACES").unwrap_or_default();
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        });
        let usual = usual_account(namespace);
        let named = account
            .map(str::to_owned)
            .or_else(|| pod.map(|pod| pod.service_account_name.clone().unwrap_or_else(|| "default".to_owned())));
        let port = flag("--listen", "VAULTSECRET_LISTEN").and_then(|text| text.rsplit_once(':')?.1.parse().ok());
        Self {
            deployment: deployment.map_or_else(|| names::OPERATOR.to_owned(), kube::ResourceExt::name_any),
            account: Account { name: named.unwrap_or(usual.name), ..usual },
            mode: if listed.is_empty() { Mode::Cluster } else { Mode::Namespaced(listed) },
            leader_elect: flag("--leader-elect", "VAULTSECRET_LEADER_ELECT").is_none_or(|text| text != "false"),
            port: port.unwrap_or(PORT),
        }
    }

    /// The Deployment that counts, where there are several: the one that is ready, else the oldest.
    #[must_use]
    pub fn main(all: &[Deployment]) -> Option<&Deployment> {
        let ready = |d: &Deployment| d.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0) > 0;
        all.iter().min_by_key(|d| (!ready(d), d.creation_timestamp().map(|at| at.0), d.name_any()))
    }
}

/// The operator's container, beside which others may have been put.
#[must_use]
pub fn operators(pod: &PodSpec) -> Option<&Container> {
    let runs = |c: &&Container| c.args.iter().flatten().any(|arg| arg == "run");
    pod.containers.iter().find(runs).or_else(|| pod.containers.first())
}

/// What a flag is set to, by argument or else by environment.
fn flag(container: &Container, name: &str, env: &str) -> Option<String> {
    let args: Vec<&String> = container.args.iter().flatten().collect();
    let given = args.iter().enumerate().find_map(|(at, arg)| match arg.strip_prefix(name) {
        Some("") => args.get(at + 1).map(|next| (*next).clone()).filter(|next| !next.starts_with("--")),
        Some(rest) => rest.strip_prefix('=').map(str::to_owned),
        None => None,
    });
    given.or_else(|| container.env.iter().flatten().find(|var| var.name == env).and_then(|var| var.value.clone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn deployment(args: serde_json::Value, env: serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "vault", "namespace": "ops"},
            "spec": {"selector": {}, "template": {"spec": {"serviceAccountName": "robot", "containers": [
                {"name": "proxy", "args": ["--namespaces=none"]}, {"name": "operator", "args": args, "env": env},
            ]}}},
        }))
        .unwrap()
    }

    #[test]
    fn flags_are_read_in_all_their_spellings() {
        let watches = |args, env| Setup::of(Some(&deployment(args, env)), "ops", None, None).mode;
        let both = Mode::Namespaced(vec!["shop".to_owned(), "blog".to_owned()]);
        assert_eq!(watches(json!(["run", "--namespaces=shop,blog"]), json!([])), both);
        assert_eq!(watches(json!(["run", "--namespaces", "shop, blog"]), json!([])), both);
        assert_eq!(watches(json!(["run"]), json!([{"name": "VAULTSECRET_NAMESPACES", "value": "shop,blog"}])), both);
        assert_eq!(watches(json!(["run", "--leader-elect", "--workers=3"]), json!([])), Mode::Cluster);
        let alone = Setup::of(
            Some(&deployment(json!(["run", "--leader-elect=false", "--listen=0.0.0.0:9090"]), json!([]))),
            "ops",
            None,
            None,
        );
        assert_eq!((alone.leader_elect, alone.port, alone.deployment.as_str()), (false, 9090, "vault"));
        assert_eq!(alone.account.user(), "system:serviceaccount:ops:robot");
    }

    #[test]
    fn without_a_deployment_it_is_as_usual_or_as_the_person_says() {
        let usual = Setup::of(None, "ops", None, None);
        assert_eq!(usual.account.user(), "system:serviceaccount:ops:vaultsecret-operator");
        assert_eq!((usual.mode, usual.leader_elect, usual.port), (Mode::Cluster, true, PORT));
        let said = Setup::of(None, "ops", Some("robot"), Some(&["shop".to_owned()]));
        assert_eq!((said.account.name.as_str(), said.mode), ("robot", Mode::Namespaced(vec!["shop".to_owned()])));
    }
}
