//! Which names, ids and values a described API takes, and what it shows of changes. Pure.

use regex::{Regex, RegexBuilder};

use crate::api::http::{HttpNames, HttpSpec};
use crate::remote::DriftSignal;
use crate::remote::spec::{NameError, ValueError, cut_name, plain_name, short_hash};

/// Longest name where the description gives none.
const MAX_NAME: usize = 253;
/// Longest value where the description gives none.
const MAX_VALUE: usize = 64 * 1024;
/// A compiled expression that is larger than this is refused.
const MAX_EXPRESSION: usize = 1 << 20;

/// The rules of a described API.
#[derive(Debug)]
pub struct DescribedRules {
    service: String,
    names: Option<Regex>,
    ids: Option<Regex>,
    max_name: usize,
    max_value: usize,
    upper: bool,
    sentence: String,
    separator: char,
    drift: DriftSignal,
}

impl Default for DescribedRules {
    fn default() -> Self {
        Self {
            service: "the remote".to_owned(),
            names: None,
            ids: None,
            max_name: MAX_NAME,
            max_value: MAX_VALUE,
            upper: false,
            sentence: format!("the remote takes names of 1 to {MAX_NAME} characters"),
            separator: '-',
            drift: DriftSignal::Presence,
        }
    }
}

impl DescribedRules {
    /// Reads the rules; the error is a sentence.
    pub(crate) fn parse(spec: &HttpSpec, drift: DriftSignal) -> Result<Self, String> {
        let names = spec.names.clone().unwrap_or_default();
        let service = spec.service.clone().unwrap_or_else(|| "the remote".to_owned());
        let max_name = names.max_length.map_or(MAX_NAME, |length| length as usize);
        Ok(Self {
            names: names.pattern.as_deref().map(|text| expression("names.pattern", text)).transpose()?,
            ids: spec.id_pattern.as_deref().map(|text| expression("idPattern", text)).transpose()?,
            max_value: spec.max_value_bytes.map_or(MAX_VALUE, |bytes| bytes as usize),
            upper: names.upper_case == Some(true),
            sentence: sentence(&names, &service, max_name),
            separator: names.separator.as_deref().and_then(|text| text.chars().next()).unwrap_or('-'),
            service,
            max_name,
            drift,
        })
    }

    /// What it shows of other people's changes.
    #[must_use]
    pub fn drift_signal(&self) -> DriftSignal {
        self.drift
    }

    /// The name under which it stores an entry.
    #[must_use]
    pub fn stored_name(&self, name: &str) -> String {
        if self.upper { name.to_uppercase() } else { name.to_owned() }
    }

    /// Whether it takes a name.
    ///
    /// # Errors
    /// The rule that the name breaks, and a name that would do, where one was found.
    pub fn check_name(&self, name: &str) -> Result<(), NameError> {
        if self.accepts(name) {
            return Ok(());
        }
        Err(NameError { rule: self.sentence.clone(), suggestion: self.suggest(name) })
    }

    /// Whether it takes a value of that length.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn check_value(&self, bytes: usize) -> Result<(), ValueError> {
        match bytes {
            0 => Err(ValueError::Empty),
            bytes if bytes > self.max_value => {
                Err(ValueError::TooLong { provider: self.service.clone(), bytes, max: self.max_value })
            }
            _ => Ok(()),
        }
    }

    /// Whether a text can be an id.
    pub(crate) fn takes_id(&self, id: &str) -> bool {
        !id.is_empty() && self.ids.as_ref().is_none_or(|ids| ids.is_match(id))
    }

    fn accepts(&self, name: &str) -> bool {
        // What cannot stand in a path or a header is no name anywhere.
        !name.is_empty()
            && !matches!(name, "." | "..")
            && !name.chars().any(char::is_control)
            && name.chars().count() <= self.max_name
            && self.names.as_ref().is_none_or(|names| names.is_match(name))
    }

    fn suggest(&self, name: &str) -> Option<String> {
        let separators = [self.separator, '-', '_', '.'];
        let shapes = [self.upper, !self.upper].into_iter().flat_map(|upper| separators.map(|sep| (upper, sep)));
        shapes.into_iter().find_map(|(upper, separator)| {
            let cased = |c: char| if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            let shape = |c: char| c.is_ascii_alphanumeric().then(|| cased(c));
            let plain = plain_name(name, separator, shape);
            let plain = if plain.is_empty() {
                plain_name(&format!("secret{separator}{}", short_hash(name)), separator, shape)
            } else {
                plain
            };
            [plain.clone(), format!("{separator}{plain}")]
                .into_iter()
                .map(|candidate| cut_name(&candidate, self.max_name, separator, upper, name))
                .find(|candidate| self.accepts(candidate))
        })
    }
}

