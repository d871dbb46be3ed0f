//! Behaviour 33 as far as it needs no restart: generated values and their escrow.

use serde_json::json;

use crate::common::{Kind, Object, Remote, Scene, Synced, for_each_remote, generated, inline};

/// A VaultSecret `app` with a generated password that is in sync.
pub async fn password(scene: &Scene, remote: std::sync::Arc<Remote>, policy: &str) -> Synced {
    let kind = remote.kind();
    let entry = kind.name("password");
    let spec = json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": policy,
                      "data": [generated("PASSWORD", &entry, 1)]});
    scene.vault_secret("app", spec).await;
    let object = scene.ready("app").await;
    let value = remote.value(&entry).expect("Ready means that the remote has it");
    scene.secret_text(&value);
    scene.secret_has("app", "PASSWORD", &value).await;
    Synced { remote, entry, value, object }
}

async fn b33_epoch_makes_one_new_value(kind: Kind) {
    let scene = Scene::new("b33").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let first = password(&scene, remote, "Retain").await;
    assert_eq!(first.value.chars().count(), 24);
    assert!(scene.expect("Secret", "app-escrow").await.values().contains(&first.value));

    scene.edit("app", json!({"data": [generated("PASSWORD", &first.entry, 2)]})).await;
    scene.ready("app").await;
    let second = first.remote.value(&first.entry).unwrap();
    scene.secret_text(&second);
    assert_ne!(second, first.value);
    scene.secret_has("app", "PASSWORD", &second).await;
    let kept = scene.expect("Secret", "app-escrow").await.values();
    assert!(kept.contains(&first.value) && kept.contains(&second), "the previous one is kept");

    // Neither an edit of something else nor a lost Secret makes another.
    scene.edit("app", json!({"driftPolicy": "Report"})).await;
    scene.ready("app").await;
    scene.delete("Secret", "app").await;
    scene.secret_has("app", "PASSWORD", &second).await;
    scene.two_more_probes(&first.remote).await;
    assert_eq!(first.remote.history(&first.entry), [first.value, second]);
}

/// An escrow deleted by hand is rebuilt from the Secret.
async fn b33_escrow_is_rebuilt(kind: Kind) {
    let scene = Scene::new("b33-rebuilt").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let made = password(&scene, remote, "Retain").await;
    let before = scene.expect("Secret", "app-escrow").await;
    scene.delete("Secret", "app-escrow").await;
    let rebuilt = |escrow: &Object| escrow.uid() != before.uid() && escrow.values().contains(&made.value);
    scene.until("Secret", "app-escrow", "is rebuilt", rebuilt).await;
    scene.ready("app").await;
    assert_eq!(made.remote.history(&made.entry), [made.value]);
}

/// One key of it removed by hand comes back from the Secret, too; and where the Secret was changed as well, nothing is taken from
/// there.
async fn b33_lost_key_is_salvaged(kind: Kind) {
    let scene = Scene::new("b33-key").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let made = password(&scene, remote, "Retain").await;
    let lose = async || scene.patch("Secret", "app-escrow", json!({"data": {"PASSWORD": null}})).await;
    lose().await;
    scene.secret_has("app-escrow", "PASSWORD", &made.value).await;
    scene.ready("app").await;
    scene.two_more_probes(&made.remote).await;
    assert_eq!(made.remote.history(&made.entry), [made.value.as_str()]);

    scene.edit("app", json!({"suspend": true})).await;
    scene.not_ready("app", "Suspended").await;
    scene.patch("Secret", "app", json!({"stringData": {"PASSWORD": "of somebody"}})).await;
    lose().await;
    scene.edit("app", json!({"suspend": false})).await;
    scene.ready("app").await;
    let new = made.remote.value(&made.entry).unwrap();
    scene.secret_text(&new);
    assert!(new != "of somebody" && new != made.value);
    scene.secret_has("app", "PASSWORD", &new).await;
}

