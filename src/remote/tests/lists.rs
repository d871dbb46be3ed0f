//! Paged lists, and lists that are none: incomplete is an error, never a short list.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn names(listing: &Listing) -> Vec<&str> {
    listing.entries.iter().map(|entry| entry.name.as_str()).collect()
}

async fn unreadable(make: Make, provider: Provider, body: Value) {
    let server = Server::answering(200, body.clone()).await;
    let error = make.client(&server, access(provider)).list(no_pace()).await.expect_err(&body.to_string());
    assert_eq!((error.class, error.operation), (ErrorClass::Unreadable, Operation::List), "{body}");
}

async fn kelvin_reads_to_the_last_page_by_bookmark_and_by_path(make: Make) {
    let server = Server::start(|seen| {
        let page =
            |name: &str, next: Value| answer(200, json!({"data": [{"name": name}], "pagination": {"next_page": next}}));
        if seen.target.contains("next=b%2Fm%3D1") {
            page("two", json!("/api/v4/secrets/list?next=third&page_size=20"))
        } else if seen.target.contains("next=third") {
            page("three", Value::Null)
        } else {
            page("one", json!("b/m=1"))
        }
    })
    .await;
    let paces = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&paces);
    let pace: Pace = Arc::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::ready(()).boxed()
    });
    let listing = make.client(&server, kelvin_access()).list(pace).await.unwrap();
    assert_eq!(names(&listing), ["one", "two", "three"]);
    assert_eq!(paces.load(Ordering::SeqCst), 2, "each further page is paid for");
    let lines: Vec<_> = server.seen().iter().map(Seen::line).collect();
    assert_eq!(
        lines,
        [
            "GET /api/v4/secrets/list?pagination_type=cursor&page_size=1000",
            "GET /api/v4/secrets/list?pagination_type=cursor&page_size=1000&next=b%2Fm%3D1",
            "GET /api/v4/secrets/list?next=third&page_size=20&pagination_type=cursor",
        ]
    );
}

async fn kelvin_sends_its_token_to_no_other_host(make: Make) {
    let stranger = Server::answering(200, json!({"data": []})).await;
    for next in [format!("{}api?next=2", stranger.url), "//127.0.0.1:1/api?next=2".to_owned()] {
        let server =
            Server::start(move |_| answer(200, json!({"data": [{"name": "a"}], "pagination": {"next_page": next}})))
                .await;
        let error = make.client(&server, kelvin_access()).list(no_pace()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unreadable);
        assert_eq!(server.seen().len(), 1);
    }
    assert!(stranger.seen().is_empty());
}

async fn kelvin_pages_in_a_circle_are_no_list(make: Make) {
    let server = Server::answering(200, json!({"data": [{"name": "a"}], "pagination": {"next_page": "again"}})).await;
    let error = make.client(&server, kelvin_access()).list(no_pace()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreadable);
    assert_eq!(server.seen().len(), 2);
}

async fn kelvin_pages_without_end_are_no_list(make: Make) {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        answer(200, json!({"data": [{"name": "a"}], "pagination": {"next_page": format!("p{number}")}}))
    })
    .await;
    let error = make.client(&server, kelvin_access()).list(no_pace()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreadable);
    assert_eq!(server.seen().len(), 1000);
}

async fn kelvin_ends_at_two_empty_pages_and_takes_an_entry_seen_twice_for_one(make: Make) {
    let server = Server::start(|seen| {
        let empty = seen.target.contains("next=3") || seen.target.contains("next=4");
        let data = if empty { json!([]) } else { json!([{"name": "a"}]) };
        let next = if seen.target.contains("next=2") {
            "3"
        } else if seen.target.contains("next=3") {
            "4"
        } else if empty {
            "5"
        } else {
            "2"
        };
        answer(200, json!({"data": data, "pagination": {"next_page": next}}))
    })
    .await;
    let listing = make.client(&server, kelvin_access()).list(no_pace()).await.unwrap();
    assert_eq!(names(&listing), ["a"]);
    assert_eq!(server.seen().len(), 4, "one more is read after the first empty page: it may only be a hole");
}

async fn a_failing_later_page_fails_the_list(make: Make) {
    let server = Server::start(|seen| {
        if seen.target.contains("next=") {
            answer(500, json!({}))
        } else {
            answer(200, json!({"data": [{"name": "a"}], "pagination": {"next_page": "2"}}))
        }
    })
    .await;
    let error = make.client(&server, kelvin_access()).list(no_pace()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unavailable);
}

