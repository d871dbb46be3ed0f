//! Kelvin's pages.

use devkit::remotes::{Action, Fault, Kelvin, KelvinOptions, Op};
use serde_json::{Value, json};

use super::answer;
use super::kelvin::Session;

fn fill(kelvin: &Kelvin, count: usize) {
    for number in 0..count {
        kelvin.foreign_put(&format!("name-{number:03}"), "v");
    }
}

fn names(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

async fn all(session: &Session, query: &str) -> Vec<String> {
    let mut page = answer(session.list(&format!("?{query}"))).await.1;
    let mut found = names(&page);
    while let Some(next) = page["pagination"]["next_page"].as_str() {
        page = answer(session.list(&format!("?{query}&next={next}"))).await.1;
        found.extend(names(&page));
    }
    found
}

#[tokio::test]
async fn twenty_entries_make_a_page_and_bookmarks_lead_on_and_back() {
    let session = Session::start(KelvinOptions::default()).await;
    fill(&session.kelvin, 45);
    let first = answer(session.list("")).await.1;
    assert_eq!((names(&first).len(), &first["pagination"]["previous_page"]), (20, &Value::Null));
    assert_eq!(all(&session, "direction=asc").await.len(), 45);
    let next = first["pagination"]["next_page"].as_str().unwrap();
    let second = answer(session.list(&format!("?next={next}"))).await.1;
    let previous = second["pagination"]["previous_page"].as_str().unwrap();
    assert_eq!(names(&answer(session.list(&format!("?previous={previous}"))).await.1), names(&first));
    let pages: Vec<_> = session.kelvin.requests().iter().map(|request| request.page).collect();
    assert_eq!(pages, [1, 1, 2, 3, 2, 1].map(Some));
}

#[tokio::test]
async fn a_page_holds_as_many_as_asked_and_an_entry_that_goes_shifts_nothing() {
    let session = Session::start(KelvinOptions::default()).await;
    fill(&session.kelvin, 5);
    let first = answer(session.list("?page_size=2")).await.1;
    session.kelvin.foreign_delete("name-000");
    let next = first["pagination"]["next_page"].as_str().unwrap();
    let second = answer(session.list(&format!("?page_size=2&next={next}"))).await.1;
    assert_eq!(names(&second), ["name-002", "name-003"]);
    assert_eq!(all(&session, "page_size=10000").await.len(), 4);
    assert_eq!(all(&session, "page_size=1&direction=desc&sort_by=created").await.first().unwrap(), "name-004");
}

#[tokio::test]
async fn a_bookmark_can_be_a_path() {
    let session = Session::start(KelvinOptions { path_bookmarks: true, ..KelvinOptions::default() }).await;
    fill(&session.kelvin, 25);
    let first = answer(session.list("?search=name-0&page_size=15")).await.1;
    let path = first["pagination"]["next_page"].as_str().unwrap();
    assert!(path.starts_with("/api/v4/secrets/list?search=name%2D0&"), "{path}");
    let second =
        answer(session.http.get(format!("{}{path}", session.kelvin.url())).bearer_auth(&session.token)).await.1;
    assert_eq!((names(&second).len(), &second["pagination"]["next_page"]), (10, &Value::Null));
}

#[tokio::test]
async fn pages_can_be_numbered() {
    let session = Session::start(KelvinOptions::default()).await;
    fill(&session.kelvin, 5);
    let page = answer(session.list("?pagination_type=limits&page_size=2&page=3")).await.1;
    assert_eq!(names(&page), ["name-004"]);
    assert_eq!(page["pagination"], json!({ "page_size": 2, "page": 3, "total_pages": 3, "total_items": 5 }));
    assert_eq!(answer(session.list("?pagination_type=limits&page=0")).await.0, 400);
}

#[tokio::test]
async fn a_search_finds_parts_of_names() {
    let session = Session::start(KelvinOptions::default()).await;
    for name in ["db", "db-prod", "my-db", "other", "cache"] {
        session.kelvin.foreign_put(name, "v");
    }
    assert_eq!(names(&answer(session.list("?search=db")).await.1), ["db", "db-prod", "my-db"]);
    assert_eq!(names(&answer(session.list("?search=db-&search=cache")).await.1), ["cache", "db-prod"]);
    let next = answer(session.list("?search=db&page_size=1")).await.1["pagination"]["next_page"].clone();
    let stray = format!("?next={}", next.as_str().unwrap());
    assert_eq!(answer(session.list(&stray)).await.0, 400, "the filter must be sent again");
}

#[tokio::test]
async fn an_empty_page_can_be_null() {
    let session = Session::start(KelvinOptions { null_data: true, ..KelvinOptions::default() }).await;
    assert_eq!(answer(session.list("")).await.1["data"], Value::Null);
    session.kelvin.foreign_put("a", "v");
    assert_eq!(names(&answer(session.list("")).await.1), ["a"]);
}

#[tokio::test]
async fn the_second_page_can_fail() {
    let session = Session::start(KelvinOptions::default()).await;
    fill(&session.kelvin, 30);
    session.kelvin.faults.add(Fault::new(Action::status(500)).on(Op::List).page(2).times(1));
    let (status, first) = answer(session.list("")).await;
    let next = format!("?next={}", first["pagination"]["next_page"].as_str().unwrap());
    assert_eq!((status, answer(session.list(&next)).await.0), (200, 500));
    let (status, second) = answer(session.list(&next)).await;
    assert_eq!((status, names(&second).len()), (200, 10));
    assert_eq!((session.kelvin.lists(), session.kelvin.count(Op::List)), (1, 3));
}
