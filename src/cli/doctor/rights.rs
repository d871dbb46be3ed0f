//! What the operator must be able to do, and what it must not: one table, which a test compares with the roles in `deploy/` and
//! with those that the chart renders.

use crate::api::names;
use crate::leader::LEASE;

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the whole cluster.
    Everywhere,
    /// In the operator's own namespace.
    Own,
    /// In each namespace that it works in, where those are listed.
    Watched,
    /// In a namespace that is not the operator's business, where those it works in are listed.
    Elsewhere,
}

/// How the operator is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For all namespaces.
    Cluster,
    /// For these.
    Namespaced(Vec<String>),
}

/// A rule as a role has it.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Resources, with their subresources.
    pub resources: &'static [&'static str],
    /// Only objects of these names; none: all.
    pub names: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
}

const fn rule(
    group: &'static str,
    resources: &'static [&'static str],
    names: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Rule {
    Rule { group, resources, names, verbs }
}

/// One thing that may be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Where.
    pub place: Place,
    /// API group.
    pub group: String,
    /// Resource, with its subresource.
    pub resource: String,
    /// Name of the object; empty for all.
    pub name: String,
    /// Verb.
    pub verb: String,
}

/// What it does in every namespace that it works in.
const WORK: &[Rule] = &[
    rule(names::GROUP, &["vaultsecrets"], &[], &["get", "list", "watch", "patch"]),
    rule(names::GROUP, &["vaultsecrets/status", "vaultsecrets/finalizers"], &[], &["update"]),
    rule(names::GROUP, &["vaultconnections"], &[], &["get", "list", "watch"]),
    rule(names::GROUP, &["vaultconnections/status"], &[], &["patch"]),
    rule("", &["secrets"], &[], &["get", "list", "watch", "create", "update", "patch", "delete"]),
    rule("", &["configmaps"], &[], &["get", "list", "watch"]),
    rule("apps", &["deployments", "statefulsets", "daemonsets"], &[], &["patch"]),
    rule("argoproj.io", &["rollouts"], &[], &["get", "patch"]),
    rule("events.k8s.io", &["events"], &[], &["create", "patch"]),
];

/// What it does besides where it works in all namespaces.
const CLUSTER: &[Rule] = &[
    rule(names::GROUP, &["clustervaultconnections"], &[], &["get", "list", "watch"]),
    rule(names::GROUP, &["clustervaultconnections/status"], &[], &["patch"]),
    rule(names::GROUP, &["clustervaultsecrets"], &[], &["list", "watch"]),
    rule(names::GROUP, &["clustervaultsecrets/status"], &[], &["update"]),
    rule("", &["namespaces"], &[], &["get", "list", "watch"]),
];

/// What it does besides there, for ClusterVaultSecrets; an admission policy keeps it to the VaultSecrets that are made for them.
const MAKES: &[Rule] = &[rule(names::GROUP, &["vaultsecrets"], &[], &["create", "delete"])];

/// What it does in its own namespace.
const OWN: &[Rule] = &[
    rule("coordination.k8s.io", &["leases"], &[], &["create"]),
    rule("coordination.k8s.io", &["leases"], &[LEASE], &["get", "update"]),
    rule("", &["configmaps"], &[], &["create"]),
    rule("", &["configmaps"], &[names::SEALING_RECIPIENTS], &["update"]),
];

