//! The three remotes as strict servers: what their documents say, nothing that they do not say, and switches for what they leave open.
//!
//! They know nothing of the operator, so that an error in one does not hide an error in the other. None of them has a route
//! that gives a value back; the process that holds a [`Remote`] can look at the values, act as somebody else, and inject faults.

mod accounts;
pub mod cli;
mod dreadnode;
mod fastapi;
mod faults;
mod http;
mod kelvin;
mod kelvin_list;
mod keycloak;
mod log;
mod mixpeek;
mod remote;
mod server;
mod shared;
mod store;
mod tls;

pub use cli::{RemotesArgs, run};
pub use dreadnode::{DREADNODE_KEY, Dreadnode, DreadnodeOptions, DreadnodeProvider};
pub use faults::{Action, Fault, FaultId, Faults, Hint, Matcher, Partial};
pub use http::Precision;
pub use kelvin::{
    KELVIN_CLIENT, KELVIN_PERMISSIONS, KELVIN_PUBLIC_CLIENT, KELVIN_USER, Kelvin, KelvinOptions, KelvinProvider,
    Metadata,
};
pub use log::{AuthKind, Op, Request};
pub use mixpeek::{Duplicate, ErrorShape, MIXPEEK_KEY, Mixpeek, MixpeekOptions, MixpeekProvider};
pub use remote::{NoSuchCredential, NotInTime, Remote, StartError};
pub use server::Listen;
pub(crate) use shared::Provider;
pub use shared::Variant;
pub use store::{Change, DEFAULT_TENANT, Entry, SOMEBODY_ELSE};
pub use tls::{Identity, TestCa, TlsError, TlsOptions};
