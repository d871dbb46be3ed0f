//! The admission policies that keep the operator to its own Secrets: there, bound, and proved by what they refuse in a dry run.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::model::{Area, Finding};
use super::operator::LABELS;
use super::rights::Mode;
use super::seen::{Seen, list};
use super::setup::Setup;
use crate::api::names;
use crate::kube_error::CALL_LIMIT;

/// What the chart has: the end of a policy's name, and what it is for.
const POLICIES: [(&str, &str); 2] = [
    (".secrets", "keeps the operator to Secrets that it made"),
    (".objects", "keeps the operator from changing workloads and VaultSecrets"),
];

/// The same for an operator of the whole cluster, which alone serves ClusterVaultSecrets.
const OF_CLUSTER: (&str, &str) =
    (".vaultsecrets", "keeps the operator to VaultSecrets that are made for a ClusterVaultSecret");

/// What is there.
pub struct Policies {
    policies: Seen<Vec<ValidatingAdmissionPolicy>>,
    bindings: Seen<Vec<ValidatingAdmissionPolicyBinding>>,
}

/// Looks for them.
pub async fn look(client: &Client) -> Policies {
    Policies {
        policies: list("listing admission policies", &Api::all(client.clone()), LABELS).await,
        bindings: list("listing bindings of admission policies", &Api::all(client.clone()), LABELS).await,
    }
}

/// What the API server said to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// An admission policy refuses it; its name.
    Policy(String),
    /// No role allows it.
    Role,
    /// It would have been done.
    Allowed,
    /// Whoever calls may not act as the operator.
    NoImpersonation,
    /// Something else.
    Unknown(String),
}

/// An attempt, as the operator, to do what it must not. A dry run: nothing comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried.
    pub what: &'static str,
    /// The end of the name of the policy that is to refuse it.
    pub policy: &'static str,
    /// The answer.
    pub said: Said,
}

