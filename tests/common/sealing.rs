//! `vaultsecret seal` as a person runs it, against the cluster of a test.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::manifests;
use super::{Object, Scene};

/// The Secret with the operator's identities.
pub const IDENTITIES: &str = "vaultsecret-sealing-identities";

/// The ConfigMap with their recipients.
pub const RECIPIENTS: &str = "vaultsecret-sealing-recipients";

impl Scene {
    /// Runs `vaultsecret seal` with a kubeconfig.
    pub fn seal_as(&self, kubeconfig: &Path, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultsecret"));
        command.arg("seal").args(args).env_clear().env("KUBECONFIG", kubeconfig);
        command.env("VAULTSECRET_OPERATOR_NAMESPACE", self.operator.system());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        self.expect_no_secret("what seal says", &String::from_utf8_lossy(&output.stderr));
        self.expect_no_secret("what seal prints", &String::from_utf8_lossy(&output.stdout));
        output
    }

    /// The same as an administrator; it has to succeed, and what it prints comes back.
    pub fn seal_command(&self, args: &[&str], input: &str) -> String {
        let output = self.seal_as(self.cluster.admin_kubeconfig(), args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Seals a value for a key of a VaultSecret in this namespace, to the operator's newest recipient.
    pub fn seal(&self, name: &str, key: &str, value: &str) -> String {
        self.seal_command(&["-n", &self.namespace, "--name", name, "--key", key], value)
    }

    /// The objects of a kind in the operator's namespace.
    pub fn system_api(&self, kind: &str) -> Api<DynamicObject> {
        manifests::api(&self.client, kind, self.operator.system())
    }

    /// An object of the operator's namespace.
    pub async fn system_object(&self, kind: &str, name: &str) -> Option<Object> {
        let found = self.system_api(kind).get_opt(name).await.unwrap()?;
        Some(Object(serde_json::to_value(found).unwrap()))
    }

    /// Deletes an object of the operator's namespace.
    pub async fn system_delete(&self, kind: &str, name: &str) {
        let _ = self.system_api(kind).delete(name, &DeleteParams::background()).await.unwrap();
    }

    /// Changes an object of the operator's namespace by a merge patch.
    pub async fn system_patch(&self, kind: &str, name: &str, patch: Value) {
        let params = PatchParams::default();
        self.system_api(kind).patch(name, &params, &Patch::Merge(&patch)).await.unwrap();
    }

    /// Makes a Secret with these identities in the operator's namespace, as a restored backup does.
    pub async fn restore_identities(&self, data: &Value) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": data,
                            "metadata": {"name": IDENTITIES, "namespace": self.operator.system()}});
        self.apply(&secret).await;
    }
}

/// An entry of `spec.data` with a sealed value.
pub fn sealed(key: &str, remote_name: &str, text: &str) -> Value {
    json!({"key": key, "remoteName": remote_name, "valueFrom": {"sealed": text}})
}
