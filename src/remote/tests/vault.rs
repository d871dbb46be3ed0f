//! Vault: the requests that go out, and what its answers mean. What a real server does is tested against one.

use super::*;

const PAST: &str = "2026-01-01T00:00:00Z";
const DENIED: &str = "1 error occurred:\n\t* permission denied\n\n";
const MISMATCH: &str = "check-and-set parameter did not match the current version";

pub(super) fn errors(status: u16, errors: &[&str]) -> Reply {
    answer(status, json!({"errors": errors}))
}

fn meta(version: u64, deleted: bool, uid: &str) -> Value {
    let deletion_time = if deleted { PAST } else { "" };
    json!({"current_version": version, "custom_metadata": {"vaultsecret.dev/uid": uid, "vaultsecret.dev/owner": "shop/app"},
           "versions": {version.to_string(): {"created_time": PAST, "deletion_time": deletion_time, "destroyed": false}}})
}

fn stored(version: u64) -> Reply {
    answer(200, json!({"data": {"version": version, "created_time": PAST}}))
}

/// A server that lets a token look at itself and at its mount, and answers the rest as the test says.
pub(super) async fn server(other: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |seen| match seen.target.as_str() {
        "/v1/auth/token/lookup-self" => answer(200, json!({"data": {"ttl": 3600, "renewable": true}})),
        target if target.starts_with("/v1/sys/internal/ui/mounts/") => {
            answer(200, json!({"data": {"type": "kv", "options": {"version": "2"}}}))
        }
        _ => other(seen),
    })
    .await
}

/// What the test's own part of the requests was.
fn lines(server: &Server) -> Vec<String> {
    let known = ["/v1/auth/token/lookup-self", "/v1/sys/internal/ui/mounts/kv/two"];
    server.seen().iter().filter(|seen| !known.contains(&seen.target.as_str())).map(Seen::line).collect()
}

fn vault(server: &Server) -> Arc<dyn Remote> {
    client(server, access(Provider::Vault))
}

fn seen_as(name: &str, version: &str) -> EntryRef {
    EntryRef { name: name.to_owned(), id: None, version: Some(version.to_owned()) }
}

fn value() -> SecretValue {
    r#"{"value":"v"}"#.into()
}

#[tokio::test]
async fn every_request_names_token_and_namespace() {
    let server = server(|_| stored(1)).await;
    let written = vault(&server).create("DB", &value()).await.unwrap();
    assert_eq!(written.version.as_deref(), Some("1@2026-01-01T00:00:00Z"));
    for seen in server.seen() {
        assert_eq!(seen.header("x-vault-token"), Some("hvs.abc"), "{}", seen.line());
        assert_eq!(seen.header("x-vault-namespace"), Some("team1"), "{}", seen.line());
        assert_eq!(seen.header("x-vault-request"), Some("true"), "{}", seen.line());
    }
    assert_eq!(lines(&server), ["POST /v1/kv/two/data/teams/shop/DB"]);
    let sent = server.seen().pop().unwrap();
    assert_eq!(sent.json(), json!({"options": {"cas": 0}, "data": {"value": "v"}}));
}

#[tokio::test]
async fn an_update_patches_with_the_version_that_it_was_decided_on() {
    let server = server(|_| stored(8)).await;
    let written = vault(&server).update(&seen_as("DB", "7@2026-01-01T00:00:00Z"), &value()).await.unwrap();
    assert_eq!(written.version.as_deref(), Some("8@2026-01-01T00:00:00Z"));
    let sent = server.seen().pop().unwrap();
    assert_eq!(sent.line(), "PATCH /v1/kv/two/data/teams/shop/DB");
    assert_eq!(sent.header("content-type"), Some("application/merge-patch+json"));
    assert_eq!(sent.json(), json!({"options": {"cas": 7}, "data": {"value": "v"}}));
}

#[tokio::test]
async fn an_update_writes_the_whole_entry_where_patches_are_not_allowed() {
    for refusal in [403, 405] {
        let server = server(move |seen| match seen.method.as_str() {
            "PATCH" => errors(refusal, &[DENIED]),
            _ => stored(8),
        })
        .await;
        vault(&server).update(&seen_as("DB", "7@x"), &value()).await.unwrap();
        assert_eq!(lines(&server), ["PATCH /v1/kv/two/data/teams/shop/DB", "POST /v1/kv/two/data/teams/shop/DB"]);
        assert_eq!(server.seen().pop().unwrap().json()["options"]["cas"], 7);
    }
}