/// Tries, with a client that acts as the operator.
pub async fn attempt(operator: &Client, setup: &Setup, deployment: bool) -> Vec<Attempt> {
    let namespace = &setup.account.namespace;
    let secrets: Api<Secret> = Api::namespaced(operator.clone(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(operator.clone(), namespace);
    let mut all = Vec::new();
    let mut say = |what, policy, said| all.push(Attempt { what, policy, said });
    let dry = PostParams { dry_run: true, field_manager: Some(names::OPERATOR.to_owned()) };
    let made = |secret: serde_json::Value| serde_json::from_value::<Secret>(secret).unwrap_or_default();

    let bare = made(json!({"metadata": {"name": "vaultsecret-doctor"}}));
    say("a Secret without the operator's marks", ".secrets", said(secrets.create(&dry, &bare)).await);
    let token = made(json!({
        "metadata": {"name": "vaultsecret-doctor",
            "labels": {names::ROLE: "target", names::MANAGED_BY: names::OPERATOR},
            "annotations": {names::MADE_FOR: "doctor/none", "kubernetes.io/service-account.name": "default"}},
        "type": names::PRIVILEGED_TYPES[0],
    }));
    say("a token of another service account", ".secrets", said(secrets.create(&dry, &token)).await);
    let params =
        PatchParams { dry_run: true, field_manager: Some(names::OPERATOR.to_owned()), ..PatchParams::default() };
    let note = Patch::Merge(json!({"metadata": {"annotations": {"vaultsecret.dev/doctor": "tried"}}}));
    say("a change of its key ring", ".secrets", said(secrets.patch(names::KEY_RING, &params, &note)).await);
    if deployment {
        let paused = Patch::Merge(json!({"spec": {"paused": true}}));
        say("a change of a Deployment", ".objects", said(deployments.patch(&setup.deployment, &params, &paused)).await);
    }
    all
}

async fn said<T>(call: impl Future<Output = kube::Result<T>>) -> Said {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Err(_) => Said::Unknown("the API server did not answer in time".to_owned()),
        Ok(Ok(_)) => Said::Allowed,
        Ok(Err(kube::Error::Api(status))) => read(status.code, &status.message),
        Ok(Err(_)) => Said::Unknown("the API server did not answer".to_owned()),
    }
}

/// Reads a refusal.
fn read(code: u16, message: &str) -> Said {
    if let Some((_, rest)) = message.split_once("ValidatingAdmissionPolicy '") {
        return Said::Policy(rest.split('\'').next().unwrap_or_default().to_owned());
    }
    match code {
        403 if message.contains("cannot impersonate") => Said::NoImpersonation,
        403 => Said::Role,
        404 => Said::Unknown("there is nothing to try it on".to_owned()),
        code => Said::Unknown(format!("the API server answered {code}")),
    }
}

/// Judges them.
#[must_use]
pub fn judge(seen: &Policies, attempts: &[Attempt], setup: &Setup) -> Vec<Finding> {
    let mut found = there(seen, setup);
    if attempts.iter().any(|attempt| attempt.said == Said::NoImpersonation) {
        let text = format!("what they refuse was not tried: you may not impersonate {}", setup.account.user());
        found.push(Finding::skipped(Area::Policies, "dry run", text));
        return found;
    }
    for attempt in attempts {
        let subject = format!("dry run: {}", attempt.what);
        found.push(match &attempt.said {
            Said::Policy(name) => Finding::passed(Area::Policies, subject, format!("proved: refused by {name}")),
            Said::Role => Finding::passed(Area::Policies, subject, "proved: refused for want of a right"),
            Said::Allowed => Finding::warning(
                Area::Policies,
                subject,
                "would be done: nothing but its own code keeps the operator from it",
            )
            .mend(install(setup)),
            Said::NoImpersonation => continue,
            Said::Unknown(why) => Finding::skipped(Area::Policies, subject, why),
        });
    }
    found
}

fn there(seen: &Policies, setup: &Setup) -> Vec<Finding> {
    let (policies, bindings) = match (&seen.policies, &seen.bindings) {
        (Seen::Here(policies), Seen::Here(bindings)) => (policies, bindings),
        (Seen::Absent, _) | (_, Seen::Absent) => {
            let text = "this cluster has no ValidatingAdmissionPolicies: nothing but its roles binds the operator";
            return vec![Finding::warning(Area::Policies, "kinds", text).mend("Kubernetes 1.30 has them")];
        }
        (unseen, other) => {
            let action = "list ValidatingAdmissionPolicies and their bindings";
            let why = unseen.unseen(action).or_else(|| other.unseen(action)).unwrap_or_default();
            return vec![Finding::skipped(Area::Policies, "policies", why)];
        }
    };
    let of_cluster = Some(OF_CLUSTER).filter(|_| setup.mode == Mode::Cluster);
    let all = POLICIES.into_iter().chain(of_cluster);
    all.map(|(end, purpose)| one(policies, bindings, end, purpose, setup)).collect()
}

fn one(
    policies: &[ValidatingAdmissionPolicy],
    bindings: &[ValidatingAdmissionPolicyBinding],
    end: &str,
    purpose: &str,
    setup: &Setup,
) -> Finding {
    let user = format!("\"{}\"", setup.account.user());
    let speaks_of = |policy: &&ValidatingAdmissionPolicy| {
        let conditions = policy.spec.as_ref().and_then(|spec| spec.match_conditions.as_ref());
        policy.name_any().ends_with(end) && conditions.into_iter().flatten().any(|c| c.expression.contains(&user))
    };
    let Some(policy) = policies.iter().find(speaks_of) else {
        let text = format!("there is none that {purpose}");
        return Finding::warning(Area::Policies, format!("*{end}"), text).mend(install(setup));
    };
    let name = policy.name_any();
    let warning = |text: String| Finding::warning(Area::Policies, &name, text).mend(install(setup));
    let denies = |b: &ValidatingAdmissionPolicyBinding| b.spec.validation_actions.iter().any(|action| action == "Deny");
    let bound: Vec<_> = bindings.iter().filter(|b| b.spec.policy_name == name).collect();
    if bound.is_empty() {
        return warning("is not bound, and refuses nothing".to_owned());
    }
    if !bound.iter().any(|b| denies(b)) {
        return warning("is bound without Deny, and refuses nothing".to_owned());
    }
    let warnings = policy.status.as_ref().and_then(|status| status.type_checking.as_ref());
    if let Some(first) = warnings.and_then(|checked| checked.expression_warnings.as_ref()?.first()) {
        return warning(format!("the API server warns of {}: {}", first.field_ref, first.warning));
    }
    Finding::passed(Area::Policies, name, format!("is there and bound: {purpose}"))
}

fn install(setup: &Setup) -> String {
    format!(
        "helm template {} charts/vaultsecret-operator --namespace {} --show-only templates/policy-operator.yaml | kubectl apply -f -",
        setup.deployment, setup.account.namespace
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::Value;

    use super::super::model::State;
    use super::*;

    fn policy(name: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"matchConditions": [{"name": "is-the-operator",
            "expression": "request.userInfo.username == \"system:serviceaccount:ops:vaultsecret-operator\""}]}})
    }

    fn binding(name: &str, action: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": [action]}})
    }

    fn seen(policies: &[Value], bindings: &[Value]) -> Policies {
        Policies {
            policies: Seen::Here(policies.iter().map(|p| serde_json::from_value(p.clone()).unwrap()).collect()),
            bindings: Seen::Here(bindings.iter().map(|b| serde_json::from_value(b.clone()).unwrap()).collect()),
        }
    }

    fn states(seen: &Policies, attempts: &[Attempt]) -> Vec<State> {
        let shop = ["shop".to_owned()];
        judge(seen, attempts, &Setup::of(None, "ops", None, Some(&shop))).into_iter().map(|f| f.state).collect()
    }

    #[test]
    fn there_and_bound_is_good_and_everything_less_is_told() {
        let both = [policy("vault.ops.secrets"), policy("vault.ops.objects")];
        let bound = |action| [binding("vault.ops.secrets", action), binding("vault.ops.objects", "Deny")];
        assert_eq!(states(&seen(&both, &bound("Deny")), &[]), [State::Passed, State::Passed]);
        assert_eq!(states(&seen(&both, &bound("Audit")), &[]), [State::Warning, State::Passed]);
        assert_eq!(states(&seen(&both, &[]), &[]), [State::Warning, State::Warning]);
        let mut other = policy("vault.ops.secrets");
        other["spec"]["matchConditions"][0]["expression"] = json!("request.userInfo.username == \"somebody\"");
        assert_eq!(states(&seen(&[other], &bound("Deny")), &[]), [State::Warning, State::Warning]);
        // For the whole cluster there is one more.
        let of_cluster = |seen: &Policies| judge(seen, &[], &Setup::of(None, "ops", None, None)).len();
        assert_eq!(of_cluster(&seen(&both, &bound("Deny"))), 3);
        let none = Policies { policies: Seen::Absent, bindings: Seen::Absent };
        assert_eq!(states(&none, &[]), [State::Warning]);
    }

    #[test]
    fn refusals_are_read() {
        let by = "secrets \"x\" is forbidden: ValidatingAdmissionPolicy 'vault.ops.secrets' with binding 'b' denied request: no";
        assert_eq!(read(403, by), Said::Policy("vault.ops.secrets".to_owned()));
        let no = "serviceaccounts \"x\" is forbidden: User \"jane\" cannot impersonate resource \"serviceaccounts\"";
        assert_eq!(read(403, no), Said::NoImpersonation);
        assert_eq!(read(403, "secrets is forbidden: User \"x\" cannot create resource \"secrets\""), Said::Role);
    }

    #[test]
    fn attempts_are_proofs_or_warnings() {
        let of = |said| Attempt { what: "a Secret", policy: ".secrets", said };
        let none = seen(&[], &[]);
        let tried =
            [of(Said::Policy("p".to_owned())), of(Said::Role), of(Said::Allowed), of(Said::Unknown("no".to_owned()))];
        assert_eq!(states(&none, &tried)[2..], [State::Passed, State::Passed, State::Warning, State::Skipped]);
        assert_eq!(states(&none, &[of(Said::NoImpersonation)])[2..], [State::Skipped]);
    }
}
