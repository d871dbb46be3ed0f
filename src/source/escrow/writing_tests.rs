//! What is read from the API server and written there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use super::tests::{NOW, kept, owner, planned, retain, stored, wanted};
use super::*;
use crate::api::vault_secret::DeletionPolicy;
use crate::source::fake_api::FakeApi;

/// Of entries, this is known.
struct Settled<'a>(&'a (dyn Fn(&EntryId) -> bool + Sync));

impl Witness for Settled<'_> {
    fn is_settled(&self, entry: &EntryId) -> bool {
        (self.0)(entry)
    }

    async fn salvage(&self, _: &[String]) -> Result<BTreeMap<String, SecretValue>, ApiError> {
        Ok(BTreeMap::new())
    }
}

/// These values can be had from elsewhere.
#[derive(Default)]
struct Elsewhere {
    values: BTreeMap<String, SecretValue>,
    asked: std::sync::Mutex<Vec<Vec<String>>>,
}

impl Witness for Elsewhere {
    fn is_settled(&self, _: &EntryId) -> bool {
        false
    }

    async fn salvage(&self, lost: &[String]) -> Result<BTreeMap<String, SecretValue>, ApiError> {
        self.asked.lock().unwrap().push(lost.to_vec());
        Ok(self.values.clone())
    }
}

#[tokio::test]
async fn what_is_returned_is_what_the_api_server_holds() {
    let api = FakeApi::start().await;
    let first = ensure(api.client(), &retain(), &[wanted("A", 1)], &(), NOW).await.unwrap();
    assert!(first.wrote);
    assert_eq!(api.requests(), ["GET checkout-escrow", "POST checkout-escrow"]);
    let again = ensure(api.client(), &retain(), &[wanted("A", 1)], &(), NOW).await.unwrap();
    assert!(!again.wrote);
    assert_eq!((again.values, again.resource_version), (first.values, first.resource_version));
    assert_eq!(api.requests().len(), 3, "one read and no write");
}

/// One data key is removed by hand: its value is had back from elsewhere, and the other is as it was.
#[tokio::test]
async fn a_lost_key_is_salvaged() {
    let api = FakeApi::start().await;
    let both = [wanted("A", 1), wanted("B", 1)];
    let first = ensure(api.client(), &retain(), &both, &(), NOW).await.unwrap();
    let lose = |key: &str| {
        let mut object = api.get("secrets", "shop", "checkout-escrow").unwrap();
        object["data"].as_object_mut().unwrap().remove(key).unwrap();
        api.put("secrets", object);
    };
    lose("A");
    let witness = Elsewhere { values: first.values.clone(), ..Elsewhere::default() };
    let second = ensure(api.client(), &retain(), &both, &witness, NOW).await.unwrap();
    assert_eq!(second.values, first.values);
    assert_eq!(*witness.asked.lock().unwrap(), [["A".to_owned()]], "asked for what is lost, once");
    ensure(api.client(), &retain(), &both, &witness, NOW).await.unwrap();
    assert_eq!(witness.asked.lock().unwrap().len(), 1, "not where nothing is lost");

    // What cannot be had back is made anew, as for an escrow that is lost as a whole.
    lose("B");
    let third = ensure(api.client(), &retain(), &both, &(), NOW).await.unwrap();
    assert!(third.values["A"] == first.values["A"] && third.values["B"] != first.values["B"]);

    // Nor is an old value passed off as one of another epoch.
    lose("A");
    let fourth = ensure(api.client(), &retain(), &[wanted("A", 2), wanted("B", 1)], &witness, NOW).await.unwrap();
    assert!(fourth.values["A"] != first.values["A"] && fourth.values["B"] == third.values["B"]);
    assert_eq!(witness.asked.lock().unwrap().len(), 1);
}

