//! Behaviours 41–43: values that are made of other values.

use devkit::remotes::Op;
use serde_json::{Value, json};

use crate::common::{Kind, Object, Remote, Scene, entry, for_each_remote, generated, inline, input, templated};

const URL: &str = "postgresql://{{ USER }}:{{ PASSWORD | urlencode }}@db.shop.svc:5432/app";

/// A connection string with a generated password: both are pushed and shown, and change together.
async fn b41_connection_string(kind: Kind) {
    let scene = Scene::new("b41").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (password, url) = (kind.name("password"), kind.name("url"));
    let with_epoch = |epoch| {
        let symbols = json!({"password": {"length": 24, "symbols": 6, "symbolCharacters": "/:@?#", "allowRepeat": true}, "epoch": epoch});
        // The template comes first: order does not matter.
        json!([
            templated("URL", &url, URL),
            {"key": "PASSWORD", "remoteName": password, "valueFrom": {"generate": symbols}},
            input(inline("USER", "user", "app")),
        ])
    };
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": with_epoch(1)})).await;
    for epoch in 1..=2 {
        scene.ready("app").await;
        let made = remote.value(&password).unwrap();
        scene.secret_text(&made);
        let expected = URL.replace("{{ USER }}", "app").replace("{{ PASSWORD | urlencode }}", &encoded(&made));
        scene.secret_text(&expected);
        assert_eq!(remote.value(&url).as_ref(), Some(&expected));
        scene.secret_has("app", "PASSWORD", &made).await;
        let secret = scene.secret_has("app", "URL", &expected).await;
        assert_eq!(secret.keys(), ["PASSWORD", "URL"], "what only templates use is not shown");
        assert_eq!((remote.history(&password).len(), remote.history(&url).len()), (epoch, epoch));
        if epoch == 1 {
            scene.edit("app", json!({"data": with_epoch(2)})).await;
        }
    }
    assert_eq!(remote.entries().len(), 2, "and not pushed");
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A changed source reaches what is made of it, at the remote and in the Secret, with one update each and one write of the
/// Secret.
async fn b41_changed_source(kind: Kind) {
    let scene = Scene::new("b41-source").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let values = [scene.canary("value"), scene.canary("value")];
    scene.source("source", &[("value", &values[0])]).await;
    let names = ["plain", "made", "apart"].map(|name| kind.name(name));
    let mut encoded = templated("APART", &names[2], "constant");
    encoded["encoding"] = json!("Base64");
    let data = [entry("PLAIN", &names[0], "source/value"), templated("MADE", &names[1], "<{{ PLAIN }}>"), encoded];
    let target = json!({"template": {"data": {"SHOWN": "[{{ MADE }}]", "bytes": "{{ 'AP8=' | b64decode }}"}}});
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data, "target": target})).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&names[2]).as_deref(), Some("Y29uc3RhbnQ="), "the encoding holds for templates, too");
    let secret = scene.secret_has("app", "SHOWN", &format!("[<{}>]", values[0])).await;
    assert_eq!(secret.secret_value("bytes").unwrap(), [0, 0xff]);
    assert_eq!(secret.secret_value("APART").unwrap(), b"constant");

    let mark = scene.mark();
    scene.set_source("source", "value", &values[1]).await;
    scene.secret_has("app", "SHOWN", &format!("[<{}>]", values[1])).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&names[1]), Some(format!("<{}>", values[1])));
    assert_eq!(remote.count(Op::Update), 2, "what does not depend on it is not sent");
    let of_secret = |record: &&devkit::controlplane::AuditRecord| record.resource == "secrets";
    assert_eq!(scene.writes_since(mark).iter().filter(of_secret).count(), 1, "one write shows the whole set");
}

/// Registry credentials: a Secret of the type that kubelet reads.
#[tokio::test]
async fn b41_docker_config() {
    let scene = Scene::new("b41-docker").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let password = format!("{}\"\\&", scene.canary("password"));
    scene.source("source", &[("password", &password)]).await;
    let template = "{{ {'auths': {'ghcr.io': {'username': USER, 'password': PASSWORD,\n\
                    'auth': (USER ~ ':' ~ PASSWORD) | b64encode}}} | json }}\n";
    let mut pushed = entry("PASSWORD", "registry-password", "source/password");
    pushed["project"] = json!(false);
    let spec = json!({
        "connectionRef": {"name": "kelvin"},
        "data": [input(inline("USER", "user", "robot$ci")), pushed],
        "target": {"type": "kubernetes.io/dockerconfigjson", "template": {"data": {".dockerconfigjson": template}}},
    });
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    assert_eq!(remote.value("registry-password"), Some(password.clone()));
    let secret = scene.expect("Secret", "app").await;
    assert_eq!(
        (secret.text("/type"), secret.keys()),
        ("kubernetes.io/dockerconfigjson", vec![".dockerconfigjson".into()])
    );
    let config: Value = serde_json::from_slice(&secret.secret_value(".dockerconfigjson").unwrap()).unwrap();
    let ghcr = &config["auths"]["ghcr.io"];
    assert_eq!((&ghcr["username"], &ghcr["password"]), (&json!("robot$ci"), &json!(password)));
}

