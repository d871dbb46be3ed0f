#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;
use crate::value::SecretValue;

/// The identities of these tests; making one takes a while without optimisation.
fn ring(ids: &[&str]) -> Ring {
    let (ring, bad) = Ring::read(ids.iter().map(|id| ((*id).to_owned(), generate())));
    assert_eq!(bad, Vec::<String>::new());
    ring.unwrap()
}

fn scope(namespace: &str, name: &str, key: &str) -> Scope {
    Scope::new(namespace, name, key).unwrap()
}

fn here() -> Scope {
    scope("shop", "checkout", "STRIPE_API_KEY")
}

fn sealed(ring: &Ring, value: &[u8]) -> String {
    seal(&[ring.newest()], &here(), value).unwrap()
}

fn open(ring: &Ring, scope: &Scope, text: &str) -> Result<Vec<u8>, OpenError> {
    ring.open(scope, text).map(|(value, _)| value.expose().to_vec())
}

#[test]
fn a_sealed_value_opens_where_it_was_sealed_for_and_nowhere_else() {
    let ring = ring(&["i1"]);
    let text = sealed(&ring, b"hunter2");
    assert!(text.starts_with(BEGIN) && text.trim_end().ends_with(END) && text.ends_with('\n'));
    assert_eq!(open(&ring, &here(), &text).unwrap(), b"hunter2");
    let other_key = scope("shop", "checkout", "OTHER");
    let error = open(&ring, &other_key, &text).unwrap_err();
    assert_eq!(error, OpenError::ForAnother { name: "checkout".to_owned(), key: "STRIPE_API_KEY".to_owned() });
    let other_name = scope("shop", "checkout2", "STRIPE_API_KEY");
    assert!(matches!(open(&ring, &other_name, &text), Err(OpenError::ForAnother { .. })));
    let elsewhere = open(&ring, &scope("attacker", "checkout", "STRIPE_API_KEY"), &text).unwrap_err();
    assert_eq!(elsewhere, OpenError::ForAnotherNamespace);
    for part in ["shop", "checkout", "STRIPE", "hunter2"] {
        assert!(!elsewhere.to_string().contains(part), "{elsewhere}");
    }
}

#[test]
fn names_that_run_together_are_told_apart() {
    let ring = ring(&["i1"]);
    let text = seal(&[ring.newest()], &scope("a", "b-c", "d"), b"v").unwrap();
    for other in [scope("a-b", "c", "d"), scope("a", "b", "c-d"), scope("a", "b-c", "d.")] {
        assert!(open(&ring, &other, &text).is_err(), "{other}");
    }
}

#[test]
fn older_identities_open_and_the_newest_is_sealed_to() {
    let (old, new) = (generate(), generate());
    let read = |ids: &[(&str, &SecretValue)]| {
        Ring::read(ids.iter().map(|(id, text)| ((*id).to_owned(), (*text).clone()))).0.unwrap()
    };
    let before = read(&[("i9", &old)]);
    let after = read(&[("i9", &old), ("i10", &new)]);
    assert_eq!(next_id(["i9", "i10", "note", "i011"].into_iter()), "i11");
    assert_eq!(next_id(std::iter::empty()), "i1");
    assert_ne!(before.digest(), after.digest());
    let text = sealed(&before, b"hunter2");
    assert_eq!(after.open(&here(), &text).unwrap().1, "i9");
    let rewrapped = sealed(&after, b"hunter2");
    assert_eq!(after.open(&here(), &rewrapped).unwrap().1, "i10");
    assert_eq!(open(&before, &here(), &rewrapped), Err(OpenError::NoIdentity));
    assert_eq!(open(&read(&[("i10", &new)]), &here(), &text), Err(OpenError::NoIdentity));
}

