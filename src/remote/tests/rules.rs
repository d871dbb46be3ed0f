//! Rules for names and values.

use proptest::prelude::*;

use super::*;
use crate::remote::spec::*;

async fn names_that_pass(make: Make) {
    for (provider, names) in [
        (Provider::Kelvin, vec!["a", "demo-secret", "0", "-x-", &"k".repeat(32)]),
        (Provider::Dreadnode, vec!["OPENAI_API_KEY", "my_key", "_", &"d".repeat(255)]),
        (Provider::Mixpeek, vec!["stripe_api_key", "STRIPE", "a.b-c", "ключ", &"ü".repeat(100)]),
        (Provider::Vault, vec!["STRIPE_API_KEY", "db.password", ".hidden", "a@b:c", &"v".repeat(255)]),
    ] {
        for name in names {
            assert_eq!(make.rules(provider).check_name(name), Ok(()), "{provider:?} {name}");
        }
    }
}

async fn names_that_do_not_pass_and_what_would_do(make: Make) {
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
        let error = make.rules(provider).check_name(name).expect_err(name);
        assert_eq!(error.suggestion.as_deref(), Some(suggestion));
        assert!(error.to_string().starts_with(provider.name()), "{error}");
        assert!(error.to_string().ends_with(&format!("`{suggestion}` would do")), "{error}");
    }
}

async fn two_long_names_with_one_beginning_get_two_suggestions(make: Make) {
    for provider in PROVIDERS {
        let long = "x".repeat(300);
        let first = make.rules(provider).check_name(&format!("{long}1")).unwrap_err().suggestion;
        let second = make.rules(provider).check_name(&format!("{long}2")).unwrap_err().suggestion;
        assert_ne!(first, second);
    }
}

async fn dreadnode_alone_changes_a_name(make: Make) {
    assert_eq!(make.rules(Provider::Dreadnode).stored_name("my_Key"), "MY_KEY");
    assert_eq!(make.rules(Provider::Kelvin).stored_name("my_Key"), "my_Key");
    assert_eq!(make.rules(Provider::Mixpeek).stored_name("my_Key"), "my_Key");
}

async fn values_have_a_length(make: Make) {
    for (provider, max) in [(Provider::Kelvin, 64_000), (Provider::Dreadnode, 65_536), (Provider::Mixpeek, 65_536)] {
        let check_value = |bytes| make.rules(provider).check_value(bytes);
        assert_eq!(check_value(0), Err(ValueError::Empty));
        assert_eq!(check_value(1), Ok(()));
        assert_eq!(check_value(max), Ok(()));
        let error = check_value(max + 1).unwrap_err();
        assert_eq!(error.to_string(), format!("the value has {} bytes, {} takes {max}", max + 1, provider.name()));
    }
}

async fn what_a_change_shows_and_what_is_asked_at_most(make: Make) {
    for (provider, signal, limits) in [
        (Provider::Kelvin, DriftSignal::Timestamp, (600, 20, 8)),
        (Provider::Dreadnode, DriftSignal::Timestamp, (600, 20, 8)),
        (Provider::Mixpeek, DriftSignal::Presence, (10, 10, 5)),
    ] {
        let url = "https://acme.example".parse().unwrap();
        let remote = make.build(config(&url, access(provider))).unwrap();
        assert_eq!(remote.drift_signal(), signal);
        let defaults = default_limits(make.rules(provider).provider());
        let usual = (defaults.requests_per_minute, defaults.burst, defaults.max_in_flight);
        // A described API has the usual limits; what it takes less is said in the connection beside the description.
        let given = match make {
            Make::BuiltIn => Value::Null,
            Make::Described => described::example(provider)["limits"].clone(),
        };
        let number = |field: &str, usual| given[field].as_u64().map_or(usual, |number| u32::try_from(number).unwrap());
        let found = (number("requestsPerMinute", usual.0), number("burst", usual.1), number("maxInFlight", usual.2));
        assert_eq!((found, defaults.timeout.as_secs()), (limits, 10));
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

conformance!(
    names_that_pass,
    names_that_do_not_pass_and_what_would_do,
    two_long_names_with_one_beginning_get_two_suggestions,
    dreadnode_alone_changes_a_name,
    values_have_a_length,
    what_a_change_shows_and_what_is_asked_at_most,
);

/// The rules of all, made once: reading a description takes longer than asking it.
fn every() -> &'static [Rules] {
    static EVERY: std::sync::OnceLock<Vec<Rules>> = std::sync::OnceLock::new();
    EVERY.get_or_init(|| {
        let makes = [Make::BuiltIn, Make::Described];
        makes.into_iter().flat_map(|make| PROVIDERS.map(|provider| make.rules(provider))).collect()
    })
}

proptest! {
    #[test]
    fn a_suggestion_always_passes(name in "\\PC{0,400}|[-._a-zA-Z0-9]{0,400}|[./_{} \\n-]{0,5}") {
        for rules in every() {
            if let Err(error) = rules.check_name(&name) {
                prop_assert_eq!(rules.check_name(&error.suggestion.unwrap()), Ok(()), "for {}", name);
            }
        }
    }

    #[test]
    fn a_stored_name_passes_where_the_name_does_and_is_stored_as_it_is(name in "[-._a-zA-Z0-9]{1,60}") {
        for rules in every() {
            let stored = rules.stored_name(&name);
            prop_assert_eq!(&rules.stored_name(&stored), &stored);
            if rules.check_name(&name).is_ok() {
                prop_assert_eq!(rules.check_name(&stored), Ok(()));
            }
        }
    }
}
