//! A plan as text: a table for a person, markdown for a pull request, JSON and YAML for programs.

use std::fmt::Write as _;

use serde_json::json;

use super::model::{Action, Mode, ObjectPlan, Plan, Verdict};

/// One line of a plan.
struct Line<'p> {
    action: Action,
    what: String,
    why: String,
    object: &'p ObjectPlan,
}

/// The lines, object by object.
fn lines(plan: &Plan) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for object in &plan.objects {
        let mut line = |verdict: &Verdict, what: String, more: &[String]| {
            let reason = verdict.reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
            let mut why = vec![format!("{reason}{}", verdict.message)];
            why.extend(more.iter().cloned());
            why.retain(|text| !text.is_empty());
            // A name in somebody else's manifest is not to speak to the terminal.
            let what = what.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            lines.push(Line { action: verdict.action, what, why: why.join("; "), object });
        };
        line(&object.verdict, format!("{} {}", object.kind, object.path()), &object.problems);
        for entry in &object.entries {
            let keys = entry.keys.join(", ");
            let what = match (&entry.connection, &entry.remote_name) {
                (Some(connection), Some(name)) if keys.is_empty() => format!("  entry {name} at {connection}"),
                (Some(connection), Some(name)) => format!("  entry {name} at {connection}, from {keys}"),
                _ if keys.is_empty() => "  dataFrom".to_owned(),
                _ => format!("  key {keys}"),
            };
            line(&entry.verdict, what, &[]);
        }
        for named in object.secrets.iter().chain(&object.restarts) {
            line(&named.verdict, format!("  {} {}", named.kind, named.name), &[]);
        }
    }
    lines
}

/// What it comes to, in one line.
#[must_use]
pub fn summary(plan: &Plan) -> String {
    if plan.objects.is_empty() {
        return "there is no VaultSecret and no connection in the manifests".to_owned();
    }
    let objects = match plan.objects.len() {
        1 => "1 object".to_owned(),
        many => format!("{many} objects"),
    };
    let list = |counts: Vec<(Action, usize)>| {
        counts.into_iter().map(|(action, n)| format!("{n} {}", action.as_str())).collect::<Vec<_>>().join(", ")
    };
    let objects = format!("{objects} ({})", list(plan.object_counts()));
    // What becomes of an object is one number, and what happens in it others.
    let inner = list(plan.inner_counts());
    if inner.is_empty() { objects } else { format!("{objects}, and in them {inner}") }
}

/// For a person at a terminal.
#[must_use]
pub fn table(plan: &Plan) -> String {
    let lines = lines(plan);
    let width = lines.iter().map(|line| line.what.chars().count()).max().unwrap_or(0).clamp(4, 80);
    let mut out = String::new();
    if !lines.is_empty() {
        let _ = writeln!(out, "{:<10} {:<width$} WHY", "ACTION", "WHAT");
    }
    for line in &lines {
        let text = format!("{:<10} {:<width$} {}", line.action.as_str(), line.what, one_line(&line.why));
        let _ = writeln!(out, "{}", text.trim_end());
    }
    let _ = writeln!(out, "{}{}", if lines.is_empty() { "" } else { "\n" }, summary(plan));
    for note in &plan.notes {
        let _ = writeln!(out, "note: {}", one_line(note));
    }
    out
}

/// For a comment on a pull request.
#[must_use]
pub fn markdown(plan: &Plan) -> String {
    let lines = lines(plan);
    let mut out = String::from("### VaultSecret plan\n\n");
    let _ = writeln!(out, "{}", escaped(&summary(plan)));
    let refused: Vec<&Line<'_>> = lines.iter().filter(|line| line.action == Action::Refused).collect();
    if !refused.is_empty() {
        out.push_str("\n**This would be refused:**\n\n");
        for line in refused {
            let path = line.object.path();
            let what = line.what.trim();
            let place = if what.contains(&path) { String::new() } else { format!(", {} {path}", line.object.kind) };
            let file = line.object.file.as_ref().map(|file| format!(" ({})", escaped(file))).unwrap_or_default();
            let _ = writeln!(out, "- {}{}{file}: {}", escaped(what), escaped(&place), escaped(&line.why));
        }
    }
    let is_quiet = |object: &ObjectPlan| object.verdicts().all(|v| v.action == Action::Unchanged);
    let (quiet, moving): (Vec<&Line<'_>>, Vec<&Line<'_>>) = lines.iter().partition(|line| is_quiet(line.object));
    if !moving.is_empty() {
        out.push('\n');
        rows(&mut out, &moving);
    }
    if !quiet.is_empty() {
        out.push_str("\n<details><summary>unchanged</summary>\n\n");
        rows(&mut out, &quiet);
        out.push_str("\n</details>\n");
    }
    if !plan.notes.is_empty() {
        out.push('\n');
        for note in &plan.notes {
            let _ = writeln!(out, "> {}  ", escaped(note));
        }
    }
    out
}