#[test]
fn an_identity_that_cannot_be_read_is_named_and_not_shown() {
    let good = generate();
    let data = [
        ("i1", good.clone()),
        ("i2", SecretValue::from("AGE-SECRET-KEY-1HUNTER2")),
        ("i03", generate()),
        ("note", SecretValue::from("text")),
        ("i4", SecretValue::new([good.expose(), generate().expose()].concat())),
    ];
    let (ring, bad) = Ring::read(data.into_iter().map(|(id, text)| (id.to_owned(), text)));
    let ring = ring.unwrap();
    assert_eq!(bad, ["i2", "i03", "note", "i4"]);
    assert_eq!(ring.recipients().map(|(id, _)| id).collect::<Vec<_>>(), ["i1"]);
    let shown = format!("{ring:?} {:?} {BadIdentity}", ring.newest());
    assert!(shown.contains("age1") && !shown.contains("SECRET-KEY-1H") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_age_encrypted_without_us_is_refused() {
    let ring = ring(&["i1"]);
    let plain = |plaintext: &[u8]| armor(&encrypt(&[ring.newest()], plaintext).unwrap()).unwrap();
    for (plaintext, error) in [
        (&b"hunter2"[..], OpenError::Unbound),
        (b"", OpenError::Unbound),
        (b"vaultsecret.dev/sealed/v2 4:shop\nhunter2", OpenError::Newer),
        (b"vaultsecret.dev/sealed/v1 4:shop 8:checkout 14:STRIPE_API_KEY", OpenError::Unbound),
        (b"vaultsecret.dev/sealed/v1 04:shop 8:checkout 14:STRIPE_API_KEY\nhunter2", OpenError::Unbound),
        (b"vaultsecret.dev/sealed/v1 4:shop 8:checkout 14:STRIPE_API_KEY \nhunter2", OpenError::Unbound),
        (b"vaultsecret.dev/sealed/v1 4:shop 8:checkout\nhunter2", OpenError::Unbound),
        (b"vaultsecret.dev/sealed/v1 999:shop 8:checkout 14:STRIPE_API_KEY\nhunter2", OpenError::Unbound),
    ] {
        assert_eq!(open(&ring, &here(), &plain(plaintext)), Err(error), "{}", plaintext.escape_ascii());
    }
    assert_eq!(
        open(&ring, &here(), &plain(b"vaultsecret.dev/sealed/v1 4:shop 8:checkout 14:STRIPE_API_KEY\nv")).unwrap(),
        b"v"
    );
}

#[test]
fn what_is_no_armor_is_refused_without_being_shown() {
    let ring = ring(&["i1"]);
    let text = sealed(&ring, b"value");
    let (first, rest) = text.split_once('\n').unwrap();
    let cases = [
        "hunter2".to_owned(),
        String::new(),
        format!("{BEGIN}\nhunter2\n{END}\n"),
        format!("{BEGIN}\n{END}"),
        rest.to_owned(),
        format!("{first}\n\n{rest}"),
        text.replace('\n', "\r\n"),
        text.replace('\n', " "),
        format!("{text}{text}"),
    ];
    for case in cases {
        let error = open(&ring, &here(), &case).unwrap_err();
        assert_eq!(error, OpenError::NotSealed, "{case}");
        assert!(!error.to_string().contains("hunter2"));
    }
    assert_eq!(open(&ring, &here(), &"x".repeat(MAX_SEALED + 1)), Err(OpenError::TooLarge));
    assert_eq!(open(&ring, &here(), &format!("\n  {text}\n\n")).unwrap(), b"value", "white space around it is YAML's");
}

#[test]
fn sizes_are_limited_and_the_largest_fits() {
    let ring = ring(&["i1"]);
    let to = vec![ring.newest(); MAX_RECIPIENTS];
    let longest = |len: usize| "n".repeat(len);
    let wide = scope(&longest(63), &longest(253), &longest(253));
    let value = vec![0xff; MAX_VALUE];
    let text = seal(&to, &wide, &value).unwrap();
    assert!(text.len() <= MAX_SEALED, "{}", text.len());
    assert_eq!(open(&ring, &wide, &text).unwrap(), value);
    assert_eq!(seal(&to, &wide, &vec![0; MAX_VALUE + 1]), Err(SealError::TooLarge(MAX_VALUE + 1)));
    assert_eq!(seal(&to, &wide, b""), Err(SealError::Empty));
    assert_eq!(seal(&[], &wide, b"v"), Err(SealError::NoRecipient));
    let many = vec![ring.newest(); MAX_RECIPIENTS + 1];
    assert_eq!(seal(&many, &wide, b"v"), Err(SealError::TooManyRecipients(MAX_RECIPIENTS + 1)));
    let crowd = vec![ring.newest(); MAX_STANZAS + 1];
    let crowded = armor(&encrypt(&crowd, b"v").unwrap()).unwrap();
    assert_eq!(open(&ring, &here(), &crowded), Err(OpenError::NotSealed));
}

#[test]
fn a_passphrase_opens_nothing() {
    let ring = ring(&["i1"]);
    let mut recipient = age::scrypt::Recipient::new(age::secrecy::SecretString::from("hunter2".to_owned()));
    recipient.set_work_factor(2);
    let mut file = Vec::new();
    let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut writer = encryptor.wrap_output(&mut file).unwrap();
    writer.write_all(envelope::header(&here()).as_bytes()).unwrap();
    writer.finish().unwrap();
    assert!(open(&ring, &here(), &armor(&file).unwrap()).is_err());
}

#[test]
fn scopes_are_names_that_can_exist() {
    for (namespace, name, key) in [
        ("Shop", "a", "k"),
        ("a.b", "a", "k"),
        ("", "a", "k"),
        ("shop", "a b", "k"),
        ("shop", "a\n", "k"),
        ("shop", "a", ""),
        ("shop", "a", "k\n"),
        ("shop", "a", "é"),
    ] {
        assert!(Scope::new(namespace, name, key).is_err(), "{namespace:?} {name:?} {key:?}");
    }
    let all = scope("shop", "a.b-c", "_.-K");
    assert_eq!(envelope::scope_of(envelope::header(&all).as_bytes()), Ok(all));
}

#[test]
fn recipients_are_read_as_age_reads_them() {
    let (one, two) = (Identity::generate().to_public(), Identity::generate().to_public());
    assert_eq!(recipients(&format!("# mine\n\n{one}\r\n  {two}\n")).unwrap(), [one, two]);
    assert_eq!(recipients("# none\n").unwrap(), []);
    assert!(recipients("\nssh-ed25519 AAAA").unwrap_err().starts_with("line 2: "));
    let secret = generate();
    let line = secret.expose_str().unwrap().lines().last().unwrap();
    let error = recipient(line).unwrap_err();
    assert!(error.contains("keep it secret") && !error.contains(line), "{error}");
}

/// Mutations of good files, always the same ones: what `fuzz/` does without an end, for a build without its tools.
#[test]
fn a_mutated_file_never_opens_and_never_panics() {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};
    let mut rng = StdRng::seed_from_u64(14);
    let ring = ring(&["i1"]);
    let seeds: Vec<Vec<u8>> =
        [&b"v"[..], &[7; 300]].iter().map(|value| dearmor(&sealed(&ring, value)).unwrap()).collect();
    for round in 0..300 {
        let mut file = seeds[round % seeds.len()].clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..file.len());
            match rng.random_range(0..4) {
                0 => file[at] ^= 1 << rng.random_range(0..8),
                1 => drop(file.remove(at)),
                2 => file.insert(at, rng.random()),
                _ => file.truncate(at.max(1)),
            }
        }
        if !seeds.contains(&file) {
            assert!(open(&ring, &here(), &armor(&file).unwrap()).is_err(), "round {round}");
        }
    }
}

