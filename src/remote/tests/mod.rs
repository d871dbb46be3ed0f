//! The clients against a small server that answers as the test tells it, and breaks as the test tells it. Every test runs
//! twice: over the clients that are built in, and over the descriptions in `examples/http` of the same three APIs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

/// Makes two tests of each function, one a way to make clients.
macro_rules! conformance {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            use crate::remote::tests::Make;

            #[tokio::test]
            async fn built_in() {
                super::$test(Make::BuiltIn).await;
            }

            #[tokio::test]
            async fn described() {
                super::$test(Make::Described).await;
            }
        }
    )+};
}

mod calls;
mod described;
mod faults;
mod http;
mod lists;
mod redaction;
mod rules;
mod statuses;
mod tls;
mod tokens;
mod vault;
mod vault_tokens;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

/// A request as the server read it.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Path and query, as sent.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn is_login(&self) -> bool {
        self.target.contains("/openid-connect/token")
    }

    /// The fields of a form, in order.
    pub(super) fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

/// What the server does with a request that it has read.
pub(super) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Closes the connection without a word.
    Close,
    /// Never answers.
    Hang,
    /// Announces a longer body than it sends, and closes.
    Cut {
        status: u16,
        body: &'static str,
    },
    /// Announces a body and never sends it.
    Stall {
        status: u16,
    },
}

pub(super) fn answer(status: u16, body: Value) -> Reply {
    Reply::Answer { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
}

pub(super) fn raw(status: u16, body: &str) -> Reply {
    Reply::Answer { status, headers: vec![], body: body.to_owned() }
}

pub(super) fn token(access: &str, expires_in: u64) -> Reply {
    answer(200, json!({"access_token": access, "expires_in": expires_in, "token_type": "Bearer"}))
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// A server on a free port of this host; ends with the value.
pub(super) struct Server {
    pub(super) url: url::Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Handler = Arc::new(handler);
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&handler), Arc::clone(&log)).map(drop));
            }
        });
        Self { url, seen, task }
    }

    /// Always the same answer.
    pub(super) async fn answering(status: u16, body: Value) -> Self {
        Self::start(move |_| answer(status, body.clone())).await
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The one request there was.
    pub(super) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "requests: {:?}", seen.iter().map(Seen::line).collect::<Vec<_>>());
        seen[0].clone()
    }

    pub(super) fn logins(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_login()).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, handler: Handler, log: Arc<Mutex<Vec<Seen>>>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let seen = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if let Some(seen) = parse(&bytes) {
            break seen;
        }
    };
    log.lock().unwrap().push(seen.clone());
    match handler(&seen) {
        Reply::Answer { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
            stream.shutdown().await
        }
        Reply::Close => Ok(()),
        Reply::Hang => std::future::pending().await,
        Reply::Cut { status, body } => {
            stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 9999\r\n\r\n{body}").as_bytes()).await
        }
        Reply::Stall { status } => {
            stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 9999\r\n\r\n{{").as_bytes()).await?;
            std::future::pending().await
        }
    }
}

/// A whole request, once there is one.
fn parse(bytes: &[u8]) -> Option<Seen> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    (body.len() >= length).then(|| Seen { method, target, headers, body: body.to_owned() })
}

pub(super) fn config(url: &url::Url, access: Access) -> RemoteConfig {
    RemoteConfig {
        access,
        url: url.clone(),
        ca_bundle: None,
        client_identity: None,
        server_name: None,
        timeout: Duration::from_secs(20),
    }
}

pub(super) fn kelvin_access() -> Access {
    kelvin_with(KelvinAuth::AccessToken("tok-static".into()))
}

pub(super) fn kelvin_with(auth: KelvinAuth) -> Access {
    Access::Kelvin { realm: "kelvin".to_owned(), auth }
}

pub(super) fn service_account() -> Access {
    kelvin_with(KelvinAuth::ClientCredentials { client_id: "robot".to_owned(), client_secret: "s&c=r t".into() })
}

pub(super) fn user() -> Access {
    kelvin_with(KelvinAuth::Password {
        client_id: "kelvin-client".to_owned(),
        username: "ann@example.com".to_owned(),
        password: "pass word".into(),
    })
}

