//! The API server's audit log, so that a test can count what was asked of it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Deserialize;

/// One request to the API server, as it was answered. A watch is recorded when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditRecord {
    /// Who asked: `admin`, `system:serviceaccount:<namespace>:<name>` …
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; of other addresses the HTTP method.
    pub verb: String,
    /// The API group; empty for the core group and for addresses that are no resource.
    pub group: String,
    /// The resource in plural; empty for addresses that are no resource.
    pub resource: String,
    /// `status`, `token` …, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty.
    pub name: String,
    /// The status code of the answer.
    pub code: u16,
    /// The client's name for itself.
    pub user_agent: String,
    /// Path and query of the request.
    pub uri: String,
    /// When the API server received the request.
    pub request_received: Timestamp,
}

/// A place in the audit log, see [`AuditLog::mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditMark(usize);

/// Reads the audit log. Clones share what was read, and each line is read once.
#[derive(Debug, Clone)]
pub struct AuditLog {
    reader: Arc<Mutex<Reader>>,
}

impl AuditLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            reader: Arc::new(Mutex::new(Reader { path, offset: 0, partial: Vec::new(), records: Records::default() })),
        }
    }

    /// The requests answered so far that `wanted` accepts, in the order of their answers. A request whose answer one has
    /// seen is always among them.
    ///
    /// # Panics
    /// When the log cannot be read: a test that asserts "no such request" must not pass then.
    pub fn requests(&self, wanted: impl FnMut(&AuditRecord) -> bool) -> Vec<AuditRecord> {
        self.requests_after(AuditMark(0), wanted)
    }

    /// The end of the log as of now; with [`requests_after`](Self::requests_after) one counts the requests of one step.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn mark(&self) -> AuditMark {
        self.with_records(|records| AuditMark(records.len()))
    }

    /// Like [`requests`](Self::requests), without those before `mark`.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn requests_after(&self, mark: AuditMark, mut wanted: impl FnMut(&AuditRecord) -> bool) -> Vec<AuditRecord> {
        self.with_records(|records| {
            let new = records.get(mark.0..).unwrap_or_default();
            new.iter().filter(|record| wanted(record)).cloned().collect()
        })
    }

    fn with_records<T>(&self, ask: impl FnOnce(&[AuditRecord]) -> T) -> T {
        // A panic of another test in its filter leaves the reader whole: it is changed by `advance` alone.
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = reader.advance() {
            panic!("reading the audit log {}: {error}", reader.path.display());
        }
        ask(&reader.records.list)
    }
}

#[derive(Debug)]
struct Reader {
    path: PathBuf,
    offset: u64,
    /// The start of a line whose end is not written yet.
    partial: Vec<u8>,
    records: Records,
}

impl Reader {
    /// Takes in what was appended since the last time.
    fn advance(&mut self) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            // Before its first request the API server has not made the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.offset == 0 => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.read_to_end(&mut self.partial)?;
        self.offset += read as u64;
        let whole = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.partial.drain(..whole).collect();
        for line in lines.split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                self.records.accept(line)?;
            }
        }
        Ok(())
    }
}

/// The records so far, one a request.
#[derive(Debug, Default)]
struct Records {
    list: Vec<AuditRecord>,
    /// Watches that were recorded at their start and whose end is still to come.
    started: HashSet<String>,
}

