//! A running remote, as a test holds it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::net::TcpListener;

use super::accounts::{Credential, CredentialKind, TokenKind};
use super::faults::Faults;
use super::log::{Op, Request};
use super::server::Server;
use super::shared::{Core, Provider};
use super::store::{Change, DEFAULT_TENANT, Entry, SOMEBODY_ELSE};
use super::tls::TlsError;

/// Why a remote does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen at {address}")]
    Listen {
        /// Address that was wanted.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot serve HTTPS")]
    Tls(#[from] TlsError),
}

/// What was waited for did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("{remote}: not within {deadline:?}; the calls were: {calls:#?}")]
pub struct NotInTime {
    remote: &'static str,
    deadline: Duration,
    calls: Vec<Request>,
}

/// No such credential.
#[derive(Debug, thiserror::Error)]
#[error("there is no credential {0:?}")]
pub struct NoSuchCredential(String);

/// A remote. It stops when it is dropped.
#[allow(private_bounds)] // a provider is one of the three in here
pub struct Remote<P: Provider> {
    /// Faults to inject.
    pub faults: Arc<Faults>,
    pub(crate) core: Arc<Core<P>>,
    address: SocketAddr,
    https: bool,
    server: Mutex<Option<Server>>,
}

#[allow(private_bounds)]
impl<P: Provider> Remote<P> {
    /// Starts a remote with no entries.
    pub async fn start(options: P::Options) -> Result<Self, StartError> {
        let listen = P::listen(&options);
        let core = Arc::new(Core::new(options));
        let faults = Arc::new(Faults::default());
        let server = listen_at::<P>(&core, &faults, SocketAddr::new(listen.address, listen.port)).await?;
        Ok(Self {
            faults,
            core,
            address: server.address,
            https: listen.tls.is_some(),
            server: Mutex::new(Some(server)),
        })
    }

    /// Its address, without a path. It stays the same over [`Self::stop`] and [`Self::restart`].
    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Closes the port and every connection; entries, credentials, tokens and log are kept. A call that had
    /// arrived is processed still, as behind a load balancer that goes away; its client does not hear of it.
    pub async fn stop(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// Stops it if it runs and starts it at the same address, with the TLS of the present options.
    pub async fn restart(&self) -> Result<(), StartError> {
        self.stop().await;
        let server = listen_at::<P>(&self.core, &self.faults, self.address).await?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        Ok(())
    }

    /// Turns switches while it runs.
    pub fn reconfigure(&self, change: impl FnOnce(&mut P::Options)) {
        change(&mut self.core.options.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Delays the processing of every request.
    pub fn set_latency(&self, latency: Duration) {
        self.core.write(|state| state.latency = latency);
    }

    /// Moves the remote's clock; tokens expire by it and entries are stamped by it.
    pub fn shift_clock(&self, by: SignedDuration) {
        self.core.write(|state| state.shift_clock(by));
    }

    /// The calls that arrived since the last reset, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.core.read(|state| state.log.requests.iter().cloned().collect())
    }

    /// What was done to entries, by the operator and by others, oldest first. Unlike an entry's own history this outlives it.
    pub fn changes(&self) -> Vec<Change> {
        self.core.read(|state| state.store.changes.clone())
    }

    fn number(&self, wanted: impl Fn(&Request) -> bool) -> usize {
        self.core.read(|state| state.log.requests.iter().filter(|request| wanted(request)).count())
    }

    /// How many calls of this operation arrived, whatever became of them.
    pub fn count(&self, op: Op) -> usize {
        self.number(|request| request.op == op)
    }

    /// How many creates, updates and deletes were processed, answered or not.
    pub fn mutations(&self) -> usize {
        self.number(|request| request.processed && matches!(request.op, Op::Create | Op::Update | Op::Delete))
    }

    /// How many lists were begun: further pages are no further lists.
    pub fn lists(&self) -> usize {
        self.number(|request| request.op == Op::List && request.page.unwrap_or(1) == 1)
    }

    /// How many calls are open now.
    pub fn in_flight(&self) -> usize {
        self.core.read(|state| state.log.in_flight)
    }

    /// The most calls that were open at once since the last reset.
    pub fn most_in_flight(&self) -> usize {
        self.core.read(|state| state.log.most_in_flight)
    }

    /// Forgets the calls so far.
    pub fn reset_counters(&self) {
        self.core.write(|state| state.log.reset());
    }

    /// Takes the calls out of the log that have ended; for a remote that runs for long.
    pub(crate) fn take_done(&self) -> Vec<Request> {
        if !self.core.read(|state| state.log.requests.iter().any(|request| request.done)) {
            return Vec::new(); // nothing changes, so nobody is woken
        }
        self.core.write(|state| {
            let all = std::mem::take(&mut state.log.requests);
            let (done, open): (Vec<_>, Vec<_>) = all.into_iter().partition(|request| request.done);
            state.log.requests = open.into();
            state.store.changes.clear();
            done
        })
    }

    /// Waits until something is so. Looked at again after every change, not by the clock.
    pub async fn wait_for(&self, is_so: impl Fn(&Self) -> bool, deadline: Duration) -> Result<(), NotInTime> {
        let mut changes = self.core.changes.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if is_so(self) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(deadline, wait).await.map_err(|_| NotInTime {
            remote: P::NAME,
            deadline,
            calls: self.requests(),
        })
    }

    /// The value of an entry of the default tenant.
    pub fn value(&self, name: &str) -> Option<String> {
        self.value_in(DEFAULT_TENANT, name)
    }

    /// The value of an entry.
    pub fn value_in(&self, tenant: &str, name: &str) -> Option<String> {
        self.core.read(|state| state.store.get(tenant, &P::stored(name)).map(|entry| entry.value().to_owned()))
    }

    /// An entry of the default tenant.
    pub fn entry(&self, name: &str) -> Option<Entry> {
        self.core.read(|state| state.store.get(DEFAULT_TENANT, &P::stored(name)).cloned())
    }

    /// The entries of the default tenant, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries_in(DEFAULT_TENANT)
    }

    /// The entries of a tenant, oldest first.
    pub fn entries_in(&self, tenant: &str) -> Vec<Entry> {
        self.core.read(|state| state.store.list(tenant).into_iter().cloned().collect())
    }

    /// Creates or changes an entry of the default tenant as somebody else.
    pub fn foreign_put(&self, name: &str, value: &str) -> Entry {
        self.foreign_put_in(DEFAULT_TENANT, name, value)
    }

    /// Creates or changes an entry as somebody else.
    pub fn foreign_put_in(&self, tenant: &str, name: &str, value: &str) -> Entry {
        let name = P::stored(name);
        self.core.write(|state| {
            let stamp = state.stamp(SOMEBODY_ELSE);
            let changed = state.store.replace(tenant, &name, value, &stamp, true);
            changed.unwrap_or_else(|| state.store.insert(tenant, &name, value, None, &stamp))
        })
    }

    /// Deletes an entry of the default tenant as somebody else; whether there was one.
    pub fn foreign_delete(&self, name: &str) -> bool {
        self.foreign_delete_in(DEFAULT_TENANT, name)
    }

    /// Deletes an entry as somebody else; whether there was one.
    pub fn foreign_delete_in(&self, tenant: &str, name: &str) -> bool {
        self.core.write(|state| state.store.remove(tenant, &P::stored(name)).is_some())
    }

    pub(crate) fn credential(&self, id: &str, change: impl FnOnce(&mut Credential)) -> Result<(), NoSuchCredential> {
        self.core.write(|state| {
            let credential = state.accounts.credentials.get_mut(id);
            credential.map(change).ok_or_else(|| NoSuchCredential(id.to_owned()))
        })
    }

    /// Lets a credential, and the tokens that it has already, open another tenant from now on.
    pub fn set_tenant_of(&self, id: &str, tenant: &str) -> Result<(), NoSuchCredential> {
        self.credential(id, |credential| tenant.clone_into(&mut credential.tenant))
    }

    /// Replaces what a credential may do; the words are the provider's.
    pub fn set_permissions_of(&self, id: &str, permissions: &[&str]) -> Result<(), NoSuchCredential> {
        self.credential(id, |credential| {
            credential.permissions = permissions.iter().map(|&word| word.to_owned()).collect()
        })
    }

    /// Refuses a credential, and its tokens, from now on.
    pub fn revoke(&self, id: &str) -> Result<(), NoSuchCredential> {
        self.credential(id, |credential| credential.revoked = true)
    }

    /// Suspends the account of a credential (403), or lifts that.
    pub fn set_suspended(&self, id: &str, suspended: bool) -> Result<(), NoSuchCredential> {
        self.credential(id, |credential| credential.suspended = suspended)
    }

    /// Gives a credential another secret; the old one is refused, tokens live on.
    pub fn rotate(&self, id: &str, secret: &str) -> Result<(), NoSuchCredential> {
        self.credential(id, |credential| {
            secret.clone_into(&mut credential.secret);
            credential.revoked = false;
        })
    }

    /// Lets all access tokens expire.
    pub fn expire_tokens(&self) {
        self.core.write(|state| state.expire(TokenKind::Access));
    }

    /// Lets all refresh tokens expire.
    pub fn expire_refresh_tokens(&self) {
        self.core.write(|state| state.expire(TokenKind::Refresh));
    }

    pub(crate) fn add_credential(
        &self,
        id: &str,
        kind: CredentialKind,
        secret: &str,
        tenant: &str,
        principal: String,
        permissions: &[&str],
    ) {
        let credential = Credential::new(kind, secret, tenant, principal, permissions);
        self.core.write(|state| state.accounts.credentials.insert(id.to_owned(), credential));
    }
}

async fn listen_at<P: Provider>(
    core: &Arc<Core<P>>,
    faults: &Arc<Faults>,
    address: SocketAddr,
) -> Result<Server, StartError> {
    let tls = P::listen(&core.options()).tls.map(|tls| tls.acceptor()).transpose()?;
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Server::run(core.clone(), faults.clone(), listener, address, tls))
}
