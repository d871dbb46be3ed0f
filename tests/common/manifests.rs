//! Manifests: reading them from the repository, and addressing objects by their kind as a manifest names it.

use std::path::{Path, PathBuf};

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

/// Who the suite is when it applies a manifest.
pub const USER: &str = "a-user";

/// The kinds that tests touch: group, version, kind, and whether they have a namespace.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("", "v1", "ConfigMap", true),
    ("", "v1", "Namespace", false),
    ("", "v1", "Secret", true),
    ("", "v1", "ServiceAccount", true),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", false),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", false),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", false),
    ("apps", "v1", "Deployment", true),
    ("apps", "v1", "Deployment", true),
    ("coordination.k8s.io", "v1", "Lease", true),
    ("events.k8s.io", "v1", "Event", true),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", false),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", false),
    ("rbac.authorization.k8s.io", "v1", "Role", true),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", true),
    ("vaultsecret.dev", "v1alpha1", "ClusterVaultConnection", false),
    ("vaultsecret.dev", "v1alpha1", "ClusterVaultSecret", false),
    ("vaultsecret.dev", "v1alpha1", "VaultConnection", true),
    ("vaultsecret.dev", "v1alpha1", "VaultSecret", true),
];

/// The objects of a kind; of those with a namespace, the ones in `namespace`.
pub fn api(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let found = KINDS.iter().find(|known| known.2 == kind);
    let &(group, version, _, namespaced) = found.unwrap_or_else(|| panic!("add the kind {kind} to the suite's list"));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if namespaced {
        Api::namespaced_with(client.clone(), namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    }
}

/// `apiVersion` of a kind.
pub fn api_version(kind: &str) -> String {
    let found = KINDS.iter().find(|known| known.2 == kind);
    let &(group, version, ..) = found.unwrap_or_else(|| panic!("add the kind {kind} to the suite's list"));
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Whether objects of a kind have a namespace.
pub fn is_namespaced(kind: &str) -> bool {
    KINDS.iter().any(|known| known.2 == kind && known.3)
}

/// Applies a manifest as `kubectl apply --server-side` does.
pub async fn apply(client: &Client, manifest: &Value) -> kube::Result<DynamicObject> {
    let text = |pointer| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let api = api(client, text("/kind"), text("/metadata/namespace"));
    api.patch(text("/metadata/name"), &PatchParams::apply(USER).force(), &Patch::Apply(manifest)).await
}

/// A path in the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The documents of a YAML file of the repository.
pub fn read(path: &str) -> Vec<Value> {
    let path = in_repository(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
