//! Whether a value is another one than the remote has, where no fingerprint can be made: by what stands in the specs, and by the
//! versions of sources.

use std::collections::BTreeSet;

use super::judge::Judged;
use super::whole;
use super::world::{NEW_VERSION, World};
use crate::api::vault_secret::{Bundle, DataEntry};
use crate::source::reference::SourceRef;
use crate::sync::ledger::{EntryState, Row};

/// Whether the value of an entry changes; `None`: that is not known.
#[must_use]
pub fn changed(world: &World, judged: &Judged<'_>, keys: &[usize], row: Option<&Row>) -> Option<bool> {
    let (live, row) = (judged.live?, row?);
    let observed = live.status.as_ref().and_then(|s| s.observed_generation);
    let settled = row.fingerprint.is_some()
        && !row.resend
        && !matches!(row.state, EntryState::Refused | EntryState::Pending | EntryState::Failed | EntryState::Queued);
    // What the ledger speaks of is the live spec only if that was looked at.
    if !settled || observed.is_none() || observed != live.metadata.generation {
        return None;
    }
    let mut all = Some(false);
    for index in keys {
        let entry = &judged.spec.data[*index];
        let before = judged.before.as_ref()?.data.iter().find(|known| known.key == entry.key)?;
        match entry_changed(world, judged, entry, before, row, keys.len() == 1) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => all = None,
        }
    }
    all
}

fn entry_changed(
    world: &World,
    judged: &Judged<'_>,
    entry: &DataEntry,
    before: &DataEntry,
    row: &Row,
    alone: bool,
) -> Option<bool> {
    if entry.encoding() != before.encoding() || entry.remote_field != before.remote_field {
        return None;
    }
    if let (Some(value), Some(before)) = (&entry.value, &before.value) {
        return Some(value != before);
    }
    let (from, old) = (entry.value_from.as_ref()?, before.value_from.as_ref()?);
    if let (Some(generate), Some(old)) = (&from.generate, &old.generate) {
        // Another policy makes no other value; another number does.
        return Some(generate.epoch.unwrap_or(0) != old.epoch.unwrap_or(0));
    }
    if let (Some(bundle), Some(old)) = (&from.bundle, &old.bundle) {
        let names = |bundle: &Bundle| bundle.members.iter().map(|m| m.name.clone()).collect::<BTreeSet<_>>();
        let same = bundle == old && alone && row.source_version.is_some();
        return if names(bundle) != names(old) {
            Some(true)
        } else {
            (same && row.source_version == whole::version(world, &judged.key.namespace, bundle)).then_some(false)
        };
    }
    if from.remote.is_some() || from != old {
        return None;
    }
    if from.sealed.is_some() {
        return Some(false);
    }
    if let Some(reference) = SourceRef::of(from) {
        let (_, version) = world.value(&judged.key.namespace, &reference).ok()?;
        return (alone && version != NEW_VERSION && row.source_version.as_ref() == Some(&version)).then_some(false);
    }
    // A template makes the same of the same.
    let node = judged.values.templates.of_key(&entry.key)?.ok()?;
    let mut each = node.sources().iter().map(|source| {
        let find = |data: &[DataEntry]| data.iter().find(|e| e.key == *source).cloned();
        let (Some(now), Some(before)) = (find(&judged.spec.data), find(&judged.before.as_ref()?.data)) else {
            return None;
        };
        let is_reference = now.value_from.as_ref().is_some_and(|from| SourceRef::of(from).is_some());
        (!is_reference)
            .then(|| entry_changed(world, judged, &now, &before, row, false))
            .flatten()
            .filter(|changed| !changed)
    });
    each.all(|one| one == Some(false)).then_some(false)
}
