//! Remote secret stores: one small trait, one file a provider. Knows no Kubernetes.

mod auth;
mod client;
mod count;
mod dreadnode;
mod entry;
pub mod error;
pub mod http;
mod kelvin;
pub mod lane;
mod mixpeek;
mod retry_after;
pub mod spec;
mod stamp;
mod status;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod transport;
mod vault;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::value::SecretValue;
pub use count::counted;
pub use error::{BuildError, CallError, Certainty, ErrorClass, Operation};

/// The providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    /// Kelvin, `/api/v4/secrets`.
    Kelvin,
    /// Dreadnode, `/api/v1/user/secrets`.
    Dreadnode,
    /// Mixpeek, `/v1/organizations/secrets`.
    Mixpeek,
    /// HashiCorp Vault or OpenBao, a KV secrets engine of version 2.
    Vault,
    /// Any REST API, as its connection describes it.
    Http,
}

/// What a remote lets us see of a change that somebody else made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DriftSignal {
    /// The time of the last change (Kelvin `updated`, Dreadnode `updated_at`).
    Timestamp,
    /// Only whether the name exists (Mixpeek).
    Presence,
    /// A version with check-and-set.
    Version,
}

/// One entry as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Listed {
    /// The name as the remote stores it.
    pub name: String,
    /// The provider's id of the entry, as received, where there is one.
    pub id: Option<String>,
    /// The opaque version stamp, where there is one.
    pub version: Option<String>,
    /// When the entry was made, by the remote's clock.
    pub created: Option<Timestamp>,
    /// Who made it, as the remote names its principals.
    pub created_by: Option<String>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// The VaultSecret that an ownership mark on the entry names, where the remote keeps such marks (see [`Remote::mark`]).
    pub owner: Option<Owner>,
}

/// What an ownership mark says: which VaultSecret an entry belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `<namespace>/<name>`, for people.
    pub name: String,
    /// Its uid, which no other VaultSecret of any cluster has.
    pub uid: String,
}

/// A complete list, read to its last page.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Listing {
    /// Every entry that the credential can see.
    pub entries: Vec<Listed>,
    /// Names that are there of which nothing more is known, not even whether they hold a value: they were not looked at,
    /// because nobody named them (see [`Remote::list_naming`]). For an entry among them this list says nothing.
    pub unread: HashSet<String>,
    /// It is empty and not as an empty list should be: `null`, or empty pages that name others for ever. An empty account, or
    /// an answer that lacks its list: to be believed only while nothing of ours can be missing.
    pub doubtful: bool,
    /// The remote's clock (`Date` header of the first page), to judge how far it is from ours.
    pub remote_time: Option<Timestamp>,
}

/// The answer to a create or an update that the remote acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Written {
    /// The provider's id, where the answer holds one.
    pub id: Option<String>,
    /// The version stamp in this very answer; `None` when it holds none (an old Kelvin, Mixpeek) or cannot be read.
    pub version: Option<String>,
    /// The principal that the remote says made this write: us.
    pub principal: Option<String>,
}

/// What there is to be read of an entry, as its metadata says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighted {
    /// A value, of this version.
    Live(String),
    /// None, and this is why.
    Gone(String),
}

/// What an entry held when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These fields, and their version.
    Fields(BTreeMap<String, SecretValue>, String),
    /// Nothing, and this is why.
    Gone(String),
}

/// An entry to change or delete.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EntryRef {
    /// The name as the remote stores it.
    pub name: String,
    /// The provider's id; needed by providers that address entries by id (Dreadnode).
    pub id: Option<String>,
    /// The version that the decision to write was made on, for remotes with check-and-set: if the entry has another one by
    /// then, the write is refused as [`ErrorClass::Stale`].
    pub version: Option<String>,
}

/// Called before each HTTP request of a paged list, so that every page is paid for from the budget.
pub type Pace = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The names of which somebody wants to know more than that they are there. Asked for when the names are known.
pub type Named = Arc<dyn Fn() -> HashSet<String> + Send + Sync>;

/// A secret store. Most never give a value back.
pub trait Remote: Send + Sync {
    /// Which provider this is.
    fn provider(&self) -> Provider;
    /// What it shows of other people's changes.
    fn drift_signal(&self) -> DriftSignal;
    /// Has a valid token at hand, where there are tokens, so that no login comes between the intent of a write and its
    /// sending. Every call does this by itself, too.
    fn prepare(&self) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// Lists every entry, to the last page. An incomplete or self-contradicting answer is an error, never a short list.
    /// `pace` is awaited before the second and every further page.
    fn list(&self, pace: Pace) -> BoxFuture<'_, Result<Listing, CallError>>;
    /// As [`Remote::list`]. A remote whose list shows names alone, and that has to be asked for the versions one by one, asks
    /// for those of the entries in `named` only; the others come back as [`Listing::unread`].
    fn list_naming(&self, pace: Pace, _named: Named) -> BoxFuture<'_, Result<Listing, CallError>> {
        self.list(pace)
    }
    /// Creates an entry. `value` must be UTF-8: the caller has checked and encoded it. Where entries have fields
    /// ([`spec::default_field`]) it is a JSON object of texts.
    fn create<'a>(&'a self, name: &'a str, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>>;
    /// Replaces the value of an entry. Where entries have fields, those that are named are replaced, and those that are null go.
    fn update<'a>(&'a self, entry: &'a EntryRef, value: &'a SecretValue) -> BoxFuture<'a, Result<Written, CallError>>;
    /// Deletes an entry. "Not found" comes back as [`ErrorClass::NotFound`]; the caller takes it for done.
    fn delete<'a>(&'a self, entry: &'a EntryRef) -> BoxFuture<'a, Result<(), CallError>>;
    /// Looks which version of a value an entry holds, without reading it. `name` may have folders in it. Where values can be
    /// read ([`spec::gives_values`]). `pace` is awaited before a second request.
    fn look<'a>(&'a self, _name: &'a str, _pace: Pace) -> BoxFuture<'a, Result<Sighted, CallError>> {
        Box::pin(std::future::ready(Err(client::refused_here(Operation::Look, "the remote gives no value back"))))
    }
    /// Reads an entry, in the same places.
    fn read<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Content, CallError>> {
        Box::pin(std::future::ready(Err(client::refused_here(Operation::Read, "the remote gives no value back"))))
    }
    /// Marks an entry as belonging to `owner`, where the remote keeps such marks and the credential may write them. Never
    /// needed: an entry without a mark is judged by the ledger alone.
    fn mark<'a>(&'a self, _entry: &'a EntryRef, _owner: &'a Owner) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Builds the client of a remote. Nothing is sent before its first call.
