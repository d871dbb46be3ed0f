//! The page of the metrics.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use super::{cell, code};

/// A family: what the text says of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The page, from OpenMetrics text in which every family has a sample.
pub(super) fn page(text: &str) -> anyhow::Result<String> {
    let mut out = "# Metrics\n\n\
        What `/metrics` serves, in the OpenMetrics format; names as a query has them. What the values of the labels are, and which \
        of these are worth an alert: [operations](../operations.md#metrics).\n\n\
        | name | type | labels | |\n|---|---|---|---|\n"
        .to_owned();
    let families = families(text)?;
    anyhow::ensure!(!families.is_empty(), "there is no metric in the text");
    for (name, family) in families {
        let labels: Vec<String> = family.labels.iter().map(|label| code(label)).collect();
        out += &format!("| {} | {} | {} | {} |\n", code(&name), family.kind, labels.join(", "), cell(&family.help));
    }
    out += "\nA histogram has the series `_bucket`, with the label `le`, `_sum` and `_count`.\n";
    Ok(out)
}

fn families(text: &str) -> anyhow::Result<BTreeMap<String, Family>> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        let word = |rest: &str| rest.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = word(rest).context("a HELP without a text")?;
            found.entry(name).or_default().help = help;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = word(rest).context("a TYPE without a type")?;
            found.entry(name).or_default().kind = kind;
        } else if !line.starts_with('#') && !line.is_empty() {
            let (series, _) = line.rsplit_once(' ').context("a sample without a value")?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let suffixes = ["", "_total", "_info", "_bucket", "_sum", "_count"];
            let base = suffixes.iter().find_map(|s| name.strip_suffix(s).filter(|base| found.contains_key(*base)));
            let family = found.get_mut(base.with_context(|| format!("{name} has no TYPE"))?).context("unreachable")?;
            family.labels.extend(labels_of(labels).into_iter().filter(|label| label != "le"));
        }
    }
    let shown = found.into_iter().map(|(name, family)| {
        let suffix = match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        (format!("{name}{suffix}"), family)
    });
    Ok(shown.collect())
}

/// The names of labels.
fn labels_of(mut text: &str) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        found.push(name.trim_start_matches(',').to_owned());
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        text = end.map_or("", |end| &rest[end + 1..]);
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_family_has_its_type_labels_and_help_and_the_name_that_a_query_has() {
        let text = "# HELP a_calls Calls | and more.\n# TYPE a_calls counter\na_calls_total{connection=\"x, y=\",verb=\"get\"} 1\n\
                    # HELP a_took_seconds How long.\n# TYPE a_took_seconds histogram\na_took_seconds_bucket{kind=\"x\",le=\"5.0\"} 1\n\
                    a_took_seconds_sum{kind=\"x\"} 1\n# HELP a_build What runs.\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n# EOF\n";
        let page = page(text).unwrap();
        for line in [
            "| `a_build_info` | info | `version` | What runs. |",
            "| `a_calls_total` | counter | `connection`, `verb` | Calls \\| and more. |",
            "| `a_took_seconds` | histogram | `kind` | How long. |",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_text_that_is_none_is_refused() {
        assert!(page("").is_err());
        assert!(page("stray 1\n").is_err());
    }
}
