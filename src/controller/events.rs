//! Events on objects. They are for people: no decision depends on one, and none that fails makes anything else fail.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::kube_error::ApiError;

/// Greatest note that the API server takes, in bytes.
const NOTE_BYTES: usize = 1024;

/// Limit of one publication.
const PUBLISH_LIMIT: Duration = Duration::from_secs(5);

/// Longest name of an object that leaves room for a time within the 253 characters of an event's name.
const LONGEST_NAME: usize = 230;

/// Publications at one time.
const AT_ONCE: usize = 4;

/// Publications that may be on their way. After a long outage there can be one for every object.
const ON_THEIR_WAY: usize = 256;

/// What the events' `action` says: all of ours come from a reconcile.
const ACTION: &str = "Reconcile";

/// Publishes events in the background.
///
/// Within six minutes, events of one object with the same kind and reason are one event that counts up and keeps its first
/// note (kube's recorder does not look at the note).
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
    recorder: Recorder,
    on_their_way: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Events {
    /// Events of this controller; `instance` is the name of the pod, where there is one.
    #[must_use]
    pub fn new(client: Client, controller_name: &str, instance: Option<String>) -> Self {
        let reporter = Reporter { controller: controller_name.to_owned(), instance };
        Self {
            recorder: Recorder::new(client.clone(), reporter.clone()),
            client,
            reporter,
            on_their_way: Arc::new(Semaphore::new(ON_THEIR_WAY)),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: TaskTracker::new(),
        }
    }

    /// Publishes an event on the object in the background, as a Warning or a Normal one. `note` must hold no value; it is
    /// cut to what the API server takes. Waits only while very many are on their way, and then not for long. A failure is
    /// logged at debug: in a namespace that is going, for one, nothing can be created.
    pub async fn publish(&self, object: ObjectReference, warning: bool, reason: &str, note: String) {
        let way = Arc::clone(&self.on_their_way).acquire_owned();
        let Ok(Ok(way)) = tokio::time::timeout(PUBLISH_LIMIT, way).await else {
            tracing::debug!(reason, "an event is dropped: too many are on their way");
            return;
        };
        let (client, reporter) = (self.client.clone(), self.reporter.clone());
        let (recorder, at_once) = (self.recorder.clone(), Arc::clone(&self.at_once));
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(cut(note)),
            action: ACTION.to_owned(),
            secondary: None,
        };
        self.tasks.spawn(async move {
            let _way = way;
            // Never closed.
            let Ok(_turn) = at_once.acquire().await else { return };
            let published =
                tokio::time::timeout(PUBLISH_LIMIT, publish(&client, &recorder, &reporter, &event, &object));
            let published = published.await;
            let call = "publishing an event";
            let error = match published {
                Ok(Ok(())) => return,
                Ok(Err(error)) => ApiError::new(call, &error),
                Err(_) => ApiError::timeout(call),
            };
            let (namespace, name) = (object.namespace.as_deref(), object.name.as_deref());
            tracing::debug!(namespace, name, reason = event.reason, %error, "an event is lost");
        });
    }

    /// Waits for the events that are on their way, but not longer than this.
    pub async fn flush(&self, limit: Duration) {
        self.tasks.close();
        let _ = tokio::time::timeout(limit, self.tasks.wait()).await;
        self.tasks.reopen();
    }
}

/// Publishes one event. kube's recorder names it after the object and a time; where that would be too long for a name it is made
/// here, under a name that is cut.
async fn publish(
    client: &Client,
    recorder: &Recorder,
    reporter: &Reporter,
    event: &Event,
    object: &ObjectReference,
) -> Result<(), kube::Error> {
    let name = object.name.as_deref().unwrap_or_default();
    if name.len() <= LONGEST_NAME {
        return recorder.publish(event, object).await;
    }
    let now = jiff::Timestamp::now();
    let cut = name.get(..LONGEST_NAME).unwrap_or(name).trim_end_matches(['-', '.']);
    let event = events::v1::Event {
        metadata: ObjectMeta {
            name: Some(format!("{cut}.{:x}", now.as_nanosecond())),
            namespace: object.namespace.clone(),
            ..ObjectMeta::default()
        },
        action: Some(event.action.clone()),
        reason: Some(event.reason.clone()),
        note: event.note.clone(),
        type_: Some(if matches!(event.type_, EventType::Warning) { "Warning" } else { "Normal" }.to_owned()),
        event_time: Some(MicroTime(now)),
        regarding: Some(object.clone()),
        reporting_controller: Some(reporter.controller.clone()),
        reporting_instance: Some(reporter.instance.clone().unwrap_or_else(|| reporter.controller.clone())),
        ..events::v1::Event::default()
    };
    let api: Api<events::v1::Event> = Api::namespaced(client.clone(), object.namespace.as_deref().unwrap_or("default"));
    api.create(&PostParams::default(), &event).await.map(|_| ())
}

