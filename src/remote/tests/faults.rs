//! Connections that cannot be made, break or hang: what it means for a write.

use futures::future::join_all;

use super::*;

const WRITES: [Operation; 3] = [Operation::Create, Operation::Update, Operation::Delete];

/// Long enough for a busy machine to connect and read a head, short enough to wait for.
fn hasty(server: &Server, provider: Provider) -> Arc<dyn Remote> {
    build(RemoteConfig { timeout: Duration::from_secs(2), ..config(&server.url, access(provider)) }).unwrap()
}

/// Every write at every provider, all at once.
async fn all_writes(server: &Server) -> Vec<Result<(), CallError>> {
    let calls = PROVIDERS.into_iter().flat_map(|provider| WRITES.map(|operation| (provider, operation)));
    join_all(calls.map(|(provider, operation)| async move { attempt(&hasty(server, provider), operation).await })).await
}

#[tokio::test]
async fn a_refused_connection_leaves_no_doubt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    for provider in PROVIDERS {
        for operation in WRITES {
            let error = attempt(&build(config(&url, access(provider))).unwrap(), operation).await.unwrap_err();
            assert_eq!((error.class, error.certainty()), (ErrorClass::Connect, Certainty::Clean));
            assert!(error.to_string().ends_with("connection refused"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_leaves_no_doubt() {
    let url = "http://nowhere.invalid".parse().unwrap();
    let error = attempt(&build(config(&url, kelvin_access())).unwrap(), Operation::Create).await.unwrap_err();
    assert_eq!((error.class, error.certainty()), (ErrorClass::Connect, Certainty::Clean));
    assert!(error.to_string().contains("name cannot be resolved"), "{error}");
}

#[tokio::test]
async fn a_handshake_that_hangs_leaves_no_doubt() {
    // Accepts connections (the kernel does) and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let config = RemoteConfig { timeout: Duration::from_millis(300), ..config(&url, kelvin_access()) };
    let error = attempt(&build(config).unwrap(), Operation::Create).await.unwrap_err();
    assert_eq!((error.class, error.certainty()), (ErrorClass::Connect, Certainty::Clean));
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_a_doubt() {
    let server = Server::start(|_| Reply::Close).await;
    for provider in PROVIDERS {
        for operation in WRITES {
            let before = server.seen().len();
            let error = attempt(&client(&server, access(provider)), operation).await.unwrap_err();
            assert_eq!((error.class, error.certainty()), (ErrorClass::Broken, Certainty::Unknown), "{operation:?}");
            assert_eq!(error.status, None);
            assert_eq!(server.seen().len(), before + 1, "it is not sent a second time");
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_leaves_a_doubt() {
    let server = Server::start(|_| Reply::Hang).await;
    for result in all_writes(&server).await {
        let error = result.unwrap_err();
        assert_eq!((error.class, error.certainty()), (ErrorClass::Timeout, Certainty::Unknown), "{error:?}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_says_2xx_is_done_whatever_becomes_of_the_body() {
    for reply in [|| Reply::Cut { status: 201, body: "{\"na" }, || Reply::Stall { status: 200 }] {
        let server = Server::start(move |_| reply()).await;
        for result in all_writes(&server).await {
            result.unwrap();
        }
        let written = hasty(&server, Provider::Kelvin).create("demo", &"v".into()).await.unwrap();
        assert_eq!(written, Written::default());
    }
}

#[tokio::test]
async fn an_error_whose_body_is_cut_is_judged_by_its_status() {
    let server = Server::start(|_| Reply::Cut { status: 409, body: "{\"er" }).await;
    let error = attempt(&client(&server, kelvin_access()), Operation::Create).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Exists);
}

#[tokio::test]
async fn a_list_that_is_cut_is_no_short_list() {
    let server = Server::start(|_| Reply::Cut { status: 200, body: "{\"data\":[],\"secrets\":[]}" }).await;
    let stalling = Server::start(|_| Reply::Stall { status: 200 }).await;
    for provider in PROVIDERS {
        let error = attempt(&client(&server, access(provider)), Operation::List).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unreadable);
        let error = attempt(&hasty(&stalling, provider), Operation::List).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Timeout);
    }
}

#[tokio::test]
async fn a_list_without_end_is_not_read_into_memory() {
    let server = Server::start(|_| raw(200, &" ".repeat(17 * 1024 * 1024))).await;
    let error = attempt(&client(&server, access(Provider::Mixpeek)), Operation::List).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreadable);
}
