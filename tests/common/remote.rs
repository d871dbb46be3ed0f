//! One of the three remotes, so that a test can be written once for all of them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use devkit::remotes::{
    Change, DEFAULT_TENANT, Dreadnode, DreadnodeOptions, Entry, Faults, Kelvin, KelvinOptions, Listen, Mixpeek,
    MixpeekOptions, Op, Request,
};
use serde_json::{Value, json};

use super::manifests;

/// Identifier, at the remote, of the credential that a test's connection has.
pub const CREDENTIAL: &str = "suite";

/// Which remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Timestamps, lower-case names.
    Kelvin,
    /// Timestamps and ids, upper-case names.
    Dreadnode,
    /// Names only.
    Mixpeek,
}

impl Kind {
    /// A name that this remote takes, in the spelling that it stores: `api key` becomes `api-key`, `API_KEY` or `api_key`.
    pub fn name(self, words: &str) -> String {
        match self {
            Self::Kelvin => words.replace(' ', "-"),
            Self::Dreadnode => words.replace(' ', "_").to_uppercase(),
            Self::Mixpeek => words.replace(' ', "_"),
        }
    }

    /// The member of a connection's spec, which is also the name of a test's connection.
    pub fn member(self) -> &'static str {
        match self {
            Self::Kelvin => "kelvin",
            Self::Dreadnode => "dreadnode",
            Self::Mixpeek => "mixpeek",
        }
    }

    /// Whether the remote shows that somebody else changed an entry.
    pub fn shows_changes(self) -> bool {
        self != Self::Mixpeek
    }

    /// The longest value that is sent, in bytes.
    pub fn longest_value(self) -> usize {
        match self {
            Self::Kelvin => 64_000,
            Self::Dreadnode | Self::Mixpeek => 65_536,
        }
    }
}

enum Running {
    Kelvin(Kelvin),
    Dreadnode(Dreadnode),
    Mixpeek(Mixpeek),
}

/// A running remote; it belongs to the runtime of its test.
pub struct Remote {
    running: Running,
    secret: String,
    described: bool,
}

macro_rules! each {
    ($self:expr, $remote:ident => $what:expr) => {
        match &$self.running {
            Running::Kelvin($remote) => $what,
            Running::Dreadnode($remote) => $what,
            Running::Mixpeek($remote) => $what,
        }
    };
}

/// Whether every connection of this run describes its remote: all of the suite can be run over descriptions.
fn all_described() -> bool {
    std::env::var_os("VAULTSECRET_TESTS_DESCRIBED").is_some()
}

/// Points every reference to a key of a Secret at that Secret.
fn rename_refs(of: &mut Value, secret_name: &str) {
    match of {
        Value::Object(fields) if fields.contains_key("key") => fields["name"] = json!(secret_name),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename_refs(field, secret_name)),
        Value::Array(items) => items.iter_mut().for_each(|item| rename_refs(item, secret_name)),
        _ => {}
    }
}

/// Gives a remote a loopback address of its own. A port of a remote that has ended is soon another's, and the operator would
/// take the two for one.
fn listen_apart(listen: &mut Listen) {
    static REMOTES: AtomicU32 = AtomicU32::new(0);
    if listen.tls.is_none() && listen.address == Ipv4Addr::LOCALHOST {
        let number = REMOTES.fetch_add(1, Ordering::Relaxed) + 1;
        listen.address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number).into();
    }
}

impl Remote {
    /// Starts one as its documents describe it, with a credential whose secret is `secret`.
    pub async fn start(kind: Kind, secret: &str) -> Self {
        match kind {
            Kind::Kelvin => Self::kelvin(KelvinOptions::default(), secret).await,
            Kind::Dreadnode => Self::dreadnode(DreadnodeOptions::default(), secret).await,
            Kind::Mixpeek => Self::mixpeek(MixpeekOptions::default(), secret).await,
        }
    }

    /// Starts a Kelvin with these switches.
    pub async fn kelvin(mut options: KelvinOptions, secret: &str) -> Self {
        listen_apart(&mut options.listen);
        let remote = Kelvin::start(options).await.unwrap();
        remote.add_client(CREDENTIAL, secret, DEFAULT_TENANT);
        Self { running: Running::Kelvin(remote), secret: secret.to_owned(), described: all_described() }
    }

