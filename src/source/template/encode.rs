//! Ways to write a value so that a reader of some format reads the same value.

use base64::Engine as _;
use base64::alphabet::{STANDARD as STANDARD_ALPHABET, URL_SAFE as URL_ALPHABET};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE_NO_PAD};
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::MOST_VALUE;
use super::engine::Bytes;
use super::error::Fault;

/// Everything but what a URL never means anything by.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How deep a structure may be.
const MOST_DEPTH: usize = 32;
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Base64, standard alphabet, padded.
pub(super) fn b64encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Base64, URL-safe alphabet, not padded.
pub(super) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64 of either alphabet, padded or not, over several lines or not.
pub(super) fn b64decode(text: &str) -> Result<Vec<u8>, &'static str> {
    let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let alphabet = if packed.contains(['-', '_']) { &URL_ALPHABET } else { &STANDARD_ALPHABET };
    GeneralPurpose::new(alphabet, LENIENT).decode(packed).map_err(|_| "the value is not base64")
}

/// Percent-encoded for any part of a URL: a user, a password, a path segment, a query value.
pub(super) fn urlencode(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// A value on one line of a .env file, quoted where it must be.
///
/// Readers differ in what a backslash means. The form is chosen that all of them read alike; a value with a single quote, or
/// with an awkward backslash, and with something that double quotes give a meaning to, has none, and gets that of a shell.
pub(super) fn dotenv(text: &str) -> Result<String, &'static str> {
    if text.contains(['\0', '\r']) {
        return Err("a NUL or carriage return cannot be written; use b64encode");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let awkward = text.contains("\\\\") || text.ends_with('\\');
    if !text.contains('\'') && !awkward {
        return Ok(format!("'{text}'"));
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Ok(quoted)
}

/// A word of a .netrc file, which knows no way to quote that all its readers share.
pub(super) fn netrc(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("the value is empty");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) || text.starts_with(['"', '#']) {
        return Err("spaces, control characters, and a quote or # at the beginning cannot be written there");
    }
    Ok(text.to_owned())
}

/// How a structure is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Compact JSON.
    Json,
    /// YAML that fits on one line.
    Yaml,
}

/// Writes text, numbers, lists and maps.
pub(super) fn structure(filter: &'static str, value: &Value, style: Style) -> Result<String, Error> {
    let mut writer = Writer { filter, style, out: String::new() };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer {
    filter: &'static str,
    style: Style,
    out: String,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MOST_DEPTH {
            return Err(Fault::of(self.filter, "the structure is too deep"));
        }
        match value.kind() {
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Number => self.number(value)?,
            ValueKind::Seq => self.sequence(value, depth)?,
            ValueKind::Map => self.map(value, depth)?,
            ValueKind::Undefined => return Err(ErrorKind::UndefinedError.into()),
            ValueKind::Invalid => return Err(value.try_iter().err().unwrap_or(ErrorKind::InvalidOperation.into())),
            _ if value.downcast_object_ref::<Bytes>().is_some() => {
                return Err(Fault::of(self.filter, "the value is not UTF-8 text; use b64encode first"));
            }
            _ => return Err(Fault::of(self.filter, "takes text, numbers, lists and maps only")),
        }
        if self.out.len() > MOST_VALUE {
            return Err(Fault::of(self.filter, "the result would be too large"));
        }
        Ok(())
    }

    fn number(&mut self, value: &Value) -> Result<(), Error> {
        let text = value.to_string();
        let is_number = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
        if !is_number {
            return Err(Fault::of(self.filter, "takes no infinite numbers"));
        }
        self.out.push_str(&text);
        Ok(())
    }

    fn sequence(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('[');
        for (index, item) in value.try_iter()?.enumerate() {
            self.separate(index);
            self.value(&item, depth + 1)?;
        }
        self.out.push(']');
        Ok(())
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('{');
        for (index, key) in value.try_iter()?.enumerate() {
            self.separate(index);
            match key.as_str() {
                Some(text) => self.text(text),
                None => return Err(Fault::of(self.filter, "the keys of a map are texts")),
            }
            self.out.push_str(if self.style == Style::Yaml { ": " } else { ":" });
            self.value(&value.get_item(&key)?, depth + 1)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.out.push_str(if self.style == Style::Yaml { ", " } else { "," });
        }
    }

    /// A string as both JSON and YAML read it: YAML knows the escapes of JSON, and does not take every character as it is.
    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{0}'..='\u{1f}'
                | '\u{7f}'..='\u{9f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{feff}'
                | '\u{fffe}'
                | '\u{ffff}' => {
                    self.out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}