#[tokio::test]
async fn an_update_of_an_unknown_version_looks_first() {
    let live = server(|seen| match seen.method.as_str() {
        "GET" => answer(200, json!({"data": meta(5, false, "")})),
        _ => stored(6),
    })
    .await;
    vault(&live).update(&entry("DB", None), &value()).await.unwrap();
    assert_eq!(live.seen().pop().unwrap().json()["options"]["cas"], 5);
    for gone in [answer(200, json!({"data": meta(5, true, "")})), errors(404, &[])] {
        let gone = Mutex::new(Some(gone));
        let server = server(move |_| gone.lock().unwrap().take().unwrap()).await;
        let error = vault(&server).update(&entry("DB", None), &value()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::NotFound, "it is created instead");
    }
}

#[tokio::test]
async fn check_and_set_tells_a_taken_name_from_a_moved_version() {
    let taken = server(|seen| match seen.method.as_str() {
        "GET" => answer(200, json!({"data": meta(5, false, "")})),
        _ => errors(400, &[MISMATCH]),
    })
    .await;
    let remote = vault(&taken);
    assert_eq!(remote.create("DB", &value()).await.unwrap_err().class, ErrorClass::Exists);
    let stale = remote.update(&seen_as("DB", "4@x"), &value()).await.unwrap_err();
    assert_eq!((stale.class, stale.certainty()), (ErrorClass::Stale, Certainty::Clean));
    let server = server(|_| errors(400, &["no data provided"])).await;
    assert_eq!(vault(&server).create("DB", &value()).await.unwrap_err().class, ErrorClass::Invalid);
}

#[tokio::test]
async fn a_deleted_entry_is_created_as_its_next_version() {
    let server = server(|seen| match (seen.method.as_str(), seen.body.contains("\"cas\":0")) {
        ("GET", _) => answer(200, json!({"data": meta(5, true, "")})),
        (_, true) => errors(400, &[MISMATCH]),
        _ => stored(6),
    })
    .await;
    let written = vault(&server).create("DB", &value()).await.unwrap();
    assert_eq!(written.version.as_deref(), Some("6@2026-01-01T00:00:00Z"));
    assert_eq!(server.seen().pop().unwrap().json()["options"]["cas"], 5);
}

#[tokio::test]
async fn a_create_whose_question_fails_leaves_no_doubt() {
    let server = server(|seen| match seen.method.as_str() {
        "GET" => errors(500, &["internal error"]),
        _ => errors(400, &[MISMATCH]),
    })
    .await;
    let error = vault(&server).create("DB", &value()).await.unwrap_err();
    assert_eq!((error.class, error.certainty()), (ErrorClass::RefusedClean, Certainty::Clean));
}

#[tokio::test]
async fn a_delete_is_for_good_where_that_is_allowed() {
    let all = server(|_| raw(204, "")).await;
    vault(&all).delete(&entry("DB", None)).await.unwrap();
    assert_eq!(lines(&all), ["DELETE /v1/kv/two/metadata/teams/shop/DB"]);
    let latest = server(|seen| match seen.target.contains("/metadata/") {
        true => errors(403, &[DENIED]),
        false => raw(204, ""),
    })
    .await;
    vault(&latest).delete(&entry("DB", None)).await.unwrap();
    let none = server(|_| errors(403, &[DENIED])).await;
    let error = vault(&none).delete(&entry("DB", None)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Forbidden);
    let both = ["DELETE /v1/kv/two/metadata/teams/shop/DB", "DELETE /v1/kv/two/data/teams/shop/DB"];
    assert_eq!((lines(&latest), lines(&none)), (both.map(str::to_owned).into(), both.map(str::to_owned).into()));
}

