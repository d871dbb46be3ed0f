//! Stores of the External Secrets Operator as connections.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::draft::Reference;
use super::fields::{Fields, object};
use super::report::Report;
use super::world::{Made, Source, World};

/// A connection, by its namespace and its reference.
pub type Id = (Option<String>, Reference);

/// What became of a store.
#[derive(Clone)]
pub enum Store {
    /// A connection to Vault.
    Vault {
        /// Which.
        id: Id,
        /// Where its engine is mounted; `None`: the keys say it.
        mount: Option<String>,
    },
    /// There is none: another provider, or one that could not be converted.
    None,
}

/// The stores of the manifests, by kind, namespace and name.
#[derive(Default)]
pub struct Stores(BTreeMap<(bool, String, String), Store>);

impl Stores {
    /// Converts all of them.
    pub fn convert(world: &World, made: &mut Made) -> Self {
        let mut stores = Self::default();
        for source in &world.sources {
            let is_cluster = source.kind == "ClusterSecretStore";
            if source.group() != "external-secrets.io" || !(is_cluster || source.kind == "SecretStore") {
                continue;
            }
            let mut report = source.report();
            let store = convert(source, is_cluster, made, &mut report);
            if matches!(store, Store::None) && report.left.is_empty() {
                report.whole("it names no server, or no way to log in that is whole: see docs/vault.md");
            }
            made.left.extend(report.left);
            let space = if is_cluster { String::new() } else { source.space().to_owned() };
            stores.0.insert((is_cluster, space, source.name.clone()), store);
        }
        stores
    }

    /// What became of a store; `None`: it is not in the manifests.
    #[must_use]
    pub fn get(&self, is_cluster: bool, namespace: &str, name: &str) -> Option<&Store> {
        let space = if is_cluster { "" } else { namespace };
        self.0.get(&(is_cluster, space.to_owned(), name.to_owned()))
    }
}

fn convert(source: &Source, is_cluster: bool, made: &mut Made, report: &mut Report) -> Store {
    let mut spec = source.spec.clone();
    let mut provider = spec.below("provider");
    if !provider.has("vault") {
        let name = provider.rest().next().unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default().to_owned();
        report.whole(format!(
            "there is no counterpart for the provider {name}: describe its API with spec.http (docs/http.md), or keep it"
        ));
        return Store::None;
    }
    let mut vault = provider.below("vault");
    let mut credentials = Vec::new();
    let auth = auth(&mut vault.below("auth"), &mut credentials, report);
    let url = vault.text("server");
    let (Some((auth, needs_cluster)), Some(url)) = (auth, url) else { return Store::None };
    if vault.text("version").is_some_and(|version| version == "v1") {
        report.whole("its KV engine has version 1, and only version 2 can be used: upgrade the engine");
        return Store::None;
    }
    let path = vault.text("path");
    let mount = path.as_deref().map(|path| path.trim_matches('/').trim_end_matches("/data").to_owned());
    let tls = tls(&mut vault, &mut credentials, report);
    vault.pass_over(&["checkAndSet"]);
    spec.pass_over(&["refreshInterval"]);
    let insecure = url.starts_with("http://");
    if insecure {
        report.left(vault.path("server"), "it sends secrets in the clear, and allowInsecureUrl is set: use https");
    }
    let part = object([
        ("url", Some(url.into())),
        ("mount", mount.clone().filter(|mount| mount != "secret").map(Value::String)),
        ("namespace", vault.text("namespace").map(Value::String)),
        ("auth", Some(auth)),
    ]);
    let connection = object([
        ("vault", Some(part)),
        ("tls", tls),
        ("allowInsecureUrl", insecure.then(|| true.into())),
        ("allowedNamespaces", is_cluster.then(|| allowed(&mut spec, report)).flatten()),
    ]);
    report.rest(&vault);
    report.rest(&provider);
    report.rest(&spec);
    let id = place(source, is_cluster, needs_cluster, connection, made);
    if id.1.kind == "ClusterVaultConnection" {
        for secret in credentials {
            report.whole(format!(
                "copy Secret {secret} into the operator's namespace: a ClusterVaultConnection reads it there"
            ));
        }
    }
    Store::Vault { id, mount }
}

/// Puts the connection where it has to be: one that shows the operator's own account is for the cluster.
fn place(source: &Source, is_cluster: bool, needs_cluster: bool, mut spec: Value, made: &mut Made) -> Id {
    let id = if is_cluster {
        (None, Reference::cluster(&source.name))
    } else if needs_cluster {
        spec["allowedNamespaces"] = json!({"names": [source.space()]});
        (None, Reference::cluster(format!("{}-{}", source.space(), source.name)))
    } else {
        (source.namespace.clone(), Reference::namespaced(&source.name))
    };
    made.connections.insert(id.clone(), spec);
    id
}

