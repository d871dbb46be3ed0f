//! Which entries can be adopted, and how the annotation asks for it. Pure.

use crate::api::{VaultSecret, names};
use crate::sync::ledger::{EntryState, Row};

/// An entry that is refused because it is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    key: String,
    remote_name: String,
    connection: String,
}

impl Refused {
    /// As it is told.
    pub(super) fn told(&self) -> String {
        format!("{:?} at {} (key {})", self.remote_name, self.connection, self.key)
    }

    fn is(&self, row: &Row) -> bool {
        row.remote_name == self.remote_name && row.connection == self.connection
    }

    /// Whether it is ours by now, and has our value.
    pub(super) fn is_taken_over(&self, vs: &VaultSecret) -> bool {
        let rows = vs.status.iter().flat_map(|status| &status.entries);
        rows.filter(|row| self.is(row)).any(|row| row.state == EntryState::InSync)
    }
}

/// The entries that are refused; those of another VaultSecret are not among them, as no adoption takes these.
pub(super) fn refused(vs: &VaultSecret) -> Vec<Refused> {
    let rows = vs.status.iter().flat_map(|status| &status.entries);
    rows.filter(|row| row.state == EntryState::Conflict && !row.message.starts_with("belongs to VaultSecret "))
        .filter_map(|row| {
            let (remote_name, connection) = (row.remote_name.clone(), row.connection.clone());
            Some(Refused { key: row.key.clone()?, remote_name, connection })
        })
        .collect()
}

/// Those that were asked for: all, or the one of a key or a remote name.
///
/// # Errors
/// When there is nothing to adopt; names what there is.
pub(super) fn chosen(all: &[Refused], key: Option<&str>) -> Result<Vec<Refused>, String> {
    if all.is_empty() {
        return Err("no entry of it is refused for being somebody else's, so there is nothing to adopt".to_owned());
    }
    let Some(key) = key else { return Ok(all.to_vec()) };
    let some: Vec<Refused> = all.iter().filter(|entry| entry.key == key || entry.remote_name == key).cloned().collect();
    if some.is_empty() {
        let keys: Vec<&str> = all.iter().map(|entry| entry.key.as_str()).collect();
        return Err(format!("{key:?} is no refused entry; refused are: {}", keys.join(", ")));
    }
    Ok(some)
}

/// The value of the annotation that asks for these entries. It must differ from the value that was dealt with last, as each value
/// is dealt with once: a comma at the end makes it another one and names nothing.
///
/// # Errors
/// When it cannot name one of them alone.
pub(super) fn asked(vs: &VaultSecret, some: &[Refused], all: usize) -> Result<String, String> {
    let handled = vs.status.as_ref().and_then(|status| status.last_handled_adopt.as_deref());
    let present = vs.metadata.annotations.as_ref().and_then(|all| all.get(names::ADOPT)).map(String::as_str);
    let mut wanted: Vec<&str> = some.iter().map(|entry| entry.remote_name.as_str()).collect();
    // What was asked for before and not dealt with yet is asked for still.
    wanted.extend(present.filter(|_| present != handled).iter().flat_map(|text| text.split(',')).map(str::trim));
    wanted.retain(|name| !name.is_empty());
    wanted.sort_unstable();
    wanted.dedup();
    let mut text = wanted.join(",");
    if let Some(odd) = some.iter().find(|entry| entry.remote_name.contains(',')) {
        if some.len() != all {
            let name = &odd.remote_name;
            return Err(format!(
                "the name {name:?} holds a comma, so it cannot be asked for alone: adopt all that are refused"
            ));
        }
        text = "*".to_owned();
    }
    if Some(&*text) == handled {
        text.push(',');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    fn vs(annotation: Option<&str>, handled: Option<&str>, rows: &[(&str, &str, &str, &str)]) -> VaultSecret {
        let rows: Vec<_> = rows
            .iter()
            .map(|(key, name, state, message)| {
                json!({"connection": "VaultConnection/c", "remoteName": name, "key": key, "state": state, "message": message})
            })
            .collect();
        let annotations = annotation.map(|value| json!({names::ADOPT: value}));
        serde_json::from_value(json!({
            "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
            "metadata": {"name": "app", "annotations": annotations},
            "spec": {"connectionRef": {"name": "c"}, "data": []},
            "status": {"lastHandledAdopt": handled, "entries": rows},
        }))
        .unwrap()
    }

    const ROWS: [(&str, &str, &str, &str); 4] = [
        ("A", "name-a", "Conflict", ""),
        ("B", "name-b", "Conflict", ""),
        ("C", "name-c", "Conflict", "belongs to VaultSecret shop/other"),
        ("D", "name-d", "InSync", ""),
    ];

    #[test]
    fn what_is_refused_can_be_adopted_and_what_another_has_cannot() {
        let all = refused(&vs(None, None, &ROWS));
        assert_eq!(all.iter().map(|entry| &*entry.key).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(chosen(&all, Some("B")).unwrap(), chosen(&all, Some("name-b")).unwrap());
        assert_eq!(chosen(&all, Some("C")).unwrap_err(), "\"C\" is no refused entry; refused are: A, B");
        assert!(chosen(&[], None).unwrap_err().contains("nothing to adopt"));
        assert_eq!(all[0].told(), "\"name-a\" at VaultConnection/c (key A)");
    }

    #[test]
    fn a_value_that_was_dealt_with_is_said_anew() {
        let all = refused(&vs(None, None, &ROWS));
        let ask =
            |annotation, handled, some: &[Refused]| asked(&vs(annotation, handled, &ROWS), some, all.len()).unwrap();
        assert_eq!(ask(None, None, &all), "name-a,name-b");
        assert_eq!(ask(Some("name-a,name-b"), Some("name-a,name-b"), &all), "name-a,name-b,");
        assert_eq!(ask(Some("name-a,name-b,"), Some("name-a,name-b,"), &all), "name-a,name-b");
        assert_eq!(ask(Some("name-b"), None, &all[..1]), "name-a,name-b", "what waits is not taken back");
        assert_eq!(ask(Some("name-b"), Some("name-b"), &all[..1]), "name-a");
    }

    #[test]
    fn a_name_with_a_comma_goes_with_all() {
        let vs = vs(None, Some("*"), &[("A", "a,b", "Conflict", ""), ("B", "b", "Conflict", "")]);
        let all = refused(&vs);
        assert_eq!(asked(&vs, &all, 2).unwrap(), "*,");
        assert!(asked(&vs, &all[..1], 2).unwrap_err().contains("holds a comma"));
    }
}
