//! Go templates as Jinja: references, and the functions that have the same meaning. Whatever goes beyond is left to a person.

use std::collections::BTreeSet;

/// How a template refers to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// External Secrets Operator: `.key`, `index . "key"`.
    Eso,
    /// Vault Secrets Operator: `.Secrets.key`, `get .Secrets "key"`, `index .Secrets "key"`.
    Vso,
    /// Infisical: `.KEY.Value`.
    Infisical,
    /// What makes a name of a name: `.value`.
    Name,
}

/// A template in Jinja.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Its text.
    pub text: String,
    /// The values that it refers to, by the names that they have in the Go template.
    pub refs: BTreeSet<String>,
}

/// Filters by the names of Go's functions, where they mean the same.
const FUNCTIONS: [(&str, &str); 9] = [
    ("toString", ""),
    ("upper", "upper"),
    ("lower", "lower"),
    ("trim", "trim"),
    ("b64enc", "b64encode"),
    ("b64dec", "b64decode"),
    ("toJson", "json"),
    ("urlquery", "urlencode"),
    ("replace", "replace"),
];

/// Converts a template. `rename` gives a value's name in the VaultSecret.
///
/// # Errors
/// What is beyond it, without quoting the template.
pub fn convert(text: &str, dialect: Dialect, rename: impl Fn(&str) -> String) -> Result<Converted, &'static str> {
    let mut out = String::new();
    let mut refs = BTreeSet::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        literal(before, &mut out)?;
        let (inside, after) = after.split_once("}}").ok_or("a template is not closed")?;
        let (open, inside) = match inside.strip_prefix("- ") {
            Some(inside) => ("{{-", inside),
            None => ("{{", inside),
        };
        let (inside, close) = match inside.strip_suffix(" -") {
            Some(inside) => (inside, "-}}"),
            None => (inside, "}}"),
        };
        let (name, filters) = expression(inside, dialect)?;
        let wanted = if dialect == Dialect::Name { "key".to_owned() } else { rename(&name) };
        refs.insert(name);
        out += &format!("{open} {}{filters} {close}", variable(&wanted));
        rest = after;
    }
    literal(rest, &mut out)?;
    Ok(Converted { text: out, refs })
}

/// The text of a template that is one value and nothing else.
#[must_use]
pub fn plain(name: &str) -> String {
    format!("{{{{ {} }}}}", variable(name))
}

/// A value's name in an expression of Jinja.
#[must_use]
pub fn variable(name: &str) -> String {
    const WORDS: [&str; 16] = [
        "and", "else", "false", "False", "for", "if", "in", "is", "loop", "none", "None", "not", "or", "true", "True",
        "values",
    ];
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !WORDS.contains(&name);
    if plain { name.to_owned() } else { format!("values[\"{name}\"]") }
}

fn literal(text: &str, out: &mut String) -> Result<(), &'static str> {
    if text.contains("{%") || text.contains("{#") {
        return Err("the text has {% or {#, which begin something in Jinja");
    }
    out.push_str(text);
    Ok(())
}

/// The value's name, and the filters with their bars.
fn expression(text: &str, dialect: Dialect) -> Result<(String, String), &'static str> {
    const BEYOND: &str =
        "a template has more than references and simple functions; write it in Jinja (docs/templates.md)";
    let mut stages = split(text, '|').into_iter();
    let first = split(stages.next().ok_or(BEYOND)?.trim(), ' ');
    let words: Vec<&str> = first.into_iter().filter(|word| !word.is_empty()).collect();
    let mut filters = String::new();
    let name = match &*words {
        [one] => reference(one, dialect),
        // A function before its value: `b64enc .key`.
        [function, one] => {
            let known = FUNCTIONS.iter().find(|(name, _)| name == function && *name != "replace").ok_or(BEYOND)?;
            filter(known.1, "", &mut filters);
            reference(one, dialect)
        }
        ["index" | "get", from, key] => {
            let wanted = if dialect == Dialect::Vso { ".Secrets" } else { "." };
            (*from == wanted && dialect != Dialect::Infisical).then(|| unquote(key)).flatten()
        }
        _ => None,
    };
    let name = name.filter(|name| is_key(name)).ok_or(BEYOND)?;
    for stage in stages {
        let words: Vec<&str> = split(stage.trim(), ' ').into_iter().filter(|word| !word.is_empty()).collect();
        let (function, arguments) = words.split_first().ok_or(BEYOND)?;
        let (_, name) = FUNCTIONS.iter().find(|(name, _)| name == function).ok_or(BEYOND)?;
        match (*name, arguments) {
            ("replace", [from, to]) => {
                let (from, to) = (unquote(from).ok_or(BEYOND)?, unquote(to).ok_or(BEYOND)?);
                filter("replace", &format!("({}, {})", quote(&from), quote(&to)), &mut filters);
            }
            ("replace", _) => return Err(BEYOND),
            ("", []) if *function == "toString" => {}
            (name, []) if !name.is_empty() => filter(name, "", &mut filters),
            _ => return Err(BEYOND),
        }
    }
    Ok((name, filters))
}

