//! What a person has to say about a connection: that a freeze ends, that it goes to another remote now, that what is there is to be
//! taken over once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::connections::{Adopting, ConnectionHandle, FreezeNote};
use super::context::Context;
use super::shown::Shown;
use crate::api::connection::ConnectionStatus;
use crate::api::names;
use crate::sync::freeze::{self, Approval, tolerated};

/// Freezes the connection, or releases it.
pub fn set_note(note: &Mutex<Option<FreezeNote>>, to: Option<FreezeNote>) {
    *note.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

/// The connection is pointed at another remote: freezes when it has many entries, else its rows speak of another remote from
/// now on.
pub fn follow_identity(
    ctx: &Context,
    shown: &Shown,
    base: &str,
    status: &mut ConnectionStatus,
    note: &Mutex<Option<FreezeNote>>,
) {
    let Some(old) = status.remote.clone() else {
        status.remote = Some(base.to_owned());
        return;
    };
    if old == base {
        return;
    }
    let own = super::rows_of(ctx, &shown.key);
    if own > tolerated(own) {
        let mut guard = note.lock().unwrap_or_else(PoisonError::into_inner);
        guard.get_or_insert_with(|| FreezeNote {
            token: new_token(),
            reason: format!("it was pointed from {old} at {base} while it has {own} entries"),
        });
    } else {
        status.remote = Some(base.to_owned());
        status.incarnation = Some(status.incarnation.unwrap_or_default() + 1);
    }
}

/// A new token of a freeze.
#[must_use]
pub fn new_token() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// Reads the approve annotation. Returns the token of the freeze that it releases.
pub fn approve(
    shown: &Shown,
    base: &str,
    status: &mut ConnectionStatus,
    note: &Mutex<Option<FreezeNote>>,
) -> Option<String> {
    let Some(current) = note.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
        status.freeze = None;
        return None;
    };
    status.freeze =
        Some(crate::api::connection::Freeze { token: current.token.clone(), reason: current.reason.clone() });
    let annotation = shown.metadata.annotations.as_ref().and_then(|a| a.get(names::APPROVE));
    match annotation.map(|a| freeze::approval(a, &current.token)) {
        Some(Ok(Some(approval))) => {
            status.freeze = None;
            status.last_handled_approve = annotation.cloned();
            if approval == Approval::New {
                status.incarnation = Some(status.incarnation.unwrap_or_default() + 1);
            }
            status.remote = Some(base.to_owned());
            Some(current.token)
        }
        Some(Err(text)) => {
            tracing::warn!(connection = %shown.key.object, %text, "the approve annotation cannot be read");
            None
        }
        Some(Ok(None)) | None => None,
    }
}

/// A one-time adoption for all VaultSecrets of the connection: goes on until each was looked at.
pub fn adopting(
    ctx: &Context,
    shown: &Shown,
    status: &mut ConnectionStatus,
    before: Option<&ConnectionHandle>,
) -> Option<Arc<Adopting>> {
    let asked = shown.metadata.annotations.as_ref().and_then(|a| a.get(names::ADOPT))?;
    if status.last_handled_adopt.as_ref() == Some(asked) || asked.trim() != "*" {
        return None;
    }
    let running = before.and_then(|b| b.adopting.clone()).filter(|a| a.value == *asked);
    if let Some(running) = running {
        let done = running.pending.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if done {
            status.last_handled_adopt = Some(asked.clone());
            return None;
        }
        return Some(running);
    }
    let pending: HashSet<_> = super::objects_of(ctx, &shown.key).into_iter().collect();
    if pending.is_empty() {
        status.last_handled_adopt = Some(asked.clone());
        return None;
    }
    Some(Arc::new(Adopting { value: asked.clone(), pending: Mutex::new(pending) }))
}