/// Under Retain a VaultSecret of the same name picks up the value and the entries that it was made for.
async fn b33_escrow_outlives_its_object_under_retain(kind: Kind) {
    let scene = Scene::new("b33-retain").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let made = password(&scene, remote, "Retain").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    scene.gone("Secret", "app").await;
    assert!(scene.expect("Secret", "app-escrow").await.values().contains(&made.value));
    let again = password(&scene, std::sync::Arc::clone(&made.remote), "Retain").await;
    assert_eq!(again.value, made.value);
    assert!(made.remote.history(&made.entry).iter().all(|value| *value == made.value));
}

/// An entry that was taken over is known to the next of this name like one that was made.
async fn b33_entry_that_was_taken_over_is_inherited(kind: Kind) {
    let scene = Scene::new("b33-taken").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let entry = kind.name("password");
    remote.foreign_put(&entry, "theirs");
    let spec = |policy: &str| {
        json!({"connectionRef": {"name": kind.member()}, "adoptionPolicy": policy,
               "data": [generated("PASSWORD", &entry, 1)]})
    };
    scene.vault_secret("app", spec("TakeOver")).await;
    scene.ready("app").await;
    let value = remote.value(&entry).unwrap();
    scene.secret_text(&value);
    assert_ne!(value, "theirs");
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    scene.vault_secret("app", spec("Refuse")).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&entry), Some(value));
}

/// What was picked up with an escrow is ours once: forgotten after that, it is somebody else's like any other.
async fn b33_inherited_entry_is_inherited_once(kind: Kind) {
    let scene = Scene::new("b33-once").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let made = password(&scene, remote, "Retain").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    let again = password(&scene, std::sync::Arc::clone(&made.remote), "Retain").await;
    let calls = made.remote.write_calls();
    scene.edit("app", json!({"data": [inline("OTHER", &kind.name("other"), "a value")]})).await;
    let without = |app: &Object| app.is_ready() && app.row(&made.entry).is_none();
    scene.until("VaultSecret", "app", "has forgotten the entry", without).await;
    made.remote.foreign_put(&made.entry, "theirs");
    scene.edit("app", json!({"data": [generated("PASSWORD", &made.entry, 1)]})).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    scene.two_more_probes(&made.remote).await;
    assert_eq!(made.remote.value(&made.entry).as_deref(), Some("theirs"));
    assert_eq!(made.remote.write_calls(), calls + 1, "nothing but the other key");
    assert!(scene.expect("Secret", "app-escrow").await.values().contains(&again.value), "its value is kept");
}

async fn b33_escrow_goes_under_delete(kind: Kind) {
    let scene = Scene::new("b33-delete").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let made = password(&scene, remote, "Delete").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    scene.gone("Secret", "app-escrow").await;
    assert_eq!(made.remote.value(&made.entry), None);
}

/// A Secret of the escrow's name that is somebody else's is not taken for one.
#[tokio::test]
async fn b33_foreign_secret_is_no_escrow() {
    let scene = Scene::new("b33-foreign").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let theirs = scene.source("app-escrow", &[("PASSWORD", "of somebody")]).await;
    let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [generated("PASSWORD", "password", 1)]});
    scene.vault_secret("app", spec).await;
    let told = |app: &Object| app.ready().status == "False" && app.ready().message.contains("app-escrow");
    scene.until("VaultSecret", "app", "names the Secret that is in the way", told).await;
    assert_eq!(scene.expect("Secret", "app-escrow").await, theirs);
    assert_eq!(remote.write_calls(), 0);
}

