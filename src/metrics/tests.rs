#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::*;

/// What docs/operations.md says: name as a query has it, type, labels.
const DOCUMENTED: &[(&str, &str, &str)] = &[
    ("vaultsecret_api_writes_total", "counter", "verb, resource"),
    ("vaultsecret_breaker_state", "gauge", "connection"),
    ("vaultsecret_build_info", "info", "version, commit"),
    ("vaultsecret_cleanup_abandoned_total", "counter", "connection"),
    ("vaultsecret_entries", "gauge", "state"),
    ("vaultsecret_frozen_connections", "gauge", ""),
    ("vaultsecret_last_good_probe_age_seconds", "gauge", "connection"),
    ("vaultsecret_leader", "gauge", ""),
    ("vaultsecret_probe_failures_total", "counter", ""),
    ("vaultsecret_probes_total", "counter", ""),
    ("vaultsecret_queue_length", "gauge", "connection"),
    ("vaultsecret_reconcile_duration_seconds", "histogram", "kind, outcome"),
    ("vaultsecret_remote_call_duration_seconds", "histogram", "connection, operation, status_class"),
    ("vaultsecret_undecodable_objects_total", "counter", "kind"),
];

fn sample(connection: &str) -> ConnectionSample {
    ConnectionSample {
        connection: connection.to_owned(),
        queue_length: 7,
        breaker: 2,
        last_good_probe_age: Some(12.5),
        frozen: true,
    }
}

/// Metrics with a value in every series.
fn filled() -> Arc<Metrics> {
    let metrics = Metrics::new();
    metrics.on_scrape(|| Scrape {
        connections: vec![
            sample("shop/kelvin"),
            ConnectionSample { connection: "shared".to_owned(), ..Default::default() },
        ],
        entries_by_state: vec![("InSync".to_owned(), 412), ("Failed".to_owned(), 1)],
    });
    metrics.reconcile("vaultsecret", "waiting", Duration::from_millis(30));
    metrics.remote_call("shop/kelvin", Operation::Update, Some(204), Duration::from_millis(400));
    metrics.remote_call("shop/kelvin", Operation::Login, None, Duration::from_secs(10));
    metrics.probe(true);
    metrics.probe(false);
    metrics.api_write("patch", "vaultsecrets/status");
    metrics.cleanup_abandoned("shop/kelvin");
    metrics.undecodable_object("VaultSecret");
    metrics
}

/// A sample: name, labels, value. Fails on a line that is none.
fn parse(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
        None => (series, ""),
    };
    assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (key, value) = label.split_once('=').expect(line);
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).expect(line);
        (key.to_owned(), value.to_owned())
    });
    (name.to_owned(), labels.collect(), value.parse().expect(line))
}

/// Name, type and labels (without `le`) of every family, after checking each line.
fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut types: BTreeMap<String, String> = BTreeMap::new();
    let mut found: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    let body = text.strip_suffix("# EOF\n").expect("ends with EOF");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{line} comes twice");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.ends_with('.'), "{line}");
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect(line);
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let (name, labels, _) = parse(line);
            let suffixes = ["", "_total", "_info", "_bucket", "_sum", "_count"];
            let (family, suffix) = suffixes
                .iter()
                .find_map(|suffix| {
                    Some((name.strip_suffix(suffix)?, *suffix)).filter(|(base, _)| types.contains_key(*base))
                })
                .expect(line);
            let shown = if matches!(suffix, "_total" | "_info") { name.clone() } else { family.to_owned() };
            let entry = found.entry(shown).or_insert_with(|| (types[family].clone(), BTreeSet::new()));
            entry.1.extend(labels.into_keys().filter(|key| key != "le"));
        }
    }
    found
}

#[test]
fn names_types_and_labels_are_as_documented() {
    let found = families(&filled().encode());
    let wanted: BTreeMap<_, _> = DOCUMENTED
        .iter()
        .map(|(name, kind, labels)| {
            let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
            ((*name).to_owned(), ((*kind).to_owned(), labels))
        })
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn the_documentation_has_the_same_table() {
    let page = include_str!("../../docs/operations.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `vaultsecret_")).collect();
    assert_eq!(rows.len(), DOCUMENTED.len());
    for (name, kind, labels) in DOCUMENTED {
        let labels =
            labels.split(", ").filter(|l| !l.is_empty()).map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
        let start = format!("| `{name}` | {kind} | {labels} |");
        assert!(
            rows.iter().any(|row| row.starts_with(&start)),
            "docs/operations.md has no row that starts with {start}"
        );
    }
}

