#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::api::vault_secret::Uuid;

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn password(spec: Password) -> Generate {
    Generate { password: Some(spec), ..Generate::default() }
}

fn made(spec: &Generate, seed: u64) -> String {
    generate(spec, &mut rng(seed)).unwrap().expose_str().unwrap().to_owned()
}

fn symbols_in(text: &str) -> usize {
    text.chars().filter(|c| !c.is_ascii_alphanumeric()).count()
}

#[test]
fn the_default_password_is_that_of_the_external_secrets_operator() {
    let text = made(&password(Password::default()), 1);
    assert_eq!(text.len(), 24);
    assert_eq!(text.chars().filter(char::is_ascii_digit).count(), 6);
    assert_eq!(symbols_in(&text), 6);
    assert!(text.chars().filter(|c| !c.is_ascii_alphanumeric()).all(|c| DEFAULT_SYMBOLS.contains(c)));
    assert_eq!(text.chars().collect::<BTreeSet<_>>().len(), 24, "no character twice");
    assert_eq!(DEFAULT_SYMBOLS.chars().collect::<BTreeSet<_>>().len(), DEFAULT_SYMBOLS.len());
}

#[test]
fn a_uuid_is_of_version_4() {
    let text = made(&Generate { uuid: Some(Uuid {}), ..Generate::default() }, 1);
    let uuid = uuid::Uuid::parse_str(&text).unwrap();
    assert_eq!(uuid.get_version_num(), 4);
    assert_eq!(text, uuid.hyphenated().to_string());
}

