//! The real kubectl.

use std::process::{Output, Stdio};

use super::Scene;

impl Scene {
    /// Runs kubectl in this namespace as an administrator.
    pub async fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_command(args).output().await.unwrap()
    }

    /// The command, for a test that starts it and goes on.
    pub fn kubectl_command(&self, args: &[&str]) -> tokio::process::Command {
        let program = self.cluster.binaries().kubectl().expect("kubectl is built with the control plane");
        let mut command = tokio::process::Command::new(program);
        command.arg("--kubeconfig").arg(self.cluster.admin_kubeconfig()).args(["-n", &self.namespace]).args(args);
        command.env_clear().env("HOME", self.cluster.folder()).env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs kubectl and expects that it succeeds; gives back what it printed.
    pub async fn kubectl_ok(&self, args: &[&str]) -> String {
        let output = self.kubectl(args).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {args:?}: {}\n{out}{err}", output.status);
        out.into_owned()
    }
}
