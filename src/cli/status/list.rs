//! Many VaultSecrets as a table, with what is wrong under it. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::estimate::{Connections, Outlook, sentence};
use super::view::{ObjectView, Standing};
use crate::api::condition::{self, types};
use crate::cli::show::{Cell, Paint, Table, age, one_line, painted};

/// Most objects whose trouble is told under the table.
const MOST_TOLD: usize = 20;

/// How a list is shown.
#[derive(Clone, Copy)]
pub(super) struct Look {
    /// With namespaces.
    pub(super) all: bool,
    /// With more columns.
    pub(super) wide: bool,
    /// With colours.
    pub(super) colour: bool,
    /// Now.
    pub(super) now: Timestamp,
}

/// The colour of an object.
pub(super) fn paint(standing: Standing) -> Paint {
    match standing {
        Standing::Ready => Paint::Good,
        Standing::Queued => Paint::Moving,
        Standing::Blocked | Standing::Failing => Paint::Bad,
    }
}

/// The table.
pub(super) fn table<'v>(objects: impl IntoIterator<Item = &'v ObjectView>, look: Look) -> Table {
    let mut heads = vec!["NAME", "CONNECTION", "SYNCED", "WAITING", "READY", "REASON", "AGE"];
    if look.all {
        heads.insert(0, "NAMESPACE");
    }
    if look.wide {
        heads.extend(["TARGET", "MESSAGE"]);
    }
    let mut table = Table::new(&heads);
    for object in objects {
        let mut cells: Vec<Cell> = vec![
            object.name.as_str().into(),
            object.key.object.name.to_string().into(),
            format!("{}/{}", object.synced, object.total).into(),
            (object.waiting + object.held).to_string().into(),
            Cell::painted(object.ready.as_str(), paint(object.standing)),
            Cell::painted(object.reason(), paint(object.standing)),
            age(object.created, look.now).into(),
        ];
        if look.all {
            cells.insert(0, object.namespace.as_str().into());
        }
        if look.wide {
            cells.push(object.target.clone().unwrap_or_else(|| "<none>".to_owned()).into());
            cells.push(object.message.as_str().into());
        }
        table.row(cells);
    }
    table
}

/// What is wrong with those that do not go by themselves.
fn trouble(objects: &[ObjectView], look: Look) -> String {
    let off: Vec<&ObjectView> =
        objects.iter().filter(|o| matches!(o.standing, Standing::Blocked | Standing::Failing)).collect();
    let mut out = String::new();
    for object in off.iter().take(MOST_TOLD) {
        let name = if look.all { format!("{}/{}", object.namespace, object.name) } else { object.name.clone() };
        let reason = painted(&one_line(object.reason()), paint(object.standing), look.colour);
        let _ = writeln!(out, "\n{}: {reason}: {}", one_line(&name), one_line(&object.message));
        if !object.next.is_empty() {
            let _ = writeln!(out, "  next: {}", one_line(&object.next));
        }
    }
    if off.len() > MOST_TOLD {
        let more = off.len() - MOST_TOLD;
        let _ = writeln!(out, "\n… and {more} more; `kubectl vaultsecret status NAME` tells about one");
    }
    out
}

/// The whole page.
pub(super) fn page(objects: &[ObjectView], sum: &Outlook, notes: &[String], look: Look) -> String {
    let mut out = table(objects, look).text("", look.colour, &[]);
    out.push_str(&trouble(objects, look));
    let _ = writeln!(out, "\n{}", sentence(sum));
    for note in notes {
        let _ = writeln!(out, "note: {}", one_line(note));
    }
    out
}

/// For programs.
pub(super) fn value(objects: &[ObjectView], connections: &Connections, sum: &Outlook, notes: &[String]) -> Value {
    let connections: Vec<Value> = connections
        .values()
        .map(|shown| {
            let ready = condition::find(&shown.status.conditions, types::READY);
            json!({
                "kind": shown.key.kind.as_str(),
                "namespace": &*shown.key.object.namespace,
                "name": &*shown.key.object.name,
                "ready": ready.map_or("Unknown", |c| c.status.as_str()),
                "reason": ready.map_or("", |c| c.reason.as_str()),
                "message": ready.map_or("", |c| c.message.as_str()),
                "entries": shown.status.entries,
                "requestsPerMinute": super::estimate::per_minute(&shown.spec),
            })
        })
        .collect();
    json!({"items": objects, "connections": connections, "summary": sum, "notes": notes})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::estimate::outlook;
    use super::super::tests::{connection, object};
    use super::*;

    const LOOK: Look = Look { all: false, wide: false, colour: false, now: Timestamp::UNIX_EPOCH };

    #[test]
    fn a_list_has_aligned_columns_trouble_and_a_sum() {
        let objects = [
            object("checkout", "kelvin", "RemoteEntryExists", &["InSync", "Conflict"]),
            object("search-and-more", "kelvin", "Synced", &["InSync"]),
        ];
        let connections = [connection("kelvin", "Connected", json!({}))].into();
        let sum = outlook(&objects, &connections);
        let text = page(&objects, &sum, &["a note".to_owned()], LOOK);
        assert_eq!(
            text,
            "NAME              CONNECTION   SYNCED   WAITING   READY   REASON              AGE\n\
             checkout          kelvin       1/2      0         False   RemoteEntryExists   0s\n\
             search-and-more   kelvin       1/1      0         True    Synced              0s\n\
             \n\
             checkout: RemoteEntryExists: the message\n  \
             next: if what is there may be overwritten: kubectl vaultsecret adopt checkout -n shop; else set another remoteName\n\
             \n\
             2 VaultSecrets: 1 ready, 0 queued, 1 blocked, 0 failing; 2/3 entries in sync\n\
             note: a note\n"
        );
    }

    #[test]
    fn wide_and_all_add_columns_and_colour_only_colour() {
        let objects = [object("checkout", "kelvin", "Queued", &["Queued"])];
        let wide = table(&objects, Look { all: true, wide: true, ..LOOK });
        let text = wide.text("", false, &[]);
        assert!(text.starts_with("NAMESPACE   NAME "), "{text}");
        assert!(text.trim_end().ends_with("checkout   the message"), "{text}");
        assert!(!text.contains('\x1b'));
        assert!(wide.text("", true, &[]).contains("\x1b[33mQueued"));
    }

    #[test]
    fn programs_read_objects_connections_and_the_sum() {
        let objects = [object("checkout", "kelvin", "Queued", &["Queued", "InSync"])];
        let connections = [connection("kelvin", "Connected", json!({"requestsPerMinute": 60}))].into();
        let value = value(&objects, &connections, &outlook(&objects, &connections), &[]);
        assert_eq!((&value["items"][0]["standing"], &value["items"][0]["waiting"]), (&json!("queued"), &json!(1)));
        assert_eq!(value["items"][0]["entries"][0]["state"], "Queued");
        assert_eq!(
            (&value["connections"][0]["requestsPerMinute"], &value["connections"][0]["reason"]),
            (&json!(60), &json!("Connected"))
        );
        assert_eq!(
            (&value["summary"]["waitingEntries"], &value["summary"]["estimatedSeconds"]),
            (&json!(1), &json!(1))
        );
    }
}
