//! Answers of the remotes whose clients are built in, over HTTP: a list, a create, an update, a deletion or a mark ends in a
//! result that keeps what the protocol relies on, whatever is answered, and an error repeats nothing of an answer.
//!
//! An input is a digit for the remote, one for the call, and the answers, one after the other, with the byte 0x1e between them.
//! An answer is a line with its status and, if there is more on it, a `Retry-After`; the rest is the body.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{LocalSet, yield_now};
use vaultsecret_operator::remote::{
    Access, CallError, DreadnodeAuth, EntryRef, ErrorClass, KelvinAuth, Listing, Operation, Owner, Remote,
    RemoteConfig, VaultAuth, VaultPlace, Written, build,
};
use vaultsecret_operator::value::SecretValue;

/// Ends the answer before it.
const SEPARATOR: u8 = 0x1e;

/// More answers are not read: what they would show, fewer show too.
const MOST_ANSWERS: usize = 8;

/// How often a call may go on asking when there is nothing but failures left.
const MOST_IN_VAIN: usize = 2;

/// A wait that a remote asks for is not longer, so that it can be added to any time.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 24 * 3600);

struct Server {
    runtime: Runtime,
    listener: TcpListener,
}

thread_local! {
    static SERVER: Server = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        Server { runtime, listener }
    };
}

/// Answers that are still to be given, and how many were given when there were none.
#[derive(Default)]
struct Script {
    answers: VecDeque<Vec<u8>>,
    in_vain: usize,
}

/// Makes one call.
pub fn run(data: &[u8]) {
    let [remote, call, answers @ ..] = data else { return };
    let answers = answers.split(|byte| *byte == SEPARATOR).take(MOST_ANSWERS).map(<[u8]>::to_vec).collect();
    SERVER.with(|server| {
        let script = Rc::new(RefCell::new(Script { answers, in_vain: 0 }));
        let port = server.listener.local_addr().expect("its address").port();
        server.runtime.block_on(LocalSet::new().run_until(async {
            let calling = async {
                made(remote.wrapping_sub(b'0'), call.wrapping_sub(b'0'), port).await;
                // The client is gone; its connections are closed in its tasks, before the server's ends of them.
                for _ in 0..4 {
                    yield_now().await;
                }
            };
            tokio::select! {
                () = calling => {}
                () = serve(&server.listener, &script) => {}
            }
        }));
        assert!(script.borrow().in_vain <= MOST_IN_VAIN, "{} requests in vain", script.borrow().in_vain);
    });
}

