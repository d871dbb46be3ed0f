//! The program in the node's own containers, and the images that it and the operator's program are brought in.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::error::Error;
use super::run::run;

/// The source of the program.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pod/main.rs");
/// The file that its cached program belongs to.
const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/pod/main.rs"));

/// The compiler's target for programs that need no file beside them.
pub(super) fn target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// rustc as this repository pins it.
fn rustc() -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Whether rustc has the target's standard library.
pub(super) fn has_target(target: &str) -> bool {
    let folder = run(rustc().args(["--print", "target-libdir", "--target", target]));
    folder.is_ok_and(|folder| Path::new(&folder).is_dir())
}

/// What the program answers for a value.
pub fn hash_of(value: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    format!("{:016x}", hasher.finish())
}

/// The program, built the first time.
pub(super) fn program(cache: &Path) -> Result<PathBuf, Error> {
    let version = run(rustc().arg("-vV"))?;
    let folder = cache.join(format!("pod-{}", hash_of(format!("{TEXT}\n{version}\n{}", target()).as_bytes())));
    let program = folder.join("pod");
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&folder).map_err(Error::io(format!("making {}", folder.display())))?;
    let partial = folder.join(format!(".pod.{}", std::process::id()));
    run(rustc()
        .args(["--edition", "2024", "--target", &target(), "-C", "opt-level=s", "-C", "strip=symbols", "-o"])
        .arg(&partial)
        .arg(SOURCE))?;
    // The name appears with the finished file only.
    fs::rename(&partial, &program).map_err(Error::io(format!("keeping {}", program.display())))?;
    Ok(program)
}

/// An image of one static program.
#[derive(Debug)]
pub struct Image<'a> {
    /// Its name with a tag.
    pub name: &'a str,
    /// The program's name in it.
    pub program: &'a str,
    /// Words before those of the container.
    pub command: &'a [&'a str],
    /// User and group.
    pub user: &'a str,
}

/// Writes an archive such as `docker save` writes.
pub fn write_archive(path: &Path, image: &Image<'_>, program: &[u8]) -> io::Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, image.program, 0o755, program)?;
    let layer = layer.into_inner()?;
    let layer_hash = hex(&Sha256::digest(&layer));
    let mut entrypoint = vec![format!("/{}", image.program)];
    entrypoint.extend(image.command.iter().map(|&word| word.to_owned()));
    let config = json!({
        "architecture": architecture(std::env::consts::ARCH),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "User": image.user},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_hash}")]},
        "history": [{"created_by": "devkit"}],
    })
    .to_string();
    let (config_name, layer_name) =
        (format!("{}.json", hex(&Sha256::digest(&config))), format!("{layer_hash}/layer.tar"));
    let manifest = json!([{"Config": config_name, "RepoTags": [image.name], "Layers": [layer_name]}]).to_string();
    let mut archive = tar::Builder::new(fs::File::create(path)?);
    add(&mut archive, &config_name, 0o644, config.as_bytes())?;
    add(&mut archive, &layer_name, 0o644, &layer)?;
    add(&mut archive, "manifest.json", 0o644, manifest.as_bytes())?;
    archive.into_inner()?.sync_all()
}

fn add<W: io::Write>(archive: &mut tar::Builder<W>, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, name, content)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Go's name of a processor.
fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::Read as _;

    use serde_json::Value;

    use super::*;

    #[test]
    fn an_archive_names_its_parts_by_what_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        let image = Image { name: "localhost/x:1", program: "x", command: &["run"], user: "1:1" };
        write_archive(&path, &image, b"program").unwrap();
        let mut parts = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(fs::File::open(&path).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            parts.insert(entry.path().unwrap().display().to_string(), content);
        }
        let json = |name: &str| -> Value { serde_json::from_slice(&parts[name]).unwrap() };
        let manifest = json("manifest.json");
        assert_eq!(manifest[0]["RepoTags"], json!(["localhost/x:1"]));
        let config = json(manifest[0]["Config"].as_str().unwrap());
        assert_eq!(config["config"], json!({"Entrypoint": ["/x", "run"], "User": "1:1"}));
        let layer = &parts[manifest[0]["Layers"][0].as_str().unwrap()];
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&Sha256::digest(layer))));
        let mut layer = tar::Archive::new(layer.as_slice());
        let program = layer.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(program.path().unwrap(), Path::new("x"));
        assert_eq!(program.header().mode().unwrap(), 0o755);
    }

    #[test]
    fn hashes_tell_values_apart() {
        assert_eq!(hash_of(b"a"), hash_of(b"a"));
        assert_ne!(hash_of(b"a"), hash_of(b"b"));
        assert_eq!(hash_of(b"").len(), 16);
    }
}
