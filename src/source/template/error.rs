//! What is wrong with a template, in words that hold nothing of a value.
//!
//! The engine's own messages quote values and parts of the source. None of them is used: a message is made of a line, of
//! names of keys, and of words that stand in this program.

use minijinja::ErrorKind;

/// Why a template gives no value. Never holds one, nor any of the template's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Line of the template, from 1, where there is one to name.
    pub line: Option<usize>,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It cannot be parsed.
    Syntax,
    /// It is longer than templates may be.
    TooLong,
    /// One expression or statement has too many parts.
    TooComplex,
    /// It uses something of the language that is left out, or only allowed elsewhere.
    NotAllowed(&'static str),
    /// It uses a filter that there is not; with the one that was meant, where that can be guessed.
    UnknownFilter(Option<&'static str>),
    /// It uses a test that there is not.
    UnknownTest,
    /// It calls something.
    Call,
    /// It uses something that is not there; with names of keys that may have been meant.
    Undefined(Vec<String>),
    /// A filter was given too many or too few arguments.
    Arguments,
    /// An operation that its operands do not have.
    Operation,
    /// A filter, or the output, does not take what it was given.
    Refused {
        /// Name of the filter; `None` for the output.
        filter: Option<&'static str>,
        /// What it does not take.
        what: &'static str,
    },
    /// It does too much.
    OutOfFuel,
    /// What it makes is larger than allowed.
    OutputTooLarge,
    /// The value of a key is too large to be used in a template.
    InputTooLarge(String),
    /// A key that it refers to has no value.
    Missing(String),
    /// Keys refer to each other in a circle: each to the next, the last to the first.
    Cycle(Vec<String>),
    /// The template of a key that it refers to is refused.
    Unusable(String),
    /// Its name is that of a key of `spec.data`.
    Taken,
}

impl TemplateError {
    /// An error of a template as a whole.
    #[must_use]
    pub fn whole(cause: Cause) -> Self {
        Self { line: None, cause }
    }

    /// An error at a line.
    #[must_use]
    pub fn at(line: usize, cause: Cause) -> Self {
        Self { line: Some(line).filter(|line| *line > 0), cause }
    }
}

impl std::error::Error for TemplateError {}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line} of the template: ")?;
        }
        write!(f, "{}", self.cause)
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Syntax => f.write_str("syntax error"),
            Self::TooLong => write!(f, "a template may have {} bytes", super::MOST_TEMPLATE),
            Self::TooComplex => f.write_str("it has too many parts; split it up with {% set %}, or over several keys"),
            Self::NotAllowed(what) => f.write_str(what),
            Self::UnknownFilter(None) => f.write_str("there is no such filter"),
            Self::UnknownFilter(Some(hint)) => write!(f, "there is no such filter; {hint}"),
            Self::UnknownTest => f.write_str("there is no such test after \"is\""),
            Self::Call => f.write_str("there are no functions and methods; use a filter"),
            Self::Undefined(similar) if similar.is_empty() => {
                f.write_str("it uses something that is not there; keys are written as they stand in spec.data")
            }
            Self::Undefined(similar) => {
                write!(f, "it uses something that is not there; did you mean {}?", similar.join(" or "))
            }
            Self::Arguments => f.write_str("a filter has too many or too few arguments"),
            Self::Operation => f.write_str("an operator or a filter cannot be used on what it is given"),
            Self::Refused { filter: Some(filter), what } => write!(f, "filter {filter}: {what}"),
            Self::Refused { filter: None, what } => f.write_str(what),
            Self::OutOfFuel => f.write_str("it does more than a template may; make it simpler"),
            Self::OutputTooLarge => write!(f, "it makes more than {} bytes", super::MOST_VALUE),
            Self::InputTooLarge(key) => {
                write!(
                    f,
                    "the value of key {key} has more than {} bytes, the most that templates take",
                    super::MOST_VALUE
                )
            }
            Self::Missing(key) => write!(f, "it refers to key {key}, which has no value"),
            Self::Cycle(keys) if keys.len() == 1 => f.write_str("it refers to itself"),
            Self::Cycle(keys) => write!(f, "keys refer to each other in a circle: {}", circle(keys)),
            Self::Unusable(key) => write!(f, "it refers to key {key}, whose template is refused"),
            Self::Taken => f.write_str("spec.data has a key of this name already; one of the two must go"),
        }
    }
}

/// `A → B → A`, cut when it is long.
fn circle(keys: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<&str> = keys.iter().take(SHOWN).map(String::as_str).collect();
    if keys.len() > SHOWN {
        names.push("…");
    }
    names.extend(keys.first().map(String::as_str));
    names.join(" → ")
}

/// What a filter or the output does not take: static words, so that nothing of a value can be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(super) struct Fault {
    pub filter: Option<&'static str>,
    pub what: &'static str,
}

impl Fault {
    /// An error of the engine that carries a fault of a filter.
    pub fn of(filter: &'static str, what: &'static str) -> minijinja::Error {
        Self { filter: Some(filter), what }.into()
    }

    /// An error of the engine that carries a fault of the output.
    pub fn output(what: &'static str) -> minijinja::Error {
        Self { filter: None, what }.into()
    }
}

impl From<Fault> for minijinja::Error {
    fn from(fault: Fault) -> Self {
        Self::new(ErrorKind::InvalidOperation, "refused").with_source(fault)
    }
}

/// Takes from an error of the engine what may be told: its line, its kind, and a fault of ours. `similar` finds names of keys
/// for something that is not there.
pub(super) fn told(error: &minijinja::Error, similar: impl FnOnce(Option<usize>) -> Vec<String>) -> TemplateError {
    let line = error.line();
    let mut source = std::error::Error::source(error);
    let mut kind = error.kind();
    while let Some(inner) = source {
        if let Some(fault) = inner.downcast_ref::<Fault>() {
            return TemplateError { line, cause: Cause::Refused { filter: fault.filter, what: fault.what } };
        }
        if let Some(nested) = inner.downcast_ref::<minijinja::Error>() {
            kind = nested.kind();
        }
        source = inner.source();
    }
    let cause = match kind {
        ErrorKind::SyntaxError | ErrorKind::BadEscape => Cause::Syntax,
        ErrorKind::UndefinedError => Cause::Undefined(similar(line)),
        ErrorKind::UnknownFilter => Cause::UnknownFilter(None),
        ErrorKind::UnknownTest => Cause::UnknownTest,
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => Cause::Call,
        ErrorKind::TooManyArguments | ErrorKind::MissingArgument => Cause::Arguments,
        ErrorKind::OutOfFuel => Cause::OutOfFuel,
        _ => Cause::Operation,
    };
    TemplateError { line, cause }
}
