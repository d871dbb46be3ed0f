//! The line before a sealed value that says what the value is for.
//!
//! ```text
//! vaultsecret.dev/sealed/v1 4:shop 8:checkout 14:STRIPE_API_KEY
//! ```
//!
//! and a line break; the value is everything after it. Every name has its length before it, so no two scopes have the same
//! line. `tail -n +2` takes it off.

use super::OpenError;
use crate::source::reference::is_object_name;

/// What every header begins with, before its version.
const MAGIC: &str = "vaultsecret.dev/sealed/";

/// The version that is written.
const VERSION: &str = "v1";

/// No header is longer: its names are limited.
const LONGEST: usize = 640;

/// What a sealed value is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    namespace: String,
    name: String,
    key: String,
}

/// Nothing can be sealed for that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not a namespace.
    #[error("{0:?} cannot be the name of a namespace")]
    Namespace(String),
    /// Not a VaultSecret.
    #[error("{0:?} cannot be the name of a VaultSecret")]
    Name(String),
    /// Not a key.
    #[error("{0:?} cannot be a key of a Secret: 1 to 253 letters, digits, '-', '.' or '_'")]
    Key(String),
}

impl Scope {
    /// A key of a VaultSecret in a namespace.
    ///
    /// # Errors
    /// When no such object, or no such key, can exist.
    pub fn new(namespace: &str, name: &str, key: &str) -> Result<Self, ScopeError> {
        if namespace.len() > 63 || namespace.contains('.') || !is_object_name(namespace) {
            return Err(ScopeError::Namespace(namespace.to_owned()));
        }
        if !is_object_name(name) {
            return Err(ScopeError::Name(name.to_owned()));
        }
        if !is_key(key) {
            return Err(ScopeError::Key(key.to_owned()));
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), key: key.to_owned() })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the VaultSecret.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key in its `spec.data`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "key {} of VaultSecret {}/{}", self.key, self.namespace, self.name)
    }
}

fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (1..=253).contains(&key.len()) && key.chars().all(plain)
}

/// The header of a scope.
#[must_use]
pub fn header(scope: &Scope) -> String {
    let mut line = format!("{MAGIC}{VERSION}");
    for name in [&scope.namespace, &scope.name, &scope.key] {
        line.push_str(&format!(" {}:{name}", name.len()));
    }
    line.push('\n');
    line
}

/// Where the value begins, if all of this was sealed for that scope. What decides is that the header is, byte for byte, the
/// one that the scope has; it is read only to say what is wrong.
///
/// # Errors
/// When it was sealed for something else, or is no sealed value.
pub fn value_of(plaintext: &[u8], scope: &Scope) -> Result<usize, OpenError> {
    let wanted = header(scope);
    if plaintext.starts_with(wanted.as_bytes()) {
        return Ok(wanted.len());
    }
    Err(match scope_of(plaintext) {
        Err(error) => error,
        // A name of another namespace is not told across the wall.
        Ok(sealed) if sealed.namespace == scope.namespace => {
            OpenError::ForAnother { name: sealed.name, key: sealed.key }
        }
        Ok(_) => OpenError::ForAnotherNamespace,
    })
}

/// What a header says.
///
/// # Errors
/// When there is none that we know.
pub fn scope_of(plaintext: &[u8]) -> Result<Scope, OpenError> {
    let start = &plaintext[..plaintext.len().min(LONGEST)];
    let rest = start.strip_prefix(MAGIC.as_bytes()).ok_or(OpenError::Unbound)?;
    let end = rest.iter().position(|b| *b == b'\n').ok_or(OpenError::Unbound)?;
    let line = std::str::from_utf8(&rest[..end]).map_err(|_| OpenError::Unbound)?;
    let (version, mut names) = line.split_once(' ').ok_or(OpenError::Unbound)?;
    if version != VERSION {
        let later = version.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok());
        return Err(if later { OpenError::Newer } else { OpenError::Unbound });
    }
    let mut found = Vec::with_capacity(3);
    while found.len() < 3 {
        let (name, rest) = counted(names).ok_or(OpenError::Unbound)?;
        found.push(name);
        names = match found.len() {
            3 => rest,
            _ => rest.strip_prefix(' ').ok_or(OpenError::Unbound)?,
        };
    }
    if !names.is_empty() {
        return Err(OpenError::Unbound);
    }
    Scope::new(found[0], found[1], found[2]).map_err(|_| OpenError::Unbound)
}

/// Takes `<length>:<text>` off the front.
fn counted(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    let canonical = length.len() <= 3 && !length.starts_with('0') && length.bytes().all(|b| b.is_ascii_digit());
    let length: usize = length.parse().ok().filter(|_| canonical)?;
    rest.split_at_checked(length)
}
