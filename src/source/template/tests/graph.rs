use super::*;

/// Keys with a template, `None` for those from a source.
fn templates(keys: &[(&str, Option<&str>)]) -> Templates {
    Templates::new(keys.iter().copied(), [])
}

fn reads(templates: &Templates, key: &str) -> Vec<String> {
    templates.of_key(key).unwrap().unwrap().reads().iter().cloned().collect()
}

fn sources(templates: &Templates, key: &str) -> Vec<String> {
    templates.of_key(key).unwrap().unwrap().sources().iter().cloned().collect()
}

fn cause(templates: &Templates, key: &str) -> Cause {
    templates.of_key(key).unwrap().unwrap_err().cause.clone()
}

#[test]
fn sources_are_those_behind_other_templates_too() {
    let all = templates(&[
        ("URL", Some("{{ AUTH }}@{{ HOST }}{{ x|default('') }}")),
        ("AUTH", Some("{{ USER }}:{{ PASSWORD[0:2] }}{{ values['my-key'] }}")),
        ("USER", None),
        ("PASSWORD", None),
        ("HOST", None),
        ("my-key", None),
        ("OTHER", None),
        ("CONSTANT", Some("OTHER {# {{ OTHER }} #}{% raw %}{{ OTHER }}{% endraw %}{{ 'OTHER' }}")),
    ]);
    assert_eq!(reads(&all, "URL"), ["AUTH", "HOST"]);
    assert_eq!(sources(&all, "URL"), ["HOST", "PASSWORD", "USER", "my-key"]);
    assert_eq!(sources(&all, "AUTH"), ["PASSWORD", "USER", "my-key"]);
    assert!(sources(&all, "CONSTANT").is_empty());
    let order: Vec<&str> = all.in_order().map(|(key, _)| key).collect();
    assert!(order.iter().position(|k| *k == "AUTH") < order.iter().position(|k| *k == "URL"), "{order:?}");
    assert!(all.is_read("USER") && !all.is_read("OTHER"));
}

#[test]
fn all_values_are_those_without_a_template_and_those_that_are_named() {
    let all = templates(&[
        ("A", None),
        ("tls.crt", None),
        ("ENV", Some("{% for k, v in values|items %}{{ k }}{% endfor %}")),
        ("ALSO", Some("{{ values|json }}{{ values.ENV }}")),
        ("ONE", Some("{{ values['tls.crt'] }}")),
    ]);
    assert_eq!(reads(&all, "ENV"), ["A", "tls.crt"]);
    assert_eq!(reads(&all, "ALSO"), ["A", "ENV", "tls.crt"]);
    assert_eq!(sources(&all, "ALSO"), ["A", "tls.crt"]);
    assert_eq!(reads(&all, "ONE"), ["tls.crt"], "one member is not all of them");
}

#[test]
fn a_target_sees_every_key() {
    let all = Templates::new(
        [("A", None), ("T", Some("{{ A }}!"))],
        [("all", "{{ values|json }}"), ("A", "x"), ("bad", "{{")],
    );
    let of = |name: &str| all.of_target().find(|(n, _)| *n == name).unwrap().1;
    assert_eq!(of("all").unwrap().reads().iter().collect::<Vec<_>>(), ["A", "T"]);
    assert_eq!(of("A").unwrap_err().cause, Cause::Taken);
    assert_eq!(of("bad").unwrap_err().cause, Cause::Syntax);
    assert!(all.is_shown("T") && all.target_refusal().is_some());
}

#[test]
fn circles_are_named_and_harm_nobody_else() {
    let all = templates(&[
        ("SELF", Some("{{ SELF }}")),
        ("A", Some("{{ B }}")),
        ("B", Some("{{ C }}{{ X }}")),
        ("C", Some("{{ values['A'] }}")),
        ("OUTSIDE", Some("{{ A }}")),
        ("FURTHER", Some("{{ OUTSIDE }}")),
        ("BROKEN", Some("{{")),
        ("ON_BROKEN", Some("{{ BROKEN }}")),
        ("X", None),
        ("FINE", Some("{{ X }}")),
    ]);
    let text = |key: &str| all.of_key(key).unwrap().unwrap_err().to_string();
    assert_eq!(text("SELF"), "it refers to itself");
    assert_eq!(text("A"), "keys refer to each other in a circle: A → B → C → A");
    assert_eq!(text("C"), "keys refer to each other in a circle: C → A → B → C");
    assert_eq!(cause(&all, "OUTSIDE"), Cause::Unusable("A".to_owned()));
    assert_eq!(cause(&all, "FURTHER"), Cause::Unusable("OUTSIDE".to_owned()));
    assert_eq!(cause(&all, "BROKEN"), Cause::Syntax);
    assert_eq!(cause(&all, "ON_BROKEN"), Cause::Unusable("BROKEN".to_owned()));
    assert_eq!(all.in_order().map(|(key, _)| key).collect::<Vec<_>>(), ["FINE"]);
}

#[test]
fn a_template_that_is_reached_by_a_made_up_name_is_refused() {
    let all = templates(&[("A", None), ("T", Some("{{ A }}")), ("U", Some("{{ values['T' ~ ''] | default('x') }}"))]);
    let node = all.of_key("U").unwrap().unwrap();
    let error = all.render(node, |_| Some(SecretValue::from("hunter2"))).unwrap_err();
    assert!(error.to_string().contains("by its name only"), "{error}");
}

#[test]
fn a_key_without_a_value_is_named() {
    let all = templates(&[("A", None), ("T", Some("{{ A }}"))]);
    let error = all.render(all.of_key("T").unwrap().unwrap(), |_| None).unwrap_err();
    assert_eq!(error.to_string(), "it refers to key A, which has no value");
}

#[test]
fn a_long_chain_and_a_large_circle_are_no_trouble() {
    let names: Vec<String> = (0..256).map(|n| format!("K{n}")).collect();
    let sources: Vec<String> = (0..256).map(|n| format!("{{{{ K{} }}}}", n + 1)).collect();
    let chain: Vec<(&str, Option<&str>)> =
        names.iter().zip(&sources).map(|(n, s)| (n.as_str(), Some(s.as_str()))).collect();
    let mut open = chain.clone();
    open[255].1 = None;
    assert_eq!(sources_of(&open, "K0"), ["K255"]);
    let mut circle = chain;
    circle[255].1 = Some("{{ K0 }}");
    match cause(&templates(&circle), "K7") {
        Cause::Cycle(keys) => assert_eq!(keys.len(), 256),
        other => panic!("{other:?}"),
    }
}

fn sources_of(keys: &[(&str, Option<&str>)], key: &str) -> Vec<String> {
    sources(&templates(keys), key)
}
