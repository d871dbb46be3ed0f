//! Which entries a VaultSecret wants at the remote, and which names it cannot have. Pure.

use std::collections::HashMap;

use super::fields;
use crate::api::Reason;
use crate::api::vault_secret::{DataEntry, VaultSecretSpec};
use crate::remote::spec::Rules;
use crate::source::schedule;

/// Something that is not as it should be, for the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Reason of the `Ready` condition.
    pub reason: Reason,
    /// One sentence for a person, without any value.
    pub message: String,
}

impl Issue {
    /// An issue.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What names at the remote depend on besides the spec.
#[derive(Clone)]
pub struct Naming<'a> {
    /// Which names the remote takes.
    pub rules: &'a Rules,
    /// What is put before names, when the connection has it so.
    pub prefix: Option<Prefix<'a>>,
    /// The connection, for messages.
    pub connection: &'a str,
}

/// What is put before the names of a namespace, and who else has one.
#[derive(Clone)]
pub struct Prefix<'a> {
    /// As the connection has it, perhaps with the namespace in it.
    pub template: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// Whether the connection allows another namespace.
    pub allows: &'a dyn Fn(&str) -> bool,
}

/// Longest name of a namespace.
const LONGEST_NAMESPACE: usize = 63;

impl Prefix<'_> {
    /// The namespace whose prefix is longer than ours and begins a name too, as the remote stores it, with that prefix: the longest
    /// of them. What it costs depends on the name, not on how many namespaces there are.
    #[must_use]
    pub fn longer(&self, rules: &Rules, stored: &str) -> Option<(String, String)> {
        let own = render_prefix(self.template, self.namespace).len();
        let head = rules.stored_name(&self.template[..placeholder(self.template)?.start]);
        let tail = stored.strip_prefix(&*head)?;
        let could_be = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let most = tail.find(|c| !could_be(c)).unwrap_or(tail.len()).min(LONGEST_NAMESPACE);
        (1..=most).rev().find_map(|length| {
            // As a namespace would be written; what the remote makes of it is compared below.
            let other = tail[..length].to_lowercase().replace('_', "-");
            let prefix = render_prefix(self.template, &other);
            let matches = other != self.namespace
                && prefix.len() > own
                && stored.starts_with(&rules.stored_name(&prefix))
                && (self.allows)(&other);
            matches.then_some((other, prefix))
        })
    }
}

/// Whether a prefix is another one in another namespace.
#[must_use]
pub fn tells_namespaces_apart(template: &str) -> bool {
    placeholder(template).is_some()
}

/// Where a template has the namespace first.
fn placeholder(template: &str) -> Option<std::ops::Range<usize>> {
    let mut from = 0;
    while let Some(start) = template[from..].find("{{").map(|at| from + at) {
        let end = start + template[start..].find("}}")?;
        if template[start + 2..end].trim() == "namespace" {
            return Some(start..end + 2);
        }
        from = end + 2;
    }
    None
}

/// What the schema and its rules refuse too; a CRD can be older than the operator.
#[must_use]
pub fn check(entry: &DataEntry) -> Option<Issue> {
    let refused = |text: &str| Some(Issue::new(Reason::ValueRefused, format!("key {}: {text}", entry.key)));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !entry.projects() && entry.value_from.as_ref().is_some_and(|from| from.bundle.is_some()) {
        // Called by its name at the remote, and no key of a Secret.
        return None;
    }
    if entry.key.is_empty() || entry.key.len() > 253 || !entry.key.chars().all(plain) {
        return refused("a key of a Secret has 1 to 253 letters, digits, '-', '.' or '_'");
    }
    if entry.key == "." || entry.key.starts_with("..") {
        return refused("a key of a Secret is not '.' and does not begin with '..'; choose another key");
    }
    if entry.value.is_some() == entry.value_from.is_some() {
        return refused("exactly one of value and valueFrom must be set");
    }
    let from = entry.value_from.as_ref().filter(|from| from.bundle.is_none())?;
    let kinds = [
        from.secret_key_ref.is_some(),
        from.config_map_key_ref.is_some(),
        from.generate.is_some(),
        from.sealed.is_some(),
        from.template.is_some(),
        from.remote.is_some(),
    ];
    if kinds.iter().filter(|k| **k).count() != 1 {
        return refused(
            "exactly one of secretKeyRef, configMapKeyRef, generate, sealed, template and remote must be set",
        );
    }
    let generate = from.generate.as_ref()?;
    if let Err(error) = crate::source::generate::check_kind(generate) {
        return refused(&error.to_string());
    }
    if generate.rotate_every.as_ref().is_some_and(|every| !every.get().is_zero() && every.get() < schedule::SHORTEST) {
        return refused("generate.rotateEvery must be at least 10s, or 0 for off");
    }
    if let Some(problem) = generate.rotation_windows.iter().find_map(schedule::problem) {
        return refused(&format!("generate.{problem}"));
    }
    None
}

