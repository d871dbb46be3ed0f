//! HashiCorp's Vault Secrets Operator: VaultStaticSecrets, with the VaultAuth and VaultConnection that they name.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::{Value, json};

use super::draft::{Draft, Reference, Templates};
use super::fields::{Fields, object};
use super::pull::{self, Whole};
use super::report::Report;
use super::stores::{Id, everywhere, mount_of};
use super::template::Dialect;
use super::world::{Made, Source, World};

const GROUP: &str = "secrets.hashicorp.com";

/// The connections that VaultStaticSecrets need: a VaultAuth is one for each engine and namespace of Vault.
#[derive(Default)]
pub struct Auths {
    made: BTreeMap<(Option<String>, String, String, String, String), Id>,
}

/// Says what is in the manifests and cannot be converted.
pub fn others(source: &Source, made: &mut Made) {
    let why = match &*source.kind {
        "VaultDynamicSecret" => "dynamic credentials have leases, and only entries of a KV engine are read: keep it",
        "VaultPKISecret" => "certificates are not issued here: keep it, or use cert-manager",
        "VaultAuthGlobal" => "there is no counterpart: write what it says into each VaultAuth first",
        "SecretTransformation" => "templates stand in the VaultSecret: write them into the VaultStaticSecrets first",
        "HCPAuth" | "HCPVaultSecretsApp" => {
            "HCP Vault Secrets has no counterpart: describe its API with spec.http, or keep it"
        }
        "VaultTokenSecret" | "CSISecrets" => "there is no counterpart: keep it",
        _ => return,
    };
    let mut report = source.report();
    report.whole(why);
    made.left.extend(report.left);
}

/// Converts a VaultStaticSecret.
pub fn convert(source: &Source, world: &World, auths: &mut Auths, made: &mut Made) {
    let mut report = source.report();
    let mut spec = source.spec.clone();
    if let Some(draft) = draft(source, &mut spec, world, auths, made, &mut report)
        && !draft.is_empty()
    {
        made.secrets.push(draft.finish(world.wishes.suspend));
    }
    made.left.extend(report.left);
}

fn draft(
    source: &Source,
    spec: &mut Fields,
    world: &World,
    auths: &mut Auths,
    made: &mut Made,
    report: &mut Report,
) -> Option<Draft> {
    if spec.text("type").is_some_and(|kind| kind == "kv-v1") {
        report.whole("its engine has version 1, and only version 2 can be read: upgrade the engine");
        return None;
    }
    if spec.text("version").is_some_and(|version| version != "0") {
        report.left(spec.path("version"), "the newest version is always read: keep it, or do without the pinned one");
        return None;
    }
    let mount = spec.text("mount")?.trim_matches('/').to_owned();
    let entry = spec.text("path")?.trim_matches('/').to_owned();
    let every = spec.text("refreshAfter");
    let reference = spec.text("vaultAuthRef").unwrap_or_default();
    let id = connection(source, &reference, &mount, spec.text("namespace"), world, auths, made, report)?;
    if let Some(every) = every {
        made.polled(&id, &every);
    }
    if spec.below("syncConfig").flag("instantUpdates") {
        report.left(
            spec.path("syncConfig.instantUpdates"),
            "there is no stream of events: a change is seen within the connection's probeInterval",
        );
    }
    spec.pass_over(&["hmacSecretData"]);
    let mut draft = Draft::new(source.namespace.clone(), &source.name, id.1);
    draft.labels.clone_from(&source.labels);
    for mut target in spec.list("rolloutRestartTargets") {
        draft.restarts.push(object([("kind", target.take("kind")), ("name", target.take("name"))]));
        report.rest(&target);
    }
    let mut destination = spec.below("destination");
    let name = destination.text("name");
    draft.target.name.clone_from(&name);
    if !destination.flag("create") {
        draft.target.creation = Some("Merge".to_owned());
    }
    if destination.flag("overwrite") {
        report.left(
            destination.path("overwrite"),
            "a Secret of somebody else is never overwritten: delete it first, or use creationPolicy Merge",
        );
    }
    draft.target.type_ = destination.text("type");
    draft.target.labels = destination.map("labels");
    draft.target.annotations = destination.map("annotations");
    let mut transformation = destination.below("transformation");
    let (templates, refs) = templates(&mut transformation);
    let (includes, excludes) = (patterns(&mut transformation, "includes"), patterns(&mut transformation, "excludes"));
    transformation.pass_over(&["resync", "excludeRaw"]);
    report.rest(&transformation);
    report.rest(&destination);
    report.rest(spec);
    let whole =
        Whole { at: "spec.path".to_owned(), entry, connection: None, decode: None, steps: Box::new(str::to_owned) };
    let secret = name.unwrap_or_else(|| source.name.clone());
    // What VSO adds of its own: the whole entry as JSON.
    let own = BTreeSet::from(["_raw".to_owned()]);
    let mut shown = pull::fields_of(vec![whole], world, (source.space(), &secret), &own, &refs, &templates, report);
    let wanted = |key: &str| {
        !excludes.iter().any(|p| p.is_match(key)) && (includes.is_empty() || includes.iter().any(|p| p.is_match(key)))
    };
    // A field that is left out may still be what a template is made of.
    let hidden: BTreeSet<String> = shown.iter().filter(|v| !wanted(&v.key)).map(|v| v.key.clone()).collect();
    shown.retain(|value| !hidden.contains(&value.key) || refs.contains(&value.key));
    draft.show(shown, &templates, Dialect::Vso, report);
    draft.hide(&hidden);
    Some(draft)
}

