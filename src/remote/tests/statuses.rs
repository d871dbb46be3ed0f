//! Every status to its class, and how long the remote asks us to wait.

use jiff::Timestamp;

use super::*;

const CALLS: [Operation; 4] = [Operation::List, Operation::Create, Operation::Update, Operation::Delete];

async fn each_status_has_its_class_at_every_provider_and_operation(make: Make) {
    use ErrorClass::*;
    use Operation::*;
    for provider in PROVIDERS {
        for operation in CALLS {
            let gone = if matches!(operation, Update | Delete) { NotFound } else { Refused };
            let taken = if operation == Create { Exists } else { Refused };
            for (status, expected) in [
                (302, Refused),
                (304, Refused),
                (400, Invalid),
                (401, Authentication),
                (402, Refused),
                (403, Forbidden),
                (404, gone),
                (405, Refused),
                (408, Timeout),
                (409, taken),
                (410, gone),
                (413, Refused),
                (422, Invalid),
                (425, Unavailable),
                (426, Refused),
                (429, RateLimited),
                (500, Unavailable),
                (502, Unavailable),
                (503, Unavailable),
                (504, Unavailable),
                (599, Unavailable),
            ] {
                let found = make.class(provider, operation, status, &Value::Null);
                assert_eq!(found, expected, "{provider:?} {operation:?} {status}");
            }
        }
    }
}

async fn an_answer_becomes_an_error_that_names_status_and_operation(make: Make) {
    for provider in PROVIDERS {
        let server = Server::answering(403, json!({"detail": "the account of ann"})).await;
        for operation in CALLS {
            let error = attempt(&make.client(&server, access(provider)), operation).await.unwrap_err();
            assert_eq!((error.operation, error.class, error.status), (operation, ErrorClass::Forbidden, Some(403)));
            assert_eq!(
                error.to_string(),
                format!("{} was answered with 403 Forbidden: the credential lacks the permission", operation.as_str())
            );
        }
    }
}

