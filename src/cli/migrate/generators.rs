//! Generators as `valueFrom.generate`.

use serde_json::{Value, json};

use super::fields::{Fields, object};
use super::report::Report;
use super::world::World;

/// The values of a generator: key and `generate`, or for the public half of a key pair a template.
pub fn values(
    world: &World,
    group: &str,
    namespace: &str,
    reference: &mut Fields,
    report: &mut Report,
) -> Vec<(String, Value)> {
    reference.pass_over(&["apiVersion"]);
    let (Some(kind), Some(name)) = (reference.text("kind"), reference.text("name")) else { return Vec::new() };
    // Infisical's generators are those of the cluster, whatever kind they are of.
    let wanted = if group == "secrets.infisical.com" { "ClusterGenerator" } else { &*kind };
    let Some(source) = world.find(group, wanted, namespace, &name) else {
        report.left(
            reference.here(),
            format!("{kind} {name} is not in the manifests: add it, or write valueFrom.generate"),
        );
        return Vec::new();
    };
    let mut spec = source.spec.clone();
    let (kind, mut spec) = if wanted == "ClusterGenerator" {
        let kind = spec.text("kind").unwrap_or_default();
        let mut generator = spec.below("generator");
        let field = match &*kind {
            "UUID" => "uuidSpec",
            "SSHKey" => "sshKeySpec",
            _ => "passwordSpec",
        };
        (kind, generator.below(field))
    } else {
        (kind, spec)
    };
    let made = match &*kind {
        "Password" => vec![("password".to_owned(), generate("password", password(&mut spec, report)))],
        "UUID" => vec![("uuid".to_owned(), generate("uuid", json!({})))],
        "SSHKey" => {
            let size = spec.take("keySize");
            let rsa = spec.text("keyType").is_none_or(|kind| kind == "rsa");
            let key = object([
                ("keyType", rsa.then(|| "rsa".into())),
                ("keySize", size.filter(|_| rsa)),
                ("comment", spec.text("comment").map(Value::String)),
            ]);
            let public = json!({"template": "{{ privateKey | public_key }}"});
            vec![("privateKey".to_owned(), generate("sshKey", key)), ("publicKey".to_owned(), public)]
        }
        _ => {
            report.left(
                reference.here(),
                format!("a generator {kind} has no counterpart: keep it, and push the Secret that it fills"),
            );
            return Vec::new();
        }
    };
    report.rest(&spec);
    made
}

fn generate(kind: &str, options: Value) -> Value {
    json!({"generate": {kind: options}})
}

fn password(spec: &mut Fields, report: &mut Report) -> Value {
    if spec.text("encoding").is_some_and(|encoding| encoding != "raw") {
        report.left(spec.path("encoding"), "passwords are not encoded: use generate.bytes, which has encodings");
    }
    object([
        ("length", spec.take("length")),
        ("digits", spec.take("digits")),
        ("symbols", spec.take("symbols")),
        ("symbolCharacters", spec.text("symbolCharacters").map(Value::String)),
        ("noUpper", spec.flag("noUpper").then(|| true.into())),
        ("allowRepeat", spec.take("allowRepeat").filter(|repeats| *repeats == true)),
    ])
}

/// Adds how often a generated value is made anew.
#[must_use]
pub fn rotated(mut from: Value, every: Option<&str>) -> Value {
    if let Some(every) = every
        && from["generate"].is_object()
    {
        from["generate"]["rotateEvery"] = every.into();
    }
    from
}