    /// Starts a Dreadnode with these switches.
    pub async fn dreadnode(mut options: DreadnodeOptions, secret: &str) -> Self {
        listen_apart(&mut options.listen);
        let remote = Dreadnode::start(options).await.unwrap();
        remote.add_key(CREDENTIAL, secret, DEFAULT_TENANT);
        Self { running: Running::Dreadnode(remote), secret: secret.to_owned(), described: all_described() }
    }

    /// Starts a Mixpeek with these switches.
    pub async fn mixpeek(mut options: MixpeekOptions, secret: &str) -> Self {
        listen_apart(&mut options.listen);
        let remote = Mixpeek::start(options).await.unwrap();
        remote.add_key(CREDENTIAL, secret, DEFAULT_TENANT, &["admin"]);
        Self { running: Running::Mixpeek(remote), secret: secret.to_owned(), described: all_described() }
    }

    /// The same, for connections that describe it (`examples/http`) instead of naming the provider that is built in.
    pub fn described(self) -> Self {
        Self { described: true, ..self }
    }

    /// Which remote it is.
    pub fn kind(&self) -> Kind {
        match self.running {
            Running::Kelvin(_) => Kind::Kelvin,
            Running::Dreadnode(_) => Kind::Dreadnode,
            Running::Mixpeek(_) => Kind::Mixpeek,
        }
    }

    /// The Kelvin that it is, for what only that has.
    pub fn as_kelvin(&self) -> &Kelvin {
        match &self.running {
            Running::Kelvin(remote) => remote,
            _ => panic!("this is no Kelvin"),
        }
    }

    /// The Dreadnode that it is, for what only that has.
    pub fn as_dreadnode(&self) -> &Dreadnode {
        match &self.running {
            Running::Dreadnode(remote) => remote,
            _ => panic!("this is no Dreadnode"),
        }
    }

    /// The Mixpeek that it is, for what only that has.
    pub fn as_mixpeek(&self) -> &Mixpeek {
        match &self.running {
            Running::Mixpeek(remote) => remote,
            _ => panic!("this is no Mixpeek"),
        }
    }

    /// Data of the Secret with the connection's credentials.
    pub fn credentials(&self) -> Value {
        self.credentials_with(&self.secret)
    }

    /// The same with another secret, as after a rotation.
    pub fn credentials_with(&self, secret: &str) -> Value {
        match self.kind() {
            Kind::Kelvin => json!({"client-id": CREDENTIAL, "client-secret": secret}),
            Kind::Dreadnode | Kind::Mixpeek => json!({"api-key": secret}),
        }
    }

    /// The provider's part of a connection's spec, with credentials from the Secret of that name.
    pub fn provider_spec(&self, secret_name: &str) -> Value {
        if self.described {
            return json!({"http": self.description(secret_name)});
        }
        let key = |key: &str| json!({"name": secret_name, "key": key});
        match self.kind() {
            Kind::Kelvin => json!({"kelvin": {"url": self.url(), "auth": {"clientCredentials": {
                "clientIdRef": key("client-id"), "clientSecretRef": key("client-secret"),
            }}}}),
            kind => json!({kind.member(): {"url": self.url(), "auth": {"apiKeyRef": key("api-key")}}}),
        }
    }

    /// Its description, as the example has it, with this address and credentials from the Secret of that name.
    pub fn description(&self, secret_name: &str) -> Value {
        let documents = manifests::read(&format!("examples/http/{}.yaml", self.kind().member()));
        let connection = documents.into_iter().find(|document| document["kind"] == "VaultConnection").unwrap();
        let mut http = connection["spec"]["http"].clone();
        http["url"] = json!(self.url());
        rename_refs(&mut http["auth"], secret_name);
        http
    }

    /// Its address.
    pub fn url(&self) -> String {
        each!(self, remote => remote.url())
    }

    /// Faults to inject.
    pub fn faults(&self) -> Arc<Faults> {
        each!(self, remote => Arc::clone(&remote.faults))
    }

    /// The value of an entry.
    pub fn value(&self, name: &str) -> Option<String> {
        each!(self, remote => remote.value(name))
    }

