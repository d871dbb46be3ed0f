//! Names of entries that values are read from. Pure.

use super::desired::{Issue, Naming, render_prefix};
use crate::api::Reason;
use crate::remote::spec;

/// The entry that a name means, as the remote stores it.
///
/// # Errors
/// When nothing can be read by that name through this connection.
pub fn of(naming: &Naming<'_>, name: &str) -> Result<String, Issue> {
    let (rules, connection) = (naming.rules, naming.connection);
    let provider = rules.provider();
    if !spec::gives_values(provider) {
        let text = format!("{connection} is a {} connection, which gives no value back", provider.name());
        return Err(Issue::new(Reason::ValueRefused, text));
    }
    let before = naming.prefix.as_ref().map(|prefix| render_prefix(prefix.template, prefix.namespace));
    let name = format!("{}{name}", before.unwrap_or_default());
    for segment in name.split('/') {
        if let Err(error) = rules.check_name(segment) {
            return Err(Issue::new(Reason::NameRefused, format!("entry {name:?} at {connection}: {error}")));
        }
    }
    if let Some((other, longer)) = naming.prefix.as_ref().and_then(|prefix| prefix.longer(rules, &name)) {
        let text = format!("the entry {name:?} begins with {longer:?}, so it belongs to namespace {other}");
        return Err(Issue::new(Reason::NotAllowed, text));
    }
    Ok(name)
}

/// What a VaultSecret reads would be what it wrote.
#[must_use]
pub fn written_here(name: &str, connection: &str) -> Issue {
    Issue::new(Reason::ValueRefused, format!("this VaultSecret writes the entry {name:?} at {connection} itself"))
}

/// Where an entry is: two connections can lead to one by different folders.
#[must_use]
pub fn location(base: &str, name: &str) -> String {
    let separator = if base.ends_with("path=") { "" } else { "/" };
    format!("{base}{separator}{name}")
}