///
/// # Errors
/// When the URL, a certificate, a key or a credential cannot be used; the sentence repeats none of them.
pub fn build(config: RemoteConfig) -> Result<Arc<dyn Remote>, BuildError> {
    let http = client::Http::new(&config)?;
    let elsewhere = match &config.access {
        Access::Http(access) => http::elsewhere(&config, access)?,
        _ => None,
    };
    Ok(match config.access {
        Access::Kelvin { realm, auth } => {
            Arc::new(kelvin::Kelvin::new(auth::Session::new(http, auth::Credential::kelvin(realm, auth)?)))
        }
        Access::Dreadnode(auth) => {
            Arc::new(dreadnode::Dreadnode::new(auth::Session::new(http, auth::Credential::dreadnode(&auth)?)))
        }
        Access::Mixpeek { api_key } => {
            Arc::new(mixpeek::Mixpeek::new(auth::Session::new(http, auth::Credential::bearer(&api_key)?)))
        }
        Access::Vault { place, auth } => {
            let http = http.with_headers(vault::headers(&place)?);
            Arc::new(vault::Vault::new(auth::Session::new(http, auth::Credential::vault(auth)?), &place)?)
        }
        Access::Http(access) => Arc::new(http::Described::new(http, elsewhere, &access)?),
    })
}

/// How to reach a remote: everything a client is built from. Holds credentials, so it has no `Debug`.
pub struct RemoteConfig {
    /// Provider and its credentials.
    pub access: Access,
    /// Base URL, e.g. `https://acme.kelvin.ai`. `http` is taken too: whether it may be used is the caller's decision.
    pub url: url::Url,
    /// PEM bundle of certificate authorities to trust *besides* the public ones.
    pub ca_bundle: Option<Vec<u8>>,
    /// Client certificate and key (PEM), for mutual TLS.
    pub client_identity: Option<ClientIdentity>,
    /// Name to expect in the server's certificate instead of the URL's host.
    pub server_name: Option<String>,
    /// Limit of one HTTP request, from connecting to the last byte of the answer. A call that has to log in first, or
    /// again, makes more than one.
    pub timeout: Duration,
}

/// A client certificate chain and its key, both PEM.
pub struct ClientIdentity {
    /// Certificate chain, PEM.
    pub certificate: Vec<u8>,
    /// Private key, PEM.
    pub key: SecretValue,
}

/// Provider and credentials.
pub enum Access {
    /// Kelvin behind Keycloak.
    Kelvin {
        /// Keycloak realm.
        realm: String,
        /// How tokens are had.
        auth: KelvinAuth,
    },
    /// Dreadnode.
    Dreadnode(DreadnodeAuth),
    /// Mixpeek, with its static key.
    Mixpeek {
        /// `sk_…`, a key with the admin permission.
        api_key: SecretValue,
    },
    /// Vault or OpenBao.
    Vault {
        /// Where its entries are.
        place: VaultPlace,
        /// How tokens are had.
        auth: VaultAuth,
    },
    /// Any REST API, described.
    Http(http::HttpAccess),
}

/// Where entries are in a Vault: an entry is `<mount>/<path>/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaultPlace {
    /// Namespace (Enterprise, OpenBao); empty: the root one.
    pub namespace: String,
    /// Path at which the KV engine is mounted.
    pub mount: String,
    /// Folder in it; empty: its root.
    pub path: String,
}

/// Ways to a Vault token.
pub enum VaultAuth {
    /// A token; renewed while it can be.
    Token(SecretValue),
    /// AppRole.
    AppRole {
        /// Path at which the auth method is mounted.
        mount: String,
        /// The role.
        role_id: String,
        /// Its secret.
        secret_id: SecretValue,
    },
    /// The operator's own service account.
    Kubernetes {
        /// Path at which the auth method is mounted.
        mount: String,
        /// The role.
        role: String,
        /// Where the service account's token is, which the kubelet renews; read again at each login.
        token_file: PathBuf,
    },
}

/// Ways to an access token for Kelvin.
pub enum KelvinAuth {
    /// A service account; asks for a new token when the old one ends (there is no refresh token).
    ClientCredentials {
        /// Keycloak client id.
        client_id: String,
        /// Its secret.
        client_secret: SecretValue,
    },
    /// A user with a password, on a public client; renews by refresh token, else logs in again.
    Password {
        /// Keycloak client id, `kelvin-client` by default.
        client_id: String,
        /// User name.
        username: String,
        /// Password.
        password: SecretValue,
    },
    /// A token that somebody else renews; used as it is.
    AccessToken(SecretValue),
}

/// Ways to authenticate to Dreadnode.
pub enum DreadnodeAuth {
    /// `X-API-Key`.
    ApiKey(SecretValue),
    /// `Authorization: Bearer`.
    Bearer(SecretValue),
}