/// Cuts a note at the end of a character, and shows that it was cut.
fn cut(mut note: String) -> String {
    const MARK: &str = "…";
    if note.len() > NOTE_BYTES {
        note.truncate(note.floor_char_boundary(NOTE_BYTES - MARK.len()));
        note.push_str(MARK);
    }
    note
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use axum::Router;
    use axum::extract::State;
    use axum::http::{StatusCode, Uri};
    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    use super::*;

    type Sent = mpsc::UnboundedSender<(String, Value)>;

    async fn record(State(sent): State<Sent>, uri: Uri, body: String) -> (StatusCode, String) {
        let event: Value = serde_json::from_str(&body).expect("an event");
        sent.send((uri.path().to_owned(), event.clone())).expect("the test listens");
        if uri.path().contains("/namespaces/going/") {
            let status =
                json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "going"});
            return (StatusCode::FORBIDDEN, status.to_string());
        }
        (StatusCode::CREATED, body)
    }

    async fn start() -> (Events, mpsc::UnboundedReceiver<(String, Value)>) {
        let (sent, received) = mpsc::unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(record).with_state(sent);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::try_from(kube::Config::new(url.parse().expect("a URL"))).expect("a client");
        (Events::new(client, "vaultsecret-operator", Some("pod-1".to_owned())), received)
    }

    fn object(namespace: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some("vaultsecret.dev/v1alpha1".to_owned()),
            kind: Some("VaultSecret".to_owned()),
            name: Some("checkout".to_owned()),
            namespace: Some(namespace.to_owned()),
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn an_event_says_what_it_was_given() {
        let (events, mut received) = start().await;
        events.publish(object("shop"), true, "RemoteError", "kelvin answered 503".to_owned()).await;
        let (path, event) = received.recv().await.expect("an event");
        assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/shop/events");
        assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("RemoteError")));
        assert_eq!((&event["note"], &event["regarding"]["name"]), (&json!("kelvin answered 503"), &json!("checkout")));
        assert_eq!(event["reportingController"], "vaultsecret-operator");
        assert_eq!(event["reportingInstance"], "pod-1");
    }

    #[tokio::test]
    async fn a_refused_event_does_not_stop_the_next() {
        let (events, mut received) = start().await;
        events.publish(object("going"), false, "Deleting", "1 entry is left".to_owned()).await;
        events.flush(Duration::from_secs(60)).await;
        events.publish(object("shop"), false, "Synced", "all".to_owned()).await;
        events.flush(Duration::from_secs(60)).await;
        let paths: Vec<_> = std::iter::from_fn(|| received.try_recv().ok()).map(|(path, _)| path).collect();
        assert!(paths[0].contains("/going/") && paths[1].contains("/shop/"), "{paths:?}");
    }

    #[test]
    fn a_note_is_cut_at_the_end_of_a_character() {
        assert_eq!(cut("x".repeat(1024)), "x".repeat(1024));
        // The mark takes three bytes, so 1,021 are left: one for the `a`, and 1,020 for 510 times `ß`.
        assert_eq!(cut(format!("a{}", "ß".repeat(600))), format!("a{}…", "ß".repeat(510)));
        let cut = cut("ß".repeat(600));
        assert_eq!(cut, format!("{}…", "ß".repeat(510)));
        assert!(cut.len() <= 1024);
    }
}