#[test]
fn the_older_format_names_families_as_their_series() {
    let (open, text) = (filled().encode(), filled().encode_classic());
    for (line, kind) in [
        ("vaultsecret_probes_total", "counter"),
        ("vaultsecret_build_info", "gauge"),
        ("vaultsecret_queue_length", "gauge"),
        ("vaultsecret_reconcile_duration_seconds", "histogram"),
    ] {
        let (help, typed) = (format!("# HELP {line} "), format!("# TYPE {line} {kind}"));
        let at = text.lines().position(|line| line == typed).unwrap_or_else(|| panic!("no {typed} in\n{text}"));
        assert!(text.lines().nth(at - 1).expect("a line").starts_with(&help), "{text}");
    }
    let samples =
        |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(samples(&open), samples(&text));
    assert!(
        text.lines().all(|line| !line.starts_with('#') || line.starts_with("# HELP ") || line.starts_with("# TYPE "))
    );
}

#[test]
fn a_scraper_says_what_it_reads() {
    use classic::wants_open_metrics;
    assert!(wants_open_metrics("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5"));
    assert!(wants_open_metrics("text/plain, application/openmetrics-text"));
    for accept in ["*/*", "", "text/plain;version=0.0.4", "application/openmetrics-text; q=0, text/plain"] {
        assert!(!wants_open_metrics(accept), "{accept}");
    }
}

#[test]
fn samples_have_their_values() {
    let text = filled().encode();
    for line in [
        r#"vaultsecret_queue_length{connection="shop/kelvin"} 7.0"#,
        r#"vaultsecret_breaker_state{connection="shop/kelvin"} 2.0"#,
        r#"vaultsecret_breaker_state{connection="shared"} 0.0"#,
        r#"vaultsecret_last_good_probe_age_seconds{connection="shop/kelvin"} 12.5"#,
        r#"vaultsecret_entries{state="InSync"} 412.0"#,
        "vaultsecret_frozen_connections 1",
        "vaultsecret_probes_total 2",
        "vaultsecret_probe_failures_total 1",
        r#"vaultsecret_api_writes_total{verb="patch",resource="vaultsecrets/status"} 1"#,
        r#"vaultsecret_reconcile_duration_seconds_count{kind="vaultsecret",outcome="waiting"} 1"#,
        r#"vaultsecret_remote_call_duration_seconds_count{connection="shop/kelvin",operation="login",status_class="none"} 1"#,
        r#"vaultsecret_remote_call_duration_seconds_bucket{le="0.5",connection="shop/kelvin",operation="update",status_class="2xx"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
    }
    // Before the first good list there is no age.
    assert!(!text.contains(r#"last_good_probe_age_seconds{connection="shared"}"#));
}

#[test]
fn series_go_with_their_connection() {
    let metrics = Metrics::new();
    let there = Arc::new(Mutex::new(vec![sample("shop/old"), sample("shop/new")]));
    let look = Arc::clone(&there);
    metrics.on_scrape(move || Scrape { connections: look.lock().expect("samples").clone(), ..Default::default() });
    for connection in ["shop/old", "shop/new"] {
        metrics.remote_call(connection, Operation::List, Some(200), Duration::from_millis(1));
    }
    assert!(metrics.encode().contains("shop/old"));
    there.lock().expect("samples").remove(0);
    let text = metrics.encode();
    assert!(!text.contains("shop/old") && text.contains("operation=\"list\""), "{text}");
    metrics.forget_connection("shop/new");
    assert!(!metrics.encode().contains("operation=\"list\""));
}

#[test]
fn nothing_to_ask_is_a_valid_scrape() {
    let found = families(&Metrics::new().encode());
    assert_eq!(found["vaultsecret_probes_total"].0, "counter");
    assert!(!found.contains_key("vaultsecret_frozen_connections"));
}