/// A Secret that was edited or deleted by hand is put right with everything that templates make, without a call to the remote.
#[tokio::test]
async fn b41_restored_by_hand() {
    let scene = Scene::new("b41-restored").await;
    let remote = scene.remote(Kind::Dreadnode).await;
    scene.connect(&remote).await;
    let data =
        [generated("PASSWORD", "PASSWORD", 1), templated("URL", "URL", URL), input(inline("USER", "user", "app"))];
    let target = json!({"template": {"data": {".env": "URL={{ URL | dotenv }}\n"}}});
    scene.vault_secret("app", json!({"connectionRef": {"name": "dreadnode"}, "data": data, "target": target})).await;
    scene.ready("app").await;
    let data_of = |secret: &Object| secret.at("/data").clone();
    let whole = data_of(&scene.expect("Secret", "app").await);
    for key in ["URL", ".env"] {
        scene.patch("Secret", "app", json!({"stringData": {key: "of somebody"}})).await;
        scene.until("Secret", "app", "is restored", |secret| data_of(secret) == whole).await;
    }
    scene.delete("Secret", "app").await;
    scene.until("Secret", "app", "is restored", |secret| data_of(secret) == whole).await;
    scene.ready("app").await;
    assert_eq!(remote.write_calls(), 2, "the remote is not asked");
}

/// A VaultSecret with a source and a template on it that is in sync, under the policy that would delete.
async fn decoded(scene: &Scene, kind: Kind, value: &str) -> (std::sync::Arc<Remote>, String, Object) {
    use base64::Engine as _;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let encoded = base64::engine::general_purpose::STANDARD.encode(value);
    scene.source("source", &[("value", &encoded)]).await;
    let name = kind.name("decoded");
    let data = [input(entry("VALUE", "value", "source/value")), templated("MADE", &name, "\n{{ VALUE | b64decode }}")];
    let spec = json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": "Delete", "data": data});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&name), Some(format!("\n{value}")));
    let secret = scene.secret_has("app", "MADE", &format!("\n{value}")).await;
    (remote, name, secret)
}

async fn b42_error_keeps_the_last_good_set(kind: Kind) {
    let scene = Scene::new("b42").await;
    let value = scene.canary("value");
    let (remote, name, before) = decoded(&scene, kind, &value).await;
    let bad = format!("!{}", scene.canary("value"));
    scene.set_source("source", "value", &bad).await;
    let told = scene.not_ready("app", "TemplateError").await;
    let message = told.ready().message;
    for part in ["MADE", "line 2", "b64decode", "not base64"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert_eq!(told.state(&name), "Refused");
    assert_eq!(told.condition("Stalled").status, "True");
    // A template that cannot be parsed is an edit away; the entry is neither deleted nor forgotten.
    let broken = |template: &str| json!({"data": [input(entry("VALUE", "value", "source/value")), templated("MADE", &name, template)]});
    for (template, word) in
        [("a\n\n{{ VALUE", "line 3"), ("{{ VALUE | sha256 }}", "digest"), ("{{ VALEU }}", "did you mean VALUE")]
    {
        scene.edit("app", broken(template)).await;
        let says = |app: &Object| app.is_observed() && app.ready().message.contains(word);
        let told = scene.until("VaultSecret", "app", "says what is wrong", says).await;
        assert_eq!((told.ready().reason.as_str(), told.state(&name).as_str()), ("TemplateError", "Refused"));
    }
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&name), [format!("\n{value}")], "the remote keeps what it has");
    assert_eq!(remote.write_calls(), 1);
    assert_eq!(scene.expect("Secret", "app").await, before, "and so does the Secret");

    scene.edit("app", broken("{{ VALUE }}")).await;
    scene.remote_has(&remote, &name, &bad).await;
    scene.secret_has("app", "MADE", &bad).await;
    scene.ready("app").await;
}

/// A mistake in a template shows although nothing can be read, and nothing is read for it.
#[tokio::test]
async fn b42_syntax_error_needs_no_source() {
    let scene = Scene::new("b42-syntax").await;
    let mark = scene.mark();
    let data = [entry("VALUE", "value", "absent/value"), templated("MADE", "made", "{{ VALUE | }}")];
    scene.vault_secret("app", json!({"connectionRef": {"name": "absent"}, "data": data})).await;
    let names_it = |app: &Object| {
        let reasons = [app.ready().reason, app.condition("Pushed").reason];
        app.is_observed() && reasons.iter().any(|r| r == "TemplateError" || r == "ConnectionMissing")
    };
    scene.until("VaultSecret", "app", "is looked at", names_it).await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect_as("absent", &remote, json!({})).await;
    let told = scene.not_ready("app", "TemplateError").await;
    assert!(told.ready().message.contains("key MADE: line 1 of the template: syntax error"), "{told:?}");
    assert_eq!(told.state("made"), "Refused");

    // Nor for one that is only shown.
    let target = json!({"template": {"data": {"shown": "a\n{% if VALUE %}"}}});
    scene.edit("app", json!({"data": [inline("VALUE", "value", "a value")], "target": target})).await;
    let pushed = |app: &Object| app.is_observed() && app.condition("Pushed").status == "True";
    let told = scene.until("VaultSecret", "app", "is pushed", pushed).await;
    assert_eq!(
        (told.ready().reason, told.condition("Projected").reason),
        ("TemplateError".into(), "TemplateError".into())
    );
    let message = told.ready().message;
    assert!(message.contains("target.template.data, key shown: line 2"), "{message:?}");
    assert_eq!(remote.value("value").as_deref(), Some("a value"), "it is of no concern for the remote");
    assert_eq!(scene.get("Secret", "app").await, None);
    let reads = scene.asked_since(mark, |r| r.verb == "get" && r.name == "absent" && r.resource == "secrets");
    assert!(reads.len() <= 2, "{reads:?}");
}

