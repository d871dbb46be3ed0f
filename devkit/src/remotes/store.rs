//! The entries of a remote, by tenant.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

/// The tenant of every credential that is not given another.
pub const DEFAULT_TENANT: &str = "main";

/// Who writes when a test acts behind the operator's back.
pub const SOMEBODY_ELSE: &str = "somebody-else@example.com";

/// An entry as the remote keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name as stored.
    pub name: String,
    /// Identifier made by the remote; only Dreadnode shows it.
    pub id: Uuid,
    /// Kind of credential; only Dreadnode knows it.
    pub provider: Option<String>,
    /// When it was made, by the remote's clock.
    pub created: Timestamp,
    /// When it was last changed, by the remote's clock.
    pub updated: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Who changed it last.
    pub updated_by: String,
    /// Every value that it had, oldest first. No route gives them out.
    pub values: Vec<String>,
}

impl Entry {
    /// How many writes made it what it is.
    pub fn versions(&self) -> usize {
        self.values.len()
    }

    /// The present value.
    pub fn value(&self) -> &str {
        self.values.last().map_or("", String::as_str)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("created", &self.created)
            .field("updated", &self.updated)
            .field("created_by", &self.created_by)
            .field("updated_by", &self.updated_by)
            .field("versions", &self.versions())
            .finish_non_exhaustive()
    }
}

/// Something that was done to an entry, by whomever.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// When, by the clock of the machine.
    pub at: Timestamp,
    /// Tenant of the entry.
    pub tenant: String,
    /// Name as stored.
    pub name: String,
    /// The value that it was given; none when it was removed.
    pub value: Option<String>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.value.is_some() { "written" } else { "removed" };
        write!(f, "{} {}/{} {done}", self.at, self.tenant, self.name)
    }
}

/// Who writes and when.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) at: Timestamp,
    pub(crate) by: String,
}

/// All tenants' entries.
#[derive(Debug, Default)]
pub(crate) struct Store {
    tenants: BTreeMap<String, BTreeMap<String, Entry>>,
    pub(crate) changes: Vec<Change>,
}

impl Store {
    /// The entries of a tenant in the order of their creation.
    pub(crate) fn list(&self, tenant: &str) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.tenants.get(tenant).map(|all| all.values().collect()).unwrap_or_default();
        entries.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        entries
    }

    pub(crate) fn get(&self, tenant: &str, name: &str) -> Option<&Entry> {
        self.tenants.get(tenant)?.get(name)
    }

    pub(crate) fn by_id(&self, tenant: &str, id: Uuid) -> Option<&Entry> {
        self.tenants.get(tenant)?.values().find(|entry| entry.id == id)
    }

    /// Looks an identifier up in all tenants; the log wants a name even where access is refused.
    pub(crate) fn name_of(&self, id: Uuid) -> Option<&str> {
        let mut all = self.tenants.values().flat_map(BTreeMap::values);
        all.find(|entry| entry.id == id).map(|entry| entry.name.as_str())
    }

    fn note(&mut self, tenant: &str, name: &str, value: Option<&str>) {
        let (tenant, name, value) = (tenant.to_owned(), name.to_owned(), value.map(str::to_owned));
        self.changes.push(Change { at: Timestamp::now(), tenant, name, value });
    }

    /// Makes an entry; the caller has checked that the name is free.
    pub(crate) fn insert(
        &mut self,
        tenant: &str,
        name: &str,
        value: &str,
        provider: Option<String>,
        stamp: &Stamp,
    ) -> Entry {
        let entry = Entry {
            name: name.to_owned(),
            id: Uuid::new_v4(),
            provider,
            created: stamp.at,
            updated: stamp.at,
            created_by: stamp.by.clone(),
            updated_by: stamp.by.clone(),
            values: vec![value.to_owned()],
        };
        self.tenants.entry(tenant.to_owned()).or_default().insert(name.to_owned(), entry.clone());
        self.note(tenant, name, Some(value));
        entry
    }

    /// Replaces the value of an entry. `always_moves`: whether a write of the same value moves `updated`.
    pub(crate) fn replace(
        &mut self,
        tenant: &str,
        name: &str,
        value: &str,
        stamp: &Stamp,
        always_moves: bool,
    ) -> Option<Entry> {
        let entry = self.tenants.get_mut(tenant)?.get_mut(name)?;
        if always_moves || entry.value() != value {
            entry.updated = stamp.at;
            entry.updated_by = stamp.by.clone();
        }
        entry.values.push(value.to_owned());
        let entry = entry.clone();
        self.note(tenant, name, Some(value));
        Some(entry)
    }

    pub(crate) fn remove(&mut self, tenant: &str, name: &str) -> Option<Entry> {
        let removed = self.tenants.get_mut(tenant)?.remove(name)?;
        self.note(tenant, name, None);
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn stamp(second: i64) -> Stamp {
        Stamp { at: Timestamp::from_second(second).unwrap(), by: "me".to_owned() }
    }

    #[test]
    fn a_write_of_the_same_value_moves_the_stamp_only_if_asked() {
        let mut store = Store::default();
        store.insert("t", "a", "v", None, &stamp(1));
        assert_eq!(store.replace("t", "a", "v", &stamp(2), false).unwrap().updated, stamp(1).at);
        assert_eq!(store.replace("t", "a", "v", &stamp(3), true).unwrap().updated, stamp(3).at);
        assert_eq!(store.replace("t", "a", "w", &stamp(4), false).unwrap().updated, stamp(4).at);
        assert_eq!(store.get("t", "a").unwrap().versions(), 4);
    }

    #[test]
    fn tenants_do_not_see_each_other() {
        let mut store = Store::default();
        let made = store.insert("t", "a", "v", None, &stamp(1));
        assert!(store.get("u", "a").is_none());
        assert!(store.by_id("u", made.id).is_none());
        assert!(store.list("u").is_empty());
        assert_eq!(store.name_of(made.id), Some("a"));
    }

    #[test]
    fn debug_shows_no_value() {
        let mut store = Store::default();
        let made = store.insert("t", "a", "hunter2", None, &stamp(1));
        assert!(!format!("{made:?} {store:?}").contains("hunter2"));
    }

    #[test]
    fn every_change_is_noted() {
        let mut store = Store::default();
        store.insert("t", "a", "v", None, &stamp(1));
        store.replace("t", "a", "w", &stamp(2), true);
        store.remove("t", "a");
        store.remove("t", "a");
        let noted: Vec<_> = store.changes.iter().map(|change| change.value.as_deref()).collect();
        assert_eq!(noted, [Some("v"), Some("w"), None]);
    }
}
