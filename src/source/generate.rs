//! Values that the operator makes: passwords with a policy, UUIDs, random bytes.
//!
//! Pure but for the random numbers, which are an argument. In production they come from [`os_rng`].

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::rand_core::UnwrapErr;
use rand::{CryptoRng, TryRngCore as _, rngs::OsRng};
use zeroize::Zeroizing;

use crate::api::vault_secret::{Bytes, BytesEncoding, EcKey, Generate, Password, RsaKey, SshKey, SshKeyType};
use crate::value::SecretValue;

mod keypair;
pub use keypair::{NotAPrivateKey, public_half};

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
/// The symbols that are used when the policy names none; those of the External Secrets Operator.
pub const DEFAULT_SYMBOLS: &str = "~!@#$%^&*()_+`-={}|[]\\:\"<>?,./";

/// Why a value cannot be made. Names the field to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// Not exactly one kind of value is asked for.
    #[error("generate: exactly one of password, uuid, bytes, sshKey, rsaKey and ecKey must be set")]
    Kind,
    /// An RSA key of that size is not made.
    #[error("generate.{field} must be 2048, 3072 or 4096")]
    KeySize {
        /// The field.
        field: &'static str,
    },
    /// The key library failed.
    #[error("generate: the key could not be made")]
    Failed,
    /// A number is out of range.
    #[error("generate.{field} must be between {min} and {max}")]
    Range {
        /// The field.
        field: &'static str,
        /// Least number.
        min: u32,
        /// Greatest number.
        max: u32,
    },
    /// Digits and symbols do not fit.
    #[error("generate.password: {digits} digits and {symbols} symbols are more than length {length}; raise length")]
    Length {
        /// Digits wanted.
        digits: u32,
        /// Symbols wanted.
        symbols: u32,
        /// Characters in all.
        length: u32,
    },
    /// Symbols are wanted and there are none to choose from.
    #[error("generate.password.symbolCharacters is empty and {symbols} symbols are wanted; set symbols: 0")]
    NoSymbols {
        /// Symbols wanted.
        symbols: u32,
    },
    /// No character may come twice and there are too few different ones.
    #[error("generate.password: {wanted} different {what} are wanted and there are {available}; {advice}")]
    TooFewCharacters {
        /// Letters, digits or symbols.
        what: &'static str,
        /// How many are wanted.
        wanted: u32,
        /// How many there are.
        available: u32,
        /// What to change.
        advice: &'static str,
    },
}

/// The operating system's random numbers.
#[must_use]
pub fn os_rng() -> UnwrapErr<OsRng> {
    OsRng.unwrap_err()
}

/// Whether exactly one kind of value is asked for.
///
/// # Errors
/// When it is none or several.
pub fn check_kind(spec: &Generate) -> Result<(), GenerateError> {
    kind(spec).map(drop)
}

/// Whether a value of this kind can be made at all.
///
/// # Errors
/// The same as [`generate`].
pub fn check(spec: &Generate) -> Result<(), GenerateError> {
    match kind(spec)? {
        Kind::Password(password) => Policy::of(password).map(drop),
        Kind::Uuid => Ok(()),
        Kind::Bytes(bytes) => bytes_length(bytes).map(drop),
        Kind::Ssh(key) if key.key_type == Some(SshKeyType::Rsa) => {
            keypair::check_bits("sshKey.keySize", key.key_size).map(drop)
        }
        Kind::Ssh(_) | Kind::Ec(_) => Ok(()),
        Kind::Rsa(key) => keypair::check_bits("rsaKey.keySize", key.key_size).map(drop),
    }
}

/// Whether making a value takes long enough, up to seconds, to keep other work from its thread: the search for primes.
#[must_use]
pub fn is_slow(spec: &Generate) -> bool {
    spec.rsa_key.is_some() || spec.ssh_key.as_ref().is_some_and(|key| key.key_type == Some(SshKeyType::Rsa))
}

