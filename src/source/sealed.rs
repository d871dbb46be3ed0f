//! Sealed values: ciphertexts that may lie in a Git repository, each bound to one key of one VaultSecret.
//!
//! A sealed value is an age file in ASCII armor, encrypted to an X25519 recipient whose identity the operator holds. What
//! it encrypts is one line that says what the value is for ([`envelope`]), and then the value. age authenticates all of it,
//! so nobody who cannot open it can make it say something else: copied to another namespace, VaultSecret or key it opens,
//! and is refused.
//!
//! Pure: no I/O and no clock.

pub mod envelope;
mod ring;

use std::io::{Read as _, Write as _};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor};
use zeroize::Zeroizing;

pub use envelope::{Scope, ScopeError};
pub use ring::{BadIdentity, Identity, Recipient, Ring, generate, identities, next_id, recipient, recipients};

/// Longest value that can be sealed, in bytes.
pub const MAX_VALUE: usize = 65_536;

/// Longest sealed value, in bytes of its armor: the longest value, its header and [`MAX_RECIPIENTS`] fit.
pub const MAX_SEALED: usize = 98_304;

/// Most recipients that a value can be sealed to.
pub const MAX_RECIPIENTS: usize = 16;

/// What every sealed value begins with.
pub const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";

/// What every sealed value ends with.
pub const END: &str = "-----END AGE ENCRYPTED FILE-----";

/// How much of a file may be its header: the recipients that we take, and one more stanza that age puts in at random.
const MAX_HEADER: usize = 4096;

/// Most recipients that are tried; one more costs whoever opens it a multiplication on the curve for every identity.
const MAX_STANZAS: usize = 24;

/// Why nothing was sealed. Never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is nothing to seal.
    #[error("the value is empty")]
    Empty,
    /// It would not be taken.
    #[error("the value has {0} bytes; at most {MAX_VALUE} can be sealed")]
    TooLarge(usize),
    /// Nobody could open it.
    #[error("there is no recipient to seal to")]
    NoRecipient,
    /// Too many.
    #[error("there are {0} recipients; a value is sealed to at most {MAX_RECIPIENTS}")]
    TooManyRecipients(usize),
    /// The age library failed.
    #[error("the value could not be encrypted")]
    Encryption,
}

/// Why a sealed value is not opened. Never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too long.
    #[error("the sealed value is longer than the {MAX_SEALED} bytes that `vaultsecret seal` makes at most")]
    TooLarge,
    /// Not the armor that `vaultsecret seal` writes.
    #[error("this is not what `vaultsecret seal` printed: all lines from \"{BEGIN}\" to \"{END}\", unchanged")]
    NotSealed,
    /// age says that it was changed.
    #[error("the sealed value was damaged or changed")]
    Damaged,
    /// Sealed to somebody else.
    #[error("none of the identities opens it: it was sealed to another recipient, or damaged")]
    NoIdentity,
    /// An age file whose plaintext has no header of ours.
    #[error("it was encrypted with age, but not with `vaultsecret seal`, and says nothing of what it is for")]
    Unbound,
    /// A header of a later version.
    #[error("it was sealed by a newer version of vaultsecret")]
    Newer,
    /// Sealed for another key or VaultSecret of the same namespace.
    #[error("it was sealed for key {key} of VaultSecret {name}, and not for this one")]
    ForAnother {
        /// The VaultSecret.
        name: String,
        /// The key.
        key: String,
    },
    /// Sealed for another namespace, whose names are nobody's business here.
    #[error("it was sealed for another namespace")]
    ForAnotherNamespace,
}

/// Seals a value for one key of one VaultSecret. What comes back is ASCII armor that ends in a line break.
///
/// # Errors
/// When the value is empty or too large, or there is no recipient.
pub fn seal(to: &[Recipient], scope: &Scope, value: &[u8]) -> Result<String, SealError> {
    if value.is_empty() {
        return Err(SealError::Empty);
    }
    if value.len() > MAX_VALUE {
        return Err(SealError::TooLarge(value.len()));
    }
    if to.is_empty() {
        return Err(SealError::NoRecipient);
    }
    if to.len() > MAX_RECIPIENTS {
        return Err(SealError::TooManyRecipients(to.len()));
    }
    let header = envelope::header(scope);
    let mut plaintext = Zeroizing::new(Vec::with_capacity(header.len() + value.len()));
    plaintext.extend_from_slice(header.as_bytes());
    plaintext.extend_from_slice(value);
    let file = encrypt(to, &plaintext).ok_or(SealError::Encryption)?;
    armor(&file).ok_or(SealError::Encryption)
}

fn encrypt(to: &[Recipient], plaintext: &[u8]) -> Option<Vec<u8>> {
    let encryptor = Encryptor::with_recipients(to.iter().map(|r| r as &dyn age::Recipient)).ok()?;
    let mut file = Vec::new();
    let mut writer = encryptor.wrap_output(&mut file).ok()?;
    writer.write_all(plaintext).ok()?;
    writer.finish().ok()?;
    Some(file)
}

fn armor(file: &[u8]) -> Option<String> {
    let mut writer = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).ok()?;
    writer.write_all(file).ok()?;
    let mut text = writer.finish().ok()?;
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    String::from_utf8(text).ok()
}

/// The file inside the armor. Exactly one text is taken for each file (but for white space around it), so that a changed
/// character is a changed value.
fn dearmor(text: &str) -> Result<Vec<u8>, OpenError> {
    let text = text.trim();
    if text.len() > MAX_SEALED {
        return Err(OpenError::TooLarge);
    }
    if !text.starts_with(BEGIN) || !text.ends_with(END) {
        return Err(OpenError::NotSealed);
    }
    let mut file = Vec::with_capacity(text.len());
    ArmoredReader::new(text.as_bytes()).read_to_end(&mut file).map_err(|_| OpenError::NotSealed)?;
    if armor(&file).is_none_or(|again| again.trim_end() != text) {
        return Err(OpenError::NotSealed);
    }
    Ok(file)
}

/// Whether the header is one that we make: what is larger costs whoever opens it more than it can be worth.
fn check_header(file: &[u8]) -> Result<(), OpenError> {
    let start = &file[..file.len().min(MAX_HEADER)];
    let end = start.windows(4).position(|w| w == b"\n---").ok_or(OpenError::NotSealed)?;
    let stanzas = start[..end].split(|b| *b == b'\n').filter(|line| line.starts_with(b"-> ")).count();
    if stanzas > MAX_STANZAS { Err(OpenError::NotSealed) } else { Ok(()) }
}

/// Decrypts with one identity; `None` when it is for another.
fn decrypt(file: &[u8], identity: &Identity) -> Result<Option<Zeroizing<Vec<u8>>>, OpenError> {
    let decryptor = Decryptor::new(file).map_err(|_| OpenError::Damaged)?;
    let mut reader = match decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)) {
        Ok(reader) => reader,
        Err(DecryptError::NoMatchingKeys) => return Ok(None),
        Err(_) => return Err(OpenError::Damaged),
    };
    // Room enough from the start: a vector that grows leaves copies behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(file.len() + 64));
    reader.read_to_end(&mut plaintext).map_err(|_| OpenError::Damaged)?;
    Ok(Some(plaintext))
}

#[cfg(test)]
mod tests;
