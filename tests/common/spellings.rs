//! The ways in which a secret can be written. Whoever looks for one where it must not be looks for all of them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What a query string has to encode; a strict encoder encodes more.
const QUERY: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'&').add(b'+').add(b'=').add(b'%').add(b'/');

/// How much of a digest is looked for: it may have been cut.
const DIGEST_HEX: usize = 16;
const DIGEST_BASE64: usize = 11;

/// A secret in one spelling.
#[derive(Debug, Clone)]
pub struct Spelling {
    /// Which one.
    pub how: &'static str,
    /// The text.
    pub text: String,
}

/// All spellings of a secret: plain, within JSON, URL-encoded, in hexadecimal, in base64 wherever it begins in a longer text, as an
/// unkeyed digest.
pub fn spellings(secret: &str) -> Vec<Spelling> {
    let mut all = Vec::new();
    let mut add = |how, text: String| all.push(Spelling { how, text });
    add("plain", secret.to_owned());
    let json = Value::from(secret).to_string();
    add("JSON", json[1..json.len() - 1].to_owned());
    add("debug", format!("{secret:?}").trim_matches('"').to_owned());
    // JSON in a field of a JSON log, as an error that quotes a body would be.
    let twice = Value::from(json).to_string();
    add("JSON in JSON", twice[3..twice.len() - 3].to_owned());
    for (how, set) in [("URL-encoded", QUERY), ("URL-encoded strictly", NON_ALPHANUMERIC)] {
        let encoded = utf8_percent_encode(secret, set).to_string();
        add(how, encoded.replace("%20", "+"));
        add(how, encoded.to_lowercase());
        add(how, encoded);
    }
    let hex = hexadecimal(secret.as_bytes());
    add("hexadecimal", hex.to_uppercase());
    add("hexadecimal", hex);
    for offset in 0..3 {
        add("base64", within(offset, secret, |bytes| STANDARD_NO_PAD.encode(bytes)));
        add("base64url", within(offset, secret, |bytes| URL_SAFE_NO_PAD.encode(bytes)));
    }
    let digest = Sha256::digest(secret.as_bytes());
    let hex = hexadecimal(&digest)[..DIGEST_HEX].to_owned();
    add("SHA-256", hex.to_uppercase());
    add("SHA-256", hex);
    add("SHA-256", STANDARD_NO_PAD.encode(digest)[..DIGEST_BASE64].to_owned());
    add("SHA-256", URL_SAFE_NO_PAD.encode(digest)[..DIGEST_BASE64].to_owned());
    all
}

/// The bytes as lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The characters that stand for a secret which begins `offset` bytes after a group of three, whatever is around it.
fn within(offset: usize, secret: &str, encode: impl Fn(&[u8]) -> String) -> String {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(secret.as_bytes());
    let whole = bytes.len() * 8 / 6;
    encode(&bytes)[(offset * 8).div_ceil(6)..whole].to_owned()
}