/// What it does there besides, where no ClusterRole covers it.
const OWN_NAMESPACED: &[Rule] = &[
    rule("", &["secrets"], &[], &["create"]),
    rule("", &["secrets"], &[names::KEY_RING], &["get", "update", "patch"]),
    rule("", &["secrets"], &[names::SEALING_IDENTITIES], &["list", "watch"]),
    rule("", &["configmaps"], &[names::SEALING_RECIPIENTS], &["list", "watch"]),
    rule("events.k8s.io", &["events"], &[], &["create", "patch"]),
];

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// What must be refused everywhere: it would be a way to further rights, or to what is none of its business.
const NEVER: &[Rule] = &[
    rule(RBAC, &["clusterrolebindings", "clusterroles"], &[], &["create", "update", "patch", "bind", "escalate"]),
    rule(
        ADMISSION,
        &["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
        &[],
        &["create", "update", "delete"],
    ),
    rule(ADMISSION, &["validatingwebhookconfigurations", "mutatingwebhookconfigurations"], &[], &["create", "update"]),
    rule("apiextensions.k8s.io", &["customresourcedefinitions"], &[], &["create", "update", "delete"]),
    rule("", &["nodes"], &[], &["get", "list"]),
    rule("", &["nodes/proxy"], &[], &["get", "create"]),
    rule("", &["namespaces"], &[], &["create", "update", "delete"]),
    rule("", &["persistentvolumes"], &[], &["create"]),
    rule("", &["users", "groups"], &[], &["impersonate"]),
    rule("certificates.k8s.io", &["certificatesigningrequests"], &[], &["create"]),
    rule(
        names::GROUP,
        &["clustervaultconnections", "clustervaultsecrets"],
        &[],
        &["create", "update", "patch", "delete"],
    ),
];

/// The same of what lives in namespaces: asked for everywhere, and in the namespaces that it has rights in.
const NEVER_IN: &[Rule] = &[
    rule(RBAC, &["rolebindings", "roles"], &[], &["create", "update", "bind", "escalate"]),
    rule("", &["pods"], &[], &["create", "list"]),
    rule("", &["pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"], &[], &["create", "update"]),
    rule("", &["serviceaccounts"], &[], &["create", "impersonate"]),
    rule("", &["serviceaccounts/token"], &[], &["create"]),
    rule("", &["secrets"], &[], &["deletecollection"]),
    rule("", &["configmaps"], &[], &["delete"]),
    rule("apps", &["deployments", "statefulsets", "daemonsets"], &[], &["create", "update", "delete"]),
    rule("batch", &["jobs", "cronjobs"], &[], &["create"]),
    rule(names::GROUP, &["vaultsecrets"], &[], &["update"]),
    rule(names::GROUP, &["vaultconnections"], &[], &["create", "update", "patch", "delete"]),
];

/// What must be refused beyond the listed namespaces, where they are listed.
const BEYOND: &[Rule] = &[
    rule("", &["secrets"], &[], &["get", "list", "watch", "create", "update", "patch", "delete"]),
    rule("", &["configmaps"], &[], &["get", "list", "watch"]),
    rule("apps", &["deployments", "statefulsets", "daemonsets"], &[], &["patch"]),
    rule(names::GROUP, &["vaultsecrets", "vaultconnections"], &[], &["get", "list", "watch"]),
];

/// Kinds of the cluster, which an operator for some namespaces does not look at.
const BEYOND_CLUSTER: &[Rule] = &[
    rule("", &["namespaces"], &[], &["get", "list", "watch"]),
    rule(names::GROUP, &["clustervaultconnections", "clustervaultsecrets"], &[], &["get", "list", "watch"]),
];

/// The Secrets of its own namespace, of which it needs two.
const BEYOND_OWN: &[Rule] = &[rule("", &["secrets"], &[], &["get", "list", "watch", "update", "patch", "delete"])];

/// The rights of some rules in a place.
fn expand(place: Place, rules: &[Rule]) -> Vec<Right> {
    let mut all = Vec::new();
    for rule in rules {
        let names = if rule.names.is_empty() { &[""][..] } else { rule.names };
        for resource in rule.resources {
            for name in names {
                all.extend(rule.verbs.iter().map(|verb| Right {
                    place,
                    group: rule.group.to_owned(),
                    resource: (*resource).to_owned(),
                    name: (*name).to_owned(),
                    verb: (*verb).to_owned(),
                }));
            }
        }
    }
    all
}

/// What it must be able to do.
#[must_use]
pub fn needed(mode: &Mode) -> Vec<Right> {
    let mut all = match mode {
        Mode::Cluster => [WORK, CLUSTER, MAKES].iter().flat_map(|rules| expand(Place::Everywhere, rules)).collect(),
        Mode::Namespaced(_) => [expand(Place::Watched, WORK), expand(Place::Own, OWN_NAMESPACED)].concat(),
    };
    all.extend(expand(Place::Own, OWN));
    all
}

/// What it must not be able to do.
#[must_use]
pub fn forbidden(mode: &Mode) -> Vec<Right> {
    let mut all = expand(Place::Everywhere, NEVER);
    for place in [Place::Everywhere, Place::Own] {
        all.extend(expand(place, NEVER_IN));
    }
    if let Mode::Namespaced(_) = mode {
        all.extend(expand(Place::Watched, NEVER_IN));
        for place in [Place::Everywhere, Place::Own, Place::Watched] {
            all.extend(expand(place, MAKES));
        }
        for place in [Place::Everywhere, Place::Elsewhere] {
            all.extend(expand(place, BEYOND));
        }
        all.extend(expand(Place::Everywhere, BEYOND_CLUSTER));
        all.extend(expand(Place::Own, BEYOND_OWN));
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// The rights of a role in one of our manifests.
    fn granted(path: &str, kind: &str, place: Place) -> Vec<Right> {
        let text = std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let mine = |d: &&Value| {
            d["kind"] == kind
                && d["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("vaultsecret-operator"))
        };
        documents
            .iter()
            .filter(mine)
            .flat_map(|role| role["rules"].as_array().unwrap())
            .flat_map(|rule| of(rule, place))
            .collect()
    }

    fn of(rule: &Value, place: Place) -> Vec<Right> {
        let texts = |field: &str| -> Vec<String> {
            rule[field].as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let names = if rule["resourceNames"].is_null() { vec![String::new()] } else { texts("resourceNames") };
        let mut all = Vec::new();
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                for name in &names {
                    all.extend(texts("verbs").into_iter().map(|verb| Right {
                        place,
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                        verb,
                    }));
                }
            }
        }
        all
    }

    fn set(rights: Vec<Right>) -> BTreeSet<Right> {
        rights.into_iter().collect()
    }

    #[test]
    fn the_table_is_what_the_roles_grant() {
        let cluster = [
            granted("deploy/cluster/rbac.yaml", "ClusterRole", Place::Everywhere),
            granted("deploy/cluster/rbac.yaml", "Role", Place::Own),
        ];
        assert_eq!(set(needed(&Mode::Cluster)), set(cluster.concat()));
        let namespaced = [
            granted("deploy/namespaced/rbac.yaml", "Role", Place::Own),
            granted("deploy/namespaced/namespace-role/rbac.yaml", "Role", Place::Watched),
        ];
        assert_eq!(set(needed(&Mode::Namespaced(Vec::new()))), set(namespaced.concat()));
    }

    /// With a ClusterRole a right holds in its own namespace too, so that counts as needed there.
    #[test]
    fn nothing_is_needed_and_forbidden_at_once() {
        for mode in [Mode::Cluster, Mode::Namespaced(vec!["shop".to_owned()])] {
            let needed = set(needed(&mode));
            for right in forbidden(&mode) {
                let everywhere = Right { place: Place::Everywhere, ..right.clone() };
                assert!(!needed.contains(&right) && !needed.contains(&everywhere), "{mode:?}: {right:?}");
            }
        }
    }
}
