//! One VaultSecret with all that is known of it. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::estimate::{Connections, Outlook, per_minute};
use super::list::{Look, paint};
use super::remedy::approve_command;
use super::view::{EntryView, ObjectView, Standing};
use crate::api::condition::{self, types};
use crate::cli::show::{Cell, Paint, Table, age, one_line, painted, span};
use crate::controller::shown::Shown;
use crate::sync::ledger::EntryState;

/// Everything about one object.
pub(super) fn page(
    object: &ObjectView,
    connections: &Connections,
    sum: &Outlook,
    notes: &[String],
    look: Look,
) -> String {
    let mut out = String::new();
    let mut line = |head: &str, text: &str| {
        let head = if head.is_empty() { String::new() } else { format!("{head}:") };
        let _ = writeln!(out, "{head:<12} {text}");
    };
    let colour = paint(object.standing);
    line("Name", &one_line(&object.name));
    line("Namespace", &one_line(&object.namespace));
    let since = object.since.map(|at| format!(", for {}", age(Some(at), look.now))).unwrap_or_default();
    let ready = painted(&format!("{}, {}", one_line(&object.ready), one_line(object.reason())), colour, look.colour);
    line("Ready", &format!("{ready}{since}"));
    line("Message", &one_line(&object.message));
    let shown = connections.get(&object.key);
    line("Connection", &connection(object, shown));
    if let Some(freeze) = shown.and_then(|shown| shown.status.freeze.as_ref()) {
        line("Frozen", &one_line(&freeze.reason));
        let command = approve_command(&object.key);
        line("", &format!("token {}; released by: {command} --same (or --new)", one_line(&freeze.token)));
    }
    line("Secret", &secret(object));
    line("Entries", &entries_line(object, sum));
    if let Some(at) = object.next_rotation {
        line("Rotation", &format!("the next value is due in {}", span(at.as_second() - look.now.as_second())));
    }
    if !object.next.is_empty() {
        line("Next", &one_line(&object.next));
    }
    if !object.conditions.is_empty() {
        out.push_str("\nConditions:\n");
        out.push_str(&conditions(object, look).text("  ", look.colour, &[]));
    }
    if !object.entries.is_empty() {
        out.push_str("\nEntries:\n");
        out.push_str(&entries(object, look).text("  ", look.colour, &[]));
    }
    for note in notes {
        let _ = writeln!(out, "\nnote: {}", one_line(note));
    }
    out
}

fn connection(object: &ObjectView, shown: Option<&Shown>) -> String {
    let name = one_line(&object.connection);
    let Some(shown) = shown else { return format!("{name}, which is not there or may not be looked at") };
    let provider = shown.status.provider.as_deref().unwrap_or("not looked at yet");
    let rate = per_minute(&shown.spec);
    match condition::find(&shown.status.conditions, types::READY) {
        Some(ready) if ready.status == "True" => {
            format!("{name} ({provider}), {}, {rate} requests a minute", one_line(&ready.reason))
        }
        // The freeze has a line of its own.
        Some(ready) if shown.status.freeze.is_some() => format!("{name} ({provider}), {}", one_line(&ready.reason)),
        Some(ready) => format!("{name} ({provider}), {}: {}", one_line(&ready.reason), one_line(&ready.message)),
        None => format!("{name}, which the operator has not looked at yet"),
    }
}

fn secret(object: &ObjectView) -> String {
    let Some(name) = &object.target else { return "none (creationPolicy: None)".to_owned() };
    let projected = object.conditions.iter().find(|c| c.kind == types::PROJECTED);
    match projected {
        Some(c) => format!("{}: {}", one_line(name), one_line(&c.message)),
        None => format!("{}: not looked at yet", one_line(name)),
    }
}

fn entries_line(object: &ObjectView, sum: &Outlook) -> String {
    let mut text = format!("{} of {} in sync", object.synced, object.total);
    if sum.waiting_entries > 0 {
        text.push_str(&format!(", {} waiting to be written", sum.waiting_entries));
        if let (Some(seconds), Some((_, rate))) = (sum.estimated_seconds, &sum.slowest) {
            let left = span(i64::try_from(seconds).unwrap_or(i64::MAX));
            text.push_str(&format!(
                ": about {left} by estimate, more if others use the connection ({rate} requests a minute)"
            ));
        }
    }
    if sum.held_entries > 0 {
        text.push_str(&format!(", {} held up", sum.held_entries));
    }
    text
}

