//! The node's folder, and what tells its process from others.

use std::path::{Path, PathBuf};

/// The node's name in the cluster.
pub(super) const NODE_NAME: &str = "vsnode";
/// The folder of control groups that is the node's own.
pub(super) const CGROUP: &str = "vaultsecret-node";
/// Everything that the node writes. Not below /var/lib, /var/log or /run: the node sees folders of its own there.
pub(super) const ROOT: &str = "/var/cache/vaultsecret-node";
/// The script that is the node's first process.
pub(super) const FIRST: &str = "first.sh";

/// The files of a node.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The files under `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Their folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// One of them.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The same as text.
    pub(super) fn text(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::new(Path::new(ROOT))
    }
}

/// Whether the command line of a process, as /proc shows it, is that of the node whose folder this is. A process id that was
/// noted may have become somebody else's.
pub(super) fn is_node(command_line: &[u8], layout: &Layout) -> bool {
    let mut words = command_line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(b"unshare") && words.any(|word| word == layout.text(FIRST).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_command_line_is_not_the_node() {
        let layout = Layout::new(Path::new("/state"));
        assert!(is_node(b"unshare\0--pid\0--\0sh\0/state/first.sh\0", &layout));
        assert!(is_node(b"/usr/bin/unshare\0/state/first.sh\0", &layout));
        assert!(!is_node(b"vi\0/state/first.sh\0", &layout));
        assert!(!is_node(b"unshare\0/other/first.sh\0", &layout));
        assert!(!is_node(b"", &layout));
    }
}