/// Templates by key, and the fields that they refer to.
fn templates(transformation: &mut Fields) -> (Templates, BTreeSet<String>) {
    let path = transformation.path("templates");
    let all = transformation.take("templates");
    let mut data = BTreeMap::new();
    for (key, template) in all.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let name = template["name"].as_str().filter(|name| !name.is_empty()).unwrap_or(key);
        data.insert(name.to_owned(), template["text"].as_str().unwrap_or_default().to_owned());
    }
    let templates = Templates { data, path, alone: false };
    let refs = pull::references(&templates, Dialect::Vso);
    (templates, refs)
}

fn patterns(fields: &mut Fields, name: &str) -> Vec<Regex> {
    fields.texts(name).iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
}

/// The connection for a VaultStaticSecret, made if it is not there yet.
#[allow(clippy::too_many_arguments, reason = "what tells one connection from another")]
fn connection(
    source: &Source,
    reference: &str,
    mount: &str,
    namespace: Option<String>,
    world: &World,
    auths: &mut Auths,
    made: &mut Made,
    report: &mut Report,
) -> Option<Id> {
    let (space, name) = reference.split_once('/').unwrap_or((source.space(), reference));
    let Some(auth) = world.find(GROUP, "VaultAuth", space, name).filter(|_| !name.is_empty()) else {
        report.left(
            "spec.vaultAuthRef",
            "the VaultAuth is not in the manifests: add it, and name it (the default one is in VSO's own namespace)",
        );
        return None;
    };
    let key = (
        source.namespace.clone(),
        space.to_owned(),
        name.to_owned(),
        mount.to_owned(),
        namespace.clone().unwrap_or_default(),
    );
    if let Some(id) = auths.made.get(&key) {
        return Some(id.clone());
    }
    let mut said = auth.report();
    let id = auth_connection(source, auth, mount, namespace, world, made, &mut said);
    if id.is_none() && said.left.is_empty() {
        said.whole("it has no role or credential, or its VaultConnection no address: see docs/vault.md");
    }
    // The same is said of it for each engine.
    let new = said.left.into_iter().filter(|left| !made.left.contains(left)).collect::<Vec<_>>();
    made.left.extend(new);
    let Some(id) = id else {
        report.whole(format!("its VaultAuth {name} could not be converted"));
        return None;
    };
    auths.made.insert(key, id.clone());
    Some(id)
}

