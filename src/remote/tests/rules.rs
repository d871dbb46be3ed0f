//! Rules for names and values.

use proptest::prelude::*;

use super::*;
use crate::remote::spec::*;

#[test]
fn names_that_pass() {
    for (provider, names) in [
        (Provider::Kelvin, vec!["a", "demo-secret", "0", "-x-", &"k".repeat(32)]),
        (Provider::Dreadnode, vec!["OPENAI_API_KEY", "my_key", "_", &"d".repeat(255)]),
        (Provider::Mixpeek, vec!["stripe_api_key", "STRIPE", "a.b-c", "ключ", &"ü".repeat(100)]),
        (Provider::Vault, vec!["STRIPE_API_KEY", "db.password", ".hidden", "a@b:c", &"v".repeat(255)]),
    ] {
        for name in names {
            assert_eq!(check_name(provider, name), Ok(()), "{provider:?} {name}");
        }
    }
}

#[test]
fn names_that_do_not_pass_and_what_would_do() {
    for (provider, name, suggestion) in [
        (Provider::Kelvin, "My_Secret", "my-secret"),
        (Provider::Kelvin, "STRIPE_API_KEY", "stripe-api-key"),
        (Provider::Kelvin, "tls.crt", "tls-crt"),
        (Provider::Kelvin, "__a__b__", "a-b"),
        (Provider::Kelvin, "a/b", "a-b"),
        (Provider::Dreadnode, "openai-api.key", "OPENAI_API_KEY"),
        (Provider::Dreadnode, "1password", "_1PASSWORD"),
        (Provider::Mixpeek, "a/b", "a_b"),
        (Provider::Mixpeek, "{{x}}", "x"),
        (Provider::Mixpeek, "two words", "two_words"),
        (Provider::Vault, "teams/DB_Password", "teams-DB_Password"),
        (Provider::Vault, "/a/", "a"),
        (Provider::Vault, "a..b", "a-b"),
        (Provider::Vault, "..", "secret-5ec1f7e7"),
    ] {
        let error = check_name(provider, name).expect_err(name);
        assert_eq!(error.suggestion, suggestion);
        assert!(error.to_string().starts_with(provider.name()), "{error}");
        assert!(error.to_string().ends_with(&format!("`{suggestion}` would do")), "{error}");
    }
}

#[test]
fn two_long_names_with_one_beginning_get_two_suggestions() {
    for provider in PROVIDERS.into_iter().chain([Provider::Vault]) {
        let long = "x".repeat(300);
        let first = check_name(provider, &format!("{long}1")).unwrap_err().suggestion;
        let second = check_name(provider, &format!("{long}2")).unwrap_err().suggestion;
        assert_ne!(first, second);
    }
}

#[test]
fn dreadnode_alone_changes_a_name() {
    assert_eq!(stored_name(Provider::Dreadnode, "my_Key"), "MY_KEY");
    assert_eq!(stored_name(Provider::Kelvin, "my_Key"), "my_Key");
    assert_eq!(stored_name(Provider::Mixpeek, "my_Key"), "my_Key");
}

#[test]
fn values_have_a_length() {
    for (provider, max) in [(Provider::Kelvin, 64_000), (Provider::Dreadnode, 65_536), (Provider::Mixpeek, 65_536)] {
        assert_eq!(check_value(provider, 0), Err(ValueError::Empty));
        assert_eq!(check_value(provider, 1), Ok(()));
        assert_eq!(check_value(provider, max), Ok(()));
        let error = check_value(provider, max + 1).unwrap_err();
        assert_eq!(error.to_string(), format!("the value has {} bytes, {} takes {max}", max + 1, provider.name()));
    }
}

#[test]
fn defaults() {
    let limits = |provider| {
        let limits = default_limits(provider);
        (limits.requests_per_minute, limits.burst, limits.max_in_flight, limits.timeout.as_secs())
    };
    assert_eq!(limits(Provider::Kelvin), (600, 20, 8, 10));
    assert_eq!(limits(Provider::Dreadnode), (600, 20, 8, 10));
    assert_eq!(limits(Provider::Mixpeek), (10, 10, 5, 10));
    assert_eq!(default_url(Provider::Kelvin), None);
    assert_eq!(default_url(Provider::Dreadnode), Some("https://app.dreadnode.io"));
    assert_eq!(default_url(Provider::Mixpeek), Some("https://api.mixpeek.com"));
    assert_eq!(drift_signal(Provider::Kelvin), DriftSignal::Timestamp);
    assert_eq!(drift_signal(Provider::Dreadnode), DriftSignal::Timestamp);
    assert_eq!(drift_signal(Provider::Mixpeek), DriftSignal::Presence);
}

proptest! {
    #[test]
    fn a_suggestion_always_passes(name in "\\PC{0,400}|[-._a-zA-Z0-9]{0,400}|[./_{} \\n-]{0,5}") {
        for provider in PROVIDERS {
            if let Err(error) = check_name(provider, &name) {
                prop_assert_eq!(check_name(provider, &error.suggestion), Ok(()), "for {}", name);
            }
        }
    }

    #[test]
    fn a_stored_name_passes_where_the_name_does_and_is_stored_as_it_is(name in "[-._a-zA-Z0-9]{1,60}") {
        for provider in PROVIDERS {
            let stored = stored_name(provider, &name);
            prop_assert_eq!(&stored_name(provider, &stored), &stored);
            if check_name(provider, &name).is_ok() {
                prop_assert_eq!(check_name(provider, &stored), Ok(()));
            }
        }
    }
}
