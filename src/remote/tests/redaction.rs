//! A value or a token that comes back in an answer is in no error and in no Debug output.

use super::*;

const VALUE: &str = "planted-value-7f3a";
const TOKEN: &str = "planted-token-91bc";

fn planted(provider: Provider) -> Access {
    match provider {
        Provider::Kelvin => kelvin_with(KelvinAuth::AccessToken(TOKEN.into())),
        Provider::Dreadnode => Access::Dreadnode(DreadnodeAuth::ApiKey(TOKEN.into())),
        Provider::Mixpeek => Access::Mixpeek { api_key: TOKEN.into() },
        Provider::Vault => vault_with(VaultAuth::Token(TOKEN.into())),
        Provider::Http => unreachable!("each of the three is described"),
    }
}

fn echo(status: u16, body: &str) -> Reply {
    let both = format!("{VALUE} {TOKEN}");
    Reply::Answer {
        status,
        headers: vec![
            ("retry-after", both.clone()),
            ("date", both.clone()),
            ("location", format!("https://elsewhere.example/{VALUE}/{TOKEN}")),
            ("www-authenticate", both),
        ],
        body: body.to_owned(),
    }
}

fn assert_clean(shown: &str) {
    assert!(!shown.contains(VALUE), "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
}

async fn no_error_repeats_an_answer(make: Make) {
    let bodies = [
        format!("{{\"errors\":[{{\"description\":\"{VALUE}\",\"payload\":{{\"t\":\"{TOKEN}\"}}}}]}}"),
        format!("{{\"detail\":\"{VALUE} {TOKEN} credit\",\"errors\":[{{\"msg\":\"{VALUE}\"}}]}}"),
        format!("{{\"error\":{{\"type\":\"{VALUE}\",\"message\":\"{TOKEN} already exists\",\"code\":\"{VALUE}\"}}}}"),
        format!("{{\"errors\":[\"{VALUE} check-and-set {TOKEN} sealed\"]}}"),
        format!("{{\"data\":{{\"keys\":[\"{VALUE}\"],\"key_info\":{{\"{VALUE}\":\"{TOKEN}\"}}}}}}"),
        format!("{VALUE} {TOKEN}"),
    ];
    for body in bodies {
        for status in [200, 201, 302, 400, 401, 403, 404, 409, 410, 418, 422, 426, 429, 500, 503] {
            let text = body.clone();
            let server = Server::start(move |_| echo(status, &text)).await;
            for provider in PROVIDERS.into_iter().chain([Provider::Vault]) {
                let remote = make.client(&server, planted(provider));
                let value = match provider {
                    Provider::Vault => SecretValue::from(format!("{{\"value\":\"{VALUE}\"}}")),
                    _ => SecretValue::from(VALUE),
                };
                let target = entry("demo", Some("2489E9AD-2EE2-8E00-8EC9-32D5F69181C0"));
                assert_clean(&format!("{:?}", remote.list(no_pace()).await));
                assert_clean(&format!("{:?}", remote.create("demo", &value).await));
                assert_clean(&format!("{:?}", remote.update(&target, &value).await));
                let deleted = remote.delete(&target).await;
                assert_clean(&format!(
                    "{deleted:?} {}",
                    deleted.as_ref().err().map(ToString::to_string).unwrap_or_default()
                ));
            }
        }
    }
}

async fn no_failed_login_repeats_an_answer(make: Make) {
    for (status, body) in [
        (401, format!("{{\"error_description\":\"{VALUE} {TOKEN}\"}}")),
        (200, format!("{{\"access_token\":\"{VALUE} {TOKEN}\"}}")),
        (200, format!("{{\"access_token\":[\"{TOKEN}\"]}}")),
        (500, VALUE.to_owned()),
    ] {
        let server = Server::start(move |_| echo(status, &body)).await;
        let auth = KelvinAuth::Password {
            client_id: "c".to_owned(),
            username: "u".to_owned(),
            password: format!("{VALUE}{TOKEN}").into(),
        };
        let error = attempt(&make.client(&server, kelvin_with(auth)), Operation::Create).await.unwrap_err();
        assert_clean(&format!("{error} {error:?}"));
    }
}

async fn a_client_that_cannot_be_built_does_not_say_with_what(make: Make) {
    let url = "https://acme.example".parse().unwrap();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{TOKEN}\n-----END PRIVATE KEY-----\n");
    let identity = ClientIdentity { certificate: VALUE.into(), key: key.clone().into() };
    for config in [
        RemoteConfig { ca_bundle: Some(key.clone().into_bytes()), ..config(&url, kelvin_access()) },
        RemoteConfig { client_identity: Some(identity), ..config(&url, kelvin_access()) },
        RemoteConfig { server_name: Some(format!("{VALUE} {TOKEN}")), ..config(&url, kelvin_access()) },
        config(&url, Access::Mixpeek { api_key: format!("{VALUE} {TOKEN}").into() }),
    ] {
        let error = make.build(config).err().expect("is refused");
        assert_clean(&format!("{error} {error:?}"));
    }
}

conformance!(
    no_error_repeats_an_answer,
    no_failed_login_repeats_an_answer,
    a_client_that_cannot_be_built_does_not_say_with_what,
);