fn auth_connection(
    source: &Source,
    auth: &Source,
    mount: &str,
    namespace: Option<String>,
    world: &World,
    made: &mut Made,
    report: &mut Report,
) -> Option<Id> {
    let mut spec = auth.spec.clone();
    let reference = spec.text("vaultConnectionRef").unwrap_or_else(|| "default".to_owned());
    let (space, name) = reference.split_once('/').unwrap_or((auth.space(), &reference));
    let Some(server) = world.find(GROUP, "VaultConnection", space, name) else {
        report.left(
            spec.path("vaultConnectionRef"),
            format!("the VaultConnection {name} of VSO is not in the manifests: add it"),
        );
        return None;
    };
    let mut server = server.spec.clone();
    let url = server.text("address")?;
    let insecure = url.starts_with("http://");
    if insecure {
        report.left(
            "spec.vaultConnectionRef",
            "its address sends secrets in the clear, and allowInsecureUrl is set: use https",
        );
    }
    if server.flag("skipTLSVerify") {
        report.left("spec.vaultConnectionRef", "skipTLSVerify has no counterpart: name the CA in tls.caRef");
    }
    let allowed = spec.texts("allowedNamespaces");
    let at = spec.text("mount");
    let (auth_part, is_cluster) = match spec.text("method").as_deref() {
        Some("kubernetes") => {
            let mut kubernetes = spec.below("kubernetes");
            let role = kubernetes.text("role")?;
            report.left(
                kubernetes.here(),
                format!("bind the role {role} to the operator's own service account, and give it a token (docs/vault.md, Tokens)"),
            );
            let part = object([("role", Some(role.into())), ("mount", mount_of(at, "kubernetes"))]);
            (json!({"kubernetes": part}), true)
        }
        Some("appRole") => {
            let mut role = spec.below("appRole");
            let (id, secret) = (role.text("roleId")?, role.text("secretRef")?);
            report.rest(&role);
            let part = object([
                ("roleId", Some(id.into())),
                ("secretIdRef", Some(json!({"name": secret, "key": "id"}))),
                ("mount", mount_of(at, "approle")),
            ]);
            (json!({"appRole": part}), false)
        }
        _ => {
            report.left(
                spec.path("method"),
                "this way to log in is not there: use tokenRef, appRole or kubernetes (docs/vault.md)",
            );
            return None;
        }
    };
    let ca = server.text("caCertSecretRef");
    if is_cluster && let Some(ca) = &ca {
        report.left(
            "spec.vaultConnectionRef",
            format!("copy Secret {ca} into the operator's namespace: a ClusterVaultConnection reads it there"),
        );
    }
    let tls = object([
        ("caRef", ca.map(|name| json!({"kind": "Secret", "name": name, "key": "ca.crt"}))),
        ("serverName", server.text("tlsServerName").map(Value::String)),
    ]);
    let vault = object([
        ("url", Some(url.into())),
        ("mount", (mount != "secret").then(|| mount.into())),
        ("namespace", namespace.clone().or_else(|| spec.text("namespace")).map(Value::String)),
        ("auth", Some(auth_part)),
    ]);
    let everyone = allowed.iter().any(|name| name == "*");
    let mut names: Vec<String> = allowed.into_iter().filter(|name| name != "*").collect();
    names.insert(0, auth.space().to_owned());
    names.dedup();
    let allowed = if everyone { everywhere() } else { json!({"names": names}) };
    let timeout = server.text("timeout").map(|timeout| json!({"timeout": timeout}));
    let connection = object([
        ("vault", Some(vault)),
        ("tls", tls.as_object().is_some_and(|fields| !fields.is_empty()).then_some(tls)),
        ("allowInsecureUrl", insecure.then(|| true.into())),
        ("limits", timeout),
        ("allowedNamespaces", is_cluster.then_some(allowed)),
    ]);
    report.rest(&server);
    report.rest(&spec);
    let base = if is_cluster { format!("{}-{}", auth.space(), auth.name) } else { auth.name.clone() };
    let more = [Some(mount.to_owned()), namespace]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("-")
        .replace(['/', '_'], "-");
    for name in [base.clone(), format!("{base}-{}", more.to_lowercase())] {
        let id = if is_cluster {
            (None, Reference::cluster(name))
        } else {
            (source.namespace.clone(), Reference::namespaced(name))
        };
        if made.connections.get(&id).is_none_or(|there| without_interval(there) == connection) {
            made.connections.entry(id.clone()).or_insert(connection);
            return Some(id);
        }
    }
    report.whole(format!("two connections would be called {base}: rename one of the objects"));
    None
}

fn without_interval(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("probeInterval");
    }
    spec
}