/// A new value.
///
/// # Errors
/// When the policy cannot be met.
pub fn generate<R: CryptoRng + ?Sized>(spec: &Generate, rng: &mut R) -> Result<SecretValue, GenerateError> {
    match kind(spec)? {
        Kind::Ssh(key) => keypair::ssh_key(key, rng),
        Kind::Rsa(key) => keypair::rsa_key(key, rng),
        Kind::Ec(key) => keypair::ec_key(key, rng),
        Kind::Password(password) => Ok(Policy::of(password)?.draw(rng)),
        Kind::Uuid => {
            let mut random = Zeroizing::new([0_u8; 16]);
            rng.fill_bytes(random.as_mut());
            Ok(SecretValue::from(uuid::Builder::from_random_bytes(*random).into_uuid().to_string()))
        }
        Kind::Bytes(bytes) => {
            let mut random = Zeroizing::new(vec![0_u8; bytes_length(bytes)?]);
            rng.fill_bytes(&mut random);
            Ok(SecretValue::from(match bytes.encoding.unwrap_or_default() {
                BytesEncoding::Base64 => STANDARD.encode(&random),
                BytesEncoding::Base64Url => URL_SAFE_NO_PAD.encode(&random),
                BytesEncoding::Hex => {
                    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or_default();
                    let mut text = String::with_capacity(random.len() * 2);
                    text.extend(random.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
                    text
                }
            }))
        }
    }
}

enum Kind<'a> {
    Password(&'a Password),
    Uuid,
    Bytes(&'a Bytes),
    Ssh(&'a SshKey),
    Rsa(&'a RsaKey),
    Ec(&'a EcKey),
}

fn kind(spec: &Generate) -> Result<Kind<'_>, GenerateError> {
    let kinds = [
        spec.password.as_ref().map(Kind::Password),
        spec.uuid.as_ref().map(|_| Kind::Uuid),
        spec.bytes.as_ref().map(Kind::Bytes),
        spec.ssh_key.as_ref().map(Kind::Ssh),
        spec.rsa_key.as_ref().map(Kind::Rsa),
        spec.ec_key.as_ref().map(Kind::Ec),
    ];
    let mut kinds = kinds.into_iter().flatten();
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => Ok(kind),
        _ => Err(GenerateError::Kind),
    }
}

fn bytes_length(bytes: &Bytes) -> Result<usize, GenerateError> {
    let length = bytes.length.unwrap_or(32);
    if !(1..=4096).contains(&length) {
        return Err(GenerateError::Range { field: "bytes.length", min: 1, max: 4096 });
    }
    Ok(length as usize)
}

/// A password policy that can be met.
struct Policy {
    letters: (u32, Vec<char>),
    digits: (u32, Vec<char>),
    symbols: (u32, Vec<char>),
    repeat: bool,
}

impl Policy {
    fn of(spec: &Password) -> Result<Self, GenerateError> {
        let length = spec.length.unwrap_or(24);
        if !(1..=1024).contains(&length) {
            return Err(GenerateError::Range { field: "password.length", min: 1, max: 1024 });
        }
        let with = |repeat| Self::with(spec, length, repeat);
        match spec.allow_repeat {
            Some(repeat) => with(repeat),
            // Where there are too few different characters, only one who said so insists on them.
            None => with(false).or_else(|_| with(true)),
        }
    }

    fn with(spec: &Password, length: u32, repeat: bool) -> Result<Self, GenerateError> {
        let upper = if spec.no_upper.unwrap_or(false) { "" } else { UPPER };
        let letter_pool: Vec<char> = LOWER.chars().chain(upper.chars()).collect();
        let digit_pool: Vec<char> = DIGITS.chars().collect();
        // A character named twice is not to come twice as often.
        let symbol_pool: BTreeSet<char> =
            spec.symbol_characters.as_deref().unwrap_or(DEFAULT_SYMBOLS).chars().collect();
        let symbol_pool: Vec<char> = symbol_pool.into_iter().collect();
        // A quarter, or as many different ones as there are.
        let quarter = |pool: &[char]| if repeat { length / 4 } else { (length / 4).min(pool.len().max(1) as u32) };
        let digits = spec.digits.unwrap_or_else(|| quarter(&digit_pool));
        let symbols = spec.symbols.unwrap_or_else(|| quarter(&symbol_pool));
        let letters = digits.checked_add(symbols).and_then(|others| length.checked_sub(others));
        let letters = letters.ok_or(GenerateError::Length { digits, symbols, length })?;
        if symbols > 0 && symbol_pool.is_empty() {
            return Err(GenerateError::NoSymbols { symbols });
        }
        if !repeat {
            // Symbols are drawn first. Where `symbolCharacters` names letters or digits, those may be gone then.
            let left = |pool: &[char]| {
                let shared = u32::try_from(pool.iter().filter(|c| symbol_pool.contains(c)).count()).unwrap_or(u32::MAX);
                (pool.len() as u32).saturating_sub(shared.min(symbols))
            };
            let advice = "set allowRepeat: true or shorten length";
            too_few("letters", letters, left(&letter_pool), advice)?;
            too_few("digits", digits, left(&digit_pool), "set allowRepeat: true or lower digits")?;
            let advice = "set allowRepeat: true, lower symbols or add to symbolCharacters";
            too_few("symbols", symbols, symbol_pool.len() as u32, advice)?;
        }
        Ok(Self {
            letters: (letters, letter_pool),
            digits: (digits, digit_pool),
            symbols: (symbols, symbol_pool),
            repeat,
        })
    }

    fn draw<R: CryptoRng + ?Sized>(self, rng: &mut R) -> SecretValue {
        let mut drawn: Zeroizing<Vec<char>> = Zeroizing::new(Vec::with_capacity(1024));
        for (count, mut pool) in [self.symbols, self.letters, self.digits] {
            if !self.repeat {
                pool.retain(|c| !drawn.contains(c));
            }
            for _ in 0..count {
                let at = below(rng, pool.len());
                drawn.push(if self.repeat { pool[at] } else { pool.swap_remove(at) });
            }
        }
        // Fisher and Yates: every order is as likely as every other.
        for last in (1..drawn.len()).rev() {
            let other = below(rng, last + 1);
            drawn.swap(last, other);
        }
        let mut text = String::with_capacity(drawn.iter().map(|c| c.len_utf8()).sum());
        text.extend(drawn.iter());
        SecretValue::from(text)
    }
}

fn too_few(what: &'static str, wanted: u32, available: u32, advice: &'static str) -> Result<(), GenerateError> {
    if wanted > available {
        return Err(GenerateError::TooFewCharacters { what, wanted, available, advice });
    }
    Ok(())
}

/// A number below `n`, every one equally likely: what lies in the last, incomplete run of `n` numbers is drawn again.
fn below<R: CryptoRng + ?Sized>(rng: &mut R, n: usize) -> usize {
    let n = n.max(1) as u64;
    let whole = u64::MAX - u64::MAX % n;
    loop {
        let drawn = rng.next_u64();
        if drawn < whole {
            return (drawn % n) as usize;
        }
    }
}

#[cfg(test)]
mod tests;