impl Records {
    fn accept(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        let (id, stage, record) = parse(line)?;
        match stage {
            Stage::ResponseStarted => {
                self.started.insert(id);
                self.list.push(record);
            }
            Stage::ResponseComplete | Stage::Panic => {
                if !self.started.remove(&id) {
                    self.list.push(record);
                }
            }
            Stage::RequestReceived => {}
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: Stage,
    #[serde(rename = "auditID")]
    audit_id: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

fn parse(line: &[u8]) -> Result<(String, Stage, AuditRecord), serde_json::Error> {
    let event: Event = serde_json::from_slice(line)?;
    let object = event.object_ref;
    let record = AuditRecord {
        user: event.user.username,
        verb: event.verb,
        group: object.api_group,
        resource: object.resource,
        subresource: object.subresource,
        namespace: object.namespace,
        name: object.name,
        code: event.response_status.code,
        user_agent: event.user_agent,
        uri: event.request_uri,
        request_received: event.request_received_timestamp,
    };
    Ok((event.audit_id, event.stage, record))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::io::Write;

    use serde_json::json;

    use super::*;

    fn line(id: &str, stage: &str, verb: &str, code: u16) -> String {
        json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
            "auditID": id, "stage": stage, "verb": verb,
            "requestURI": "/apis/apps/v1/namespaces/shop/deployments/web/status?fieldManager=x",
            "user": {"username": "system:serviceaccount:shop:robot", "groups": ["system:authenticated"]},
            "sourceIPs": ["127.0.0.1"], "userAgent": "robot/1",
            "objectRef": {"resource": "deployments", "namespace": "shop", "name": "web", "apiGroup": "apps",
                          "apiVersion": "v1", "subresource": "status"},
            "responseStatus": {"metadata": {}, "code": code},
            "requestReceivedTimestamp": "2026-11-26T06:49:00.123456Z",
            "stageTimestamp": "2026-11-26T06:49:00.125000Z",
            "annotations": {"authorization.k8s.io/decision": "allow"}
        })
        .to_string()
    }

    fn accepted(lines: &[String]) -> Vec<(String, u16)> {
        let mut records = Records::default();
        for line in lines {
            records.accept(line.as_bytes()).unwrap();
        }
        records.list.into_iter().map(|r| (r.verb, r.code)).collect()
    }

    #[test]
    fn a_line_becomes_a_record() {
        let (id, stage, record) = parse(line("a", "ResponseComplete", "patch", 200).as_bytes()).unwrap();
        assert_eq!((id.as_str(), stage), ("a", Stage::ResponseComplete));
        assert_eq!(
            record,
            AuditRecord {
                user: "system:serviceaccount:shop:robot".into(),
                verb: "patch".into(),
                group: "apps".into(),
                resource: "deployments".into(),
                subresource: "status".into(),
                namespace: "shop".into(),
                name: "web".into(),
                code: 200,
                user_agent: "robot/1".into(),
                uri: "/apis/apps/v1/namespaces/shop/deployments/web/status?fieldManager=x".into(),
                request_received: "2026-11-26T06:49:00.123456Z".parse().unwrap(),
            }
        );
    }

    #[test]
    fn an_address_without_object_or_answer_is_a_record_too() {
        let text = json!({"stage": "Panic", "auditID": "a", "requestURI": "/version", "verb": "get", "user": {},
            "requestReceivedTimestamp": "2026-11-26T06:49:00Z"})
        .to_string();
        let (_, _, record) = parse(text.as_bytes()).unwrap();
        assert_eq!((record.resource.as_str(), record.uri.as_str(), record.code), ("", "/version", 0));
    }

    #[test]
    fn a_watch_counts_once_from_its_start_to_its_end() {
        let start = line("w", "ResponseStarted", "watch", 200);
        let end = line("w", "ResponseComplete", "watch", 200);
        let one = vec![("watch".to_owned(), 200)];
        assert_eq!(accepted(std::slice::from_ref(&start)), one);
        assert_eq!(accepted(&[start, end]), one);
        let refused = line("r", "ResponseComplete", "watch", 403);
        assert_eq!(accepted(&[refused]), vec![("watch".to_owned(), 403)]);
    }

    #[test]
    fn an_unfinished_line_waits_for_its_end_and_nothing_is_read_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let log = AuditLog::new(path.clone());
        assert_eq!(log.requests(|_| true).len(), 0, "no file, no request");

        let mut file = File::create(&path).unwrap();
        let (first, second) = (line("a", "ResponseComplete", "get", 200), line("b", "ResponseComplete", "list", 200));
        let (head, rest) = second.split_at(40);
        write!(file, "{first}\n{head}").unwrap();
        assert_eq!(log.requests(|_| true).len(), 1);
        let mark = log.mark();
        writeln!(file, "{rest}").unwrap();
        let verbs = |records: Vec<AuditRecord>| records.into_iter().map(|r| r.verb).collect::<Vec<_>>();
        assert_eq!(verbs(log.requests_after(mark, |_| true)), ["list"]);
        assert_eq!(verbs(log.clone().requests(|_| true)), ["get", "list"]);
        assert_eq!(verbs(log.requests(|r| r.verb == "list")), ["list"]);
    }

    #[test]
    #[should_panic(expected = "reading the audit log")]
    fn an_unreadable_line_fails_the_test_that_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        std::fs::write(&path, "nonsense\n").unwrap();
        AuditLog::new(path).requests(|_| true);
    }
}