/// The kinds of value, and what is asked of them.
async fn b33_kinds_of_value(kind: Kind) {
    let scene = Scene::new("b33-kinds").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let policy = json!({"length": 40, "digits": 5, "symbols": 3, "symbolCharacters": "-_", "noUpper": true,
                        "allowRepeat": true});
    let kinds = [
        ("PASSWORD", json!({"password": policy})),
        ("UUID", json!({"uuid": {}})),
        ("BYTES", json!({"bytes": {"length": 16, "encoding": "Hex"}})),
    ];
    let data = kinds.map(|(key, generate)| {
        json!({"key": key, "remoteName": kind.name(&key.to_lowercase()), "valueFrom": {"generate": generate}})
    });
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    let value = |key: &str| {
        let value = remote.value(&kind.name(&key.to_lowercase())).unwrap();
        scene.secret_text(&value);
        value
    };
    let (password, uuid, bytes) = (value("PASSWORD"), value("UUID"), value("BYTES"));
    let number = |wanted: fn(&char) -> bool| password.chars().filter(wanted).count();
    assert_eq!(password.len(), 40);
    assert_eq!(number(char::is_ascii_digit), 5);
    assert_eq!(number(|c| "-_".contains(*c)), 3);
    assert_eq!(number(char::is_ascii_lowercase), 32);
    assert_eq!(uuid::Uuid::parse_str(&uuid).unwrap().get_version_num(), 4);
    assert!(bytes.len() == 32 && bytes.chars().all(|c| c.is_ascii_hexdigit()));
    for (key, value) in [("PASSWORD", &password), ("UUID", &uuid), ("BYTES", &bytes)] {
        scene.secret_has("app", key, value).await;
    }
}

/// A value that is only shown is kept in the escrow as well.
#[tokio::test]
async fn b33_value_that_is_not_pushed() {
    let scene = Scene::new("b33-shown").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let mut data = [generated("SHOWN", "shown", 1), inline("VALUE", "the-value", "a value")];
    data[0]["push"] = json!(false);
    scene.vault_secret("app", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    scene.ready("app").await;
    let shown = scene.expect("Secret", "app").await.secret_value("SHOWN").unwrap();
    scene.delete("Secret", "app").await;
    let restored = |secret: &Object| secret.secret_value("SHOWN").as_ref() == Some(&shown);
    scene.until("Secret", "app", "shows the same value", restored).await;
    assert_eq!(remote.value("shown"), None);
}

/// The defaults do for every length; a policy that cannot be met is refused in one sentence.
#[tokio::test]
async fn b33_long_passwords_by_default() {
    let scene = Scene::new("b33-long").await;
    let remote = scene.remote(Kind::Dreadnode).await;
    scene.connect(&remote).await;
    let password =
        |key: &str, policy: serde_json::Value| json!({"key": key, "valueFrom": {"generate": {"password": policy}}});
    let lengths = [1, 41, 64, 100, 1024];
    let data: Vec<_> =
        lengths.iter().map(|length| password(&format!("P{length}"), json!({"length": length}))).collect();
    scene.vault_secret("app", json!({"connectionRef": {"name": "dreadnode"}, "data": data})).await;
    scene.ready("app").await;
    for length in lengths {
        let value = remote.value(&format!("P{length}")).unwrap();
        // A single character is everywhere.
        if length > 1 {
            scene.secret_text(&value);
        }
        assert_eq!(value.chars().count(), length);
    }
    let data = json!([password("P", json!({"length": 64, "digits": 16, "allowRepeat": false}))]);
    let spec = json!({"connectionRef": {"name": "dreadnode"}, "data": data});
    let refused =
        scene.try_create("VaultSecret", "refused", json!({"spec": spec})).await.expect_err("it cannot be met");
    assert!(refused.to_string().contains("there are 10 different digits; set allowRepeat: true"), "{refused}");
}

for_each_remote!(
    b33_epoch_makes_one_new_value,
    b33_escrow_is_rebuilt,
    b33_lost_key_is_salvaged,
    b33_escrow_outlives_its_object_under_retain,
    b33_escrow_goes_under_delete,
    b33_inherited_entry_is_inherited_once,
    b33_entry_that_was_taken_over_is_inherited,
    b33_kinds_of_value,
);
