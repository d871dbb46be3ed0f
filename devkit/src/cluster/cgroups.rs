//! The node's own folders of control groups, under either version of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::layout::CGROUP;

/// Where control groups are.
pub(super) const TREE: &str = "/sys/fs/cgroup";
/// What a node counts and limits.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

/// What the Pods together weigh against a process of the machine, under the first version and under the second. A folder weighs as
/// much as one process otherwise, and Pods would stand still while a compiler runs.
const WEIGHTS: [(&str, &str); 2] = [("cpu.shares", "16384"), ("cpu.weight", "1600")];

/// The node's folder in each hierarchy: one where there is the second version, else one for each controller.
pub(super) fn folders(tree: &Path) -> Vec<PathBuf> {
    if tree.join("cgroup.controllers").is_file() {
        return vec![tree.join(CGROUP)];
    }
    let Ok(entries) = fs::read_dir(tree) else { return Vec::new() };
    let hierarchies = entries.flatten().filter(|entry| {
        // `cpu` and `cpuacct` are often links to one folder.
        entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join("cgroup.procs").is_file()
    });
    let mut folders: Vec<PathBuf> = hierarchies.map(|entry| entry.path().join(CGROUP)).collect();
    folders.sort();
    folders
}

/// Makes them.
pub(super) fn make(tree: &Path) -> io::Result<()> {
    if tree.join("cgroup.controllers").is_file() {
        for controller in CONTROLLERS {
            // One that this kernel has not cannot be had, and one that is on already stays on.
            let _ = fs::write(tree.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    for folder in folders(tree) {
        fs::create_dir_all(&folder)?;
        for (file, weight) in WEIGHTS.iter().filter(|(file, _)| folder.join(file).is_file()) {
            fs::write(folder.join(file), weight)?;
        }
    }
    Ok(())
}

/// Removes them. Their files go with the folders, and cannot be removed one by one.
pub(super) fn remove(tree: &Path) -> io::Result<()> {
    folders(tree).iter().filter(|folder| folder.is_dir()).try_for_each(|folder| remove_folder(folder))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_folder(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_first_version_has_a_folder_for_each_controller_and_links_are_not_followed() {
        let tree = tempfile::tempdir().unwrap();
        for controller in ["memory", "cpu,cpuacct"] {
            fs::create_dir(tree.path().join(controller)).unwrap();
            fs::write(tree.path().join(controller).join("cgroup.procs"), "").unwrap();
        }
        std::os::unix::fs::symlink("cpu,cpuacct", tree.path().join("cpu")).unwrap();
        fs::create_dir(tree.path().join("no-hierarchy")).unwrap();
        make(tree.path()).unwrap();
        let made = ["cpu,cpuacct", "memory"].map(|controller| tree.path().join(controller).join(CGROUP));
        assert_eq!(folders(tree.path()), made);
        fs::create_dir_all(made[0].join("kubepods/pod1")).unwrap();
        remove(tree.path()).unwrap();
        assert!(made.iter().all(|folder| !folder.exists()));
        assert!(tree.path().join("memory").exists());
        remove(tree.path()).unwrap();
    }

    #[test]
    fn the_second_version_has_one() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu memory").unwrap();
        assert_eq!(folders(tree.path()), [tree.path().join(CGROUP)]);
    }
}
