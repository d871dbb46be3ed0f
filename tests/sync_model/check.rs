//! What must hold at every step, and when everything has come to rest.

use vaultsecret_operator::sync::ledger::{EntryState, Row};
use vaultsecret_operator::sync::plan::{Adoption, Cause, Drift};

use super::operator::Plan;
use super::world::{World, value_of};

/// Rules 1 and 2 when a request leaves: its intent is in the ledger, and its cause is true.
pub fn at_send(world: &mut World, plan: &Plan) {
    let c = &world.crs[plan.cr];
    let intended = c.row.as_ref().is_some_and(|r| r.is_open() && r.attempt_number() == plan.number);
    let recorded = c.row.as_ref().and_then(|r| r.fingerprint.clone());
    let undisturbed = c.acked_sent.is_some_and(|sent| world.disturbed < sent);
    if !intended {
        world.violate(|| "rule 2: a write without its intent in the ledger".to_owned());
    }
    let put_right = matches!(plan.cause, Some(Cause::Reassert | Cause::LateWrite));
    if put_right && undisturbed {
        world.violate(|| format!("rule 1: {:?} of an entry that nobody touched", plan.cause));
    }
    let changed = plan.cause == Some(Cause::Changed) && recorded == plan.fingerprint;
    let resend = world.crs[plan.cr].row.as_ref().is_some_and(|r| r.resend);
    if changed && !resend {
        world.violate(|| "rule 1: a value that is recorded is sent as changed".to_owned());
    }
}

/// What holds after every step.
pub fn always(world: &mut World) {
    if world.writes > world.causes {
        let (writes, causes) = (world.writes, world.causes);
        world.violate(|| format!("rule 1: {writes} writes for {causes} causes"));
    }
    let holders = world.crs.iter().filter(|c| c.row.as_ref().is_some_and(Row::holds)).count();
    if holders > 1 {
        world.violate(|| "rule 4: two VaultSecrets hold one entry".to_owned());
    }
    // Released entries are left on purpose: Retain, or a claim on a Presence remote that leaves (with a Warning).
    let orphan = world.entry.as_ref().is_some_and(|e| e.maker.is_some() && !e.released);
    if orphan && holders == 0 {
        world.violate(|| "rule 2: an entry of ours that no ledger knows".to_owned());
    }
    for i in 0..2 {
        stale(world, i);
    }
}

/// A settled row says InSync, and the remote holds an older value of ours, or may hold one yet.
fn stale(world: &mut World, cr: usize) {
    let Some(row) = world.crs[cr].row.as_ref() else { return };
    if row.state != EntryState::InSync || !row.is_ours() || row.is_open() || row.resend {
        return;
    }
    if row.unsettled_since().is_some() {
        world.violate(|| "a row is InSync and unsettled".to_owned());
        return;
    }
    let value = row.fingerprint.as_deref().and_then(value_of);
    // Late requests of a VaultSecret deleted under Retain outlive its ledger: admitted, across a crash.
    if world.requests.iter().any(|r| r.ends.is_some() && r.answer.is_none() && !r.released) {
        world.violate(|| "C5: a settled row while a request of ours may still land".to_owned());
        return;
    }
    let held = world.entry.as_ref().filter(|e| e.writer.is_some() && !e.released).map(|e| e.value);
    if let Some(held) = held.filter(|held| Some(*held) != value) {
        world.violate(|| format!("C4: InSync with {value:?}, and the remote holds our older {held}"));
    }
}

/// What holds when all faults have stopped and nothing is due any more.
pub fn at_rest(world: &mut World) {
    let config = world.config;
    for i in 0..2 {
        let Some(row) = world.crs[i].row.clone() else { continue };
        if row.is_open() || row.unsettled_since().is_some() {
            world.violate(|| format!("rest: cr{i} has an open or unsettled attempt"));
        }
        // A stranger's entry that an update of ours overwrote stays his when we leave it (F6), with a Warning.
        let foreign = world.entry.as_ref().is_some_and(|e| e.maker.is_none() || e.released);
        if row.state == EntryState::Conflict && !foreign {
            world.violate(|| format!("rest: cr{i} is in conflict with ourselves"));
        }
    }
    let named: Vec<usize> = (0..2).filter(|i| world.crs[*i].exists && world.crs[*i].wants.is_some()).collect();
    let holder = named.iter().copied().find(|i| world.crs[*i].row.as_ref().is_some_and(Row::is_ours));
    if world.crs.iter().any(|c| c.deleting) {
        world.violate(|| "rest: a VaultSecret does not get away".to_owned());
    }
    let Some(cr) = holder else {
        let refused = config.adoption == Adoption::Refuse
            && world.entry.as_ref().is_some_and(|e| e.maker.is_none() || e.released);
        if !named.is_empty() && !refused {
            world.violate(|| "rest: an entry is wanted and nobody has it".to_owned());
        }
        return;
    };
    let Some(row) = world.crs[cr].row.clone() else { return };
    let entry = world.entry.clone();
    let held = entry.as_ref().map(|e| e.value);
    // Never visible on a Presence remote: a foreign overwrite, a foreign delete and recreate between two lists.
    let unseen = !config.stamps || row.remote_version.is_none();
    let excused = unseen && entry.as_ref().is_some_and(|e| e.writer.is_none());
    // Under Report what a stranger changed stays and is said.
    let reported = config.drift == Drift::Report && matches!(row.state, EntryState::Drifted | EntryState::Missing);
    if reported && !world.strangers {
        world.violate(|| format!("rest: cr{cr} is {:?}, and there was no stranger", row.state));
    }
    if !reported && row.state != EntryState::InSync {
        world.violate(|| format!("rest: cr{cr} is {:?}", row.state));
    }
    if !reported && !excused && held != world.crs[cr].wants {
        let wants = world.crs[cr].wants;
        world.violate(|| format!("rest: the remote holds {held:?}, wanted is {wants:?}"));
    }
}