#[tokio::test]
async fn a_delete_names_the_version_that_it_was_decided_on() {
    for (now, deleted, outcome) in
        [(2, false, Ok(())), (3, false, Err(ErrorClass::Stale)), (2, true, Err(ErrorClass::NotFound))]
    {
        let server = server(move |seen| match seen.method.as_str() {
            "GET" => answer(200, json!({"data": meta(now, deleted, "")})),
            _ => raw(204, ""),
        })
        .await;
        let done = vault(&server).delete(&seen_as("DB", "2@2026-01-01T00:00:00Z")).await;
        assert_eq!(done.map_err(|error| error.class), outcome, "{now} {deleted}");
        assert_eq!(lines(&server).len(), if outcome.is_ok() { 2 } else { 1 }, "{:?}", lines(&server));
    }
    // What a policy hides cannot be looked at; what fails is tried again.
    for (status, told, outcome) in [(403, DENIED, Ok(())), (500, "x", Err(ErrorClass::RefusedClean))] {
        let server = server(move |seen| match seen.method.as_str() {
            "GET" => errors(status, &[told]),
            _ => raw(204, ""),
        })
        .await;
        let done = vault(&server).delete(&seen_as("DB", "2@2026-01-01T00:00:00Z")).await;
        assert_eq!(done.map_err(|error| error.class), outcome);
    }
}

