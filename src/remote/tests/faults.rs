//! Connections that cannot be made, break or hang: what it means for a write.

use futures::future::join_all;

use super::*;

const WRITES: [Operation; 3] = [Operation::Create, Operation::Update, Operation::Delete];

/// Long enough for a busy machine to connect and read a head, short enough to wait for.
fn hasty(make: Make, server: &Server, provider: Provider) -> Arc<dyn Remote> {
    make.build(RemoteConfig { timeout: Duration::from_secs(2), ..config(&server.url, access(provider)) }).unwrap()
}

/// Every write at every provider, all at once.
async fn all_writes(make: Make, server: &Server) -> Vec<Result<(), CallError>> {
    let calls = PROVIDERS.into_iter().flat_map(|provider| WRITES.map(|operation| (provider, operation)));
    join_all(calls.map(|(provider, operation)| async move { attempt(&hasty(make, server, provider), operation).await }))
        .await
}

async fn a_refused_connection_leaves_no_doubt(make: Make) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    for provider in PROVIDERS {
        for operation in WRITES {
            let error = attempt(&make.build(config(&url, access(provider))).unwrap(), operation).await.unwrap_err();
            assert_eq!((error.class, error.certainty()), (ErrorClass::Connect, Certainty::Clean));
            assert!(error.to_string().ends_with("connection refused"), "{error}");
        }
    }
}

async fn a_name_that_does_not_exist_leaves_no_doubt(make: Make) {
    let url = "http://nowhere.invalid".parse().unwrap();
    let error = attempt(&make.build(config(&url, kelvin_access())).unwrap(), Operation::Create).await.unwrap_err();
    assert_eq!((error.class, error.certainty()), (ErrorClass::Connect, Certainty::Clean));
    assert!(error.to_string().contains("name cannot be resolved"), "{error}");
}

async fn a_handshake_that_hangs_leaves_no_doubt(make: Make) {
    // Accepts connections (the kernel does) and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let config = RemoteConfig { timeout: Duration::from_millis(300), ..config(&url, kelvin_access()) };
    let error = attempt(&make.build(config).unwrap(), Operation::Create).await.unwrap_err();
    assert_eq!((error.class, error.certainty()), (ErrorClass::Connect, Certainty::Clean));
}

async fn a_connection_that_breaks_after_the_request_leaves_a_doubt(make: Make) {
    let server = Server::start(|_| Reply::Close).await;
    for provider in PROVIDERS {
        for operation in WRITES {
            let before = server.seen().len();
            let error = attempt(&make.client(&server, access(provider)), operation).await.unwrap_err();
            assert_eq!((error.class, error.certainty()), (ErrorClass::Broken, Certainty::Unknown), "{operation:?}");
            assert_eq!(error.status, None);
            assert_eq!(server.seen().len(), before + 1, "it is not sent a second time");
        }
    }
}

async fn an_answer_that_does_not_come_leaves_a_doubt(make: Make) {
    let server = Server::start(|_| Reply::Hang).await;
    for result in all_writes(make, &server).await {
        let error = result.unwrap_err();
        assert_eq!((error.class, error.certainty()), (ErrorClass::Timeout, Certainty::Unknown), "{error:?}");
    }
}

async fn a_write_whose_answer_says_2xx_is_done_whatever_becomes_of_the_body(make: Make) {
    for reply in [|| Reply::Cut { status: 201, body: "{\"na" }, || Reply::Stall { status: 200 }] {
        let server = Server::start(move |_| reply()).await;
        for result in all_writes(make, &server).await {
            result.unwrap();
        }
        let written = hasty(make, &server, Provider::Kelvin).create("demo", &"v".into()).await.unwrap();
        assert_eq!(written, Written::default());
    }
}

async fn an_error_whose_body_is_cut_is_judged_by_its_status(make: Make) {
    let server = Server::start(|_| Reply::Cut { status: 409, body: "{\"er" }).await;
    let error = attempt(&make.client(&server, kelvin_access()), Operation::Create).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Exists);
}

async fn a_list_that_is_cut_is_no_short_list(make: Make) {
    let server = Server::start(|_| Reply::Cut { status: 200, body: "{\"data\":[],\"secrets\":[]}" }).await;
    let stalling = Server::start(|_| Reply::Stall { status: 200 }).await;
    for provider in PROVIDERS {
        let error = attempt(&make.client(&server, access(provider)), Operation::List).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unreadable);
        let error = attempt(&hasty(make, &stalling, provider), Operation::List).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Timeout);
    }
}

async fn a_list_without_end_is_not_read_into_memory(make: Make) {
    let server = Server::start(|_| raw(200, &" ".repeat(17 * 1024 * 1024))).await;
    let error = attempt(&make.client(&server, access(Provider::Mixpeek)), Operation::List).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreadable);
}

conformance!(
    a_refused_connection_leaves_no_doubt,
    a_name_that_does_not_exist_leaves_no_doubt,
    a_handshake_that_hangs_leaves_no_doubt,
    a_connection_that_breaks_after_the_request_leaves_a_doubt,
    an_answer_that_does_not_come_leaves_a_doubt,
    a_write_whose_answer_says_2xx_is_done_whatever_becomes_of_the_body,
    an_error_whose_body_is_cut_is_judged_by_its_status,
    a_list_that_is_cut_is_no_short_list,
    a_list_without_end_is_not_read_into_memory,
);