fn rows(out: &mut String, lines: &[&Line<'_>]) {
    out.push_str("| | what | why |\n|---|---|---|\n");
    for line in lines {
        let (indent, what) = match line.what.strip_prefix("  ") {
            Some(what) => ("↳ ", escaped(what)),
            None => ("", format!("**{}**", escaped(&line.what))),
        };
        let _ = writeln!(out, "| {} | {indent}{what} | {} |", line.action.as_str(), escaped(&line.why));
    }
}

/// For programs.
#[must_use]
pub fn value(plan: &Plan) -> serde_json::Value {
    let counts: serde_json::Map<String, serde_json::Value> =
        plan.counts().into_iter().map(|(action, n)| (action.as_str().to_owned(), json!(n))).collect();
    let mut value = serde_json::to_value(plan).unwrap_or_default();
    value["refused"] = json!(plan.is_refused());
    value["summary"] = json!(counts);
    let objects = plan.object_counts().into_iter().map(|(action, n)| (action.as_str().to_owned(), json!(n)));
    value["objectSummary"] = json!(objects.collect::<serde_json::Map<String, serde_json::Value>>());
    value["mode"] = json!(match plan.mode {
        Mode::Offline => "offline",
        Mode::Cluster => "cluster",
    });
    value
}

fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text that markdown shows as it is: names of others are in it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A name must not call for somebody's attention either.
            '@' => out.push_str("&#64;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::model::{EntryPlan, Named};
    use super::*;

    fn sample() -> Plan {
        let mut object =
            ObjectPlan::new("VaultSecret", Some("shop".to_owned()), "app".to_owned(), Some("a|b.yaml".to_owned()));
        object.verdict = Verdict::plain(Action::Update);
        let entry = |name: &str, verdict| EntryPlan {
            keys: vec!["A_B\u{1b}".to_owned()],
            connection: Some("VaultConnection/kelvin".to_owned()),
            remote_name: Some(name.to_owned()),
            verdict,
        };
        let refused = Verdict { action: Action::Refused, reason: Some("NameRefused"), message: "no\n<b>".to_owned() };
        object.entries = vec![entry("a", Verdict::plain(Action::Create)), entry("@b", refused)];
        object.restarts.push(Named {
            kind: "Deployment",
            name: "app".to_owned(),
            verdict: Verdict::plain(Action::Restart),
        });
        let quiet = ObjectPlan::new("VaultSecret", Some("shop".to_owned()), "quiet".to_owned(), None);
        Plan { mode: Mode::Cluster, objects: vec![object, quiet], notes: vec!["a note".to_owned()] }
    }

    #[test]
    fn a_table_has_a_line_for_each_and_a_sum() {
        let text = table(&sample());
        assert!(text.contains("update     VaultSecret shop/app"), "{text}");
        assert!(text.contains("create       entry a at VaultConnection/kelvin, from A_B?\n"), "{text}");
        assert!(text.contains("NameRefused: no <b>"), "{text}");
        assert!(
            text.ends_with(
                "2 objects (1 update, 1 unchanged), and in them 1 refused, 1 create, 1 restart\nnote: a note\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn markdown_says_first_what_is_refused_and_lets_no_name_do_anything() {
        let text = markdown(&sample());
        let (refused, table) = (text.find("would be refused").unwrap(), text.find("| what |").unwrap());
        assert!(refused < table, "{text}");
        assert!(text.contains("from A\\_B?, VaultSecret shop/app (a\\|b.yaml): NameRefused"), "{text}");
        assert!(text.contains("(a\\|b.yaml)") && text.contains("&lt;b&gt;") && !text.contains('@'), "{text}");
        assert!(text.contains("<details><summary>unchanged</summary>\n\n| | what | why |"), "{text}");
        assert!(text.contains("| create | ↳ entry a at VaultConnection/kelvin, from A\\_B? |  |"), "{text}");
        assert!(text.contains("> a note"), "{text}");
    }

    #[test]
    fn programs_read_what_it_comes_to() {
        let value = value(&sample());
        assert_eq!((&value["refused"], &value["mode"]), (&json!(true), &json!("cluster")));
        assert_eq!(value["summary"], json!({"refused": 1, "create": 1, "restart": 1}));
        assert_eq!(value["objectSummary"], json!({"update": 1, "unchanged": 1}));
        let entry = &value["objects"][0]["entries"][1];
        assert_eq!((&entry["action"], &entry["reason"]), (&json!("refused"), &json!("NameRefused")));
        assert_eq!(entry["remoteName"], "@b");
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let plan = Plan { mode: Mode::Offline, objects: Vec::new(), notes: Vec::new() };
        assert_eq!(table(&plan), "there is no VaultSecret and no connection in the manifests\n");
        assert!(!plan.is_refused());
    }
}
