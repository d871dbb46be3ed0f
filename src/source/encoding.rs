//! Bytes of a source become the text that a remote takes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::api::vault_secret::Encoding;
use crate::value::SecretValue;

/// Why a value is not sent. Never holds the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// There is nothing to send.
    #[error("the value is empty")]
    Empty,
    /// The bytes are not text, and nothing says how to make text of them.
    #[error("the value is not UTF-8 text; set `encoding: Base64` on this key to send it encoded")]
    NotUtf8,
}

/// The value as the remote is to have it.
///
/// # Errors
/// When it is empty, or not UTF-8 although it should go as it is.
pub fn encode(bytes: &[u8], encoding: Encoding) -> Result<SecretValue, ValueError> {
    if bytes.is_empty() {
        return Err(ValueError::Empty);
    }
    match encoding {
        Encoding::UTF8 if std::str::from_utf8(bytes).is_err() => Err(ValueError::NotUtf8),
        Encoding::UTF8 => Ok(SecretValue::new(bytes.to_vec())),
        Encoding::Base64 => Ok(SecretValue::from(STANDARD.encode(bytes))),
        Encoding::Base64Url => Ok(SecretValue::from(URL_SAFE_NO_PAD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_goes_as_it_is_and_bytes_encoded() {
        let text = |bytes: &[u8], encoding| encode(bytes, encoding).unwrap().expose_str().unwrap().to_owned();
        assert_eq!(text("pässword\n".as_bytes(), Encoding::UTF8), "pässword\n");
        assert_eq!(text(b"\xfb\xff\xfe", Encoding::Base64), "+//+");
        assert_eq!(text(b"\xfb\xff", Encoding::Base64), "+/8=");
        assert_eq!(text(b"\xfb\xff", Encoding::Base64Url), "-_8");
    }

    #[test]
    fn what_is_not_text_is_refused_with_the_way_out() {
        let error = encode(b"\xff\xfehunter2", Encoding::UTF8).unwrap_err();
        assert!(error.to_string().contains("encoding: Base64"));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn nothing_is_refused_under_every_encoding() {
        for encoding in [Encoding::UTF8, Encoding::Base64, Encoding::Base64Url] {
            assert_eq!(encode(b"", encoding).unwrap_err(), ValueError::Empty);
        }
    }

    proptest! {
        #[test]
        fn encoded_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            let standard = encode(&bytes, Encoding::Base64).unwrap();
            prop_assert_eq!(STANDARD.decode(standard.expose()).unwrap(), bytes.clone());
            let url = encode(&bytes, Encoding::Base64Url).unwrap();
            prop_assert_eq!(URL_SAFE_NO_PAD.decode(url.expose()).unwrap(), bytes);
        }
    }
}
