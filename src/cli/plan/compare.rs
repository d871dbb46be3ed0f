//! Whether a value is another one than the remote has, where no fingerprint can be made: by what stands in the specs, and by the
//! versions of sources.

use super::judge::Judged;
use super::world::{NEW_VERSION, World};
use crate::api::vault_secret::DataEntry;
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
        let before = live.spec.data.iter().find(|known| known.key == entry.key)?;
        match entry_changed(world, judged, live, entry, before, row, keys.len() == 1) {
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
    live: &crate::api::VaultSecret,
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
    if from != old {
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
    let same = node.sources().iter().all(|source| {
        let find = |data: &[DataEntry]| data.iter().find(|e| e.key == *source).cloned();
        let (Some(now), Some(before)) = (find(&judged.spec.data), find(&live.spec.data)) else { return false };
        let is_reference = now.value_from.as_ref().is_some_and(|from| SourceRef::of(from).is_some());
        !is_reference && entry_changed(world, judged, live, &now, &before, row, false) == Some(false)
    });
    same.then_some(false)
}
