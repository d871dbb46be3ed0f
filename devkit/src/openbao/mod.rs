//! A real OpenBao for tests, run in its development mode as a child process of this one: in memory, unsealed, with a KV engine
//! of version 2 at `secret`.

mod binary;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::controlplane::Process;
use crate::controlplane::process::Folder;
pub use binary::BinaryError;

/// How long it may take until it answers.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often it is asked whether it does.
const POLL: Duration = Duration::from_millis(50);
/// How often another port is tried when somebody else takes the free one first.
const PORTS: usize = 5;

/// Why there is no OpenBao, or why it did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenBaoError {
    /// The program is not there.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// A file, a process or a connection could not be made.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// It ended, or never answered.
    #[error("OpenBao did not start; the end of its log:\n{log}")]
    NotReady {
        /// The tail of its log.
        log: String,
    },
    /// A request had no answer.
    #[error("asking OpenBao for {path}")]
    Asking {
        /// What was asked for.
        path: String,
        /// Why there was no answer.
        #[source]
        source: reqwest::Error,
    },
    /// It refused what must not be refused.
    #[error("OpenBao answered {path} with {status}: {answer}")]
    Refused {
        /// What was asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// Its answer.
        answer: Value,
    },
}

/// A running OpenBao. It ends with this value, and with the process, however that ends.
pub struct OpenBao {
    _process: Process,
    _folder: Folder,
    url: String,
    ca: Option<String>,
    root: String,
    unseal_key: String,
    client: reqwest::Client,
}

impl OpenBao {
    /// Starts one; with `tls` it has a certificate that [`ca`](Self::ca) is the authority of.
    ///
    /// # Errors
    /// When there is no program, or it does not start.
    pub async fn start(tls: bool) -> Result<Self, OpenBaoError> {
        let io = |what| move |source| OpenBaoError::Io { what, source };
        let program = tokio::task::spawn_blocking(binary::find)
            .await
            .map_err(std::io::Error::other)
            .map_err(io("looking for OpenBao"))??;
        // An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut attempt = 1;
        loop {
            match Self::start_at_some_port(&program, tls).await {
                Err(OpenBaoError::NotReady { log }) if log.contains("address already in use") && attempt < PORTS => {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn start_at_some_port(program: &std::path::Path, tls: bool) -> Result<Self, OpenBaoError> {
        let io = |what| move |source| OpenBaoError::Io { what, source };
        let folder = Folder::new("vaultsecret-openbao-").map_err(io("making a temporary folder"))?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = port.map_err(io("looking for a free port"))?.port();
        let root = format!("root-{}", uuid::Uuid::new_v4().simple());
        let mut args = vec![
            "server".to_owned(),
            "-dev".to_owned(),
            "-dev-no-store-token".to_owned(),
            format!("-dev-root-token-id={root}"),
            format!("-dev-listen-address=127.0.0.1:{port}"),
        ];
        if tls {
            args.extend(["-dev-tls".to_owned(), format!("-dev-tls-cert-dir={}", folder.path().display())]);
        }
        let log: PathBuf = folder.path().join("log");
        let home = folder.path().to_owned();
        let mut process = Process::spawn("bao", program, &args, &log, |command| {
            command.env("HOME", home).env_remove("BAO_ADDR").env_remove("VAULT_ADDR");
        })
        .map_err(io("starting OpenBao"))?;
        let began = Instant::now();
        let unseal_key = loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let key = said.lines().find_map(|line| line.trim().strip_prefix("Unseal Key: ")).map(str::to_owned);
            // The line comes last, when it listens.
            if let Some(key) = key {
                break key;
            }
            let ended = process.try_wait().map_err(io("awaiting OpenBao"))?.is_some();
            if ended || began.elapsed() > DEADLINE {
                return Err(OpenBaoError::NotReady { log: process.log_tail() });
            }
            tokio::time::sleep(POLL).await;
        };
        // Each test has a runtime of its own, which a kept connection would not outlive.
        let mut client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).pool_max_idle_per_host(0);
        let ca = if tls {
            let pem = fs::read_to_string(folder.path().join("vault-ca.pem"));
            let pem = pem.map_err(io("reading OpenBao's certificate authority"))?;
            let certificate = reqwest::Certificate::from_pem(pem.as_bytes());
            let certificate = certificate.map_err(|source| OpenBaoError::Asking { path: String::new(), source })?;
            client = client.tls_certs_only([certificate]);
            Some(pem)
        } else {
            None
        };
        let client = client.build().map_err(|source| OpenBaoError::Asking { path: String::new(), source })?;
        let url = format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" });
        let running = Self { _process: process, _folder: folder, url, ca, root, unseal_key, client };
        while running.ask(Method::GET, "sys/health", &running.root, Value::Null).await.map_or(true, |(s, _)| s != 200) {
            if began.elapsed() > DEADLINE {
                return Err(OpenBaoError::NotReady { log: running._process.log_tail() });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(running)
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The authority of its certificate (PEM), with TLS.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// The token that may do everything.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Asks for something below `/v1/` (a namespace may stand before the path), with a token; a null body is none. Gives status and answer, whatever they are.
    ///
    /// # Errors
    /// When there was no answer.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Value,
    ) -> Result<(u16, Value), OpenBaoError> {
        let failed = |source| OpenBaoError::Asking { path: path.to_owned(), source };
        let mut request =
            self.client.request(method.clone(), format!("{}/v1/{path}", self.url)).header("X-Vault-Token", token);
        if method == Method::PATCH {
            request = request.header("Content-Type", "application/merge-patch+json").body(body.to_string());
        } else if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(failed)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Asks as root, and takes a refusal for an error.
    ///
    /// # Errors
    /// When it was refused, or not answered.
    pub async fn root_ask(&self, method: Method, path: &str, body: Value) -> Result<Value, OpenBaoError> {
        let (status, answer) = self.ask(method, path, &self.root, body).await?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(OpenBaoError::Refused { path: path.to_owned(), status, answer })
    }

    /// Writes a policy.
    ///
    /// # Errors
    /// When it was refused, or not answered.
    pub async fn policy(&self, name: &str, rules: &str) -> Result<(), OpenBaoError> {
        self.root_ask(Method::POST, &format!("sys/policies/acl/{name}"), json!({"policy": rules})).await.map(drop)
    }

    /// Makes a token with one policy.
    ///
    /// # Errors
    /// When it was refused, or not answered.
    pub async fn token(&self, policy: &str, ttl: &str) -> Result<String, OpenBaoError> {
        let body = json!({"policies": [policy], "ttl": ttl});
        let made = self.root_ask(Method::POST, "auth/token/create", body).await?;
        Ok(made["auth"]["client_token"].as_str().unwrap_or_default().to_owned())
    }

    /// Seals it: it answers nothing until it is unsealed.
    ///
    /// # Errors
    /// When it was refused, or not answered.
    pub async fn seal(&self) -> Result<(), OpenBaoError> {
        self.root_ask(Method::PUT, "sys/seal", Value::Null).await.map(drop)
    }

    /// Unseals it.
    ///
    /// # Errors
    /// When it was refused, or not answered.
    pub async fn unseal(&self) -> Result<(), OpenBaoError> {
        self.root_ask(Method::PUT, "sys/unseal", json!({"key": self.unseal_key})).await.map(drop)
    }
}
