//! What a remote remembers of the calls that it received.

use std::collections::VecDeque;

use jiff::Timestamp;

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Make a new entry.
    Create,
    /// Replace the value of an entry.
    Update,
    /// Remove an entry.
    Delete,
    /// List the entries, or one page of them.
    List,
    /// Read the metadata of one entry (Dreadnode only).
    Get,
    /// Ask the identity provider for a token (Kelvin only).
    Token,
    /// Ask where the identity provider is (Kelvin only).
    Discovery,
    /// Anything else, unknown routes too.
    Other,
}

/// How a caller said who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// No credential at all.
    None,
    /// `Authorization: Bearer`.
    Bearer,
    /// `X-API-Key`.
    ApiKey,
    /// A credential in the form body, as the token endpoint takes it.
    Form,
    /// Some other `Authorization` scheme.
    Other,
}

/// A call that arrived. It holds no value and no credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Number of the call since the remote was made, from 1.
    pub seq: u64,
    /// When it arrived, by the clock of the machine (not the shifted clock of the remote).
    pub at: Timestamp,
    /// What it asked for.
    pub op: Op,
    /// Entry that it names, as the remote stores it.
    pub name: Option<String>,
    /// Method and path, for reading a failure.
    pub line: String,
    /// Query string of a list.
    pub query: Option<String>,
    /// Page of a list, from 1.
    pub page: Option<u32>,
    /// Status that was answered; none if there was no answer (yet).
    pub status: Option<u16>,
    /// Status that processing it came to, answered or not; none while it was not processed or refused.
    pub outcome: Option<u16>,
    /// Identifier of the credential that was presented, if it is a known one.
    pub credential: Option<String>,
    /// Tenant that the credential opened at arrival.
    pub tenant: Option<String>,
    /// Whether the remote did what was asked, answered or not.
    pub processed: bool,
    /// How the caller said who it is.
    pub auth: AuthKind,
    /// Fault that was injected.
    pub fault: Option<&'static str>,
    /// Whether the call has ended: answered, cut, or given up by the client.
    pub done: bool,
}

/// The calls, oldest first, and how many were open at once.
#[derive(Debug, Default)]
pub(crate) struct Log {
    last: u64,
    pub(crate) requests: VecDeque<Request>,
    pub(crate) in_flight: usize,
    pub(crate) most_in_flight: usize,
}

impl Log {
    /// Records an arrival and numbers it.
    pub(crate) fn begin(&mut self, mut request: Request) -> u64 {
        self.last += 1;
        request.seq = self.last;
        self.requests.push_back(request);
        self.in_flight += 1;
        self.most_in_flight = self.most_in_flight.max(self.in_flight);
        self.last
    }

    /// The recorded call, unless the log was reset since.
    pub(crate) fn find(&mut self, seq: u64) -> Option<&mut Request> {
        self.requests.iter_mut().rev().find(|request| request.seq == seq)
    }

    /// Records the end of a call.
    pub(crate) fn end(&mut self, seq: u64, status: Option<u16>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(request) = self.find(seq) {
            request.done = true;
            request.status = status;
        }
    }

    /// Forgets the calls; the numbering goes on.
    pub(crate) fn reset(&mut self) {
        self.requests.clear();
        self.most_in_flight = self.in_flight;
    }
}
