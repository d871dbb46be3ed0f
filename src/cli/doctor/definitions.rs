//! The CustomResourceDefinitions: installed, served, and those of this program.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition as Definition;
use kube::api::Api;
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::Value;

use super::model::{Area, Finding, some_of};
use super::schema::{Difference, difference};
use super::seen::{Seen, get};
use crate::api::ClusterVaultSecret;
use crate::cli::crd;

/// What installs them.
const INSTALL: &str = "vaultsecret crd | kubectl apply --server-side --force-conflicts -f -";

/// Fields that are named; the rest is counted.
const NAMED: usize = 4;

/// A definition of this program, and what the cluster has by that name.
pub type Pair = (Definition, Seen<Definition>);

/// Looks at each.
pub async fn look(client: &Client) -> Vec<Pair> {
    let api: Api<Definition> = Api::all(client.clone());
    let mut all = Vec::new();
    for ours in crd::all() {
        let found = get("reading a definition", &api, &ours.name_any()).await;
        all.push((ours, found));
    }
    all
}

/// Judges each.
#[must_use]
pub fn judge(pairs: &[Pair]) -> Vec<Finding> {
    pairs.iter().map(|(ours, found)| one(ours, found)).collect()
}

fn one(ours: &Definition, found: &Seen<Definition>) -> Finding {
    let name = ours.name_any();
    let failed = |text: &str| Finding::failed(Area::Definitions, &name, text);
    let theirs = match found {
        Seen::Here(theirs) => theirs,
        // It came with a later version: an operator goes on without it.
        Seen::Absent if ours.spec.names.kind == ClusterVaultSecret::kind(&()) => {
            return Finding::warning(Area::Definitions, &name, "is not installed, so its objects are not served")
                .mend(INSTALL);
        }
        Seen::Absent => return failed("is not installed").mend(INSTALL),
        unseen => {
            let why = unseen.unseen("read CustomResourceDefinitions").unwrap_or_default();
            return Finding::skipped(Area::Definitions, &name, why);
        }
    };
    if theirs.metadata.deletion_timestamp.is_some() {
        let text = "is being deleted, and with it every object of its kind";
        return failed(text).mend(format!("wait until it is gone, then {INSTALL}; restore the objects from a backup"));
    }
    let conditions = theirs.status.as_ref().and_then(|status| status.conditions.as_ref());
    let bad = |kind: &str| conditions.into_iter().flatten().find(|c| c.type_ == kind && c.status != "True");
    let established = conditions.into_iter().flatten().any(|c| c.type_ == "Established" && c.status == "True");
    if let Some(condition) = bad("NamesAccepted").or_else(|| bad("Established")) {
        let why = condition.message.as_deref().unwrap_or_default();
        return failed(&format!("is not served: {} {why}", condition.type_))
            .mend(format!("kubectl describe crd {name}"));
    }
    if !established {
        return failed("is not served yet").mend(format!("kubectl wait --for=condition=Established crd/{name}"));
    }
    let installed = by_whom(theirs).map(|who| format!(", installed by {who}")).unwrap_or_default();
    for version in &ours.spec.versions {
        let Some(served) = theirs.spec.versions.iter().find(|v| v.name == version.name && v.served) else {
            let served: Vec<&str> = theirs.spec.versions.iter().filter(|v| v.served).map(|v| v.name.as_str()).collect();
            let text = format!("serves {} and not {}{installed}", some_of(&served, NAMED), version.name);
            return failed(&text).mend(INSTALL);
        };
        let schema = |of: &_| serde_json::to_value(of).unwrap_or_default()["openAPIV3Schema"].clone();
        let (our_schema, their_schema): (Value, Value) = (schema(&version.schema), schema(&served.schema));
        let differs = difference(&our_schema, &their_schema);
        if !differs.is_none() {
            return other_schema(&name, &version.name, &differs, &installed);
        }
    }
    let versions: Vec<&str> = ours.spec.versions.iter().map(|v| v.name.as_str()).collect();
    Finding::passed(
        Area::Definitions,
        &name,
        format!("{} is served, as this program has it{installed}", some_of(&versions, NAMED)),
    )
}

