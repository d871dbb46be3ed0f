//! Placeholders in texts: `{{ name }}`, `{{ value | base64 }}`. A text is parsed once; what stands for a placeholder is
//! put into the parsed text and is never looked at again, so it cannot bring placeholders or structure of its own.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// A text with placeholders.
#[derive(Debug, Default)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Slot { name: String, filters: Vec<Filter> },
}

/// What can be done to what stands for a placeholder.
#[derive(Clone, Copy, Debug)]
enum Filter {
    Base64,
    Base64Url,
    Upper,
    Lower,
    Trim,
}

/// What stands for each placeholder. No `Debug`: a value may be among them.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a>(pub(crate) &'a [(&'a str, &'a str)]);

/// A placeholder for which there is nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Absent(pub(crate) String);

impl Values<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }
}

impl Template {
    /// Reads a text that may hold these placeholders. The error is a sentence.
    pub(crate) fn parse(text: &str, allowed: &[&str]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let Some(length) = rest[start..].find("}}") else {
                return Err("a {{ is not closed by a }}".to_owned());
            };
            if start > 0 {
                parts.push(Part::Text(rest[..start].to_owned()));
            }
            parts.push(slot(&rest[start + 2..start + length], allowed)?);
            rest = &rest[start + length + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Whether it holds a placeholder of that name.
    pub(crate) fn uses(&self, wanted: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Slot { name, .. } if name == wanted))
    }

    /// Whether it holds no placeholder at all.
    pub(crate) fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// The text with everything in its place. `encode` sees what stands for a placeholder, not the text around it.
    pub(crate) fn render(
        &self,
        values: Values<'_>,
        encode: impl Fn(&str, &mut String),
    ) -> Result<Zeroizing<String>, Absent> {
        let mut out = Zeroizing::new(String::new());
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Slot { name, filters } => {
                    let found = values.get(name).ok_or_else(|| Absent(name.clone()))?;
                    let filtered = filters
                        .iter()
                        .fold(Zeroizing::new(found.to_owned()), |text, filter| Zeroizing::new(filter.apply(&text)));
                    encode(&filtered, &mut out);
                }
            }
        }
        Ok(out)
    }

    /// The text with everything in its place, as it is.
    pub(crate) fn text(&self, values: Values<'_>) -> Result<Zeroizing<String>, Absent> {
        self.render(values, |text, out| out.push_str(text))
    }
}

fn slot(inside: &str, allowed: &[&str]) -> Result<Part, String> {
    let mut words = inside.split('|').map(str::trim);
    let name = words.next().unwrap_or_default();
    if !allowed.contains(&name) {
        let shown: String = name.chars().take(40).collect();
        return Err(match allowed {
            [] => format!("no placeholder may stand here, but there is {shown:?}"),
            allowed => format!("{shown:?} is no placeholder that may stand here; these may: {}", allowed.join(", ")),
        });
    }
    let filters = words
        .map(|word| {
            Filter::named(word).ok_or_else(|| {
                let shown: String = word.chars().take(40).collect();
                format!("{shown:?} is no filter; these are: base64, base64Url, upper, lower, trim")
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Part::Slot { name: name.to_owned(), filters })
}

impl Filter {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "base64" => Self::Base64,
            "base64Url" => Self::Base64Url,
            "upper" => Self::Upper,
            "lower" => Self::Lower,
            "trim" => Self::Trim,
            _ => return None,
        })
    }

    fn apply(self, text: &str) -> String {
        match self {
            Self::Base64 => STANDARD.encode(text),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(text),
            Self::Upper => text.to_uppercase(),
            Self::Lower => text.to_lowercase(),
            Self::Trim => text.trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn render(text: &str, values: &[(&str, &str)]) -> Result<String, String> {
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let template = Template::parse(text, &names)?;
        template.text(Values(values)).map(|text| text.to_string()).map_err(|absent| absent.0)
    }

    #[test]
    fn placeholders_are_replaced_wherever_they_stand() {
        let values = [("name", "a"), ("value", "S 1")];
        for (text, expected) in [
            ("", ""),
            ("plain }} text { }", "plain }} text { }"),
            ("{{name}}", "a"),
            ("x{{ name }}{{  value }}y", "xaS 1y"),
            ("{{ value | base64 }}", "UyAx"),
            ("{{ value|lower|base64Url }}", "cyAx"),
            ("{{ name | upper }}-{{ value | trim }}", "A-S 1"),
        ] {
            assert_eq!(render(text, &values).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_one_sentence() {
        let values = [("name", "a")];
        for (text, words) in [
            ("{{ name", "not closed"),
            ("{{}}", "\"\" is no placeholder"),
            ("{{ value }}", "\"value\" is no placeholder that may stand here; these may: name"),
            ("{{ name | sha1 }}", "\"sha1\" is no filter"),
            ("{{ name name }}", "no placeholder"),
        ] {
            let error = render(text, &values).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(render("{{ name }}", &[]).unwrap_err().starts_with("no placeholder may stand here"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let template = Template::parse("{{ id }}", &["id"]).unwrap();
        assert_eq!(template.text(Values(&[])).unwrap_err(), Absent("id".to_owned()));
        assert!(template.uses("id") && !template.uses("name") && !template.is_fixed());
    }

    proptest! {
        #[test]
        fn what_stands_for_a_placeholder_is_not_looked_at_again(value in "\\PC{0,40}|[{} |a-z]{0,20}") {
            prop_assert_eq!(render("<{{ value }}>", &[("value", &value)]).unwrap(), format!("<{value}>"));
        }

        #[test]
        fn parsing_never_panics(text in "[{}| a-z\u{e9}]{0,60}") {
            let _ = Template::parse(&text, &["a", "name"]);
        }
    }
}
