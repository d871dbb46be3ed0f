//! What is left to do by hand. Names of objects and fields only, never what stands in them.

use std::fmt::{Display, Formatter};

use super::fields::Fields;

/// One thing that could not be converted, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Kind, namespace and name.
    pub object: String,
    /// Path of the field; empty for the whole object.
    pub field: String,
    /// What to do.
    pub what: String,
}

impl Display for Left {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { object, field, what } = self;
        if field.is_empty() { write!(f, "{object}: {what}") } else { write!(f, "{object}: {field}: {what}") }
    }
}

/// What is left of one object.
pub struct Report {
    object: String,
    /// In the order in which it was found.
    pub left: Vec<Left>,
}

impl Report {
    /// Of an object with that description.
    #[must_use]
    pub fn of(object: String) -> Self {
        Self { object, left: Vec::new() }
    }

    /// Something of a field is to be done by hand.
    pub fn left(&mut self, field: impl Into<String>, what: impl Into<String>) {
        self.left.push(Left { object: self.object.clone(), field: field.into(), what: what.into() });
    }

    /// The whole object is to be done by hand.
    pub fn whole(&mut self, what: impl Into<String>) {
        self.left(String::new(), what);
    }

    /// What nobody took has no counterpart.
    pub fn rest(&mut self, fields: &Fields) {
        for path in fields.rest() {
            self.left(path, "there is no counterpart; do without it, or see docs/migration.md");
        }
    }
}
