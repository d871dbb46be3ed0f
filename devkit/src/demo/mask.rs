//! Hiding values in whatever is shown: what is printed comes from the operator and from kubectl too, and a demo must not be the
//! place where a value leaks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::standin::StandIn;

/// What stands in place of a value.
const HIDDEN: &str = "[value]";

/// Shorter texts occur by chance.
const SHORTEST: usize = 8;

/// The values that are known to this process: those that it wrote itself, and all that the stand-ins hold or held.
#[derive(Default)]
pub(crate) struct Mask {
    learned: Mutex<BTreeSet<String>>,
    remotes: Mutex<Vec<Arc<dyn StandIn>>>,
}

impl Mask {
    /// Hides this value from now on.
    pub(crate) fn learn(&self, value: &str) {
        lock(&self.learned).insert(value.to_owned());
    }

    /// Hides the values of this remote, present and future.
    pub(crate) fn watch(&self, remote: Arc<dyn StandIn>) {
        lock(&self.remotes).push(remote);
    }

    /// The text without values, plain or in base64.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut values: Vec<String> = lock(&self.learned).iter().cloned().collect();
        values.extend(lock(&self.remotes).iter().flat_map(|remote| remote.values()));
        hide(text, values)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hide(text: &str, mut values: Vec<String>) -> String {
    values.retain(|value| value.len() >= SHORTEST);
    values.extend(values.iter().map(|value| STANDARD.encode(value)).collect::<Vec<_>>());
    // A value may be a part of another one: the longer first, so that no rest of it stays.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut text = text.to_owned();
    for value in values {
        if text.contains(&value) {
            text = text.replace(&value, HIDDEN);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_value_is_hidden_plain_and_encoded() {
        let mask = Mask::default();
        mask.learn("correct-horse");
        let shown = mask.hide(&format!("a correct-horse and {}", STANDARD.encode("correct-horse")));
        assert_eq!(shown, "a [value] and [value]");
    }

    #[test]
    fn a_value_within_another_leaves_no_rest() {
        let values = vec!["password".to_owned(), "password-2026".to_owned()];
        assert_eq!(hide("password-2026 password", values), "[value] [value]");
    }

    #[test]
    fn short_texts_stay() {
        assert_eq!(hide("the region is eu", vec!["eu".to_owned()]), "the region is eu");
    }
}
