//! The annotations: the one that takes over what is refused (when it is dealt with, and which of its names name refused entries),
//! and the one that pushes once.

use super::choose::{Choice, pending_annotation};
use super::pass::Pass;
use crate::api::vault_secret::VaultSecretStatus;
use crate::api::{Reason, names};
use crate::sync::ledger::EntryState;

/// Longest name that is repeated.
const MOST_SHOWN: usize = 80;

/// An entry as the annotation can name it, and whether it is refused.
struct Entry<'a> {
    /// As the spec has it, and as the remote stores it.
    names: [&'a str; 2],
    /// It is taken over by the annotation, in this pass or by a mark that was not carried out yet.
    adopted: bool,
    /// It is somebody else's, and no other VaultSecret's.
    refused: bool,
}

/// The adopt annotation is dealt with once it was judged for every entry.
pub fn mark_adoption(pass: &mut Pass<'_>, choice: &Choice, base: &mut VaultSecretStatus) {
    let undecided = choice.undecided || pass.sources.refused;
    if pass.is_deleting() || undecided || pass.route.problem.is_some() || pass.vs.spec.suspended() {
        return;
    }
    let Some(asked) = pending_annotation(pass, names::ADOPT, |s| s.last_handled_adopt.as_deref()) else { return };
    base.last_handled_adopt = Some(asked.to_owned());
    if let Some(text) = in_vain(pass, asked) {
        pass.warn("AdoptionIgnored", text);
    }
}

/// A new value of the force-push annotation: every entry of ours is to be sent again, and what failed is tried now. The mark is in
/// the rows, so that it holds although the entries may leave in several turns.
pub fn mark_force_push(pass: &mut Pass<'_>) -> Option<String> {
    if pass.is_deleting() || pass.vs.spec.suspended() || pass.route.problem.is_some() {
        return None;
    }
    let asked = pending_annotation(pass, names::FORCE_PUSH, |s| s.last_handled_force_push.as_deref())?.to_owned();
    for row in pass.rows.iter_mut().filter(|r| r.key.is_some()) {
        row.resend |= row.is_ours();
        // Whoever asks does not wait for a failure's next attempt either.
        if let Some(memo) = pass.state.memos.get_mut(&(row.connection.clone(), row.remote_name.clone())) {
            memo.try_at_once();
        }
    }
    Some(asked)
}

/// A one-time adoption for all VaultSecrets of a connection has one less to look at.
pub fn adoption_done(pass: &Pass<'_>) {
    let Some(handle) = &pass.route.handle else { return };
    if let Some(adopting) = handle.adopting.as_ref().filter(|_| pass.route.problem.is_none())
        && adopting.done(pass.key)
    {
        pass.ctx.wake.connection(handle.key.clone());
    }
}

/// What to say of an annotation some of whose names name no refused entry, once the others were taken over.
fn in_vain(pass: &Pass<'_>, asked: &str) -> Option<String> {
    let entries: Vec<Entry<'_>> = pass
        .wants
        .iter()
        .filter_map(|want| {
            let row = &pass.rows[want.row?];
            let another = want.issue.as_ref().is_some_and(|issue| issue.reason == Reason::OwnedByAnother);
            Some(Entry {
                names: [pass.entry(want).remote_name(), &row.remote_name],
                adopted: row.adopted,
                refused: row.state == EntryState::Conflict && !another,
            })
        })
        .collect();
    told(asked, &entries)
}

fn told(asked: &str, entries: &[Entry<'_>]) -> Option<String> {
    let asked: Vec<&str> = asked.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if asked.contains(&"*") {
        return None;
    }
    let adopted = |name: &str| entries.iter().any(|entry| entry.adopted && entry.names.contains(&name));
    let vain: Vec<String> = asked.iter().filter(|name| !adopted(name)).map(|name| shown(name)).collect();
    if vain.is_empty() && !asked.is_empty() {
        return None;
    }
    let refused: Vec<&str> = entries.iter().filter(|entry| entry.refused).map(|entry| entry.names[0]).collect();
    let vain = if vain.is_empty() { "nothing".to_owned() } else { vain.join(", ") };
    Some(match refused.as_slice() {
        [] => format!("annotation {}: no entry is refused now that is named by {vain}", names::ADOPT),
        refused => format!(
            "annotation {}: {vain} names no refused entry; set it to '*' for all of them, or to names of these: {}",
            names::ADOPT,
            refused.join(",")
        ),
    })
}

fn shown(name: &str) -> String {
    let cut: String = name.chars().take(MOST_SHOWN).collect();
    if cut.len() < name.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn entry(name: &str, adopted: bool, refused: bool) -> Entry<'_> {
        Entry { names: [name, name], adopted, refused }
    }

    #[test]
    fn a_name_that_no_refused_entry_has_is_told_with_those_that_are() {
        let entries = [entry("api-key", false, true), entry("token", false, true), entry("ours", false, false)];
        let text = told("true", &entries).unwrap();
        assert_eq!(
            text,
            "annotation vaultsecret.dev/adopt: \"true\" names no refused entry; set it to '*' for all of them, or to names of \
             these: api-key,token"
        );
        assert!(told("", &entries).unwrap().contains("api-key,token"));
        assert!(told("ours", &[entry("ours", false, false)]).unwrap().contains("no entry is refused now"));
        assert!(told(&"x".repeat(500), &entries).unwrap().len() < 300);
    }

    #[test]
    fn what_is_taken_over_is_not_told() {
        let entries = [entry("api-key", true, false), entry("token", false, true)];
        assert_eq!(told("api-key", &entries), None);
        assert_eq!(told("*", &entries), None);
        assert_eq!(told(" api-key , * ", &[]), None);
        assert!(told("api-key,tokem", &entries).unwrap().contains("\"tokem\" names no refused entry"));
    }
}
