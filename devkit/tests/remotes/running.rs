//! A remote that stops, comes back, is slow, and speaks TLS.

use std::time::Duration;

use devkit::remotes::{KELVIN_CLIENT, Kelvin, KelvinOptions, Listen, Op, TestCa, TlsOptions};
use reqwest::{Certificate, Client, Identity};

use super::kelvin::Session;
use super::{SOON, answer, client};

#[tokio::test]
async fn it_comes_back_at_the_same_address_with_its_data() {
    let session = Session::start(KelvinOptions::default()).await;
    assert_eq!(answer(session.create("a", "v")).await.0, 201);
    let url = session.kelvin.url();
    session.kelvin.stop().await;
    assert!(session.list("").send().await.unwrap_err().is_connect());
    session.kelvin.stop().await;
    session.kelvin.restart().await.unwrap();
    assert_eq!(session.kelvin.url(), url);
    assert_eq!(answer(session.list("")).await.1["data"][0]["name"], "a", "the token is good still");
    session.kelvin.restart().await.unwrap();
    assert_eq!(answer(session.update("a", "w")).await.0, 200);
    assert_eq!(session.kelvin.count(Op::List), 1);
}

#[tokio::test]
async fn it_stops_when_dropped() {
    let session = Session::start(KelvinOptions::default()).await;
    let listen =
        Listen { port: session.kelvin.url().rsplit(':').next().unwrap().parse().unwrap(), ..Listen::default() };
    assert_eq!(answer(session.list("")).await.0, 200);
    let taken = Kelvin::start(KelvinOptions { listen: listen.clone(), ..KelvinOptions::default() }).await;
    assert!(taken.err().unwrap().to_string().starts_with("cannot listen at 127.0.0.1:"));
    session.kelvin.foreign_put("a", "v");
    drop(session);
    let again = async {
        loop {
            match Kelvin::start(KelvinOptions { listen: listen.clone(), ..KelvinOptions::default() }).await {
                Ok(kelvin) => return kelvin,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let fresh = tokio::time::timeout(SOON, again).await.expect("the port is let go");
    assert!(fresh.entries().is_empty());
}

#[tokio::test]
async fn stopping_cuts_what_is_open() {
    let session = Session::start(KelvinOptions::default()).await;
    session.kelvin.set_latency(Duration::from_secs(3600));
    let open = tokio::spawn(session.create("a", "v").send());
    session.kelvin.wait_for(|kelvin| kelvin.in_flight() == 1, SOON).await.unwrap();
    assert_eq!((session.kelvin.value("a"), session.kelvin.mutations()), (None, 0));
    session.kelvin.stop().await;
    assert!(open.await.unwrap().is_err());
    assert_eq!(session.kelvin.in_flight(), 0);
}

#[tokio::test]
async fn a_slow_remote_takes_many_calls_at_once() {
    let session = Session::start(KelvinOptions::default()).await;
    session.kelvin.set_latency(Duration::from_millis(100));
    let calls = (0..5).map(|number| tokio::spawn(session.create(&format!("a{number}"), "v").send()));
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap().status(), 201);
    }
    assert!(session.kelvin.most_in_flight() > 1);
}

#[tokio::test]
async fn waiting_for_what_does_not_come_tells_the_calls() {
    let session = Session::start(KelvinOptions::default()).await;
    answer(session.create("a", "hunter2")).await;
    let late = session.kelvin.wait_for(|kelvin| kelvin.mutations() == 2, Duration::from_millis(10)).await.unwrap_err();
    assert!(late.to_string().contains("POST /api/v4/secrets/create"));
    assert!(!late.to_string().contains("hunter2"));
}

fn trusting(ca: &TestCa, identity: Option<&str>) -> Client {
    let _ = client();
    let builder = Client::builder().timeout(SOON).tls_certs_only([Certificate::from_pem(ca.pem().as_bytes()).unwrap()]);
    match identity {
        Some(pem) => builder.identity(Identity::from_pem(pem.as_bytes()).unwrap()).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

async fn status(http: &Client, kelvin: &Kelvin) -> Option<u16> {
    let token = kelvin.issue_token(KELVIN_CLIENT.0);
    let sent = http.get(format!("{}/api/v4/secrets/list", kelvin.url())).bearer_auth(token).send().await;
    sent.ok().map(|response| response.status().as_u16())
}

#[tokio::test]
async fn https_asks_for_trust_and_mutual_tls_for_a_certificate() {
    let (ca, stranger) = (TestCa::new("test").unwrap(), TestCa::new("stranger").unwrap());
    let tls = TlsOptions::signed_by(&ca).unwrap();
    let start = async |tls| {
        Kelvin::start(KelvinOptions {
            listen: Listen { tls: Some(tls), ..Listen::default() },
            ..KelvinOptions::default()
        })
        .await
        .unwrap()
    };
    let kelvin = start(tls.clone()).await;
    assert!(kelvin.url().starts_with("https://127.0.0.1:"));
    assert_eq!(status(&trusting(&ca, None), &kelvin).await, Some(200));
    assert_eq!(status(&trusting(&stranger, None), &kelvin).await, None);
    let metadata =
        trusting(&ca, None).get(format!("{}/metadata", kelvin.url())).send().await.unwrap().text().await.unwrap();
    assert!(metadata.contains(&kelvin.url()));

    let mutual = start(tls.require_clients_of(&ca)).await;
    let pem = |ca: &TestCa| {
        let identity = ca.client("operator").unwrap();
        format!("{}{}", identity.certificate, identity.key)
    };
    assert_eq!(status(&trusting(&ca, None), &mutual).await, None);
    assert_eq!(status(&trusting(&ca, Some(&pem(&stranger))), &mutual).await, None);
    assert_eq!(status(&trusting(&ca, Some(&pem(&ca))), &mutual).await, Some(200));
}