fn conditions(object: &ObjectView, look: Look) -> Table {
    let mut table = Table::new(&["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    let ready = object.conditions.iter().find(|c| c.kind == types::READY);
    for c in &object.conditions {
        let same = c.kind != types::READY && ready.is_some_and(|ready| ready.message == c.message);
        table.row(vec![
            c.kind.as_str().into(),
            c.status.as_str().into(),
            c.reason.as_str().into(),
            age(Some(c.since), look.now).into(),
            if same { "(as Ready)".into() } else { c.message.as_str().into() },
        ]);
    }
    table
}

fn state_paint(state: EntryState) -> Paint {
    match state {
        EntryState::InSync => Paint::Good,
        EntryState::Pending
        | EntryState::Queued
        | EntryState::Pushing
        | EntryState::Confirming
        | EntryState::Leaving => Paint::Moving,
        EntryState::Drifted
        | EntryState::Missing
        | EntryState::Unknown
        | EntryState::Conflict
        | EntryState::Refused
        | EntryState::Failed => Paint::Bad,
    }
}

fn entries(object: &ObjectView, look: Look) -> Table {
    let attempts = object.entries.iter().any(|entry| entry.next_attempt.is_some());
    let elsewhere = object.entries.iter().any(|entry| entry.connection != object.connection);
    let mut heads = vec!["KEY", "REMOTE NAME", "STATE", "WRITES", "LAST WRITE", "PUSHED", "MESSAGE"];
    if attempts {
        heads.insert(6, "NEXT ATTEMPT");
    }
    if elsewhere {
        heads.insert(2, "CONNECTION");
    }
    let mut table = Table::new(&heads);
    for entry in &object.entries {
        let ago =
            |at: Option<jiff::Timestamp>| at.map(|at| format!("{} ago", age(Some(at), look.now))).unwrap_or_default();
        let mut cells: Vec<Cell> = vec![
            entry.key.clone().unwrap_or_else(|| "<leaving>".to_owned()).into(),
            entry.remote_name.as_str().into(),
            Cell::painted(format!("{:?}", entry.state), state_paint(entry.state)),
            entry.attempts.to_string().into(),
            ago(entry.attempted_at).into(),
            ago(entry.pushed_at).into(),
            entry.message.as_str().into(),
        ];
        if attempts {
            cells.insert(6, next_attempt(entry, look).into());
        }
        if elsewhere {
            cells.insert(2, entry.connection.as_str().into());
        }
        table.row(cells);
    }
    table
}

fn next_attempt(entry: &EntryView, look: Look) -> String {
    let at = entry.next_attempt.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    match (at, &entry.next_attempt) {
        (Some(at), _) if at > look.now => format!("in {}", span(at.as_second() - look.now.as_second())),
        (Some(_), _) => "now".to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => String::new(),
    }
}

/// For programs.
pub(super) fn value(object: &ObjectView, connections: &Connections, sum: &Outlook, notes: &[String]) -> Value {
    let mut value = json!(object);
    let list = super::list::value(&[], connections, sum, notes);
    let same = |c: &&Value| c["kind"] == object.key.kind.as_str() && c["name"] == *object.key.object.name;
    value["connectionState"] =
        list["connections"].as_array().into_iter().flatten().find(same).cloned().unwrap_or_default();
    value["estimatedSeconds"] = list["summary"]["estimatedSeconds"].clone();
    if object.standing == Standing::Ready
        && let Some(fields) = value.as_object_mut()
    {
        fields.remove("estimatedSeconds");
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::estimate::outlook;
    use super::super::tests::{connection, object};
    use super::*;

    const LOOK: Look = Look { all: false, wide: false, colour: false, now: jiff::Timestamp::UNIX_EPOCH };

    fn shown(reason: &str, states: &[&str], connection_reason: &str) -> String {
        let connections = [connection("kelvin", connection_reason, json!({"requestsPerMinute": 60}))].into();
        let object = object("checkout", "kelvin", reason, states);
        page(&object, &connections, &outlook(std::slice::from_ref(&object), &connections), &[], LOOK)
    }

    #[test]
    fn one_object_shows_entries_connection_secret_and_what_to_do() {
        let text = shown("Queued", &["InSync", "Queued", "Queued"], "Connected");
        for part in [
            "Name:        checkout\nNamespace:   shop\nReady:       False, Queued, for 0s\n",
            "Connection:  VaultConnection/kelvin (Kelvin), Connected, 60 requests a minute\n",
            "Secret:      checkout: not looked at yet\n",
            "Entries:     1 of 3 in sync, 2 waiting to be written: about 2s by estimate",
            "Next:        wait: its turn comes by itself",
            "  KEY    REMOTE NAME   STATE    WRITES   LAST WRITE   PUSHED   NEXT ATTEMPT   MESSAGE\n",
            "  KEY1   name-1        Queued   2        0s ago       -        in 90s         HTTP 500\n",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn a_freeze_shows_its_token_and_the_command() {
        let text = shown("RemoteDiverged", &["InSync"], "RemoteDiverged");
        assert!(text.contains("Frozen:      many are missing\n"), "{text}");
        let command =
            "\n             token ab12; released by: kubectl vaultsecret approve kelvin -n shop --same (or --new)\n";
        assert!(text.contains(command), "{text}");
    }
}