pub(super) fn access(provider: Provider) -> Access {
    match provider {
        Provider::Kelvin => kelvin_access(),
        Provider::Dreadnode => Access::Dreadnode(DreadnodeAuth::ApiKey("dn_key_abc".into())),
        Provider::Mixpeek => Access::Mixpeek { api_key: "sk_abc".into() },
        Provider::Vault => vault_with(VaultAuth::Token("hvs.abc".into())),
        Provider::Http => unreachable!("each of the three is described"),
    }
}

pub(super) fn vault_with(auth: VaultAuth) -> Access {
    let place = VaultPlace { namespace: "team1".to_owned(), mount: "kv/two".to_owned(), path: "teams/shop".to_owned() };
    Access::Vault { place, auth }
}

/// A client that is built in.
pub(super) fn client(server: &Server, access: Access) -> Arc<dyn Remote> {
    Make::BuiltIn.client(server, access)
}

/// Those whose calls are one request each.
pub(super) const PROVIDERS: [Provider; 3] = [Provider::Kelvin, Provider::Dreadnode, Provider::Mixpeek];

/// Who makes the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Make {
    /// The three providers that are built in.
    BuiltIn,
    /// Their descriptions.
    Described,
}

impl Make {
    pub(super) fn build(self, config: RemoteConfig) -> Result<Arc<dyn Remote>, BuildError> {
        match self {
            Self::BuiltIn => build(config),
            Self::Described => build(RemoteConfig { access: described::access(config.access, &config.url), ..config }),
        }
    }

    pub(super) fn client(self, server: &Server, access: Access) -> Arc<dyn Remote> {
        self.build(config(&server.url, access)).unwrap()
    }

    /// What a refusal means.
    pub(super) fn class(self, provider: Provider, operation: Operation, status: u16, body: &Value) -> ErrorClass {
        let status = reqwest::StatusCode::from_u16(status).unwrap();
        match self {
            Self::BuiltIn => status::class(Some(provider), operation, status, body),
            Self::Described => described::description(provider).judge.class(operation, status, body).unwrap(),
        }
    }

    /// How long an answer asks us to wait.
    pub(super) fn wait(
        self,
        provider: Provider,
        header: Option<&str>,
        body: &Value,
        date: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Duration> {
        match (self, provider) {
            (Self::Described, _) => {
                retry_after::wanted(described::description(provider).judge.hints(), header, body, date, now)
            }
            (Self::BuiltIn, Provider::Mixpeek) => retry_after::wanted(&retry_after::MIXPEEK, header, body, date, now),
            (Self::BuiltIn, _) => retry_after::wanted(&[] as &[&str], header, body, date, now),
        }
    }

    /// The rules for names and values.
    pub(super) fn rules(self, provider: Provider) -> spec::Rules {
        match self {
            Self::BuiltIn => spec::Rules::BuiltIn(provider),
            Self::Described if provider == Provider::Vault => spec::Rules::BuiltIn(provider),
            Self::Described => spec::Rules::Described(Arc::clone(described::description(provider).rules())),
        }
    }
}

pub(super) fn no_pace() -> Pace {
    Arc::new(|| std::future::ready(()).boxed())
}

pub(super) fn entry(name: &str, id: Option<&str>) -> EntryRef {
    EntryRef { name: name.to_owned(), id: id.map(str::to_owned), version: None }
}

/// One call of an operation, with its outcome reduced to the error.
pub(super) async fn attempt(remote: &Arc<dyn Remote>, operation: Operation) -> Result<(), CallError> {
    let entry = entry("demo", Some("2489E9AD-2EE2-8E00-8EC9-32D5F69181C0"));
    match operation {
        Operation::List => remote.list(no_pace()).await.map(drop),
        Operation::Create => remote.create("demo", &r#"{"value":"a value"}"#.into()).await.map(drop),
        Operation::Update => remote.update(&entry, &r#"{"value":"a value"}"#.into()).await.map(drop),
        Operation::Delete => remote.delete(&entry).await,
        Operation::Look => remote.look("demo", no_pace()).await.map(drop),
        Operation::Read => remote.read("demo").await.map(drop),
        Operation::Login => unreachable!("a login is no call of its own"),
    }
}
