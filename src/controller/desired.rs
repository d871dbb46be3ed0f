//! Which entries a VaultSecret wants at the remote, and which names it cannot have. Pure.

use std::collections::HashMap;

use super::fields;
use crate::api::Reason;
use crate::api::vault_secret::{DataEntry, VaultSecretSpec};
use crate::remote::spec::Rules;

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
#[derive(Clone, Debug)]
pub struct Naming<'a> {
    /// Which names the remote takes.
    pub rules: &'a Rules,
    /// Prefix with the namespace in it, when the connection has one.
    pub prefix: Option<String>,
    /// Prefixes of other namespaces at the same connection.
    pub others: &'a [(String, String)],
    /// The connection, for messages.
    pub connection: &'a str,
}

/// What the schema and its rules refuse too; a CRD can be older than the operator.
#[must_use]
pub fn check(entry: &DataEntry) -> Option<Issue> {
    let refused = |text: &str| Some(Issue::new(Reason::ValueRefused, format!("key {}: {text}", entry.key)));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if entry.key.is_empty() || entry.key.len() > 253 || !entry.key.chars().all(plain) {
        return refused("a key of a Secret has 1 to 253 letters, digits, '-', '.' or '_'");
    }
    if entry.value.is_some() == entry.value_from.is_some() {
        return refused("exactly one of value and valueFrom must be set");
    }
    if !entry.pushes() && !entry.projects() {
        return refused(
            "push and project are both false: the value would go nowhere; set one of them to true or remove the key",
        );
    }
    let Some(from) = &entry.value_from else { return None };
    let kinds = [from.secret_key_ref.is_some(), from.config_map_key_ref.is_some(), from.generate.is_some()];
    if kinds.iter().filter(|k| **k).count() != 1 {
        return refused("exactly one of secretKeyRef, configMapKeyRef and generate must be set");
    }
    let generate = from.generate.as_ref()?;
    let kinds = [generate.password.is_some(), generate.uuid.is_some(), generate.bytes.is_some()];
    if kinds.iter().filter(|k| **k).count() != 1 {
        return refused("exactly one of password, uuid and bytes must be set");
    }
    None
}

/// The prefix of a namespace.
#[must_use]
pub fn render_prefix(template: &str, namespace: &str) -> String {
    let mut out = String::with_capacity(template.len() + namespace.len());
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let Some(end) = rest[start..].find("}}") else { break };
        out.push_str(&rest[..start]);
        if rest[start + 2..start + end].trim() == "namespace" {
            out.push_str(namespace);
        } else {
            out.push_str(&rest[start..start + end + 2]);
        }
        rest = &rest[start + end + 2..];
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
    let prefix = naming.prefix.as_deref().unwrap_or("");
    let full = format!("{prefix}{wanted}");
    naming.rules.check_name(&full).map_err(|error| {
        Issue::new(Reason::NameRefused, format!("key {key}, entry {full:?} at {}: {error}", naming.connection))
    })?;
    let stored = naming.rules.stored_name(&full);
    if naming.prefix.is_some() {
        let longer = naming
            .others
            .iter()
            .find(|(_, other)| other.len() > prefix.len() && stored.starts_with(&naming.rules.stored_name(other)));
        if let Some((namespace, other)) = longer {
            return Err(Issue::new(
                Reason::OwnedByAnother,
                format!(
                    "key {key}: the entry {stored:?} begins with {other:?}, so it belongs to namespace {namespace}"
                ),
            ));
        }
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
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

    fn naming(rules: &'static Rules, prefix: Option<&str>) -> Naming<'static> {
        Naming { rules, prefix: prefix.map(str::to_owned), others: &[], connection: "VaultConnection/c" }
    }

    fn all(spec: &VaultSecretSpec, naming: &Naming<'_>) -> Vec<Result<String, Reason>> {
        names(spec, naming).into_iter().map(|n| n.unwrap().map_err(|i| i.reason)).collect()
    }

    #[test]
    fn a_refused_name_comes_with_one_that_would_do() {
        let refused = names(&spec(&[("STRIPE_API_KEY", None)]), &naming(&KELVIN, None));
        let issue = refused[0].clone().unwrap().unwrap_err();
        assert_eq!(issue.reason, Reason::NameRefused);
        assert!(
            issue.message.contains("STRIPE_API_KEY") && issue.message.contains("stripe-api-key"),
            "{}",
            issue.message
        );
    }

    #[test]
    fn two_keys_that_become_one_name_are_both_refused() {
        let s = spec(&[("a", Some("my_key")), ("b", Some("MY_KEY")), ("c", Some("other"))]);
        let got = all(&s, &naming(&DREADNODE, None));
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
        assert_eq!(all(&s, &naming(&VAULT, None)), [db.clone(), db, taken.clone(), taken]);
        let refused = names(&s, &naming(&KELVIN, None));
        assert!(refused[0].clone().unwrap().unwrap_err().message.contains("has no fields"));
    }

    #[test]
    fn r4_a_longer_prefix_owns_the_name() {
        let others = [("team-a".to_owned(), "team-a-".to_owned()), ("team".to_owned(), "team-".to_owned())];
        let s = spec(&[("k1", Some("a-x")), ("k2", Some("x"))]);
        let team = Naming { rules: &KELVIN, prefix: Some("team-".to_owned()), others: &others, connection: "c" };
        assert_eq!(all(&s, &team), [Err(Reason::OwnedByAnother), Ok("team-x".to_owned())]);
        let team_a = Naming { rules: &KELVIN, prefix: Some("team-a-".to_owned()), others: &others, connection: "c" };
        assert_eq!(all(&s, &team_a), [Ok("team-a-a-x".to_owned()), Ok("team-a-x".to_owned())]);
    }

    #[test]
    fn prefixes_know_the_namespace_and_nothing_else() {
        assert_eq!(render_prefix("{{ namespace }}-", "shop"), "shop-");
        assert_eq!(render_prefix("x-{{namespace}}_", "shop"), "x-shop_");
        assert_eq!(render_prefix("{{ other }}-", "shop"), "{{ other }}-");
        assert_eq!(render_prefix("{{ open", "shop"), "{{ open");
    }
}