fn filter(name: &str, arguments: &str, out: &mut String) {
    if !name.is_empty() {
        *out += &format!(" | {name}{arguments}");
    }
}

fn reference(word: &str, dialect: Dialect) -> Option<String> {
    let name = match dialect {
        Dialect::Eso => word.strip_prefix('.')?,
        Dialect::Vso => word.strip_prefix(".Secrets.")?,
        Dialect::Infisical => word.strip_prefix('.')?.strip_suffix(".Value")?,
        Dialect::Name => word.strip_prefix('.').filter(|name| *name == "value")?,
    };
    // A dot goes into a value, which is beyond this.
    (!name.contains('.')).then(|| name.to_owned())
}

fn is_key(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn unquote(word: &str) -> Option<String> {
    let between = |mark| word.strip_prefix(mark)?.strip_suffix(mark);
    let inner: &str = between('"').or_else(|| between('`'))?;
    (!inner.contains(['\\', '"'])).then(|| inner.to_owned())
}

fn quote(text: &str) -> String {
    format!("\"{text}\"")
}

/// Splits where the character is in no quotes.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == at && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn same(text: &str, dialect: Dialect) -> String {
        convert(text, dialect, str::to_owned).unwrap().text
    }

    #[test]
    fn references_and_functions_are_converted() {
        for (go, dialect, jinja) in [
            ("plain text", Dialect::Eso, "plain text"),
            ("a {{ .user }}:{{.pass}}", Dialect::Eso, "a {{ user }}:{{ pass }}"),
            ("{{ .user | toString | upper }}", Dialect::Eso, "{{ user | upper }}"),
            ("{{ index . \"tls.crt\" | b64enc }}", Dialect::Eso, "{{ values[\"tls.crt\"] | b64encode }}"),
            ("x {{- .a -}} b", Dialect::Eso, "x {{- a -}} b"),
            ("{{ .a | replace \"|\" \"-\" }}", Dialect::Eso, "{{ a | replace(\"|\", \"-\") }}"),
            ("{{ .Secrets.pass | urlquery }}", Dialect::Vso, "{{ pass | urlencode }}"),
            ("{{ get .Secrets \"a-b\" }}", Dialect::Vso, "{{ values[\"a-b\"] }}"),
            ("{{ .DB_URL.Value }}", Dialect::Infisical, "{{ DB_URL }}"),
            ("pre-{{ .value | lower }}", Dialect::Name, "pre-{{ key | lower }}"),
            ("{{ .in }}", Dialect::Eso, "{{ values[\"in\"] }}"),
        ] {
            assert_eq!(same(go, dialect), jinja, "{go}");
        }
    }

    #[test]
    fn names_are_told_and_renamed() {
        let got = convert("{{ .a }}{{ .b }}", Dialect::Eso, |name| format!("{name}.source")).unwrap();
        assert_eq!(got.text, "{{ values[\"a.source\"] }}{{ values[\"b.source\"] }}");
        assert_eq!(got.refs, ["a", "b"].map(str::to_owned).into());
    }

    #[test]
    fn what_goes_beyond_is_refused_without_being_quoted() {
        for go in [
            "{{ if .hunter2 }}x{{ end }}",
            "{{ range $k, $v := . }}{{ end }}",
            "{{ .a.hunter2 }}",
            "{{ .a | sha256sum }}",
            "{{ printf \"%s\" .hunter2 }}",
            "{{ .a | default \"hunter2\" }}",
            "{{ .a",
            "{% hunter2 %}",
            "{{ fromJson .a }}",
            "{{ .a | filterPEM \"CERTIFICATE\" }}",
            "{{ .a\"] | upper }}",
        ] {
            let why = convert(go, Dialect::Eso, str::to_owned).expect_err(go);
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
