//! What is known of the providers without asking them: rules for names and values, limits, addresses. Pure.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::http::DescribedRules;
use super::{DriftSignal, Provider};

/// A name that the provider does not take. Never rewritten silently: the message names one that would do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{rule}{}", suggestion.as_ref().map(|name| format!("; `{name}` would do")).unwrap_or_default())]
pub struct NameError {
    /// The provider's rule, as a sentence.
    pub rule: String,
    /// A name close to the refused one that passes the check, where one was found.
    pub suggestion: Option<String>,
}

/// A value that the provider does not take. Says its length, never the value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// No provider stores an empty value.
    #[error("the value is empty")]
    Empty,
    /// Longer than the provider stores.
    #[error("the value has {bytes} bytes, {provider} takes {max}")]
    TooLong {
        /// The provider's name.
        provider: String,
        /// Length of the value.
        bytes: usize,
        /// The longest value that would do.
        max: usize,
    },
}

/// Whether the provider takes an entry whose fields are that long together, as they are sent.
///
/// # Errors
/// When they are too long.
pub fn check_entry(provider: Provider, bytes: usize) -> Result<(), ValueError> {
    // Of the 1 MiB that Vault stores, something is for what it adds.
    const MAX: usize = 960 * 1024;
    if bytes > MAX {
        Err(ValueError::TooLong { provider: provider.name().to_owned(), bytes, max: MAX })
    } else {
        Ok(())
    }
}

/// The limits of a connection that sets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultLimits {
    /// Requests a minute, in the long run.
    pub requests_per_minute: u32,
    /// Requests that may follow each other at once.
    pub burst: u32,
    /// Requests that may be on their way at one time.
    pub max_in_flight: u32,
    /// Limit of one request.
    pub timeout: Duration,
}

impl Provider {
    /// The provider's name, as it is written in messages and in `status.provider`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kelvin => "Kelvin",
            Self::Dreadnode => "Dreadnode",
            Self::Mixpeek => "Mixpeek",
            Self::Vault => "Vault",
            Self::Http => "Http",
        }
    }
}

/// What is known of the remote of a connection without asking it.
#[derive(Clone, Debug)]
pub enum Rules {
    /// A provider that is built in.
    BuiltIn(Provider),
    /// What its description says.
    Described(Arc<DescribedRules>),
}

impl Rules {
    /// The provider.
    #[must_use]
    pub fn provider(&self) -> Provider {
        match self {
            Self::BuiltIn(provider) => *provider,
            Self::Described(_) => Provider::Http,
        }
    }

    /// The name under which the remote stores an entry. Two names that become one here are one entry.
    #[must_use]
    pub fn stored_name(&self, name: &str) -> String {
        match self {
            Self::BuiltIn(provider) => stored_name(*provider, name),
            Self::Described(rules) => rules.stored_name(name),
        }
    }

    /// Whether the remote takes a name.
    ///
    /// # Errors
    /// The rule that the name breaks, and a name that would do.
    pub fn check_name(&self, name: &str) -> Result<(), NameError> {
        match self {
            Self::BuiltIn(provider) => check_name(*provider, name),
            Self::Described(rules) => rules.check_name(name),
        }
    }

    /// Whether the remote takes a value of that length, as it is sent (after its encoding).
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn check_value(&self, bytes: usize) -> Result<(), ValueError> {
        match self {
            Self::BuiltIn(provider) => check_value(*provider, bytes),
            Self::Described(rules) => rules.check_value(bytes),
        }
    }
}

/// The name under which the remote stores an entry. Two names that become one here are one entry.
#[must_use]
pub fn stored_name(provider: Provider, name: &str) -> String {
    match provider {
        Provider::Dreadnode => name.to_uppercase(),
        Provider::Kelvin | Provider::Mixpeek | Provider::Vault | Provider::Http => name.to_owned(),
    }
}