fn other_schema(name: &str, version: &str, differs: &Difference, installed: &str) -> Finding {
    if !differs.lacks.is_empty() {
        let text =
            format!("{version} is older than this program: it drops {}{installed}", some_of(&differs.lacks, NAMED));
        return Finding::failed(Area::Definitions, name, text)
            .mend(format!("{INSTALL} (or helm upgrade, if the chart has them)"));
    }
    if !differs.more.is_empty() {
        let text = format!(
            "{version} is newer than this program: it has {} besides{installed}",
            some_of(&differs.more, NAMED)
        );
        return Finding::warning(Area::Definitions, name, text).mend("use a vaultsecret of the operator's version");
    }
    let text =
        format!("{version} has other rules than this program for {}{installed}", some_of(&differs.others, NAMED));
    Finding::warning(Area::Definitions, name, text).mend(INSTALL)
}

/// Who installed it, as far as it says so.
fn by_whom(definition: &Definition) -> Option<String> {
    if let Some(release) = definition.annotations().get("meta.helm.sh/release-name") {
        let namespace = definition.annotations().get("meta.helm.sh/release-namespace").cloned().unwrap_or_default();
        return Some(format!("the Helm release {namespace}/{release}"));
    }
    let fields = definition.metadata.managed_fields.iter().flatten();
    let mut writers = fields.filter(|field| field.subresource.is_none()).collect::<Vec<_>>();
    writers.sort_by_key(|field| field.time.as_ref().map(|time| time.0));
    writers.last().and_then(|field| field.manager.clone()).filter(|manager| manager != "unknown")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::super::model::State;
    use super::*;

    /// The definition of VaultSecrets as a cluster has it, changed.
    fn installed(change: impl Fn(&mut Value)) -> Pair {
        let ours = crd::all().remove(0);
        let mut theirs = serde_json::to_value(&ours).unwrap();
        theirs["status"] = json!({"conditions": [
            {"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"},
        ]});
        theirs["metadata"]["managedFields"] = json!([{"manager": "kubectl", "time": "2026-11-26T18:00:00Z"}]);
        change(&mut theirs);
        (ours, Seen::Here(serde_json::from_value(theirs).unwrap()))
    }

    fn judged(change: impl Fn(&mut Value)) -> Finding {
        judge(&[installed(change)]).remove(0)
    }

    fn spec(definition: &mut Value) -> &mut Value {
        &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    }

    #[test]
    fn ours_is_good_and_says_who_installed_it() {
        let found = judged(|_| {});
        assert_eq!(
            (found.state, found.message.as_str()),
            (State::Passed, "v1alpha1 is served, as this program has it, installed by kubectl")
        );
        let found = judged(|d| {
            d["metadata"]["annotations"] =
                json!({"meta.helm.sh/release-name": "vault", "meta.helm.sh/release-namespace": "ops"})
        });
        assert!(found.message.ends_with("the Helm release ops/vault"), "{found:?}");
    }

    #[test]
    fn older_newer_and_other_schemas_are_told_apart() {
        let older = judged(|d| drop(spec(d).as_object_mut().unwrap().remove("dataFrom")));
        assert_eq!(older.state, State::Failed);
        assert!(older.message.contains("older than this program: it drops spec.dataFrom"), "{older:?}");
        let newer = judged(|d| spec(d)["surprise"] = json!({"type": "string"}));
        assert_eq!(newer.state, State::Warning);
        assert!(newer.message.contains("it has spec.surprise besides"), "{newer:?}");
        let other = judged(|d| spec(d)["suspend"]["type"] = json!("string"));
        assert!(other.message.contains("other rules than this program for spec.suspend"), "{other:?}");
    }

    #[test]
    fn what_is_not_served_says_why() {
        let conflict = judged(|d| {
            d["status"]["conditions"][0] =
                json!({"type": "NamesAccepted", "status": "False", "message": "\"vsec\" is taken"});
        });
        assert!(conflict.message.contains("\"vsec\" is taken"), "{conflict:?}");
        let version = judged(|d| d["spec"]["versions"][0]["name"] = json!("v1"));
        assert!(version.message.contains("serves v1 and not v1alpha1"), "{version:?}");
        let going = judged(|d| d["metadata"]["deletionTimestamp"] = json!("2026-11-26T18:00:00Z"));
        assert!(going.message.contains("is being deleted"), "{going:?}");
        let missing = judge(&[(crd::all().remove(0), Seen::Absent)]).remove(0);
        assert_eq!((missing.state, missing.mend.as_deref()), (State::Failed, Some(INSTALL)));
        let newest = crd::all().into_iter().find(|d| d.spec.names.kind == "ClusterVaultSecret").unwrap();
        assert_eq!(judge(&[(newest, Seen::Absent)]).remove(0).state, State::Warning, "an older cluster goes on");
        let unseen = judge(&[(crd::all().remove(0), Seen::Forbidden)]).remove(0);
        assert_eq!(unseen.state, State::Skipped);
    }
}