/// A template that needs a key without a value says so; the others go on.
async fn b42_missing_source(kind: Kind) {
    let scene = Scene::new("b42-missing").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let names = ["made", "further", "apart"].map(|name| kind.name(name));
    let data = [
        input(entry("VALUE", "value", "absent/value")),
        templated("MADE", &names[0], "{{ VALUE }}"),
        templated("FURTHER", &names[1], "{{ MADE }}!"),
        templated("APART", &names[2], "apart"),
    ];
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.remote_has(&remote, &names[2], "apart").await;
    let told = scene.not_ready("app", "SourceMissing").await;
    assert!(told.ready().message.contains("absent"), "{told:?}");
    assert_eq!(scene.get("Secret", "app").await, None);
    let value = scene.canary("value");
    scene.source("absent", &[("value", &value)]).await;
    scene.remote_has(&remote, &names[1], &format!("{value}!")).await;
    scene.ready("app").await;
    assert_eq!(remote.write_calls(), 3);
}

#[tokio::test]
async fn b43_circle_is_refused() {
    let scene = Scene::new("b43").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let data = [
        templated("ONE", "one", "{{ TWO }}"),
        templated("TWO", "two", "{{ values['THREE'] }}"),
        templated("THREE", "three", "{{ ONE }}"),
        inline("FOUR", "four", "a value"),
    ];
    scene.vault_secret("app", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    let message = scene.not_ready("app", "TemplateError").await.ready().message;
    assert!(message.contains("ONE → TWO → THREE → ONE"), "{message:?}");
    scene.remote_has(&remote, "four", "a value").await;
    assert_eq!(remote.entries().len(), 1);
    assert_eq!(scene.get("Secret", "app").await, None);
    let open = templated("THREE", "three", "3");
    let data = [templated("ONE", "one", "{{ TWO }}"), templated("TWO", "two", "{{ values['THREE'] }}"), open];
    scene.edit("app", json!({"data": data})).await;
    scene.secret_has("app", "ONE", "3").await;
    scene.ready("app").await;
}

#[tokio::test]
async fn b43_what_the_schema_refuses() {
    let scene = Scene::new("b43-schema").await;
    let value = || inline("VALUE", "value", "a value");
    let mut both = templated("VALUE", "value", "x");
    both["valueFrom"]["secretKeyRef"] = json!({"name": "source", "key": "value"});
    let long = templated("VALUE", "value", &"x".repeat(32 * 1024 + 1));
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("K{n}"), json!("x"))).collect();
    let target = |data: Value| json!({"template": {"data": data}});
    for (data, target, word) in [
        (both, json!({}), "exactly one of secretKeyRef, configMapKeyRef, generate, sealed, template and remote"),
        (templated("VALUE", "value", ""), json!({}), "template"),
        (inline("..value", "value", "x"), json!({}), "does not begin with '..'"),
        (inline(".", "value", "x"), json!({}), "is not '.'"),
        (long, json!({}), "template"),
        (value(), target(json!({"VALUE": "x"})), "one of the two must go"),
        (value(), target(json!({"a key": "x"})), "letters, digits"),
        (value(), target(json!({"KEY": ""})), "KEY"),
        (value(), target(json!(many)), "64"),
        (input(value()), json!({}), "go nowhere"),
    ] {
        let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [data], "target": target});
        let refused = scene.try_create("VaultSecret", "app", json!({"spec": spec})).await;
        let kube::Error::Api(status) = refused.expect_err(word) else { panic!("no answer") };
        assert_eq!(status.code, 422, "{word}");
        assert!(status.message.contains(word), "{word}: {}", status.message);
    }
    // The largest of everything is within what rules may cost.
    let data: Vec<Value> = (0..256).map(|n| templated(&format!("K{n}"), &format!("k{n}"), "x")).collect();
    let shown: serde_json::Map<_, _> = (0..64).map(|n| (format!("S{n}"), json!("{{ K1 }}"))).collect();
    let spec = json!({"connectionRef": {"name": "absent"}, "data": data, "target": target(json!(shown))});
    scene.vault_secret("app", spec).await;
}

for_each_remote!(b41_connection_string, b41_changed_source, b42_error_keeps_the_last_good_set, b42_missing_source);