/// Whether the provider takes a name.
///
/// # Errors
/// The rule that the name breaks, and a name that would do.
pub fn check_name(provider: Provider, name: &str) -> Result<(), NameError> {
    let rules = NameRules::of(provider);
    if rules.accept(name) {
        return Ok(());
    }
    Err(NameError { rule: rules.sentence.to_owned(), suggestion: Some(rules.suggest(name)) })
}

/// Whether the provider takes a value of that length, as it is sent (after its encoding).
///
/// # Errors
/// When it is empty or too long.
pub fn check_value(provider: Provider, bytes: usize) -> Result<(), ValueError> {
    let max = max_value(provider);
    match bytes {
        0 => Err(ValueError::Empty),
        bytes if bytes > max => Err(ValueError::TooLong { provider: provider.name().to_owned(), bytes, max }),
        _ => Ok(()),
    }
}

/// The longest value, in bytes. Kelvin's is its own. Mixpeek keeps all secrets of an organization in one document of
/// 16 MiB and Dreadnode states no limit: for these two it is ours, and what an environment variable may sensibly hold. Vault
/// stores entries of 1 MiB; half of it leaves room for JSON's escapes and for other fields.
#[must_use]
pub fn max_value(provider: Provider) -> usize {
    match provider {
        Provider::Kelvin => 64_000,
        Provider::Dreadnode | Provider::Mixpeek | Provider::Http => 64 * 1024,
        Provider::Vault => 512 * 1024,
    }
}

/// The limits of a connection that sets none. A Vault is nobody's metered service: its limits only keep a bulk from being felt
/// by others. Mixpeek's free plan allows ten requests a minute, five at one time.
#[must_use]
pub fn default_limits(provider: Provider) -> DefaultLimits {
    let timeout = Duration::from_secs(10);
    match provider {
        Provider::Kelvin | Provider::Dreadnode | Provider::Http => {
            DefaultLimits { requests_per_minute: 600, burst: 20, max_in_flight: 8, timeout }
        }
        Provider::Mixpeek => DefaultLimits { requests_per_minute: 10, burst: 10, max_in_flight: 5, timeout },
        Provider::Vault => DefaultLimits { requests_per_minute: 6000, burst: 100, max_in_flight: 16, timeout },
    }
}

/// The field of an entry that holds a value when none is named; `None` where an entry is its value. Where entries have fields,
/// what is sent is a JSON object of them.
#[must_use]
pub fn default_field(provider: Provider) -> Option<&'static str> {
    match provider {
        Provider::Kelvin | Provider::Dreadnode | Provider::Mixpeek | Provider::Http => None,
        Provider::Vault => Some("value"),
    }
}

/// Whether the provider gives values back, to a credential that may read them.
#[must_use]
pub fn gives_values(provider: Provider) -> bool {
    match provider {
        Provider::Kelvin | Provider::Dreadnode | Provider::Mixpeek | Provider::Http => false,
        Provider::Vault => true,
    }
}

/// Where the provider is, unless it has an address for every customer.
#[must_use]
pub fn default_url(provider: Provider) -> Option<&'static str> {
    match provider {
        Provider::Kelvin | Provider::Vault | Provider::Http => None,
        Provider::Dreadnode => Some("https://app.dreadnode.io"),
        Provider::Mixpeek => Some("https://api.mixpeek.com"),
    }
}

/// What the provider shows of other people's changes.
#[must_use]
pub fn drift_signal(provider: Provider) -> DriftSignal {
    match provider {
        Provider::Kelvin | Provider::Dreadnode => DriftSignal::Timestamp,
        Provider::Mixpeek | Provider::Http => DriftSignal::Presence,
        Provider::Vault => DriftSignal::Version,
    }
}

struct NameRules {
    provider: Provider,
    sentence: &'static str,
    max_chars: usize,
    separator: char,
}

