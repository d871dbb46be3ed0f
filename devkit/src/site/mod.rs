//! The documentation as a site: the Markdown files of the repository, as they are, so that a link works on a forge and in the site.
//!
//! The pages are checked first (`book`), then laid out as in the repository beside copies of what they link to, and built by
//! mdbook; then the links of what was built are followed (`built`).

mod book;
mod built;
mod markdown;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

pub use book::Book;
pub use built::Html;
pub use markdown::Page;

/// Check the documentation and build it as a site.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the site is written.
    #[arg(long, default_value = "target/site")]
    out: PathBuf,
    /// The table of contents may name pages that are not there yet.
    #[arg(long)]
    drafts: bool,
    /// Check only.
    #[arg(long)]
    check: bool,
}

/// Runs the subcommand in the folder that it is called in, which is the repository's root; gives the exit code.
pub fn cli(args: &Args) -> anyhow::Result<i32> {
    let files = tracked()?;
    let mut markdown = BTreeMap::new();
    for path in files.iter().filter(|path| path.ends_with(".md")) {
        markdown.insert(path.clone(), fs::read_to_string(path).with_context(|| format!("reading {path}"))?);
    }
    let book = Book::new(&markdown, files, args.drafts);
    if told(&book.faults()) {
        return Ok(1);
    }
    for path in book.missing() {
        say(&format!("{path} is not there yet"));
    }
    if args.check {
        return Ok(0);
    }
    let source = args.out.with_extension("source");
    let _ = fs::remove_dir_all(&source);
    let _ = fs::remove_dir_all(&args.out);
    let wanted = book.chapters().into_iter().filter(|path| markdown.contains_key(path)).chain(book.attachments());
    for path in wanted {
        let to = source.join("src").join(&path);
        fs::create_dir_all(to.parent().unwrap_or(&source))?;
        fs::copy(&path, &to).with_context(|| format!("copying {path}"))?;
    }
    for (folder, inside) in book.folders() {
        fs::write(source.join("src").join(&folder).join("index.html"), listing(&folder, &inside))?;
    }
    fs::write(source.join("src/SUMMARY.md"), book.summary())?;
    fs::copy("book.toml", source.join("book.toml")).context("copying book.toml")?;
    let out = std::path::absolute(&args.out)?;
    let done = Command::new(program::find()?).arg("build").arg(&source).arg("--dest-dir").arg(&out).status()?;
    anyhow::ensure!(done.success(), "mdbook failed");
    let (mut pages, mut built) = (BTreeMap::new(), BTreeSet::new());
    collect(&out, &out, &mut built)?;
    // The page of everything has each heading many times, and is for the printer; 404.html has links from the server's root.
    for path in built.iter().filter(|path| path.ends_with(".html") && !matches!(&***path, "print.html" | "404.html")) {
        pages.insert(path.clone(), built::parse(&fs::read_to_string(out.join(path))?));
    }
    // What is not there yet may be linked to like what is.
    built.extend(book.missing().iter().filter_map(|path| Some(format!("{}.html", path.strip_suffix(".md")?))));
    if told(&built::faults(&pages, &built)) {
        return Ok(1);
    }
    say(&format!("{} pages: {}", pages.len(), out.join("index.html").display()));
    Ok(0)
}

/// What a folder shows: its files. Names that would need to be escaped are not in this repository, and are left out.
fn listing(folder: &str, inside: &[String]) -> String {
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./+".contains(c));
    let names = inside.iter().filter_map(|file| file.strip_prefix(folder)?.strip_prefix('/')).filter(plain);
    let items: String = names.map(|name| format!("<li><a href=\"{name}\">{name}</a></li>\n")).collect();
    format!(
        "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>{folder}</title>\n<h1>{folder}</h1>\n<ul>\n{items}</ul>\n"
    )
}

/// The files of the repository, without what git ignores.
fn tracked() -> anyhow::Result<BTreeSet<String>> {
    let listed = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output();
    let listed = listed.context("running git")?;
    anyhow::ensure!(listed.status.success(), "git ls-files failed: this is no clone");
    let names = String::from_utf8(listed.stdout)?;
    Ok(names.lines().filter(|path| Path::new(path).is_file()).map(str::to_owned).collect())
}

/// The files of a folder by their paths in it.
fn collect(root: &Path, folder: &Path, found: &mut BTreeSet<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, found)?;
        } else if let Some(path) = path.strip_prefix(root)?.to_str() {
            found.insert(path.to_owned());
        }
    }
    Ok(())
}

/// Tells what is wrong, if anything is.
fn told(faults: &[String]) -> bool {
    faults.iter().for_each(|fault| say(fault));
    !faults.is_empty()
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
