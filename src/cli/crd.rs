//! `vaultsecret crd`: prints the CustomResourceDefinitions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    JSONSchemaPropsOrStringArray,
};
use kube::CustomResourceExt;

use crate::api::{ClusterVaultConnection, ClusterVaultSecret, VaultConnection, VaultSecret};

/// All CRDs, as the API server is to have them.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut crds = derived();
    for crd in &mut crds {
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
                mend(schema);
                not_yet_observed(schema);
            }
        }
    }
    crds
}

/// All CRDs as one YAML stream, fit for `kubectl apply -f -`.
///
/// # Errors
/// When a definition cannot be written as YAML, which the tests rule out.
pub fn yaml() -> anyhow::Result<String> {
    let mut out = String::new();
    for crd in all() {
        out.push_str("---\n");
        out.push_str(&serde_saphyr::to_string(&crd)?);
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    Ok(out)
}

fn derived() -> Vec<CustomResourceDefinition> {
    vec![VaultSecret::crd(), VaultConnection::crd(), ClusterVaultConnection::crd(), ClusterVaultSecret::crd()]
}

/// Takes out what the derived schema says too much, here and in every schema below.
///
/// * `nullable`: an explicit null would be kept and count as present in the `has()` of our rules; without it the API
///   server drops the null and the field counts as absent.
/// * formats of unsigned numbers: the API server does not know them and warns whoever applies the CRD. Their `minimum`
///   stays.
fn mend(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if matches!(schema.format.as_deref(), Some("uint" | "uint8" | "uint16" | "uint32" | "uint64")) {
        schema.format = None;
    }
    below(schema).into_iter().for_each(mend);
}

/// A new object says from the first moment that nobody has looked at it: without a status it would pass for healthy
/// (kstatus, and Argo CD's generic check).
fn not_yet_observed(schema: &mut JSONSchemaProps) {
    if let Some(status) = schema.properties.as_mut().and_then(|p| p.get_mut("status")) {
        status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
    }
}

/// Every schema directly inside this one.
fn below(schema: &mut JSONSchemaProps) -> Vec<&mut JSONSchemaProps> {
    let mut found: Vec<&mut JSONSchemaProps> = Vec::new();
    for map in [&mut schema.properties, &mut schema.pattern_properties, &mut schema.definitions] {
        found.extend(map.iter_mut().flat_map(|map| map.values_mut()));
    }
    for list in [&mut schema.all_of, &mut schema.any_of, &mut schema.one_of] {
        found.extend(list.iter_mut().flatten());
    }
    found.extend(schema.not.as_deref_mut());
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(one)) => found.push(one),
        Some(JSONSchemaPropsOrArray::Schemas(many)) => found.extend(many),
        None => {}
    }
    for or_bool in [&mut schema.additional_properties, &mut schema.additional_items] {
        if let Some(JSONSchemaPropsOrBool::Schema(one)) = or_bool {
            found.push(one);
        }
    }
    for dependency in schema.dependencies.iter_mut().flat_map(|map| map.values_mut()) {
        if let JSONSchemaPropsOrStringArray::Schema(one) = dependency {
            found.push(one);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::{Value, json};

    use super::*;

    /// The fields of a VaultSecret that are there today.
    const VAULT_SECRET: &str = "spec.connectionRef.kind spec.connectionRef.name spec.data.key spec.data.remoteName \
        spec.data.value spec.data.valueFrom.secretKeyRef.name spec.data.valueFrom.secretKeyRef.key \
        spec.data.valueFrom.configMapKeyRef.name spec.data.valueFrom.configMapKeyRef.key spec.data.push \
        spec.data.project spec.data.encoding spec.data.valueFrom.generate.password.length \
        spec.data.valueFrom.generate.password.digits spec.data.valueFrom.generate.password.symbols \
        spec.data.valueFrom.generate.password.symbolCharacters spec.data.valueFrom.generate.password.noUpper \
        spec.data.valueFrom.generate.password.allowRepeat spec.data.valueFrom.generate.uuid \
        spec.data.valueFrom.generate.bytes.length spec.data.valueFrom.generate.bytes.encoding \
        spec.data.valueFrom.generate.epoch spec.data.valueFrom.sealed spec.data.valueFrom.template \
        spec.dataFrom.secretRef.name spec.dataFrom.selector.matchLabels spec.dataFrom.match.regexp \
        spec.dataFrom.rewrite.regexp.source spec.dataFrom.rewrite.regexp.target spec.dataFrom.rewrite.template \
        spec.dataFrom.remoteName spec.dataFrom.key spec.dataFrom.push spec.dataFrom.project spec.dataFrom.encoding \
        status.sources.name status.sources.resourceVersion status.sources.keys \
        spec.target.name spec.target.creationPolicy spec.target.when \
        spec.target.type spec.target.immutable spec.target.template.metadata.labels \
        spec.target.template.metadata.annotations spec.target.template.data spec.adoptionPolicy spec.deletionPolicy spec.driftPolicy \
        spec.reassertInterval spec.suspend status.observedGeneration status.conditions.type status.entries.connection \
        status.entries.remoteName status.entries.key status.entries.remoteId status.entries.state \
        status.entries.claimed status.entries.fingerprint status.entries.remoteVersion status.entries.attempt.number \
        status.entries.attempt.at status.entries.attempt.open status.entries.attempt.unsettledSince \
        status.entries.sourceVersion status.entries.pushedAt status.entries.message status.syncedEntries \
        status.totalEntries status.synced status.target.name status.target.resourceVersion \
        status.lastHandledForcePush status.lastHandledAdopt";

    /// The fields of both kinds of connection that are there today.
    const CONNECTION: &str = "spec.kelvin.url spec.kelvin.realm spec.kelvin.auth.clientCredentials.clientIdRef.name \
        spec.kelvin.auth.clientCredentials.clientSecretRef.key spec.kelvin.auth.password.usernameRef.name \
        spec.kelvin.auth.password.passwordRef.key spec.kelvin.auth.password.clientId spec.kelvin.auth.accessTokenRef.name \
        spec.dreadnode.url spec.dreadnode.auth.apiKeyRef.name spec.dreadnode.auth.bearerTokenRef.key spec.mixpeek.url \
        spec.mixpeek.auth.apiKeyRef.name spec.account spec.tls.caBundle spec.tls.caRef.kind spec.tls.caRef.name \
        spec.tls.caRef.key spec.tls.clientCertificateRef.name spec.tls.serverName spec.allowInsecureUrl \
        spec.limits.requestsPerMinute spec.limits.burst spec.limits.maxInFlight spec.limits.timeout spec.limits.settle \
        spec.probeInterval status.conditions.reason status.provider status.capabilities.readValues \
        status.capabilities.driftSignal status.entries spec.http.url spec.http.auth.clientCredentials.tokenUrl \
        spec.http.auth.login.refresh.token spec.http.auth.headers.valueRef.key spec.http.create.json \
        spec.http.create.answer.updated spec.http.list.paging.cursor.next spec.http.answers.body.endsWith \
        spec.http.names.pattern";

    /// The fields of a ClusterVaultSecret, but for those of its template.
    const CLUSTER_VAULT_SECRET: &str = "spec.namespaces.names spec.namespaces.selector.matchLabels spec.namespaces.exclude \
        spec.sharing spec.vaultSecretName spec.vaultSecretMetadata.labels spec.vaultSecretMetadata.annotations \
        spec.template.connectionRef.name status.observedGeneration status.conditions.type status.matching status.ready \
        status.readyNamespaces status.namespaces.name status.namespaces.ready status.namespaces.reason \
        status.namespaces.message status.copies";

    fn crd(plural: &str) -> Value {
        let crd = all().into_iter().find(|crd| crd.spec.names.plural == plural).expect("a known kind");
        serde_json::to_value(crd).expect("JSON")
    }

    fn version(crd: &Value) -> &Value {
        let versions = crd["spec"]["versions"].as_array().expect("versions");
        assert_eq!(versions.len(), 1);
        &versions[0]
    }

    /// The schema at a dotted path; lists are passed through.
    fn at<'a>(crd: &'a Value, path: &str) -> Option<&'a Value> {
        let root = &version(crd)["schema"]["openAPIV3Schema"];
        path.split('.').try_fold(root, |schema, name| {
            let schema = schema.get("items").unwrap_or(schema);
            schema.get("properties")?.get(name)
        })
    }

    fn assert_fields(plural: &str, fields: &str) {
        let crd = crd(plural);
        for path in fields.split_whitespace() {
            assert!(at(&crd, path).is_some(), "{plural} has no {path}");
        }
        assert_eq!(at(&crd, "spec.nonsense"), None);
    }

    #[test]
    fn every_documented_field_is_in_the_schema() {
        assert_fields("vaultsecrets", VAULT_SECRET);
        assert_fields("vaultconnections", CONNECTION);
        assert_fields("clustervaultconnections", CONNECTION);
        let cluster_only =
            "spec.allowedNamespaces.names spec.allowedNamespaces.selector.matchLabels spec.remoteNamePrefix";
        assert_fields("clustervaultconnections", cluster_only);
        assert_eq!(at(&crd("vaultconnections"), "spec.allowedNamespaces"), None);
        assert_fields("clustervaultsecrets", CLUSTER_VAULT_SECRET);
        let secret = crd("vaultsecrets");
        let cluster = crd("clustervaultsecrets");
        let fields = |schema: &Value| schema["properties"].clone();
        assert_eq!(fields(at(&cluster, "spec.template").unwrap()), fields(at(&secret, "spec").unwrap()));
    }

    #[test]
    fn lists_are_maps_by_their_keys() {
        let secret = crd("vaultsecrets");
        for (path, keys) in [
            ("spec.data", json!(["key"])),
            ("status.conditions", json!(["type"])),
            ("status.sources", json!(["name"])),
            ("status.entries", json!(["connection", "remoteName"])),
        ] {
            let list = at(&secret, path).expect(path);
            assert_eq!((&list["x-kubernetes-list-type"], &list["x-kubernetes-list-map-keys"]), (&json!("map"), &keys));
        }
        for plural in ["vaultconnections", "clustervaultconnections"] {
            let connection = crd(plural);
            let list = at(&connection, "status.conditions").expect("conditions");
            assert_eq!(list["x-kubernetes-list-map-keys"], json!(["type"]), "{plural}");
        }
    }

    #[test]
    fn names_are_short_and_no_category_shadows_a_resource() {
        for (plural, short, scope) in [
            ("vaultsecrets", "vsec", "Namespaced"),
            ("vaultconnections", "vconn", "Namespaced"),
            ("clustervaultconnections", "cvconn", "Cluster"),
            ("clustervaultsecrets", "cvsec", "Cluster"),
        ] {
            let crd = crd(plural);
            assert_eq!(crd["metadata"]["name"], format!("{plural}.vaultsecret.dev"));
            assert_eq!(crd["spec"]["names"]["shortNames"], json!([short]));
            assert_eq!(crd["spec"]["names"].get("categories"), None);
            assert_eq!(crd["spec"]["scope"], scope);
            assert_eq!(version(&crd)["subresources"], json!({"status": {}}));
        }
    }

    #[test]
    fn columns_are_in_their_order() {
        let connection = ["Provider", "Entries", "Ready", "Reason", "Age", "Message*"];
        for (plural, wanted) in [
            ("vaultsecrets", &["Connection", "Synced", "Ready", "Reason", "Age", "Target*", "Message*"][..]),
            ("vaultconnections", &connection),
            ("clustervaultconnections", &connection),
            ("clustervaultsecrets", &["Sharing", "Namespaces", "Ready", "Reason", "Age", "Message*"]),
        ] {
            let crd = crd(plural);
            let columns = version(&crd)["additionalPrinterColumns"].as_array().expect("columns").iter();
            let wide = |column: &Value| if column["priority"] == 1 { "*" } else { "" };
            let columns = columns.map(|c| format!("{}{}", c["name"].as_str().expect("a name"), wide(c)));
            assert_eq!(columns.collect::<Vec<_>>(), wanted, "{plural}");
        }
    }

    /// What a schema says of its own: whether it is nullable, its format, its minimum.
    fn facts(crds: Vec<CustomResourceDefinition>) -> Vec<(Option<bool>, Option<String>, Option<f64>)> {
        fn collect(schema: &mut JSONSchemaProps, into: &mut Vec<(Option<bool>, Option<String>, Option<f64>)>) {
            into.push((schema.nullable, schema.format.clone(), schema.minimum));
            below(schema).into_iter().for_each(|schema| collect(schema, into));
        }
        let mut found = Vec::new();
        for mut version in crds.into_iter().flat_map(|crd| crd.spec.versions) {
            let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
            collect(schema.expect("a schema"), &mut found);
        }
        found
    }

    #[test]
    fn the_schema_has_no_null_and_only_formats_that_the_api_server_knows() {
        let (before, after) = (facts(derived()), facts(all()));
        assert!(before.iter().any(|fact| fact.0 == Some(true)) && before.len() == after.len());
        let known = [None, Some("int32"), Some("int64"), Some("date-time"), Some("double")];
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(after.0, None);
            assert!(known.contains(&after.1.as_deref()), "{after:?}");
            assert_eq!(before.2, after.2, "the minimum stays");
        }
        let unsigned = before.iter().zip(&after).filter(|(b, _)| b.1.as_deref().is_some_and(|f| f.starts_with("uint")));
        assert!(unsigned.map(|(_, after)| after.2).inspect(|m| assert!(m.is_some())).count() > 0);
        assert!(!yaml().expect("YAML").contains("nullable"));
    }

    #[test]
    fn a_property_may_have_the_name_of_a_keyword() {
        let mut schema: JSONSchemaProps = serde_json::from_value(json!({
            "properties": {"nullable": {"type": "boolean", "nullable": true}, "format": {"format": "uint32", "minimum": 0}}
        }))
        .expect("a schema");
        mend(&mut schema);
        let mended = serde_json::to_value(schema).expect("JSON");
        assert_eq!(mended, json!({"properties": {"nullable": {"type": "boolean"}, "format": {"minimum": 0.0}}}));
    }

    /// Collects what descriptions lack: the choices of a field that has some, and the default where it has one.
    fn lacking(schema: &Value, path: &str, found: &mut Vec<String>) {
        let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|r| r == name));
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let told = field["description"].as_str().unwrap_or_default();
            let choices = field["enum"].as_array().or_else(|| field["items"]["enum"].as_array());
            for choice in choices.into_iter().flatten().filter_map(Value::as_str).filter(|c| !told.contains(c)) {
                found.push(format!("{path}: {choice}"));
            }
            let decides = choices.is_some() || field["type"] == "boolean";
            if decides && !required(name) && !told.contains("Default:") {
                found.push(format!("{path}: the default"));
            }
            lacking(field, &path, found);
        }
        if let Some(items) = schema.get("items") {
            lacking(items, path, found);
        }
    }

    /// `kubectl explain` is where people look. Of an optional field with a type of its own it shows what the type says.
    #[test]
    fn descriptions_tell_choices_and_defaults() {
        let mut found = Vec::new();
        for definition in all() {
            let kind = &definition.spec.names.kind;
            let definition = serde_json::to_value(&definition).unwrap();
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            assert!(schema["properties"].is_object(), "{kind}");
            lacking(schema, kind, &mut found);
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}
