//! Sealed values as somebody may put them into a VaultSecret: they open or are refused, and take no memory or time beyond
//! their size.

use std::sync::LazyLock;

use vaultsecret_operator::source::sealed::{MAX_SEALED, Ring, Scope, identities};

/// Opens `corpus/sealed_text/valid` and nothing else in the world.
const IDENTITY: &str = "AGE-SECRET-KEY-19APYWCHLGQJAUMEC3KGVM7MUQG4K2RFGKVDUQF7LYHYGKS37UGQSKQQZTW";

static RING: LazyLock<Option<Ring>> = LazyLock::new(|| {
    let all = identities(IDENTITY).ok()?;
    Ring::new(all.into_iter().map(|one| ("i1".to_owned(), one)).collect())
});

/// Opens one text.
pub fn run(input: &[u8]) {
    let (Ok(text), Ok(scope)) = (std::str::from_utf8(input), Scope::new("shop", "checkout", "TOKEN")) else { return };
    let Some(ring) = &*RING else { panic!("the identity cannot be read") };
    if let Ok((value, id)) = ring.open(&scope, text) {
        assert_eq!(id, "i1");
        assert!(value.len() < MAX_SEALED && text.trim().len() <= MAX_SEALED);
    }
}
