//! A report as text: a table for a person, JSON and YAML for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::model::{Report, State};

/// The widest column of what was looked at; what is longer pushes the rest of its line.
const WIDEST: usize = 58;

/// For a person.
#[must_use]
pub fn table(report: &Report, colour: bool) -> String {
    let lines: Vec<(String, &super::model::Finding)> = report
        .findings
        .iter()
        .map(|finding| (plain(&format!("{}: {}", finding.area.as_str(), finding.subject)), finding))
        .collect();
    let width = lines.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0).clamp(5, WIDEST);
    let mut out = String::new();
    let _ = writeln!(out, "{:<8} {:<width$} FINDING", "STATE", "CHECK");
    for (what, finding) in &lines {
        let state = painted(finding.state, &format!("{:<8}", finding.state.as_str()), colour);
        let _ = writeln!(out, "{state} {what:<width$} {}", plain(&finding.message));
        if let Some(mend) = &finding.mend {
            let _ = writeln!(out, "{:<8} {:<width$} -> {}", "", "", plain(mend));
        }
    }
    let _ = writeln!(out, "\n{}", summary(report));
    out
}

/// What it comes to, in one line.
#[must_use]
pub fn summary(report: &Report) -> String {
    let counts: Vec<String> = State::ALL
        .into_iter()
        .filter_map(|state| match report.count(state) {
            0 => None,
            number => Some(format!("{number} {}", state.as_str().to_lowercase())),
        })
        .collect();
    let word = match (report.is_well(), report.count(State::Skipped)) {
        (true, 0) => "All is well",
        (true, _) => "What was looked at is well",
        (false, _) => "Something has to be mended",
    };
    format!("{word}: {}", counts.join(", "))
}

/// For programs.
#[must_use]
pub fn value(report: &Report) -> Value {
    let counts: serde_json::Map<String, Value> =
        State::ALL.into_iter().map(|state| (state.as_str().to_lowercase(), json!(report.count(state)))).collect();
    json!({"well": report.is_well(), "summary": counts, "findings": report.findings})
}

fn painted(state: State, text: &str, colour: bool) -> String {
    let code = match state {
        State::Failed => "31",
        State::Warning => "33",
        State::Skipped => "2",
        State::Passed => "32",
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// One line, in which nobody's text speaks to the terminal.
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::model::{Area, Finding};
    use super::*;

    fn report() -> Report {
        Report::new(vec![
            Finding::failed(Area::Operator, "Lease", "nobody\n\u{1b}[2Jleads").mend("look at the log"),
            Finding::passed(Area::Cluster, "API server", "v1.34.1"),
        ])
    }

    #[test]
    fn a_table_is_in_order_and_says_what_mends() {
        let text = table(&report(), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "Passed   cluster: API server v1.34.1");
        assert_eq!(lines[2], "Failed   operator: Lease     nobody [2Jleads");
        assert_eq!(lines[3].trim(), "-> look at the log");
        assert_eq!(lines[5], "Something has to be mended: 1 failed, 1 passed");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn colour_is_on_states_alone() {
        let text = table(&report(), true);
        assert!(text.contains("\u{1b}[31mFailed  \u{1b}[0m operator: Lease"), "{text:?}");
    }

    #[test]
    fn programs_read_states_and_what_mends() {
        let value = value(&report());
        assert_eq!((&value["well"], &value["summary"]["failed"]), (&json!(false), &json!(1)));
        assert_eq!(value["findings"][1]["state"], "Failed");
        assert_eq!(value["findings"][1]["mend"], "look at the log");
        assert!(value["findings"][0].get("mend").is_none());
    }
}