fn naming(names: &'static [&'static str]) -> Named {
    Arc::new(move || names.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test]
async fn a_plain_list_looks_at_what_is_named_alone() {
    let server = server(|seen| match seen.target.as_str() {
        target if target.contains("/detailed-metadata/") => errors(403, &[DENIED]),
        "/v1/kv/two/metadata/teams/shop?list=true" => {
            answer(200, json!({"data": {"keys": ["a", "a/", "b", "deleted", "denied", "folder/", "gone"]}}))
        }
        target if target.ends_with("/deleted") => answer(200, json!({"data": meta(3, true, "")})),
        target if target.ends_with("/denied") => errors(403, &[DENIED]),
        target if target.ends_with("/gone") => errors(404, &[]),
        _ => answer(200, json!({"data": meta(2, false, "u-1")})),
    })
    .await;
    let remote = vault(&server);
    let paced = Arc::new(Mutex::new(0));
    let count = Arc::clone(&paced);
    let pace: Pace = Arc::new(move || {
        *count.lock().unwrap() += 1;
        std::future::ready(()).boxed()
    });
    let listing =
        remote.list_naming(Arc::clone(&pace), naming(&["a", "deleted", "denied", "gone", "new"])).await.unwrap();
    assert_eq!(listing.unread, ["b".to_owned()].into());
    let shown: Vec<_> = listing.entries.iter().map(|e| (e.name.as_str(), e.version.as_deref())).collect();
    assert_eq!(shown, [("a", Some("2@2026-01-01T00:00:00Z")), ("denied", None)]);
    let owner = Owner { name: "shop/app".to_owned(), uid: "u-1".to_owned() };
    assert_eq!(listing.entries[0].owner, Some(owner));
    let requests = server.seen().len() - 1;
    assert_eq!(*paced.lock().unwrap(), requests - 1, "every request after the first is paid for; a login is not");
    let before = server.seen().len();
    remote.list_naming(pace, naming(&[])).await.unwrap();
    assert_eq!(server.seen().len(), before + 1, "mount and list with details are not asked for again");
}

#[tokio::test]
async fn a_policy_that_shows_no_metadata_is_told() {
    let server = server(|seen| match seen.target.ends_with("metadata/teams/shop?list=true") {
        true => answer(200, json!({"data": {"keys": ["a"]}})),
        false => errors(403, &[DENIED]),
    })
    .await;
    let error = vault(&server).list_naming(no_pace(), naming(&["a"])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Forbidden);
}

#[tokio::test]
async fn a_list_with_details_is_one_request_a_page() {
    let server = server(|seen| {
        let from: usize = seen.target.split("after=k").nth(1).map_or(0, |from| from.parse::<usize>().unwrap() + 1);
        let keys: Vec<String> = (from..1500.min(from + 1000)).map(|n| format!("k{n}")).collect();
        let info: serde_json::Map<_, _> = keys.iter().map(|key| (key.clone(), meta(2, key == "k1", ""))).collect();
        answer(200, json!({"data": {"keys": keys, "key_info": info}}))
    })
    .await;
    let listing = vault(&server).list(no_pace()).await.unwrap();
    assert_eq!((listing.entries.len(), listing.unread.len()), (1499, 0), "one is deleted");
    assert_eq!(
        lines(&server),
        [
            "GET /v1/kv/two/detailed-metadata/teams/shop?list=true&limit=1000",
            "GET /v1/kv/two/detailed-metadata/teams/shop?list=true&limit=1000&after=k999",
        ]
    );
}

#[tokio::test]
async fn an_empty_folder_is_no_missing_mount() {
    let empty = server(|_| errors(404, &[])).await;
    assert_eq!(vault(&empty).list(no_pace()).await.unwrap().entries, []);
    for said in ["no handler for route \"kv/two/\". route entry not found.", "namespace not found"] {
        let nothing = server(move |_| errors(404, &[said])).await;
        let remote = vault(&nothing);
        for operation in [Operation::List, Operation::Create, Operation::Update, Operation::Delete] {
            let error = attempt(&remote, operation).await.unwrap_err();
            assert_eq!(error.class, ErrorClass::Refused, "{operation:?} of nothing is not \"gone\"");
            assert!(error.message.contains("namespace and mount"), "{error}");
        }
    }
}

#[tokio::test]
async fn another_engine_is_told_before_anything_is_written() {
    for (mount, said) in [
        (json!({"type": "kv", "options": {"version": "1"}}), "KV engine of version 1"),
        (json!({"type": "transit", "options": null}), "no KV engine"),
    ] {
        let server = Server::answering(200, json!({"data": mount})).await;
        let error = vault(&server).list(no_pace()).await.unwrap_err();
        assert!(error.message.contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_takes_nothing_has_stored_nothing() {
    for (status, said, class) in [
        (503, &["Vault is sealed"][..], ErrorClass::RefusedClean),
        (503, &[], ErrorClass::Unavailable),
        (472, &[], ErrorClass::RefusedClean),
        (473, &[], ErrorClass::RefusedClean),
        (412, &["required index state not present"], ErrorClass::RefusedClean),
        (429, &["request path \"kv\": rate limit quota exceeded"], ErrorClass::RateLimited),
        (500, &["internal error"], ErrorClass::Unavailable),
        (403, &[DENIED], ErrorClass::Forbidden),
    ] {
        let server = server(move |_| errors(status, said)).await;
        let error = attempt(&vault(&server), Operation::Create).await.unwrap_err();
        assert_eq!((error.class, error.status), (class, Some(status)), "{said:?}");
    }
}

#[tokio::test]
async fn a_mark_is_a_patch_that_is_not_tried_twice_where_it_is_refused() {
    let owner = Owner { name: "shop/app".to_owned(), uid: "u-1".to_owned() };
    let marking = server(|_| raw(204, "")).await;
    vault(&marking).mark(&entry("DB", None), &owner).await.unwrap();
    let sent = marking.seen().pop().unwrap();
    assert_eq!(sent.line(), "PATCH /v1/kv/two/metadata/teams/shop/DB");
    let marks = json!({"vaultsecret.dev/owner": "shop/app", "vaultsecret.dev/uid": "u-1"});
    assert_eq!(sent.json(), json!({"custom_metadata": marks}));
    let server = server(|_| errors(403, &[DENIED])).await;
    let remote = vault(&server);
    for _ in 0..2 {
        remote.mark(&entry("DB", None), &owner).await.unwrap();
    }
    assert_eq!(lines(&server).len(), 1);
}

#[tokio::test]
async fn several_fields_are_one_write_and_a_null_takes_one_away() {
    let fields = SecretValue::from(r#"{"password":"p\"w","user":"u","old":null}"#);
    let patching = server(|_| stored(8)).await;
    vault(&patching).update(&seen_as("DB", "7@x"), &fields).await.unwrap();
    let sent = patching.seen().pop().unwrap().json();
    assert_eq!(sent["data"], json!({"password": "p\"w", "user": "u", "old": null}));
    let whole = server(|seen| match seen.method.as_str() {
        "PATCH" => errors(403, &[DENIED]),
        _ => stored(8),
    })
    .await;
    vault(&whole).update(&seen_as("DB", "7@x"), &fields).await.unwrap();
    assert_eq!(whole.seen().pop().unwrap().json()["data"], json!({"password": "p\"w", "user": "u"}));
    let error = vault(&whole).create("DB", &"no object".into()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid);
}
