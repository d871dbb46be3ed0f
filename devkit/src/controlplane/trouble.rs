//! Trouble on purpose: a control plane whose parts stop, hang and come back.

use super::process::Process;
use super::{ControlPlane, Error};

impl ControlPlane {
    /// Kills the API server; its port refuses connections from now on.
    pub fn stop_apiserver(&self) {
        let stopped = self.processes().apiserver.take();
        drop(stopped);
    }

    /// Starts the API server again, on the same port with the same data, and waits until it answers.
    pub async fn start_apiserver(&self) -> Result<(), Error> {
        self.stop_apiserver();
        let started = self.spawn_apiserver().await?;
        self.processes().apiserver = Some(started);
        Ok(())
    }

    /// Kills etcd; the API server answers with errors or not at all from now on.
    pub fn stop_etcd(&self) {
        let stopped = self.processes().etcd.take();
        drop(stopped);
    }

    /// Starts etcd again, with the same data, and waits until it accepts connections. The API server finds it by itself.
    pub async fn start_etcd(&self) -> Result<(), Error> {
        self.stop_etcd();
        let started = self.spawn_etcd().await?;
        self.processes().etcd = Some(started);
        Ok(())
    }

    /// Halts the API server without closing its connections: clients wait, as for a machine that hangs.
    pub fn pause_apiserver(&self) -> Result<(), Error> {
        self.signal_apiserver(Process::pause, "pausing the API server")
    }

    /// Lets a paused API server go on.
    pub fn resume_apiserver(&self) -> Result<(), Error> {
        self.signal_apiserver(Process::resume, "resuming the API server")
    }

    /// Starts the controller manager anew (or for the first time) and waits until it works. It then knows every kind that is
    /// installed, of which its garbage collector would learn late otherwise.
    pub async fn restart_controller_manager(&self) -> Result<(), Error> {
        let stopped = self.processes().controller_manager.take();
        drop(stopped);
        let started = self.spawn_controller_manager().await?;
        self.processes().controller_manager = Some(started);
        Ok(())
    }

    fn signal_apiserver(&self, send: impl FnOnce(&Process) -> std::io::Result<()>, what: &str) -> Result<(), Error> {
        let processes = self.processes();
        let apiserver = processes.apiserver.as_ref().ok_or(Error::NotRunning("kube-apiserver"))?;
        send(apiserver).map_err(Error::io(what))
    }
}