async fn made(which: u8, call: u8, port: u16) {
    let remote = client(which, port);
    let entry = EntryRef { name: "an-entry".to_owned(), id: Some("an-id".to_owned()), version: None };
    let value = SecretValue::from(if which % 5 == 3 { r#"{"value":"planted-value"}"# } else { "planted-value" });
    match call % 6 {
        0 => {
            let named = Arc::new(|| HashSet::from(["a".to_owned(), "b".to_owned()]));
            check_list(which, remote.list_naming(Arc::new(|| Box::pin(async {})), named).await);
        }
        1 => check(Operation::Create, remote.create("an-entry", &value).await.map(written)),
        2 => check(Operation::Update, remote.update(&entry, &value).await.map(written)),
        3 => {
            let entry = EntryRef { version: Some("3@2026-01-01T00:00:00Z".to_owned()), ..entry };
            check(Operation::Update, remote.update(&entry, &value).await.map(written));
        }
        4 => check(Operation::Delete, remote.delete(&entry).await),
        _ => {
            let owner = Owner { name: "shop/checkout".to_owned(), uid: "a-uid".to_owned() };
            check(Operation::Update, remote.mark(&entry, &owner).await);
        }
    }
}

fn client(which: u8, port: u16) -> Arc<dyn Remote> {
    let secret = || SecretValue::from("planted-key");
    let access = match which % 5 {
        0 => Access::Kelvin { realm: "acme".to_owned(), auth: KelvinAuth::AccessToken(secret()) },
        1 => Access::Dreadnode(DreadnodeAuth::ApiKey(secret())),
        2 => Access::Mixpeek { api_key: secret() },
        3 => Access::Vault {
            place: VaultPlace { mount: "secret".to_owned(), path: "shop".to_owned(), ..VaultPlace::default() },
            auth: VaultAuth::AppRole { mount: "approle".to_owned(), role_id: "a-role".to_owned(), secret_id: secret() },
        },
        _ => Access::Kelvin {
            realm: "acme".to_owned(),
            auth: KelvinAuth::Password {
                client_id: "a-client".to_owned(),
                username: "somebody".to_owned(),
                password: secret(),
            },
        },
    };
    let config = RemoteConfig {
        access,
        url: format!("http://127.0.0.1:{port}").parse().expect("a URL"),
        ca_bundle: None,
        client_identity: None,
        server_name: None,
        timeout: Duration::from_secs(20),
    };
    build(config).unwrap_or_else(|error| panic!("{error}"))
}

fn check_list(which: u8, listed: Result<Listing, CallError>) {
    if let Ok(listing) = &listed {
        for entry in &listing.entries {
            assert!(!entry.name.is_empty(), "an entry without a name");
            assert!(which % 5 != 1 || entry.id.as_ref().is_some_and(|id| !id.is_empty()), "an entry without its id");
            assert!(entry.version.as_ref().is_none_or(|version| !version.is_empty()), "a version that says nothing");
            assert!(!listing.unread.contains(&entry.name), "an entry that is read and unread");
        }
    }
    check(Operation::List, listed.map(drop));
}

fn written(written: Written) {
    assert!(written.version.is_none_or(|version| !version.is_empty()), "a version that says nothing");
}

fn check(operation: Operation, done: Result<(), CallError>) {
    let Err(error) = done else { return };
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("planted"), "{shown}");
    assert!(shown.len() < 1000 && !error.message.contains('\n'), "{shown}");
    assert!(error.operation == operation || error.operation == Operation::Login, "{shown}");
    let of_an_entry = matches!(error.operation, Operation::Update | Operation::Delete);
    assert!(of_an_entry || error.class != ErrorClass::NotFound, "{shown}");
    assert!(error.operation == Operation::Create || error.class != ErrorClass::Exists, "{shown}");
    assert!(error.retry_after.is_none_or(|wait| wait <= LONGEST_WAIT), "{shown}");
    let unanswered = matches!(error.class, ErrorClass::Connect | ErrorClass::Timeout) && error.status.is_none();
    assert!(!unanswered, "the server of this target is at fault: {shown}");
}

/// Answers on every connection, for as long as it is polled.
async fn serve(listener: &TcpListener, script: &Rc<RefCell<Script>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let script = Rc::clone(script);
        tokio::task::spawn_local(async move {
            let mut stream = stream;
            // When the client has closed its end, this end goes without a trace: millions of others follow.
            let _ = stream.set_zero_linger();
            while exchange(&mut stream, &script).await.is_some() {}
        });
    }
}

/// Reads one request and answers it; `None` when there are no more.
async fn exchange(stream: &mut TcpStream, script: &Rc<RefCell<Script>>) -> Option<()> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        (stream.read_buf(&mut request).await.ok()? > 0).then_some(())?;
    };
    let length = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase().lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        value.trim().parse::<usize>().ok().filter(|_| name == "content-length")
    });
    while request.len() < head + length.unwrap_or_default() {
        (stream.read_buf(&mut request).await.ok()? > 0).then_some(())?;
    }
    let answer = {
        let mut script = script.borrow_mut();
        let next = script.answers.pop_front();
        script.in_vain += usize::from(next.is_none());
        next.unwrap_or_else(|| b"500".to_vec())
    };
    stream.write_all(&response(&answer)).await.ok()
}

/// An answer as it goes over the wire.
fn response(answer: &[u8]) -> Vec<u8> {
    let (line, body) = match answer.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&answer[..end], &answer[end + 1..]),
        None => (answer, &answer[answer.len()..]),
    };
    let digits = line.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    let (status, wait) = line.split_at(digits);
    let status = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok()).filter(|s| (200..600).contains(s));
    let status: u16 = status.unwrap_or(200);
    let mut bytes = format!("HTTP/1.1 {status} .\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n").into_bytes();
    if wait.iter().any(u8::is_ascii_graphic) && wait.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        bytes.extend_from_slice(b"retry-after:");
        bytes.extend_from_slice(wait);
        bytes.extend_from_slice(b"\r\n");
    }
    if !matches!(status, 204 | 304) {
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
    } else {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