/// How tokens are had, and whether that needs a connection of the cluster.
fn auth(auth: &mut Fields, credentials: &mut Vec<String>, report: &mut Report) -> Option<(Value, bool)> {
    if auth.text("namespace").is_some() {
        report.left(auth.path("namespace"), "a login uses the namespace of the connection: make the role there");
    }
    let mut key = |fields: &mut Fields, default: &str| {
        let name = fields.text("name")?;
        let space = fields.text("namespace").map(|space| format!("{space}/")).unwrap_or_default();
        credentials.push(format!("{space}{name}"));
        Some(json!({"name": name, "key": fields.text("key").unwrap_or_else(|| default.to_owned())}))
    };
    if auth.has("tokenSecretRef") {
        let token = key(&mut auth.below("tokenSecretRef"), "token")?;
        return Some((json!({"tokenRef": token}), false));
    }
    if auth.has("appRole") {
        let mut role = auth.below("appRole");
        let Some(id) = role.text("roleId") else {
            report.left(
                role.path("roleRef"),
                "the id of a role is no secret: write it as appRole.roleId of a connection of your own",
            );
            return None;
        };
        let secret = key(&mut role.below("secretRef"), "secret-id")?;
        let mount = mount_of(role.text("path"), "approle");
        let role = object([("roleId", Some(id.into())), ("secretIdRef", Some(secret)), ("mount", mount)]);
        return Some((json!({"appRole": role}), false));
    }
    if auth.has("kubernetes") {
        let mut kubernetes = auth.below("kubernetes");
        let role = kubernetes.text("role")?;
        report.left(
            kubernetes.here(),
            format!("bind the role {role} to the operator's own service account, and give it a token (docs/vault.md, Tokens)"),
        );
        let mount = mount_of(kubernetes.text("mountPath"), "kubernetes");
        return Some((json!({"kubernetes": object([("role", Some(role.into())), ("mount", mount)])}), true));
    }
    report.left(auth.here(), "this way to log in is not there: use tokenRef, appRole or kubernetes (docs/vault.md)");
    None
}

pub(super) fn mount_of(path: Option<String>, default: &str) -> Option<Value> {
    path.map(|path| path.trim_matches('/').to_owned()).filter(|path| path != default).map(Value::String)
}

fn tls(vault: &mut Fields, credentials: &mut Vec<String>, report: &mut Report) -> Option<Value> {
    let mut ca = vault.below("caProvider");
    let reference = ca.text("name").and_then(|name| {
        let kind = ca.text("type").unwrap_or_else(|| "Secret".to_owned());
        let key = ca.text("key").unwrap_or_else(|| "ca.crt".to_owned());
        let space = ca.text("namespace").map(|space| format!("{space}/")).unwrap_or_default();
        credentials.push(format!("{space}{name}"));
        matches!(&*kind, "Secret" | "ConfigMap").then(|| json!({"kind": kind, "name": name, "key": key}))
    });
    let mut client = vault.below("tls");
    let (mut cert, mut key) = (client.below("certSecretRef"), client.below("keySecretRef"));
    let (name, other) = (cert.text("name"), key.text("name"));
    let usual = |key: Option<String>, usual: &str| key.is_none_or(|key| key == usual);
    let certificate = match (name, other) {
        (Some(a), Some(b)) if a == b && usual(cert.text("key"), "tls.crt") && usual(key.text("key"), "tls.key") => {
            credentials.push(a.clone());
            Some(json!({"name": a}))
        }
        (None, None) => None,
        _ => {
            report.left(client.here(), "a client's certificate and key are one Secret of type kubernetes.io/tls: make it, and name it in tls.clientCertificateRef");
            None
        }
    };
    let bundle = vault.take("caBundle").filter(|_| reference.is_none());
    let tls = object([("caBundle", bundle), ("caRef", reference), ("clientCertificateRef", certificate)]);
    tls.as_object().is_some_and(|fields| !fields.is_empty()).then_some(tls)
}

/// The namespaces that may use a store of the cluster. Without conditions that is every one, which has to be said here.
fn allowed(spec: &mut Fields, report: &mut Report) -> Option<Value> {
    let conditions = spec.list("conditions");
    if conditions.is_empty() {
        return Some(everywhere());
    }
    let (mut names, mut selectors) = (Vec::new(), Vec::new());
    for mut condition in conditions {
        names.extend(condition.texts("namespaces"));
        selectors.extend(condition.take("namespaceSelector"));
        report.rest(&condition);
    }
    if selectors.len() > 1 {
        report.left(
            spec.path("conditions"),
            "only one selector of namespaces can be said: name the others in allowedNamespaces.names",
        );
    }
    let names = (!names.is_empty()).then(|| json!(names));
    Some(object([("names", names), ("selector", selectors.into_iter().next())]))
}

/// Every namespace: all have this label.
pub(super) fn everywhere() -> Value {
    json!({"selector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}})
}
