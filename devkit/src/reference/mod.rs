//! The reference in docs/reference: one page a kind, written from its definition, and one of the metrics, written from what the
//! operator serves. Pure but for [`cli`].

mod definition;
mod metrics;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

/// What stands at the top of a page, where a person who edits sees it.
const HEAD: &str = "<!-- Written by `make generate`. Do not edit. -->\n";

/// Write docs/reference from the definitions and the metrics.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the definitions.
    #[arg(long, default_value = "crds")]
    crds: PathBuf,
    /// File with what `vaultsecret metrics` prints; `-`: standard input.
    #[arg(long, default_value = "-")]
    metrics: PathBuf,
    /// Where the pages are written.
    #[arg(long, default_value = "docs/reference")]
    out: PathBuf,
}

/// Runs the subcommand.
pub fn cli(args: &Args) -> anyhow::Result<()> {
    let mut definitions = Vec::new();
    for entry in fs::read_dir(&args.crds).with_context(|| format!("reading {}", args.crds.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            definitions.push(serde_saphyr::from_str::<Value>(&text).with_context(|| path.display().to_string())?);
        }
    }
    let served = if args.metrics == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        text
    } else {
        fs::read_to_string(&args.metrics).with_context(|| format!("reading {}", args.metrics.display()))?
    };
    fs::create_dir_all(&args.out)?;
    for (name, text) in pages(&definitions, &served)? {
        let path = args.out.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// All pages, by the names of their files. What is no definition is passed over.
///
/// # Errors
/// When a definition has no schema, or the text is no metrics.
pub fn pages(definitions: &[Value], served: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    for definition in definitions.iter().filter(|d| d["kind"] == "CustomResourceDefinition") {
        let kind = definition["spec"]["names"]["kind"].as_str().context("a definition without a kind")?;
        pages.push((format!("{}.md", kind.to_lowercase()), format!("{HEAD}{}", definition::page(definition)?)));
    }
    pages.push(("metrics.md".to_owned(), format!("{HEAD}{}", metrics::page(served)?)));
    pages.sort();
    Ok(pages)
}

/// A text as one cell of a table: on one line, and what would end the cell or begin a tag is escaped.
fn cell(text: &str) -> String {
    let mut out = String::new();
    let mut code = false;
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        match c {
            '`' => {
                code = !code;
                out.push(c);
            }
            '|' => out.push_str("\\|"),
            '<' if !code => out.push_str("&lt;"),
            '[' | ']' | '*' | '_' if !code => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// A text as code in a cell.
fn code(text: &str) -> String {
    let fence = if text.contains('`') { "``" } else { "`" };
    format!("{fence}{}{fence}", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_cell_is_one_line_that_no_text_ends() {
        assert_eq!(cell("a | b\nc  <d> [e] `f|[g]`"), "a \\| b c &lt;d> \\[e\\] `f\\|[g]`");
        assert_eq!(code("^(a|b)$"), "`^(a\\|b)$`");
    }

    #[test]
    fn each_definition_has_a_page_and_other_files_have_none() {
        let definition = serde_json::json!({"kind": "CustomResourceDefinition", "spec": {"group": "g.dev",
            "names": {"kind": "Thing", "plural": "things"}, "scope": "Cluster",
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}}}]}});
        let other = serde_json::json!({"kind": "Kustomization"});
        let pages = pages(&[other, definition], "# HELP x Y.\n# TYPE x gauge\nx 1\n# EOF\n").unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["metrics.md", "thing.md"]);
        assert!(pages.iter().all(|(_, text)| text.starts_with(HEAD)));
    }
}
