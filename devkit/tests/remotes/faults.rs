//! Each fault, as a client meets it.

use std::time::Duration;

use base64::Engine as _;
use devkit::remotes::{
    Action, DREADNODE_KEY, Dreadnode, DreadnodeOptions, Fault, Hint, KELVIN_CLIENT, KelvinOptions, MIXPEEK_KEY,
    Mixpeek, MixpeekOptions, Op, Partial,
};
use serde_json::{Value, json};

use super::kelvin::Session;
use super::{SOON, answer, client};

/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(3600);

async fn start() -> Session {
    Session::start(KelvinOptions::default()).await
}

#[tokio::test]
async fn a_status_comes_with_its_retry_after_as_written() {
    let session = start().await;
    for value in ["30", "Wed, 21 Oct 2037 07:28:00 GMT", "99999999999999999999", "soon"] {
        session.kelvin.faults.add(Fault::new(Action::retry_after(429, value)).on(Op::Create).times(1));
        let response = session.create("a", "v").send().await.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], value);
        let body: Value = response.json().await.unwrap();
        assert!(body["errors"][0]["name"].is_string());
    }
    assert_eq!(session.kelvin.mutations(), 0);
    assert_eq!(answer(session.create("a", "v")).await.0, 201);
}

#[tokio::test]
async fn a_fault_finds_its_entry_by_either_spelling() {
    let dreadnode = Dreadnode::start(DreadnodeOptions::default()).await.unwrap();
    let id = dreadnode.foreign_put("my_key", "v").id;
    let fault = dreadnode.faults.add(Fault::new(Action::status(500)).on(Op::Update).named("my_key"));
    let http = client();
    let put = |id: uuid::Uuid| {
        let url = format!("{}/api/v1/user/secrets/{id}", dreadnode.url());
        http.put(url).header("X-API-Key", DREADNODE_KEY.1).json(&json!({ "value": "w" }))
    };
    let (status, body) = answer(put(id)).await;
    assert_eq!((status, &body["code"]), (500, &500.into()));
    assert_eq!(answer(put(dreadnode.foreign_put("other", "v").id)).await.0, 200);
    assert_eq!(dreadnode.faults.hits(fault), 1);
}

#[tokio::test]
async fn the_body_hints_at_when_to_try_again() {
    let mixpeek = Mixpeek::start(MixpeekOptions::default()).await.unwrap();
    let http = client();
    let list = || http.get(format!("{}/v1/organizations/secrets", mixpeek.url())).bearer_auth(MIXPEEK_KEY.1);
    for (hint, pointer, wanted) in [
        (Hint::RetryAfterSeconds(15), "/error/details/retry_after_seconds", json!(15)),
        (Hint::RetryAfter(16), "/error/details/retry_after", json!(16)),
        (Hint::NestedRetryAfterSeconds(17), "/detail/error/details/retry_after_seconds", json!(17)),
        (Hint::NotRetryable, "/error/details/retryable", json!(false)),
        (Hint::Body(json!({ "own": 1 })), "/own", json!(1)),
    ] {
        mixpeek.faults.add(Fault::new(Action::Status { code: 503, retry_after: None, hint: Some(hint) }).times(1));
        let (status, body) = answer(list()).await;
        assert_eq!((status, body.pointer(pointer)), (503, Some(&wanted)), "{body}");
    }
    let dreadnode = Dreadnode::start(DreadnodeOptions::default()).await.unwrap();
    dreadnode.faults.add(Fault::new(Action::Status { code: 429, retry_after: None, hint: Some(Hint::Credit) }));
    let body = answer(http.get(format!("{}/api/v1/user/secrets", dreadnode.url()))).await.1;
    assert!(body["detail"].as_str().unwrap().contains("credit"));
}

#[tokio::test]
async fn a_held_call_goes_on_when_released() {
    let session = start().await;
    session.kelvin.faults.add(Fault::new(Action::Hang(None)).times(1));
    let held = tokio::spawn(session.create("a", "v").send());
    session.kelvin.wait_for(|kelvin| kelvin.in_flight() == 1, SOON).await.unwrap();
    assert_eq!(session.kelvin.value("a"), None);
    session.kelvin.faults.release();
    assert_eq!(held.await.unwrap().unwrap().status(), 201);
    session.kelvin.faults.add(Fault::new(Action::Hang(Some(Duration::from_millis(10)))).times(1));
    assert_eq!(answer(session.create("b", "v")).await.0, 201);
}

