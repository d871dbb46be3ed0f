//! Keys and names that would be there twice. Refused before anything is written, and whichever comes first: the order of a list is
//! no way to say what is meant.

use std::collections::BTreeMap;

use super::{Found, Origin, Remote};
use crate::api::Reason;
use crate::api::vault_secret::DataEntry;
use crate::controller::desired::Issue;
use crate::controller::fields::field_of;

fn refused(text: String) -> Issue {
    Issue::new(Reason::NameRefused, text)
}

/// No two values of a bundle have one name in it, and each has one.
pub(super) fn in_bundle(bundle: &str, of_item: &[&Found<'_>]) -> Result<(), Issue> {
    let mut names: BTreeMap<&str, &Found<'_>> = BTreeMap::new();
    for one in of_item {
        let place = format!("key {} of Secret {} (dataFrom[{}])", one.source_key, one.secret, one.item);
        if one.name.is_empty() {
            return Err(refused(format!("{place} would have no name in the bundle {bundle:?}; rewrite it to one")));
        }
        if let Some(other) = names.insert(&one.name, one) {
            return Err(refused(format!(
                "key {} of Secret {} and {place} would both become {:?} in the bundle {bundle:?}; rewrite one of them to another name",
                other.source_key, other.secret, one.name
            )));
        }
    }
    Ok(())
}

/// No key of a Secret is that of another one.
pub(super) fn keys(data: &[DataEntry], origins: &[Origin], explicit: usize) -> Result<(), Issue> {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, entry) in data.iter().enumerate() {
        let Some(before) = first.insert(&entry.key, index).filter(|_| index >= explicit) else { continue };
        let (one, other, key) = (&origins[before].0, &origins[index].0, &entry.key);
        let advice = if is_bundle(entry) || is_bundle(&data[before]) {
            "give the bundle another key"
        } else {
            "leave one of them out with match, or say in data what it is"
        };
        return Err(refused(format!("{one} and {other} are both key {key} here; {advice}")));
    }
    Ok(())
}

/// No two become one entry, or one field of an entry.
pub(super) fn names(
    data: &[DataEntry],
    origins: &[Origin],
    explicit: usize,
    remote: Option<Remote<'_>>,
) -> Result<(), Issue> {
    let mut first: BTreeMap<(String, Option<&str>), usize> = BTreeMap::new();
    for (index, entry) in data.iter().enumerate().filter(|(_, entry)| entry.pushes()) {
        // A prefix before all of them changes nothing.
        let stored =
            remote.map_or_else(|| entry.remote_name().to_owned(), |r| r.rules.stored_name(entry.remote_name()));
        let field = remote.and_then(|r| field_of(r.rules.provider(), entry));
        let Some(before) = first.insert((stored.clone(), field), index).filter(|_| index >= explicit) else { continue };
        let what = field.map(|field| format!("the field {field:?} of ")).unwrap_or_default();
        let at = remote.map(|r| format!(" at {}", r.connection)).unwrap_or_default();
        return Err(refused(format!(
            "{} and {} would both become {what}the entry {stored:?}{at}; rewrite one of them to another name",
            origins[before].0, origins[index].0
        )));
    }
    Ok(())
}

fn is_bundle(entry: &DataEntry) -> bool {
    entry.value_from.as_ref().is_some_and(|from| from.bundle.is_some())
}
