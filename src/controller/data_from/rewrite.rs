//! Which keys an item of `spec.dataFrom` wants, and what they are called at the remote.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};

use crate::api::Reason;
use crate::api::vault_secret::DataFrom;
use crate::controller::desired::Issue;
use crate::source::template::{Cause, Template, TemplateError};
use crate::value::SecretValue;

/// A compiled expression that is larger than this is refused.
const MOST_EXPRESSION: usize = 1 << 20;
/// No remote takes a name that is longer, and a chain of replacements could make one of any length.
const MOST_NAME: usize = 1024;
/// What a template knows.
const WORDS: [&str; 2] = ["key", "secret"];

/// One item's expressions and templates, judged and compiled.
pub struct Rewriter {
    item: usize,
    matches: Option<Regex>,
    steps: Vec<Step>,
}

enum Step {
    Replace(Regex, String),
    Render(Template),
}

impl Rewriter {
    /// Judges an item's.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn of(item: usize, from: &DataFrom) -> Result<Self, Issue> {
        let matches =
            from.matches.as_ref().map(|m| expression(&format!("dataFrom[{item}].match"), &m.regexp)).transpose()?;
        let mut steps = Vec::with_capacity(from.rewrite.len());
        for (number, rewrite) in from.rewrite.iter().enumerate() {
            let place = format!("dataFrom[{item}].rewrite[{number}]");
            steps.push(match (&rewrite.regexp, &rewrite.template) {
                (Some(regexp), None) => Step::Replace(expression(&place, &regexp.source)?, regexp.target.clone()),
                (None, Some(text)) => Step::Render(template(&place, text)?),
                _ => {
                    let text = format!("{place}: exactly one of regexp and template must be set");
                    return Err(Issue::new(Reason::NameRefused, text));
                }
            });
        }
        Ok(Self { item, matches, steps })
    }

    /// Whether a key is wanted.
    pub fn wants(&self, key: &str) -> bool {
        self.matches.as_ref().is_none_or(|regexp| regexp.is_match(key))
    }

    /// What a key becomes.
    ///
    /// # Errors
    /// When a template fails, or makes no name.
    pub fn name(&self, key: &str, secret: &str) -> Result<String, Issue> {
        let mut name = key.to_owned();
        for (number, step) in self.steps.iter().enumerate() {
            let refused = |reason, why: &dyn std::fmt::Display| {
                let place = format!("dataFrom[{}].rewrite[{number}], key {key} of Secret {secret}", self.item);
                Issue::new(reason, format!("{place}: {why}"))
            };
            name = match step {
                Step::Replace(regexp, target) => regexp.replace_all(&name, target.as_str()).into_owned(),
                Step::Render(template) => {
                    render(template, &name, secret).map_err(|error| refused(Reason::TemplateError, &told(&error)))?
                }
            };
            if name.len() > MOST_NAME {
                return Err(refused(Reason::NameRefused, &format!("the name becomes longer than {MOST_NAME} bytes")));
            }
        }
        Ok(name)
    }
}

fn expression(place: &str, text: &str) -> Result<Regex, Issue> {
    let compiled = RegexBuilder::new(text).size_limit(MOST_EXPRESSION).dfa_size_limit(MOST_EXPRESSION).build();
    compiled.map_err(|error| {
        // Of several lines that show where, the last one says what.
        let text = error.to_string();
        let what = text.lines().next_back().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Issue::new(Reason::NameRefused, format!("{place}.regexp is no regular expression: {what}"))
    })
}

fn template(place: &str, text: &str) -> Result<Template, Issue> {
    let refused = |why: String| Issue::new(Reason::TemplateError, format!("{place}.template: {why}"));
    Template::parse(text).map_err(|error| refused(told(&error)))
}

fn render(template: &Template, name: &str, secret: &str) -> Result<String, TemplateError> {
    let values = BTreeMap::from([
        (WORDS[0].to_owned(), SecretValue::from(name)),
        (WORDS[1].to_owned(), SecretValue::from(secret)),
    ]);
    let made = template.render(&values, &BTreeSet::from(WORDS.map(str::to_owned)))?;
    made.expose_str().map(str::to_owned).ok_or_else(|| {
        TemplateError::whole(Cause::Refused { filter: None, what: "the name that it makes is not UTF-8 text" })
    })
}

fn told(error: &TemplateError) -> String {
    match error.cause {
        Cause::Undefined(_) => {
            let at = error.line.map(|line| format!("line {line} of the template: ")).unwrap_or_default();
            format!("{at}it uses something that is not there; there are key, the name so far, and secret")
        }
        _ => error.to_string(),
    }
}
