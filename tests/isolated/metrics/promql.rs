//! As much of PromQL as it takes to see which series and labels an expression needs.

use std::collections::{BTreeMap, BTreeSet};

/// What the names of the operator's series begin with.
const PREFIX: &str = "vaultsecret_";

/// Names of the labels between two braces.
pub fn labels(text: &str) -> Vec<&str> {
    let (mut names, mut quoted, mut begin) = (Vec::new(), false, 0);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !text[..at].ends_with('\\') => quoted = !quoted,
            '=' | '!' if !quoted && begin < at => {
                names.push(text[begin..at].trim());
                begin = text.len();
            }
            ',' if !quoted => begin = at + 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The series of an expression, each with the labels that are matched on it or that it is grouped by.
pub fn uses(expression: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut from = 0;
    while let Some(at) = expression[from..].find(PREFIX).map(|at| from + at) {
        let rest = &expression[at..];
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let entry = found.entry(rest[..length].to_owned()).or_default();
        if let Some(matchers) = rest[length..].strip_prefix('{') {
            entry.extend(labels(&matchers[..matchers.find('}').unwrap()]).into_iter().map(str::to_owned));
        }
        entry.extend(groupings(expression, at));
        from = at + length;
    }
    found
}

/// Labels of each `by (…) (…)` around a place.
fn groupings(expression: &str, place: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (by, _) in expression.match_indices(" by (") {
        let list = by + " by (".len();
        let end = list + expression[list..].find(')').unwrap();
        let open = end + 1 + expression[end + 1..].find('(').expect("written as: sum by (label) (…)");
        if (open..closing(expression, open)).contains(&place) {
            found.extend(expression[list..end].split(',').map(|label| label.trim().to_owned()));
        }
    }
    found
}

/// Where the parenthesis is that closes an open one.
fn closing(expression: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in expression[open..].char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return open + at,
            ')' => depth -= 1,
            _ => {}
        }
    }
    panic!("not closed: {expression}")
}

#[test]
fn series_and_labels_are_found() {
    let found = uses(
        r#"sum by (le, kind) (rate(vaultsecret_a_bucket{job=~"a,b",x!="y"}[5m])) / max(vaultsecret_b) unless vaultsecret_c{z="="}"#,
    );
    let labels = |name: &str| found[name].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(labels("vaultsecret_b"), Vec::<&str>::new());
    assert_eq!(labels("vaultsecret_c"), ["z"]);
    assert_eq!(found.len(), 3);
    assert_eq!(labels("vaultsecret_a_bucket"), ["job", "kind", "le", "x"]);
}
