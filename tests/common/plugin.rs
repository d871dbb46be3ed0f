//! The program as a plugin of kubectl.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::process::Command;

use super::Scene;

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it said on standard error.
    pub err: String,
}

impl Ran {
    /// What it printed, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Scene {
    /// Runs a command of the plugin in this namespace as an administrator.
    pub async fn plugin(&self, args: &[&str]) -> Ran {
        self.plugin_as(self.cluster.admin_kubeconfig(), args).await
    }

    /// The same with a kubeconfig. No secret of the test is in what it prints.
    pub async fn plugin_as(&self, kubeconfig: &Path, args: &[&str]) -> Ran {
        let output = self.plugin_command(kubeconfig, args).output().await.unwrap();
        self.ran(&output)
    }

    /// The command, for a test that starts it and goes on.
    pub fn plugin_command(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultsecret"));
        command.arg0("kubectl-vaultsecret").args(args).env_clear().env("KUBECONFIG", kubeconfig);
        command.env("VAULTSECRET_NAMESPACE", &self.namespace);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Reads what a command came to.
    pub fn ran(&self, output: &Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran = Ran { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) };
        self.expect_no_secret("what the plugin prints", &ran.out);
        self.expect_no_secret("what the plugin says", &ran.err);
        assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "colour where there is no terminal: {ran:?}");
        ran
    }

    /// A kubeconfig of an account that may do these things with kinds of ours in this namespace, and nothing else.
    pub async fn account(&self, name: &str, verbs: &[&str]) -> std::path::PathBuf {
        self.create("ServiceAccount", name, json!({})).await;
        if !verbs.is_empty() {
            let rules = json!([{"apiGroups": ["vaultsecret.dev"], "verbs": verbs,
                                "resources": ["vaultsecrets", "vaultconnections"]}]);
            self.create("Role", name, json!({"rules": rules})).await;
            let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
            let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}]);
            self.create("RoleBinding", name, json!({"roleRef": role, "subjects": subjects})).await;
        }
        self.cluster.service_account_kubeconfig(&self.namespace, name).await.unwrap()
    }

    /// Makes a VaultSecret as that field manager, by `create` or by server-side apply.
    pub async fn vault_secret_by(&self, manager: &str, apply: bool, name: &str, spec: Value) {
        let object = serde_json::from_value(self.manifest("VaultSecret", name, json!({"spec": spec}))).unwrap();
        let api = self.api("VaultSecret");
        if apply {
            let params = kube::api::PatchParams::apply(manager).force();
            api.patch(name, &params, &kube::api::Patch::Apply(&object)).await.unwrap();
        } else {
            let field_manager = Some(manager.to_owned());
            let params = kube::api::PostParams { field_manager, ..kube::api::PostParams::default() };
            api.create(&params, &object).await.unwrap();
        }
    }
}