/// The same for the line before the value: what is read is what would be written.
#[test]
fn a_mutated_header_is_read_as_it_would_be_written_or_not_at_all() {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};
    let mut rng = StdRng::seed_from_u64(14);
    let good = envelope::header(&here());
    let mut read = 0;
    for _ in 0..20_000 {
        let mut line = good.clone().into_bytes();
        for _ in 0..rng.random_range(1..3) {
            let at = rng.random_range(0..line.len());
            match rng.random_range(0..3) {
                0 => line[at] = rng.random_range(b' '..b'~'),
                1 => drop(line.remove(at)),
                _ => line.insert(at, rng.random_range(b' '..b'~')),
            }
        }
        if let Ok(scope) = envelope::scope_of(&line) {
            read += 1;
            assert!(line.starts_with(envelope::header(&scope).as_bytes()), "{}", line.escape_ascii());
        }
        assert_eq!(envelope::value_of(&line, &here()).is_ok(), line.starts_with(good.as_bytes()));
    }
    assert!(read > 100, "only {read} lines were readable, which tests little");
}

fn names() -> impl Strategy<Value = Scope> {
    ("[a-z0-9]{1,20}", "[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", "[-._a-zA-Z0-9]{1,30}")
        .prop_map(|(namespace, name, key)| Scope::new(&namespace, &name, &key).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn unsealing_undoes_sealing(value in proptest::collection::vec(any::<u8>(), 1..2000), at in names()) {
        let ring = ring(&["i1"]);
        let text = seal(&[ring.newest()], &at, &value).unwrap();
        prop_assert_eq!(open(&ring, &at, &text).unwrap(), value);
    }

    #[test]
    fn any_other_scope_is_refused(at in names(), other in names()) {
        let ring = ring(&["i1"]);
        let text = seal(&[ring.newest()], &at, b"value").unwrap();
        prop_assert_eq!(open(&ring, &other, &text).is_ok(), at == other);
    }

    #[test]
    fn any_changed_character_is_refused(position in 0.0..1.0f64, by in 1u8..95) {
        let ring = ring(&["i1"]);
        let text = sealed(&ring, b"value");
        let text = text.trim_end();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = ((text.len() as f64) * position) as usize;
        let mut bytes = text.as_bytes().to_vec();
        let old = bytes[at];
        bytes[at] = if old == b'\n' { b' ' } else { b' ' + (old - b' ' + by) % 95 };
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(open(&ring, &here(), &changed).is_err());
    }

    #[test]
    fn any_changed_byte_of_the_file_is_refused(position in 0.0..1.0f64, by in 1u8..=255) {
        let ring = ring(&["i1"]);
        let mut file = dearmor(&sealed(&ring, b"value")).unwrap();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = ((file.len() as f64) * position) as usize;
        file[at] = file[at].wrapping_add(by);
        prop_assert!(open(&ring, &here(), &armor(&file).unwrap()).is_err());
    }

    #[test]
    fn a_header_is_read_as_it_was_written(at in names(), value in "[a-z \n:0-9]{0,40}") {
        let line = envelope::header(&at);
        let all = format!("{line}{value}");
        prop_assert_eq!(envelope::value_of(all.as_bytes(), &at), Ok(line.len()));
        prop_assert_eq!(envelope::scope_of(all.as_bytes()), Ok(at));
    }
}