impl NameRules {
    fn of(provider: Provider) -> Self {
        let (sentence, max_chars, separator) = match provider {
            Provider::Kelvin => ("Kelvin takes names of 1 to 32 lower-case letters, digits and `-`", 32, '-'),
            Provider::Dreadnode => {
                ("Dreadnode takes names of 1 to 255 letters, digits and `_` that do not begin with a digit", 255, '_')
            }
            Provider::Mixpeek => (
                "Mixpeek takes names of 1 to 100 characters without spaces, `/`, braces and control characters",
                100,
                '_',
            ),
            Provider::Http => {
                ("a described API takes names of 1 to 253 characters without control characters", 253, '-')
            }
            Provider::Vault => (
                "Vault takes names of 1 to 255 letters, digits and `-_.@:+=,~`, without `..`; folders go into the connection's path",
                255,
                '-',
            ),
        };
        Self { provider, sentence, max_chars, separator }
    }

    fn accept(&self, name: &str) -> bool {
        let length = name.chars().count();
        if length == 0 || length > self.max_chars {
            return false;
        }
        match self.provider {
            Provider::Kelvin => name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            Provider::Dreadnode => {
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                    && !name.starts_with(|c: char| c.is_ascii_digit())
            }
            // The vendor's rule is the length alone. The others keep the name usable: `/` and dots in a path, braces
            // in a `{{secrets.NAME}}` reference.
            Provider::Http => !name.chars().any(char::is_control) && !matches!(name, "." | ".."),
            Provider::Mixpeek => {
                !name.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '/' | '{' | '}'))
                    && !matches!(name, "." | "..")
            }
            // What needs no encoding in a path and has no meaning in a policy; `..` Vault itself refuses as a relative path.
            Provider::Vault => {
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@:+=,~".contains(&b))
                    && name != "."
                    && !name.contains("..")
            }
        }
    }

    /// A name like the refused one that passes. What has to be cut ends in a hash of the whole, so that two long
    /// names with one beginning stay two.
    fn suggest(&self, name: &str) -> String {
        let upper = self.provider == Provider::Dreadnode;
        let shape = |c: char| match self.provider {
            Provider::Vault => (c.is_ascii_alphanumeric() || c == '_').then_some(c),
            Provider::Dreadnode => c.is_ascii_alphanumeric().then(|| c.to_ascii_uppercase()),
            _ => c.is_ascii_alphanumeric().then(|| c.to_ascii_lowercase()),
        };
        let mut plain = plain_name(name, self.separator, shape);
        if plain.is_empty() {
            plain = plain_name(&format!("secret{}{}", self.separator, short_hash(name)), self.separator, shape);
        }
        if upper && plain.starts_with(|c: char| c.is_ascii_digit()) {
            plain.insert(0, '_');
        }
        cut_name(&plain, self.max_chars, self.separator, upper, name)
    }
}

/// A name of what `shape` keeps of its characters, with whatever is between them become the separator.
pub(crate) fn plain_name(name: &str, separator: char, shape: impl Fn(char) -> Option<char>) -> String {
    let mut plain = String::new();
    for c in name.chars() {
        if let Some(c) = shape(c) {
            plain.push(c);
        } else if !plain.is_empty() && !plain.ends_with(separator) {
            plain.push(separator);
        }
    }
    plain.trim_end_matches(separator).to_owned()
}

/// A plain name that is no longer than `max`; what has to be cut ends in a hash of the `whole`.
pub(crate) fn cut_name(plain: &str, max: usize, separator: char, upper: bool, whole: &str) -> String {
    if plain.len() <= max {
        return plain.to_owned();
    }
    let hash = if upper { short_hash(whole).to_ascii_uppercase() } else { short_hash(whole) };
    let kept: String = plain.chars().take(max.saturating_sub(hash.len() + 1)).collect();
    format!("{}{separator}{hash}", kept.trim_end_matches(separator)).chars().take(max).collect()
}

/// Eight hexadecimal digits of a name (which is no secret).
pub(crate) fn short_hash(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
