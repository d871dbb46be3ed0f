//! The operator's identities: several at once, the newest of which is sealed to.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::envelope::{self, Scope};
use super::{OpenError, check_header, dearmor, decrypt};
use crate::value::SecretValue;

/// Whoever has it opens what was sealed to its recipient.
pub use age::x25519::Identity;
/// What is sealed to; public.
pub use age::x25519::Recipient;

/// Most identities of a ring; all of them are tried.
const MAX_IDENTITIES: usize = 32;

/// Identities by id (`i1`, `i2`, …), the newest first.
#[derive(Clone)]
pub struct Ring {
    identities: Vec<(String, Identity)>,
    digest: String,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.recipients()).finish()
    }
}

impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// A text that should hold identities and does not. Never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identity is a line that begins with AGE-SECRET-KEY-1; lines that begin with # are passed over")]
pub struct BadIdentity;

impl Ring {
    /// A ring of identities, the newest first; `None` without any.
    #[must_use]
    pub fn new(identities: Vec<(String, Identity)>) -> Option<Self> {
        if identities.is_empty() {
            return None;
        }
        let mut digest = Sha256::new();
        for (id, identity) in &identities {
            digest.update(format!("{id}={}\n", identity.to_public()));
        }
        let digest = digest.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
        Some(Self { identities, digest })
    }

    /// Reads the data of the Secret: keys `i1`, `i2`, …, each with the text of one identity as `age-keygen` writes it. What
    /// cannot be read is passed over and named.
    #[must_use]
    pub fn read(data: impl IntoIterator<Item = (String, SecretValue)>) -> (Option<Self>, Vec<String>) {
        let mut found: BTreeMap<u32, (String, Identity)> = BTreeMap::new();
        let mut bad = Vec::new();
        for (id, text) in data {
            let identity = text.expose_str().ok_or(BadIdentity).and_then(identity);
            match (number(&id), identity) {
                (Some(number), Ok(identity)) => drop(found.insert(number, (id, identity))),
                _ => bad.push(id),
            }
        }
        let newest = found.into_values().rev().take(MAX_IDENTITIES).collect();
        (Self::new(newest), bad)
    }

    /// Recipient of the newest identity.
    #[must_use]
    pub fn newest(&self) -> Recipient {
        self.identities[0].1.to_public()
    }

    /// Recipients by id, the newest first.
    pub fn recipients(&self) -> impl Iterator<Item = (&str, String)> {
        self.identities.iter().map(|(id, identity)| (id.as_str(), identity.to_public().to_string()))
    }

    /// Names this set of identities; made of public parts.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Opens a sealed value for a scope, and says with which identity.
    ///
    /// # Errors
    /// When no identity opens it, it was changed, or it was sealed for something else.
    pub fn open(&self, scope: &Scope, sealed: &str) -> Result<(SecretValue, &str), OpenError> {
        let file = dearmor(sealed)?;
        check_header(&file)?;
        for (id, identity) in &self.identities {
            if let Some(plaintext) = decrypt(&file, identity)? {
                let start = envelope::value_of(&plaintext, scope)?;
                return Ok((SecretValue::new(plaintext[start..].to_vec()), id));
            }
        }
        Err(OpenError::NoIdentity)
    }
}

/// The number in an id such as `i12`.
fn number(id: &str) -> Option<u32> {
    let digits = id.strip_prefix('i').filter(|d| !d.starts_with('0') && d.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

/// The id for one more identity beside those.
#[must_use]
pub fn next_id<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    format!("i{}", ids.filter_map(number).max().unwrap_or(0).saturating_add(1))
}

/// The identities in a text such as `age-keygen` writes, one a line.
///
/// # Errors
/// When a line is something else. It is not shown.
pub fn identities(text: &str) -> Result<Vec<Identity>, BadIdentity> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.parse().map_err(|_| BadIdentity)).collect()
}

/// The one identity in a text.
fn identity(text: &str) -> Result<Identity, BadIdentity> {
    let mut all = identities(text)?;
    if all.len() == 1 { all.pop().ok_or(BadIdentity) } else { Err(BadIdentity) }
}

/// A new identity as text, with its recipient in a comment.
#[must_use]
pub fn generate() -> SecretValue {
    use age::secrecy::ExposeSecret as _;
    let identity = Identity::generate();
    let secret = identity.to_string();
    let comment = format!("# public key: {}\n", identity.to_public());
    let mut text = Zeroizing::new(Vec::with_capacity(comment.len() + secret.expose_secret().len() + 1));
    text.extend_from_slice(comment.as_bytes());
    text.extend_from_slice(secret.expose_secret().as_bytes());
    text.push(b'\n');
    SecretValue::new(std::mem::take(&mut *text))
}

/// Reads a recipient, `age1…`.
///
/// # Errors
/// When it is none.
pub fn recipient(text: &str) -> Result<Recipient, String> {
    let text = text.trim();
    text.parse().map_err(|_| {
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            "this is an identity and not a recipient; keep it secret, and give the one that begins with age1".to_owned()
        } else {
            "a recipient begins with age1 and has 62 characters".to_owned()
        }
    })
}

/// Reads a file of recipients: one a line; empty lines and lines that begin with # are passed over.
///
/// # Errors
/// When a line is no recipient; it is named by its number.
pub fn recipients(text: &str) -> Result<Vec<Recipient>, String> {
    let lines = text.lines().enumerate().map(|(i, line)| (i, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(i, line)| recipient(line).map_err(|why| format!("line {}: {why}", i + 1)))
        .collect()
}
