//! Keys of the spec and rows of the ledger.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Note, Pass, Want};
use crate::api::VaultSecret;
use crate::controller::connections::ConnectionHandle;
use crate::controller::context::Context;
use crate::controller::desired::{self, Issue, Naming, Prefix};
use crate::controller::route::Route;
use crate::controller::templates;
use crate::sync::ledger::{EntryState, Row};

/// Names at the remote of what a VaultSecret wants, in the order of its spec.
pub(super) fn names_at(
    ctx: &Context,
    route: &Route,
    handle: &ConnectionHandle,
    vs: &VaultSecret,
    namespace: &str,
) -> Vec<Option<Result<String, Issue>>> {
    let allows = |namespace: &str| route.allows(ctx, namespace);
    let prefix = handle.prefix.as_deref().map(|template| Prefix { template, namespace, allows: &allows });
    desired::names(&vs.spec, &Naming { rules: &handle.rules, prefix, connection: &handle.display })
}

impl Pass<'_> {
    /// Brings the keys of the spec and the rows of the ledger together: rows of keys that are gone are leaving, rows of another
    /// remote behind the same connection are forgotten, and a row follows its entry to another connection of the same remote.
    pub fn match_rows(&mut self) {
        let display = self.vs.spec.connection_ref.display();
        let deleting = self.is_deleting();
        if let Some(handle) = self.route.handle.clone() {
            let forgotten: Vec<Row> =
                self.rows.extract_if(.., |r| r.connection == display && r.incarnation != handle.incarnation).collect();
            for row in forgotten.iter().filter(|r| r.holds()) {
                let text = format!(
                    "{} points at another remote now: entry {:?} at the old one is left",
                    row.connection, row.remote_name
                );
                self.notes.push(Note::about_entry(row, "EntryLeft", text));
            }
        }
        let names = match (&self.route.handle, deleting) {
            (_, true) => vec![None; self.vs.spec.data.len()],
            (_, false) if self.sources.refused => return self.match_by_key(&display),
            (Some(handle), false) => names_at(self.ctx, &self.route, handle, &self.vs, &self.key.namespace),
            (None, false) => return self.match_by_key(&display),
        };
        let mut taken = HashSet::new();
        for (index, name) in names.into_iter().enumerate() {
            let mut want = Want { index, row: None, issue: self.refusal(index), held: false };
            match name {
                None => {}
                Some(Err(issue)) => want.issue = Some(issue),
                Some(Ok(name)) => {
                    let row = self.row_for(&display, &name);
                    if !taken.contains(&row) {
                        self.rows[row].key = Some(self.vs.spec.data[index].key.clone());
                    }
                    self.rows[row].leaving_since = None;
                    taken.insert(row);
                    want.row = Some(row);
                }
            }
            self.wants.push(want);
        }
        let (now, read_at) = (self.now, self.read_at);
        // As long as it is not known which keys there are, none has gone.
        let stays = |row: &Row| self.sources.incomplete && row.key.is_some();
        for (_, row) in self.rows.iter_mut().enumerate().filter(|(i, row)| !taken.contains(i) && !stays(row)) {
            row.key = None;
            row.leaving_since.get_or_insert(crate::clock::to_millis(now));
            row.state = EntryState::Leaving;
        }
        for row in &self.rows {
            let leaving = row.key.is_none();
            let memo = self.state.memo(&row.connection, &row.remote_name, read_at);
            if leaving {
                memo.leaving_since.get_or_insert(now);
            } else {
                memo.leaving_since = None;
            }
        }
    }

    /// Without a connection, or when it is not known what is wanted, nothing is known of names: rows keep their keys, and none is
    /// taken for leaving.
    fn match_by_key(&mut self, display: &str) {
        for (index, entry) in self.vs.spec.data.iter().enumerate() {
            let row = self
                .rows
                .iter()
                .position(|r| r.connection == display && r.key.as_deref() == Some(&entry.key))
                .filter(|_| entry.pushes());
            self.wants.push(Want { index, row, issue: self.refusal(index), held: false });
        }
    }

    /// Why a key is refused whatever the values are. A template that is refused gives no value, and its entry stays.
    fn refusal(&self, index: usize) -> Option<Issue> {
        let entry = &self.vs.spec.data[index];
        // Of a whole Secret some keys may be of no use.
        let written = self.sources.written.as_ref().is_none_or(|vs| index < vs.spec.data.len());
        desired::check(entry).or_else(|| templates::refusal(&self.templates, entry).filter(|_| written))
    }

    /// The row of an entry; made when there is none.
    fn row_for(&mut self, display: &str, name: &str) -> usize {
        if let Some(found) = self.rows.iter().position(|r| r.connection == display && r.remote_name == name) {
            return found;
        }
        let incarnation = self.route.handle.as_ref().map_or(0, |h| h.incarnation);
        let base = self.route.handle.as_ref().map(|h| Arc::clone(&h.remote.base));
        let moved = self.rows.iter().position(|r| {
            r.connection != display
                && r.remote_name == name
                && self
                    .handle_of(r)
                    .is_some_and(|h| Some(&h.remote.base) == base.as_ref() && h.incarnation == r.incarnation)
        });
        if let Some(moved) = moved {
            display.clone_into(&mut self.rows[moved].connection);
            self.rows[moved].incarnation = incarnation;
            let _ = self.state.memo(display, name, self.read_at);
            return moved;
        }
        self.rows.push(Row {
            connection: display.to_owned(),
            remote_name: name.to_owned(),
            incarnation,
            ..Row::default()
        });
        let _ = self.state.memo(display, name, self.read_at);
        self.rows.len() - 1
    }
}