/// The prefix of a namespace.
#[must_use]
pub fn render_prefix(template: &str, namespace: &str) -> String {
    let mut out = String::with_capacity(template.len() + namespace.len());
    let mut rest = template;
    while let Some(found) = placeholder(rest) {
        out.push_str(&rest[..found.start]);
        out.push_str(namespace);
        rest = &rest[found.end..];
    }
    out.push_str(rest);
    out
}

/// The name at the remote of each entry of `spec.data`, in its order; `None` for what is not pushed.
///
/// A name that the provider does not take is refused, with one that would do; two keys that become one name are both
/// refused; with a prefix, a name that begins with a longer prefix belongs to that namespace (R4).
#[must_use]
pub fn names(spec: &VaultSecretSpec, naming: &Naming<'_>) -> Vec<Option<Result<String, Issue>>> {
    let mut names: Vec<Option<Result<String, Issue>>> =
        spec.data.iter().map(|entry| (entry.pushes() && check(entry).is_none()).then(|| name(entry, naming))).collect();
    // Keys that are different fields of one entry do not collide.
    let mut users: HashMap<(String, Option<&str>), Vec<usize>> = HashMap::new();
    for (i, name) in names.iter().enumerate() {
        if let Some(Ok(name)) = name {
            let field = fields::field_of(naming.rules.provider(), &spec.data[i]);
            users.entry((name.clone(), field)).or_default().push(i);
        }
    }
    for ((name, field), who) in users.into_iter().filter(|(_, who)| who.len() > 1) {
        let keys: Vec<&str> = who.iter().map(|i| spec.data[*i].key.as_str()).collect();
        for i in who {
            names[i] = Some(Err(Issue::new(
                Reason::NameRefused,
                match field {
                    None => format!(
                        "keys {} would all become the entry {name:?} at {}; give them different remoteNames",
                        keys.join(", "),
                        naming.connection
                    ),
                    Some(field) => format!(
                        "keys {} would all become the field {field:?} of the entry {name:?} at {}; give them different \
                         remoteNames or remoteFields",
                        keys.join(", "),
                        naming.connection
                    ),
                },
            )));
        }
    }
    names
}

