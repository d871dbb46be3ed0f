//! Whether somebody else's manifest says the number that a rotation counts up, by what the API server notes of field managers. Pure.

use serde_json::Value;

use super::MANAGER;

/// Managers of changes by hand: nothing will set their fields back.
const BY_HAND: [&str; 5] = ["kubectl-edit", "kubectl-patch", "kubectl-create", "kubectl-replace", MANAGER];

/// Words in the names of managers that apply again by themselves.
const TOOLS: [&str; 10] = [
    "argocd",
    "kustomize-controller",
    "helm",
    "flux",
    "fleet",
    "configsync",
    "config-sync",
    "kapp",
    "terraform",
    "pulumi",
];

/// Who says the number of a key in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// What it is called.
    pub(super) name: String,
    /// It applies the manifest again by itself; else a person does, some day.
    pub(super) by_itself: bool,
}

/// Who says the number of a key in a manifest, if anybody does.
pub(super) fn of(object: &Value, key: &str) -> Option<Owner> {
    let item = serde_json::json!({"key": key}).to_string();
    let managers = object["metadata"]["managedFields"].as_array()?;
    let owner = managers.iter().find(|entry| {
        let generate = &entry["fieldsV1"]["f:spec"]["f:data"][format!("k:{item}")]["f:valueFrom"]["f:generate"];
        let manager = entry["manager"].as_str().unwrap_or_default();
        // Who replaces lists as a whole sets back a number that is not in the manifest, too.
        let owns = !generate["f:epoch"].is_null() || (entry["operation"] == "Update" && generate.is_object());
        owns && !BY_HAND.contains(&manager)
    })?;
    let manager = owner["manager"].as_str().unwrap_or("somebody");
    let (lower, tool) = (manager.to_lowercase(), tool(object));
    let by_itself = tool.is_some() || TOOLS.iter().any(|tool| lower.contains(tool));
    let name = match tool {
        Some(tool) if !lower.contains(&tool.0) => format!("{} ({manager})", tool.1),
        _ => manager.to_owned(),
    };
    Some(Owner { name, by_itself })
}

/// The tool that marks an object as its own: a word of its managers' names, and what it is called.
fn tool(object: &Value) -> Option<(String, &'static str)> {
    let metadata = &object["metadata"];
    let has = |field: &str, name: &str| !metadata[field][name].is_null();
    let found = if has("annotations", "argocd.argoproj.io/tracking-id") {
        ("argocd", "Argo CD")
    } else if has("labels", "kustomize.toolkit.fluxcd.io/name") || has("labels", "helm.toolkit.fluxcd.io/name") {
        ("flux", "Flux")
    } else if has("annotations", "meta.helm.sh/release-name") {
        ("helm", "Helm")
    } else {
        return None;
    };
    Some((found.0.to_owned(), found.1))
}

/// The ClusterVaultSecret that the VaultSecret is made for, and kept as it wants it, if so.
pub(super) fn maker(object: &Value) -> Option<String> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let maker = owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == "ClusterVaultSecret")?;
    maker["name"].as_str().map(str::to_owned)
}

/// What to say of one that is made for a ClusterVaultSecret: a number that is put back at once would be two rotations.
pub(super) fn made(maker: &str, namespace: &str, name: &str, key: &str) -> String {
    format!(
        "VaultSecret {namespace}/{name} is made for ClusterVaultSecret {maker}, which puts it back at once. Nothing was changed. \
         Count up epoch there: under spec.template.data, key {key}, valueFrom.generate; it rotates in all of its namespaces"
    )
}

/// What to say instead of doing it.
pub(super) fn refusal(owner: &str, namespace: &str, name: &str, key: &str, epoch: i64) -> String {
    format!(
        "VaultSecret {namespace}/{name} is applied from a manifest by {owner}, which would set the number back, and so make yet \
         another value. Nothing was changed. Change the manifest instead: under spec.data, key {key}, valueFrom.generate\n    \
         epoch: {epoch}        # was {}\n--force changes it in the cluster all the same",
        epoch - 1
    )
}

/// What to say with it where a person applies the manifest.
pub(super) fn reminder(owner: &str, key: &str, epoch: i64) -> String {
    format!(
        "note: the number is in a manifest by {owner}. Change it there, too, or the next apply sets it back, which makes yet another \
         value: under spec.data, key {key}, valueFrom.generate\n    epoch: {epoch}        # was {}\n",
        epoch - 1
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    fn object(manager: &str, operation: &str, generate: &Value) -> Value {
        json!({"metadata": {"managedFields": [
            {"manager": "vaultsecret-operator", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
            {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:data": {
                ".": {}, "k:{\"key\":\"A\"}": {".": {}, "f:key": {}, "f:valueFrom": {"f:generate": generate}}}}}},
        ]}})
    }

    #[test]
    fn who_applies_the_number_is_named() {
        let with = json!({"f:epoch": {}, "f:uuid": {}});
        for (manager, by_itself) in [
            ("argocd-controller", true),
            ("kustomize-controller", true),
            ("helm", true),
            ("Terraform", true),
            ("kubectl-client-side-apply", false),
            ("kubectl", false),
            ("a-script", false),
        ] {
            let owner = Owner { name: manager.to_owned(), by_itself };
            assert_eq!(of(&object(manager, "Apply", &with), "A"), Some(owner));
            assert_eq!(of(&object(manager, "Apply", &with), "B"), None, "another key");
        }
        let mut argo = object("Go-http-client", "Update", &with);
        argo["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id": "x"});
        assert_eq!(of(&argo, "A"), Some(Owner { name: "Argo CD (Go-http-client)".to_owned(), by_itself: true }));
        for manager in BY_HAND {
            assert_eq!(of(&object(manager, "Update", &with), "A"), None);
        }
    }

    #[test]
    fn what_is_made_for_another_object_is_changed_there() {
        let owned =
            |kind: &str| json!({"metadata": {"ownerReferences": [{"kind": kind, "name": "db", "controller": true}]}});
        assert_eq!(maker(&owned("ClusterVaultSecret")).as_deref(), Some("db"));
        assert_eq!((maker(&owned("Application")), maker(&json!({}))), (None, None));
        assert!(made("db", "shop", "app", "K").contains("ClusterVaultSecret db, which puts it back"));
    }

    #[test]
    fn a_number_that_is_in_no_manifest_is_set_back_by_those_who_replace_lists() {
        let without = json!({"f:uuid": {}});
        assert_eq!(of(&object("argocd-controller", "Apply", &without), "A"), None, "server-side apply leaves it");
        let replaced = of(&object("kubectl-client-side-apply", "Update", &without), "A");
        assert_eq!(replaced.map(|owner| owner.name).as_deref(), Some("kubectl-client-side-apply"));
        assert_eq!(of(&json!({}), "A"), None);
    }

    #[test]
    fn the_line_to_change_is_told() {
        let text = refusal("helm", "shop", "checkout", "DB", 3);
        assert!(text.contains("\n    epoch: 3        # was 2\n") && text.contains("--force"), "{text}");
        let text = reminder("kubectl", "DB", 3);
        assert!(text.contains("by kubectl") && text.contains("\n    epoch: 3        # was 2\n"), "{text}");
    }
}