/// An entry that was picked up with the escrow is ours without being taken over until it is in our own ledger, or gone; not
/// whenever somebody makes one of that name.
#[tokio::test]
async fn what_was_inherited_is_inherited_once() {
    let api = FakeApi::start().await;
    let both = [wanted("A", 1), wanted("B", 1)];
    ensure(api.client(), &retain(), &both, &(), NOW).await.unwrap();
    let second = owner("uid-2", DeletionPolicy::Retain);
    let not_held = both.clone().map(|value| WantedValue { entries: Vec::new(), ..value });
    let inherited = async |settled: &(dyn Fn(&EntryId) -> bool + Sync)| {
        let held = ensure(api.client(), &second, &not_held, &Settled(settled), NOW).await.unwrap();
        held.made_for_entries.into_iter().map(|entry| entry.remote_name).collect::<Vec<_>>()
    };
    assert_eq!(inherited(&|_| false).await, ["A", "B"]);
    assert_eq!(inherited(&|entry| entry.remote_name == "A").await, ["B"]);
    assert_eq!(inherited(&|_| false).await, ["B"], "it stays so");
    api.forget();
    give_up(api.client(), &second, &|entry| entry.remote_name == "A").await.unwrap();
    assert_eq!(api.requests(), ["GET checkout-escrow"], "nothing is to be written");
    give_up(api.client(), &second, &|entry| entry.remote_name == "B").await.unwrap();
    assert_eq!(inherited(&|_| false).await, Vec::<String>::new());
    // Not from somebody else's Secret, and none where there is none.
    give_up(api.client(), &retain(), &|_| true).await.unwrap();
    let nobody = Owner { name: "nobody".to_owned(), ..second.clone() };
    give_up(api.client(), &nobody, &|_| true).await.unwrap();
}

/// C13: two writers, one epoch. Whoever comes second takes what the first made.
#[tokio::test]
async fn two_writers_make_one_value() {
    let api = FakeApi::start().await;
    let theirs = stored(planned(None, &[wanted("A", 1)], &retain(), 42).unwrap().step);
    let value = kept(&theirs, &[wanted("A", 1)], &retain()).values["A"].clone();
    let object = serde_json::to_value(&theirs).unwrap();
    api.before_next("POST", move |store| store.put("secrets", object));
    let ours = ensure(api.client(), &retain(), &[wanted("A", 1)], &(), NOW).await.unwrap();
    assert_eq!(ours.values["A"], value);
    assert!(!ours.wrote);

    // The same for a rotation: the guard refuses ours.
    let theirs = stored(planned(Some(&theirs), &[wanted("A", 2)], &retain(), 43).unwrap().step);
    let value = kept(&theirs, &[wanted("A", 2)], &retain()).values["A"].clone();
    let object = serde_json::to_value(&theirs).unwrap();
    api.before_next("PUT", move |store| store.put("secrets", object));
    let ours = ensure(api.client(), &retain(), &[wanted("A", 2)], &(), NOW).await.unwrap();
    assert_eq!(ours.values["A"], value);
    assert!(!ours.wrote);

    // And at the same time, as often as one likes.
    let many = (0..8).map(|_| async { ensure(api.client(), &retain(), &[wanted("A", 3)], &(), NOW).await });
    let values: Vec<_> = futures::future::join_all(many).await.into_iter().map(|e| e.unwrap().values).collect();
    assert!(values.iter().all(|v| *v == values[0]));
}

#[tokio::test]
async fn a_write_without_an_answer_gives_no_value() {
    let api = FakeApi::start().await;
    api.fail_next("POST", 500, "hunter2");
    let error = ensure(api.client(), &retain(), &[wanted("A", 1)], &(), NOW).await.unwrap_err();
    assert!(matches!(&error, EscrowError::Api(e) if e.failure == ApiFailure::Unavailable), "{error:?}");
    assert_eq!(
        error.to_string(),
        "cannot create escrow Secret \"checkout-escrow\" in namespace shop: the API server could not serve the request (status 500)"
    );
}