async fn a_redirect_is_not_followed(make: Make) {
    let elsewhere = Server::answering(200, json!({"secrets": [], "data": []})).await;
    for provider in PROVIDERS {
        let location = elsewhere.url.to_string();
        let server = Server::start(move |_| Reply::Answer {
            status: 307,
            headers: vec![("location", location.clone())],
            body: String::new(),
        })
        .await;
        let error = attempt(&make.client(&server, access(provider)), Operation::List).await.unwrap_err();
        assert_eq!((error.class, error.status), (ErrorClass::Refused, Some(307)));
    }
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn doubt_is_left_by_trouble_alone() {
    for (class, doubt) in [
        (ErrorClass::Exists, false),
        (ErrorClass::NotFound, false),
        (ErrorClass::Invalid, false),
        (ErrorClass::Forbidden, false),
        (ErrorClass::Authentication, false),
        (ErrorClass::Refused, false),
        (ErrorClass::RateLimited, false),
        (ErrorClass::NoCredits, false),
        (ErrorClass::RefusedClean, false),
        (ErrorClass::Connect, false),
        (ErrorClass::Unavailable, true),
        (ErrorClass::Timeout, true),
        (ErrorClass::Broken, true),
    ] {
        let mut error =
            CallError { operation: Operation::Create, class, status: None, retry_after: None, message: String::new() };
        assert_eq!(error.certainty() == Certainty::Unknown, doubt, "{class:?}");
        error.operation = Operation::Login;
        assert_eq!(error.certainty(), Certainty::Clean, "{class:?}: what needed the login was never sent");
    }
}

async fn bodies_that_mean_something(make: Make) {
    use ErrorClass::*;
    let (m, d) = (Provider::Mixpeek, Provider::Dreadnode);
    let create = Operation::Create;
    let error = |error: Value| json!({"success": false, "error": error});
    for (provider, operation, status, body, expected) in [
        (m, create, 400, error(json!({"type": "AlreadyExistsError", "message": "x"})), Exists),
        (m, create, 422, error(json!({"type": "ValidationError", "code": "secret_name_exists"})), Exists),
        (m, create, 400, error(json!({"type": "BadRequestError", "code": "name_taken"})), Exists),
        (m, create, 400, error(json!({"type": "BadRequestError", "message": "Secret 'x' Already Exists."})), Exists),
        (m, create, 400, json!({"detail": {"error": {"type": "AlreadyExistsError"}}}), Exists),
        (m, create, 400, error(json!({"type": "BadRequestError", "message": "no"})), Invalid),
        (m, Operation::Update, 400, error(json!({"type": "AlreadyExistsError"})), Invalid),
        (d, create, 422, error(json!({"type": "AlreadyExistsError"})), Invalid),
        (m, create, 503, error(json!({"type": "WriterReadOnlyError", "details": {"retryable": true}})), RefusedClean),
        (m, create, 503, error(json!({"type": "Other", "details": {"retryable": true}})), RefusedClean),
        (m, create, 503, error(json!({"type": "WriterReadOnlyError"})), RefusedClean),
        (m, create, 503, error(json!({"type": "Other", "details": {"retryable": false}})), Refused),
        (m, create, 503, error(json!({"type": "Other", "details": {}})), Unavailable),
        (m, create, 503, Value::Null, Unavailable),
        (d, create, 503, error(json!({"type": "WriterReadOnlyError"})), Unavailable),
        (m, create, 429, error(json!({"type": "TooManyRequestsError", "details": {"retryable": false}})), NoCredits),
        (m, create, 429, error(json!({"type": "TooManyRequestsError", "details": {"retryable": true}})), RateLimited),
        (d, create, 429, json!({"detail": "Insufficient Credits"}), NoCredits),
        (d, create, 429, json!({"detail": "Slow down"}), RateLimited),
        (d, create, 429, json!({"detail": ["credit"]}), RateLimited),
        (m, create, 429, json!({"detail": "no credits"}), RateLimited),
    ] {
        let found = make.class(provider, operation, status, &body);
        assert_eq!(found, expected, "{provider:?} {operation:?} {status} {body}");
    }
}

async fn a_wait_is_understood_in_every_form_and_garbage_is_ignored(make: Make) {
    let now: Timestamp = "2026-11-23T01:00:00Z".parse().unwrap();
    let remote_clock: Timestamp = "2026-11-23T03:00:00Z".parse().unwrap();
    let wait = |provider, header, body: &Value, date| make.wait(provider, header, body, date, now).map(|d| d.as_secs());
    let none = Value::Null;
    for provider in PROVIDERS {
        assert_eq!(wait(provider, Some(" 30 "), &none, None), Some(30));
        assert_eq!(wait(provider, Some("Mon, 23 Nov 2026 01:02:00 GMT"), &none, None), Some(120));
        assert_eq!(wait(provider, Some("Mon, 23 Nov 2026 03:00:05 GMT"), &none, Some(remote_clock)), Some(5));
        assert_eq!(wait(provider, Some("Mon, 23 Nov 2026 00:00:00 GMT"), &none, None), Some(0));
        assert_eq!(wait(provider, Some("30.9"), &none, None), Some(30));
        for same in [
            "Monday, 23-Nov-26 01:02:00 GMT",
            "Mon Nov 23 01:02:00 2026",
            "Mon, 23 Nov 2026 01:02:00 +0000",
            "Sun, 23 Nov 2026 01:02:00 GMT",
        ] {
            assert_eq!(wait(provider, Some(same), &none, None), Some(120), "{same}");
        }
        assert_eq!(wait(provider, Some("Tue Dec  1 01:00:00 2026"), &none, None), Some(8 * 24 * 3600));
        for never in ["99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(wait(provider, Some(never), &none, None), Some(366 * 24 * 3600), "{never}");
        }
        for garbage in ["", "soon", "-5", "1e9", "+5", "NaN", ".", "1.", ".5", "1.2.3", "Mon, 99 Nov 2026 00:00:00 GMT"]
        {
            assert_eq!(wait(provider, Some(garbage), &none, None), None, "{garbage}");
        }
    }
    let newest = json!({"error": {"details": {"retry_after_seconds": 15.5, "retry_after": 9}}});
    let nested = json!({"detail": {"error": {"details": {"retry_after_seconds": 7}}}});
    let oldest = json!({"error": {"details": {"retry_after": 9}}});
    let (m, date) = (Provider::Mixpeek, Some("Mon, 23 Nov 2026 01:02:00 GMT"));
    assert_eq!(wait(m, Some("3"), &newest, None), Some(3));
    assert_eq!(wait(m, None, &newest, None), Some(15));
    assert_eq!(wait(m, date, &newest, None), Some(15), "a date falls through to the body");
    assert_eq!(wait(m, None, &nested, None), Some(7));
    assert_eq!(wait(m, None, &oldest, None), Some(9));
    assert_eq!(wait(m, date, &none, None), Some(120));
    assert_eq!(wait(m, None, &json!({"error": {"details": {"retry_after": -1}}}), None), None);
    assert_eq!(wait(m, None, &json!({"error": {"details": {"retry_after": 1e300}}}), None), Some(366 * 24 * 3600));
    assert_eq!(wait(m, None, &json!({"error": {"details": {"retry_after": "11"}}}), None), Some(11));
    assert_eq!(wait(m, None, &json!({"error": {"details": {"retry_after": "soon"}}}), None), None);
    assert_eq!(wait(Provider::Kelvin, None, &newest, None), None);
}

async fn the_wait_of_a_real_answer_counts_from_its_own_clock(make: Make) {
    let server = Server::start(|_| Reply::Answer {
        status: 429,
        headers: vec![
            ("date", "Wed, 21 Oct 2015 07:28:00 GMT".to_owned()),
            ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT".to_owned()),
        ],
        body: String::new(),
    })
    .await;
    let error = attempt(&make.client(&server, kelvin_access()), Operation::Update).await.unwrap_err();
    assert_eq!((error.class, error.retry_after), (ErrorClass::RateLimited, Some(Duration::from_secs(30))));
}

conformance!(
    each_status_has_its_class_at_every_provider_and_operation,
    an_answer_becomes_an_error_that_names_status_and_operation,
    a_redirect_is_not_followed,
    bodies_that_mean_something,
    a_wait_is_understood_in_every_form_and_garbage_is_ignored,
    the_wait_of_a_real_answer_counts_from_its_own_clock,
);