fn sentence(names: &HttpNames, service: &str, max: usize) -> String {
    match (&names.rule, &names.pattern) {
        (Some(rule), _) => rule.clone(),
        (None, Some(pattern)) => format!("{service} takes names of 1 to {max} characters that match {pattern}"),
        (None, None) => format!("{service} takes names of 1 to {max} characters"),
    }
}

/// An expression that the whole text must match.
fn expression(field: &str, text: &str) -> Result<Regex, String> {
    let compile = |text: &str| RegexBuilder::new(text).size_limit(MAX_EXPRESSION).build();
    // Alone first: `a)(b` is no expression, although it is one between our parentheses.
    compile(text)
        .and_then(|_| compile(&format!("\\A(?:{text})\\z")))
        .map_err(|_| format!("{field} is no regular expression, or too large a one"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn rules(pattern: &str, max: u32) -> Result<DescribedRules, String> {
        let names = HttpNames { pattern: Some(pattern.to_owned()), max_length: Some(max), ..HttpNames::default() };
        let plain = DescribedRules::default();
        Ok(DescribedRules {
            names: Some(expression("names.pattern", pattern)?),
            max_name: max as usize,
            sentence: sentence(&names, "Acme", max as usize),
            ..plain
        })
    }

    #[test]
    fn a_pattern_is_for_the_whole_name() {
        let rules = rules("a|b+", 3).unwrap();
        for (name, accepted) in [("a", true), ("bbb", true), ("ab", false), ("bbbb", false), ("xa", false), ("", false)]
        {
            assert_eq!(rules.check_name(name).is_ok(), accepted, "{name}");
        }
        let error = rules.check_name("ab").unwrap_err();
        assert_eq!(error.to_string(), "Acme takes names of 1 to 3 characters that match a|b+");
    }

    #[test]
    fn a_suggestion_is_made_where_there_is_one() {
        let suggestion = |pattern, name: &str| rules(pattern, 10).unwrap().check_name(name).unwrap_err().suggestion;
        assert_eq!(suggestion("[a-z-]+", "My Key").as_deref(), Some("my-key"));
        assert_eq!(suggestion("[A-Z_]+", "my-key").as_deref(), Some("MY_KEY"));
        assert_eq!(suggestion("[a-z.]+", "My/Key").as_deref(), Some("my.key"));
        assert_eq!(suggestion("[a-z_][a-z0-9_]*", "1x").as_deref(), Some("_1x"));
        assert_eq!(suggestion("only-this", "other"), None);
    }

    #[test]
    fn what_is_no_expression_is_said() {
        for pattern in ["(", "a)(b", "[", "(?:a{1000}){1000}"] {
            assert!(rules(pattern, 9).unwrap_err().starts_with("names.pattern is no regular expression"), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_name_anywhere_is_refused_without_a_rule() {
        let rules = DescribedRules::default();
        for name in ["", ".", "..", "a\nb", &"x".repeat(254)] {
            assert!(rules.check_name(name).is_err(), "{name:?}");
        }
        assert!(rules.check_name("ключ / {x}").is_ok());
        assert!(rules.takes_id("x") && !rules.takes_id(""));
    }

    proptest! {
        #[test]
        fn a_suggestion_always_passes(name in "\\PC{0,80}|[-._a-zA-Z0-9]{0,80}") {
            for pattern in ["[a-z0-9-]+", "[A-Z_][A-Z0-9_]*", "[a-z.]{3,}", "[^/]+"] {
                let rules = rules(pattern, 20).unwrap();
                if let Some(suggestion) = rules.check_name(&name).err().and_then(|error| error.suggestion) {
                    prop_assert!(rules.check_name(&suggestion).is_ok(), "{} for {}", suggestion, name);
                }
            }
        }
    }
}