async fn an_answer_without_its_list_is_unreadable_not_empty(make: Make) {
    let full: Vec<_> = (0..1000).map(|n| json!({"name": format!("n{n}")})).collect();
    for body in [
        json!({}),
        json!([]),
        json!("x"),
        json!({"pagination": null}),
        json!({"data": null, "pagination": {"next_page": "x"}}),
        json!({"data": {}}),
        json!({"data": [{"created_by": "x"}]}),
        json!({"data": [{"name": ""}]}),
        json!({"data": [], "pagination": {"next_page": 7}}),
        json!({"data": full, "pagination": null}),
    ] {
        unreadable(make, Provider::Kelvin, body).await;
    }
    for body in [
        json!({}),
        json!({"secrets": null, "total": 0}),
        json!({"secrets": [], "total": 1}),
        json!({"secrets": [{"name": "A", "id": "1"}], "total": 0}),
        json!({"secrets": [], "total": "0"}),
        json!({"secrets": [{"name": "A"}], "total": 1}),
        json!({"secrets": [{"id": "1"}], "total": 1}),
    ] {
        unreadable(make, Provider::Dreadnode, body).await;
    }
    for body in [
        json!({}),
        json!({"secrets": null, "count": 0}),
        json!({"secrets": ["a"], "count": 2}),
        json!({"secrets": [""], "count": 1}),
        json!({"secrets": [{"secret_name": "a"}], "count": 1}),
    ] {
        unreadable(make, Provider::Mixpeek, body).await;
    }
}

async fn an_empty_list_is_a_list(make: Make) {
    for (provider, body) in [
        (Provider::Kelvin, json!({"data": [], "pagination": null})),
        (Provider::Dreadnode, json!({"secrets": [], "total": 0})),
        (Provider::Mixpeek, json!({"secrets": [], "count": 0})),
    ] {
        let server = Server::answering(200, body).await;
        let listing = make.client(&server, access(provider)).list(no_pace()).await.unwrap();
        assert_eq!(listing.entries, []);
    }
}

/// Whether it is to be believed depends on what should be in it.
async fn kelvin_may_say_null_for_an_empty_list(make: Make) {
    for body in [json!({"data": null, "pagination": null}), json!({"data": null, "pagination": {"next_page": null}})] {
        let server = Server::answering(200, body).await;
        let listing = make.client(&server, access(Provider::Kelvin)).list(no_pace()).await.unwrap();
        assert!(listing.entries.is_empty() && listing.is_null);
    }
    let server = Server::answering(200, json!({"data": [], "pagination": null})).await;
    assert!(!make.client(&server, access(Provider::Kelvin)).list(no_pace()).await.unwrap().is_null);
}

async fn dreadnode_names_are_listed_as_they_are_matched(make: Make) {
    let server = Server::answering(200, json!({"secrets": [{"name": "my_key", "id": "1"}], "total": 1})).await;
    let listing = make.client(&server, access(Provider::Dreadnode)).list(no_pace()).await.unwrap();
    assert_eq!(names(&listing), ["MY_KEY"]);
}

#[test]
fn stamps_of_one_instant_are_equal_whatever_their_spelling() {
    use crate::remote::stamp::{canonical, instant};
    let same =
        ["2026-04-15T12:00:00Z", "2026-04-15T12:00:00.000000Z", "2026-04-15T14:00:00+02:00", "2026-04-15T12:00:00"];
    for stamp in same {
        assert_eq!(canonical(stamp), canonical(same[0]), "{stamp}");
    }
    assert_ne!(canonical("2026-04-15T12:00:00.000001Z"), canonical(same[0]));
    for opaque in ["7", "v12", "2026", "20260415", "etag-\"x\""] {
        assert_eq!(canonical(opaque).as_deref(), Some(opaque));
        assert_eq!(instant(opaque), None);
    }
    assert_eq!(canonical(" "), None);
}

conformance!(
    kelvin_reads_to_the_last_page_by_bookmark_and_by_path,
    kelvin_sends_its_token_to_no_other_host,
    kelvin_pages_in_a_circle_are_no_list,
    kelvin_pages_without_end_are_no_list,
    kelvin_ends_at_two_empty_pages_and_takes_an_entry_seen_twice_for_one,
    a_failing_later_page_fails_the_list,
    an_answer_without_its_list_is_unreadable_not_empty,
    an_empty_list_is_a_list,
    kelvin_may_say_null_for_an_empty_list,
    dreadnode_names_are_listed_as_they_are_matched,
);