#[tokio::test]
async fn a_held_call_that_is_given_up_is_never_processed() {
    let session = start().await;
    session.kelvin.faults.add(Fault::new(Action::Hang(None)).times(1));
    let held = tokio::spawn(session.create("a", "v").send());
    session.kelvin.wait_for(|kelvin| kelvin.in_flight() == 1, SOON).await.unwrap();
    held.abort();
    session.kelvin.wait_for(|kelvin| kelvin.in_flight() == 0, SOON).await.unwrap();
    session.kelvin.faults.release();
    let told = &session.kelvin.requests()[0];
    assert!(told.done && !told.processed && told.status.is_none() && told.fault == Some("hang"));
    assert_eq!(session.kelvin.value("a"), None);
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after() {
    let session = start().await;
    session.kelvin.faults.add(Fault::new(Action::CutBefore).times(1));
    session.kelvin.faults.add(Fault::new(Action::CutAfter).times(1));
    assert!(session.create("before", "v").send().await.is_err());
    assert!(session.create("after", "v").send().await.is_err());
    let names: Vec<String> = session.kelvin.entries().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["after"]);
    session.kelvin.wait_for(|kelvin| kelvin.in_flight() == 0, SOON).await.unwrap();
    let told: Vec<_> = session.kelvin.requests().iter().map(|request| (request.status, request.processed)).collect();
    assert_eq!(told, [(None, false), (None, true)]);
    assert_eq!(session.kelvin.mutations(), 1);
}

#[tokio::test]
async fn a_call_is_processed_after_its_client_gave_up() {
    let session = start().await;
    let late = Action::LateProcessing { delay: Duration::from_millis(200), cut_after: None };
    session.kelvin.faults.add(Fault::new(late).on(Op::Create).times(1));
    let given_up = tokio::spawn(session.create("a", "v").send());
    session.kelvin.wait_for(|kelvin| kelvin.in_flight() == 1, SOON).await.unwrap();
    given_up.abort();
    session.kelvin.wait_for(|kelvin| kelvin.in_flight() == 0, SOON).await.unwrap();
    session.kelvin.wait_for(|kelvin| kelvin.value("a").is_some(), SOON).await.unwrap();
    let told = &session.kelvin.requests()[0];
    assert_eq!((told.processed, told.status, told.outcome), (true, None, Some(201)));
}

#[tokio::test]
async fn a_late_create_meets_what_was_made_meanwhile() {
    let session = start().await;
    let late = |delay| Fault::new(Action::LateProcessing { delay, cut_after: Some(Duration::ZERO) }).times(1);
    session.kelvin.faults.add(late(Duration::from_millis(500)));
    assert!(session.create("a", "late").send().await.is_err());
    session.kelvin.foreign_put("a", "first");
    session.kelvin.wait_for(|kelvin| kelvin.requests()[0].outcome == Some(409), SOON).await.unwrap();
    assert_eq!((session.kelvin.value("a").as_deref(), session.kelvin.mutations()), (Some("first"), 0));
    session.kelvin.faults.add(late(Duration::ZERO));
    assert!(session.update("a", "second").send().await.is_err());
    session.kelvin.wait_for(|kelvin| kelvin.value("a").as_deref() == Some("second"), SOON).await.unwrap();
}

#[tokio::test]
async fn a_slow_answer_is_processed_at_once() {
    let session = start().await;
    session.kelvin.faults.add(Fault::new(Action::SlowAnswer(FOREVER)).times(1));
    let slow = tokio::spawn(session.create("a", "v").send());
    session.kelvin.wait_for(|kelvin| kelvin.value("a").is_some(), SOON).await.unwrap();
    assert_eq!((session.kelvin.in_flight(), session.kelvin.requests()[0].status), (1, None));
    slow.abort();
    session.kelvin.faults.add(Fault::new(Action::SlowAnswer(Duration::from_millis(10))).times(1));
    assert_eq!(answer(session.list("")).await.0, 200);
}

#[tokio::test]
async fn a_list_breaks_off_in_the_middle() {
    let session = start().await;
    session.kelvin.foreign_put("a", "v");
    session.kelvin.faults.add(Fault::new(Action::TruncatedList).on(Op::List).times(1));
    let response = session.list("").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());
    assert_eq!(answer(session.list("")).await.0, 200);
}

#[tokio::test]
async fn a_list_is_valid_and_wrong() {
    let session = start().await;
    session.kelvin.foreign_put("a", "v");
    let spoil = |how| session.kelvin.faults.add(Fault::new(Action::PartialList(how)).times(1));
    spoil(Partial::MissingItems);
    assert!(answer(session.list("")).await.1.get("data").is_none());
    spoil(Partial::NullItems);
    assert_eq!(answer(session.list("")).await.1["data"], Value::Null);
    spoil(Partial::CountDisagrees);
    assert_eq!(answer(session.list("?pagination_type=limits")).await.1["pagination"]["total_items"], 2);
    spoil(Partial::CountDisagrees);
    let empty = answer(session.list("?search=a")).await.1;
    assert_eq!(empty["data"], json!([]));
    let next = empty["pagination"]["next_page"].as_str().unwrap();
    assert_eq!(answer(session.list(&format!("?search=a&next={next}"))).await.1["data"][0]["name"], "a");
    spoil(Partial::MissingItems);
    assert_eq!(answer(session.create("b", "v")).await.0, 201, "other calls are left alone");
}