#[test]
fn bytes_have_their_length_in_each_form() {
    let spec = |length, encoding| Generate { bytes: Some(Bytes { length, encoding }), ..Generate::default() };
    assert_eq!(STANDARD.decode(made(&spec(None, None), 1)).unwrap().len(), 32);
    assert_eq!(URL_SAFE_NO_PAD.decode(made(&spec(Some(5), Some(BytesEncoding::Base64Url)), 1)).unwrap().len(), 5);
    let hex = made(&spec(Some(5), Some(BytesEncoding::Hex)), 1);
    assert!(hex.len() == 10 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
}

/// A password in which no character may come twice, because somebody said so.
fn different(length: u32) -> Password {
    Password { length: Some(length), allow_repeat: Some(false), ..Password::default() }
}

#[test]
fn every_length_can_be_had_by_default() {
    for (length, no_upper) in (1..=1024).flat_map(|length| [(length, false), (length, true)]) {
        let spec = password(Password { length: Some(length), no_upper: Some(no_upper), ..Password::default() });
        check(&spec).unwrap_or_else(|error| panic!("{length}: {error}"));
        assert_eq!(made(&spec, 1).chars().count(), length as usize);
    }
    // No character twice as long as there are enough: all ten digits, a quarter of symbols, and letters.
    for spec in [Password { length: Some(64), ..Password::default() }, different(64)] {
        let text = made(&password(spec), 1);
        assert_eq!(text.chars().collect::<BTreeSet<_>>().len(), 64);
        assert_eq!((text.chars().filter(char::is_ascii_digit).count(), symbols_in(&text)), (10, 16));
    }
    // Then a quarter each, and some come twice.
    let text = made(&password(Password { length: Some(128), ..Password::default() }), 1);
    assert_eq!((text.chars().filter(char::is_ascii_digit).count(), symbols_in(&text)), (32, 32));
    let few = Password { symbol_characters: Some("-_".into()), ..Password::default() };
    assert_eq!(symbols_in(&made(&password(few), 1)), 2);
}

#[test]
fn a_policy_that_cannot_be_met_names_the_field() {
    let cases = [
        (
            Password { digits: Some(16), ..different(64) },
            "16 different digits are wanted and there are 10; set allowRepeat: true or lower digits",
        ),
        (Password { digits: Some(0), symbols: Some(0), ..different(60) }, "60 different letters"),
        (
            Password { no_upper: Some(true), digits: Some(2), symbols: Some(0), ..different(30) },
            "28 different letters are wanted and there are 26",
        ),
        (
            Password { symbols: Some(3), symbol_characters: Some("aab!!".into()), digits: Some(0), ..different(54) },
            "51 different letters are wanted and there are 50",
        ),
        (
            Password { symbols: Some(4), symbol_characters: Some("!!--".into()), ..different(24) },
            "4 different symbols are wanted and there are 2; set allowRepeat: true, lower symbols or add to symbolCharacters",
        ),
        (Password { symbol_characters: Some(String::new()), ..Password::default() }, "symbols: 0"),
        (Password { length: Some(4), digits: Some(3), symbols: Some(2), ..Password::default() }, "raise length"),
        (Password { length: Some(0), ..Password::default() }, "password.length must be between 1 and 1024"),
        (Password { digits: Some(u32::MAX), symbols: Some(u32::MAX), ..Password::default() }, "raise length"),
    ];
    for (spec, wanted) in cases {
        let spec = password(spec);
        let error = generate(&spec, &mut rng(1)).unwrap_err();
        assert_eq!(check(&spec).unwrap_err(), error);
        assert!(error.to_string().contains(wanted), "{error}");
    }
    assert_eq!(generate(&Generate::default(), &mut rng(1)).unwrap_err(), GenerateError::Kind);
    let both = Generate { uuid: Some(Uuid {}), bytes: Some(Bytes::default()), ..Generate::default() };
    assert_eq!(check(&both).unwrap_err(), GenerateError::Kind);
}

#[test]
fn choice_and_place_are_even() {
    // One digit among three letters: each of the four places and each of the ten digits about equally often. The bounds are
    // eight standard deviations wide, and the seed is fixed.
    let spec = password(Password { length: Some(4), digits: Some(1), symbols: Some(0), ..Password::default() });
    let (mut places, mut digits) = ([0_u32; 4], [0_u32; 10]);
    let mut rng = rng(7);
    for _ in 0..8000 {
        let value = generate(&spec, &mut rng).unwrap();
        let text = value.expose_str().unwrap();
        let at = text.find(|c: char| c.is_ascii_digit()).unwrap();
        places[at] += 1;
        digits[usize::from(text.as_bytes()[at] - b'0')] += 1;
    }
    assert!(places.iter().all(|n| (1690..=2310).contains(n)), "{places:?}");
    assert!(digits.iter().all(|n| (585..=1015).contains(n)), "{digits:?}");
}

#[test]
fn numbers_of_an_incomplete_run_are_drawn_again() {
    /// Gives the greatest number first, then zero.
    struct Scripted(Vec<u64>);
    impl rand::RngCore for Scripted {
        fn next_u32(&mut self) -> u32 {
            unreachable!("only whole words are drawn")
        }
        fn next_u64(&mut self) -> u64 {
            self.0.remove(0)
        }
        fn fill_bytes(&mut self, _: &mut [u8]) {
            unreachable!("only whole words are drawn")
        }
    }
    impl CryptoRng for Scripted {}
    let mut rng = Scripted(vec![u64::MAX, 11, 99]);
    assert_eq!(below(&mut rng, 10), 1);
    assert_eq!(rng.0, [99], "the greatest number was thrown away, one more was used");
}

proptest! {
    #[test]
    fn a_password_is_what_its_policy_says(
        seed in any::<u64>(),
        length in 1_u32..80, digits in proptest::option::of(0_u32..30), symbols in proptest::option::of(0_u32..40),
        characters in proptest::option::of("[-_.!a-c0-2é]{0,6}"), no_upper: bool, allow_repeat: bool,
    ) {
        let policy = Password {
            length: Some(length), digits, symbols, symbol_characters: characters.clone(),
            no_upper: Some(no_upper), allow_repeat: Some(allow_repeat),
        };
        let spec = password(policy);
        match generate(&spec, &mut rng(seed)) {
            Err(error) => prop_assert_eq!(check(&spec), Err(error)),
            Ok(value) => {
                prop_assert!(check(&spec).is_ok());
                let text = value.expose_str().unwrap();
                let pool = characters.unwrap_or_else(|| DEFAULT_SYMBOLS.to_owned());
                prop_assert_eq!(text.chars().count(), length as usize);
                // A quarter of each by default, or as many different ones as there are.
                let most = |there: usize| if allow_repeat { usize::MAX } else { there };
                let quarter = (length / 4) as usize;
                let different = pool.chars().collect::<BTreeSet<_>>().len();
                let digits = digits.map_or(quarter.min(most(10)), |digits| digits as usize);
                let symbols = symbols.map_or(quarter.min(most(different)), |symbols| symbols as usize);
                // With symbols that are letters or digits only bounds can be seen from outside.
                let seen_digits = text.chars().filter(char::is_ascii_digit).count();
                prop_assert!(seen_digits >= digits && seen_digits <= digits + symbols);
                prop_assert!(text.chars().filter(|c| pool.contains(*c)).count() >= symbols);
                prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || pool.contains(c)));
                prop_assert!(!no_upper || !text.chars().any(|c| c.is_ascii_uppercase()));
                if !allow_repeat {
                    prop_assert_eq!(text.chars().collect::<BTreeSet<_>>().len(), length as usize);
                }
            }
        }
    }
}