    /// The value of an entry of some tenant.
    pub fn value_in(&self, tenant: &str, name: &str) -> Option<String> {
        each!(self, remote => remote.value_in(tenant, name))
    }

    /// An entry with its history.
    pub fn entry(&self, name: &str) -> Option<Entry> {
        each!(self, remote => remote.entry(name))
    }

    /// Every value that an entry had, oldest first; none if it is not there.
    pub fn history(&self, name: &str) -> Vec<String> {
        self.entry(name).map(|entry| entry.values).unwrap_or_default()
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        each!(self, remote => remote.entries())
    }

    /// The entries of a tenant, oldest first.
    pub fn entries_in(&self, tenant: &str) -> Vec<Entry> {
        each!(self, remote => remote.entries_in(tenant))
    }

    /// The calls that arrived, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        each!(self, remote => remote.requests())
    }

    /// What was done to entries, by whomever, oldest first.
    pub fn changes(&self) -> Vec<Change> {
        each!(self, remote => remote.changes())
    }

    /// How many calls of this operation arrived, whatever became of them.
    pub fn count(&self, op: Op) -> usize {
        each!(self, remote => remote.count(op))
    }

    /// How many calls asked for a create, an update or a delete, whatever became of them.
    pub fn write_calls(&self) -> usize {
        [Op::Create, Op::Update, Op::Delete].into_iter().map(|op| self.count(op)).sum()
    }

    /// How many calls for one entry asked for that, whatever became of them.
    pub fn count_for(&self, op: Op, name: &str) -> usize {
        self.requests().iter().filter(|request| request.op == op && request.name.as_deref() == Some(name)).count()
    }

    /// How many creates, updates and deletes were processed, answered or not.
    pub fn mutations(&self) -> usize {
        each!(self, remote => remote.mutations())
    }

    /// How many lists were begun.
    pub fn lists(&self) -> usize {
        each!(self, remote => remote.lists())
    }

    /// How many calls are open now.
    pub fn in_flight(&self) -> usize {
        each!(self, remote => remote.in_flight())
    }

    /// The most calls that were open at once.
    pub fn most_in_flight(&self) -> usize {
        each!(self, remote => remote.most_in_flight())
    }

    /// Forgets the calls so far.
    pub fn reset_counters(&self) {
        each!(self, remote => remote.reset_counters())
    }

    /// Delays the processing of every call.
    pub fn set_latency(&self, latency: std::time::Duration) {
        each!(self, remote => remote.set_latency(latency))
    }

    /// Moves its clock.
    pub fn shift_clock(&self, by: jiff::SignedDuration) {
        each!(self, remote => remote.shift_clock(by))
    }

    /// Creates or changes an entry as somebody else.
    pub fn foreign_put(&self, name: &str, value: &str) {
        each!(self, remote => drop(remote.foreign_put(name, value)))
    }

    /// Deletes an entry as somebody else.
    pub fn foreign_delete(&self, name: &str) {
        let was_there = each!(self, remote => remote.foreign_delete(name));
        assert!(was_there, "there is no entry {name} to delete");
    }

    /// Lets the connection's credential open another tenant from now on.
    pub fn open_tenant(&self, tenant: &str) {
        each!(self, remote => remote.set_tenant_of(CREDENTIAL, tenant)).unwrap();
    }

    /// Replaces what the connection's credential may do.
    pub fn set_permissions(&self, permissions: &[&str]) {
        each!(self, remote => remote.set_permissions_of(CREDENTIAL, permissions)).unwrap();
    }

    /// Gives the connection's credential another secret; the old one is refused, and so are tokens made with it.
    pub fn rotate(&self, secret: &str) {
        each!(self, remote => remote.rotate(CREDENTIAL, secret)).unwrap();
        self.expire_tokens();
    }

    /// Refuses the connection's credential from now on.
    pub fn revoke(&self) {
        each!(self, remote => remote.revoke(CREDENTIAL)).unwrap();
    }

    /// Lets all access tokens expire.
    pub fn expire_tokens(&self) {
        each!(self, remote => remote.expire_tokens());
    }

    /// Closes the port and every connection.
    pub async fn stop(&self) {
        each!(self, remote => remote.stop().await)
    }

    /// Starts it again at the same address.
    pub async fn restart(&self) {
        each!(self, remote => remote.restart().await).unwrap();
    }
}