#[tokio::test]
async fn counts_disagree_elsewhere_too() {
    let http = client();
    let mixpeek = Mixpeek::start(MixpeekOptions::default()).await.unwrap();
    let dreadnode = Dreadnode::start(DreadnodeOptions::default()).await.unwrap();
    let of_mixpeek = || http.get(format!("{}/v1/organizations/secrets", mixpeek.url())).bearer_auth(MIXPEEK_KEY.1);
    let of_dreadnode =
        || http.get(format!("{}/api/v1/user/secrets", dreadnode.url())).header("X-API-Key", DREADNODE_KEY.1);
    for (how, wanted) in [
        (Partial::CountDisagrees, json!([[], 1])),
        (Partial::MissingItems, json!([0, 0])),
        (Partial::NullItems, json!([null, 0])),
    ] {
        let fault = Fault::new(Action::PartialList(how)).times(1);
        mixpeek.faults.add(fault.clone());
        dreadnode.faults.add(fault);
        let body = answer(of_mixpeek()).await.1;
        assert_eq!(json!([body.get("secrets").unwrap_or(&json!(0)), body["count"]]), wanted);
        let body = answer(of_dreadnode()).await.1;
        assert_eq!(json!([body.get("secrets").unwrap_or(&json!(0)), body["total"]]), wanted);
    }
}

#[tokio::test]
async fn an_error_repeats_what_was_submitted() {
    let (http, value) = (client(), "hunter2/ü?");
    let session = start().await;
    let mixpeek = Mixpeek::start(MixpeekOptions::default()).await.unwrap();
    let dreadnode = Dreadnode::start(DreadnodeOptions::default()).await.unwrap();
    for status in [400, 422, 500] {
        let fault = Fault::new(Action::EchoValue(status));
        session.kelvin.faults.add(fault.clone().times(1));
        mixpeek.faults.add(fault.clone().times(1));
        dreadnode.faults.add(fault.times(1));
        for request in [
            session.create("a", value),
            http.post(format!("{}/v1/organizations/secrets", mixpeek.url()))
                .json(&json!({ "secret_name": "a", "secret_value": value })),
            http.post(format!("{}/api/v1/user/secrets", dreadnode.url())).json(&json!({ "name": "a", "value": value })),
        ] {
            let (given, body) = answer(request).await;
            assert_eq!(given, status);
            let body = body.to_string();
            for spelling in [value, "hunter2%2F%C3%BC%3F", &base64::engine::general_purpose::STANDARD.encode(value)] {
                assert!(body.contains(spelling), "{body}");
            }
        }
    }
    assert_eq!((session.kelvin.mutations(), mixpeek.mutations(), dreadnode.mutations()), (0, 0, 0));
    assert!(!format!("{:?}", session.kelvin.requests()).contains("hunter2"));
}

#[tokio::test]
async fn a_proxy_answers_instead() {
    let session = start().await;
    session.kelvin.faults.add(Fault::new(Action::NotJson(502)).times(1));
    session.kelvin.faults.add(Fault::new(Action::NotJson(200)).times(1));
    for (name, status) in [("a", 502), ("b", 200)] {
        let response = session.create(name, "v").send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
            (status, "text/html")
        );
        assert!(response.text().await.unwrap().starts_with("<html>"));
    }
    assert_eq!((session.kelvin.value("a"), session.kelvin.value("b").as_deref()), (None, Some("v")));
}

#[tokio::test]
async fn the_token_endpoint_fails_too() {
    let session = start().await;
    session.kelvin.faults.add(Fault::new(Action::status(503)).on(Op::Token).times(1));
    let url = format!("{}/auth/realms/kelvin/protocol/openid-connect/token", session.kelvin.url());
    let form =
        [("grant_type", "client_credentials"), ("client_id", KELVIN_CLIENT.0), ("client_secret", KELVIN_CLIENT.1)];
    assert_eq!(answer(session.http.post(&url).form(&form)).await.0, 503);
    assert_eq!(answer(session.list("")).await.0, 200, "other calls are left alone");
    assert_eq!(answer(session.http.post(&url).form(&form)).await.0, 200);
}