fn name(entry: &DataEntry, naming: &Naming<'_>) -> Result<String, Issue> {
    let (key, wanted) = (&entry.key, entry.remote_name());
    if entry.remote_field.is_some() && fields::field_of(naming.rules.provider(), entry).is_none() {
        let text = format!("key {key}: an entry at {} has no fields; remove remoteField", naming.connection);
        return Err(Issue::new(Reason::NameRefused, text));
    }
    let prefix = naming.prefix.as_ref().map(|p| render_prefix(p.template, p.namespace)).unwrap_or_default();
    let full = format!("{prefix}{wanted}");
    naming.rules.check_name(&full).map_err(|error| {
        // `remoteName` is what comes after the prefix; where a prefix itself is refused, no name mends it.
        let name = error.suggestion.as_deref().and_then(|name| name.strip_prefix(&*naming.rules.stored_name(&prefix)));
        let advice = match name.filter(|name| !name.is_empty()) {
            Some(name) => format!("set remoteName: {name} ({})", error.rule),
            None => error.to_string(),
        };
        Issue::new(Reason::NameRefused, format!("key {key}, entry {full:?} at {}: {advice}", naming.connection))
    })?;
    let stored = naming.rules.stored_name(&full);
    if let Some((namespace, other)) = naming.prefix.as_ref().and_then(|p| p.longer(naming.rules, &stored)) {
        return Err(Issue::new(
            Reason::OwnedByAnother,
            format!("key {key}: the entry {stored:?} begins with {other:?}, so it belongs to namespace {namespace}"),
        ));
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::remote::Provider;

    fn spec(keys: &[(&str, Option<&str>)]) -> VaultSecretSpec {
        let data: Vec<_> =
            keys.iter().map(|(k, n)| serde_json::json!({"key": k, "remoteName": n, "value": "v"})).collect();
        serde_json::from_value(serde_json::json!({"connectionRef": {"name": "c"}, "data": data})).unwrap()
    }

    const KELVIN: Rules = Rules::BuiltIn(Provider::Kelvin);
    const VAULT: Rules = Rules::BuiltIn(Provider::Vault);
    const DREADNODE: Rules = Rules::BuiltIn(Provider::Dreadnode);

    fn naming(rules: &'static Rules) -> Naming<'static> {
        Naming { rules, prefix: None, connection: "VaultConnection/c" }
    }

    fn all(spec: &VaultSecretSpec, naming: &Naming<'_>) -> Vec<Result<String, Reason>> {
        names(spec, naming).into_iter().map(|n| n.unwrap().map_err(|i| i.reason)).collect()
    }

    #[test]
    fn a_key_that_no_secret_can_have_is_refused() {
        for (key, refused) in [(".", true), ("..", true), ("..a", true), ("a b", true), (".a", false), ("a..", false)] {
            let issue = check(&spec(&[(key, None)]).data[0]);
            assert_eq!(issue.is_some_and(|issue| issue.reason == Reason::ValueRefused), refused, "{key}");
        }
    }

    #[test]
    fn a_refused_name_comes_with_one_that_would_do() {
        let refused = names(&spec(&[("STRIPE_API_KEY", None)]), &naming(&KELVIN));
        let issue = refused[0].clone().unwrap().unwrap_err();
        assert_eq!(issue.reason, Reason::NameRefused);
        assert!(
            issue.message.contains("STRIPE_API_KEY") && issue.message.contains("set remoteName: stripe-api-key ("),
            "{}",
            issue.message
        );
        // The prefix is none of the name's.
        let prefix = Some(Prefix { template: "{{ namespace }}-", namespace: "shop", allows: &|_| false });
        let refused = names(&spec(&[("API_KEY", None)]), &Naming { prefix, ..naming(&KELVIN) });
        let message = refused[0].clone().unwrap().unwrap_err().message;
        assert!(message.contains("\"shop-API_KEY\"") && message.contains("set remoteName: api-key ("), "{message}");
    }

    #[test]
    fn two_keys_that_become_one_name_are_both_refused() {
        let s = spec(&[("a", Some("my_key")), ("b", Some("MY_KEY")), ("c", Some("other"))]);
        let got = all(&s, &naming(&DREADNODE));
        assert_eq!(got, [Err(Reason::NameRefused), Err(Reason::NameRefused), Ok("OTHER".to_owned())]);
    }

    #[test]
    fn keys_are_one_entry_where_they_are_different_fields_of_it() {
        let data = serde_json::json!([
            {"key": "USER", "remoteName": "db", "remoteField": "user", "value": "v"},
            {"key": "PASSWORD", "remoteName": "db", "remoteField": "password", "value": "v"},
            {"key": "OTHER", "remoteName": "db", "value": "v"},
            {"key": "AGAIN", "remoteName": "db", "remoteField": "value", "value": "v"},
        ]);
        let s: VaultSecretSpec =
            serde_json::from_value(serde_json::json!({"connectionRef": {"name": "c"}, "data": data})).unwrap();
        let (taken, db) = (Err(Reason::NameRefused), Ok("db".to_owned()));
        assert_eq!(all(&s, &naming(&VAULT)), [db.clone(), db, taken.clone(), taken]);
        let refused = names(&s, &naming(&KELVIN));
        assert!(refused[0].clone().unwrap().unwrap_err().message.contains("has no fields"));
    }

    #[test]
    fn r4_a_longer_prefix_owns_the_name() {
        let allows = |n: &str| ["team", "team-a"].contains(&n);
        let s = spec(&[("k1", Some("a-x")), ("k2", Some("x"))]);
        let of = |namespace: &'static str| {
            let prefix = Some(Prefix { template: "{{ namespace }}-", namespace, allows: &allows });
            all(&s, &Naming { prefix, ..naming(&KELVIN) })
        };
        assert_eq!(of("team"), [Err(Reason::OwnedByAnother), Ok("team-x".to_owned())]);
        assert_eq!(of("team-a"), [Ok("team-a-a-x".to_owned()), Ok("team-a-x".to_owned())]);
    }

    /// What a name costs does not depend on how many namespaces there are.
    #[test]
    fn r4_a_name_asks_for_those_namespaces_only_that_it_can_belong_to() {
        let asked = std::cell::RefCell::new(Vec::new());
        let allows = |n: &str| {
            asked.borrow_mut().push(n.to_owned());
            true
        };
        let longer = |template: &str, stored: &str| {
            asked.borrow_mut().clear();
            let prefix = Prefix { template, namespace: "b", allows: &allows };
            prefix.longer(&KELVIN, stored).map(|(namespace, _)| namespace)
        };
        assert_eq!(longer("{{ namespace }}-", "b-c-d").as_deref(), Some("b-c"));
        assert_eq!(*asked.borrow(), ["b-c"]);
        assert_eq!(longer("x.{{ namespace }}.{{ namespace }}.", "x.bb.bb.y").as_deref(), Some("bb"));
        assert_eq!(*asked.borrow(), ["bb"]);
        for (template, stored) in
            [("{{ namespace }}-", "other"), ("shared-", "shared-x"), ("x-{{ namespace }}-", "b-c-d")]
        {
            assert_eq!(longer(template, stored), None);
            assert_eq!(*asked.borrow(), Vec::<String>::new(), "{template} {stored}");
        }
    }

    proptest! {
        /// It finds what a look at every namespace would find.
        #[test]
        fn r4_nobody_is_overlooked(
            namespaces in proptest::collection::btree_set("[ab](-?[ab]){0,3}", 1..8),
            template in prop::sample::select(vec!["{{ namespace }}-", "{{namespace}}_", "x-{{ namespace }}", "{{ namespace }}-{{ namespace }}-", "x-"]),
            rest in "[ab]([ab_-]{0,6}[ab])?",
            upper: bool,
        ) {
            let rules = if upper { &DREADNODE } else { &KELVIN };
            let namespace = namespaces.first().unwrap();
            let own = render_prefix(template, namespace);
            let stored = rules.stored_name(&format!("{own}{rest}"));
            let all = namespaces.iter().filter(|n| *n != namespace).map(|n| (n.clone(), render_prefix(template, n)));
            let begins = |p: &str| p.len() > own.len() && stored.starts_with(&rules.stored_name(p));
            let wanted = all.filter(|(_, p)| begins(p)).max_by_key(|(_, p)| p.len());
            let prefix = Prefix { template, namespace, allows: &|n| namespaces.contains(n) };
            prop_assert_eq!(prefix.longer(rules, &stored), wanted);
        }
    }

    #[test]
    fn prefixes_know_the_namespace_and_nothing_else() {
        assert_eq!(render_prefix("{{ namespace }}-", "shop"), "shop-");
        assert_eq!(render_prefix("x-{{namespace}}_", "shop"), "x-shop_");
        assert_eq!(render_prefix("{{ other }}-", "shop"), "{{ other }}-");
        assert_eq!(render_prefix("{{ open", "shop"), "{{ open");
    }
}
