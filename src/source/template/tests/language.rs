use super::*;

#[test]
fn a_key_stands_for_its_value_as_it_is() {
    let value = " a\r\n<b>&\"'{{ B }}{% x %} é\u{1f511}\n\n";
    assert_eq!(of("{{ A }}", value), value, "nothing is escaped, and no value is a template");
    assert_eq!(of("postgres://app:{{ A }}@db/app", "pw"), "postgres://app:pw@db/app");
    assert_eq!(of("{{ A }}\n", "pw"), "pw", "one line end at the end goes, as a YAML block has one");
    assert_eq!(of("{{ A }}\n\n", "pw"), "pw\n");
}

#[test]
fn every_key_can_be_named() {
    let values =
        [("tls.crt", "crt"), ("my-key", "key"), ("2nd", "two"), ("if", "word"), ("values", "itself"), ("A", "a")];
    for (source, made) in [
        ("{{ values[\"tls.crt\"] }}", "crt"),
        ("{{ values['my-key'] }}", "key"),
        ("{{ values['2nd'] }}", "two"),
        ("{{ values['\\u0069f'] }}", "word"),
        ("{{ values.values }}", "itself"),
        ("{{ values.A }}{{ values[\"A\"] }}{{ A }}", "aaa"),
        ("{% set name = 'my-key' %}{{ values[name] }}", "key"),
        (
            "{% for key, value in values|items %}{{ key }}={{ value }};{% endfor %}",
            "2nd=two;A=a;if=word;my-key=key;tls.crt=crt;values=itself;",
        ),
        ("{% for key in values %}{{ key }},{% endfor %}", "2nd,A,if,my-key,tls.crt,values,"),
        ("{{ values|length }}", "6"),
    ] {
        assert_eq!(render(source, &values).unwrap(), made, "{source}");
    }
}

#[test]
fn statements_that_there_are() {
    assert_eq!(of("{% if A == 'x' %}yes{% elif A %}some{% else %}no{% endif %}", "y"), "some");
    assert_eq!(
        of("{% for part in A|split(',') %}[{{ loop.index }}:{{ part|trim }}]{% endfor %}", "a, b"),
        "[1:a][2:b]"
    );
    assert_eq!(of("{% set user = A|lower %}{{ user }}:{{ user }}", "ME"), "me:me");
    assert_eq!(of("{% set both %}{{ A }}-{{ A }}{% endset %}{{ both }}", "x"), "x-x");
    assert_eq!(of("{% raw %}{{ A }}{% endraw %}{# {{ A #}", "x"), "{{ A }}");
    assert_eq!(of("{{ 'a' if A is startingwith 'p' else 'b' }}{{ A if A is none }}", "pw"), "a");
    assert_eq!(of("{{ A[0] }}{{ A[-1:] }}{{ A[1:3] }}", "abcd"), "adbc");
    assert_eq!(of("{% for part in ['a', 'b'] %}{{ part }}{{ A }}{% endfor %}", "x"), "axbx");
    assert_eq!(of("{{ 5432 }}{{ 1 + 2 }}{{ A ~ '/' + A }}{{ A in ['x', A] }}", "x"), "54323x/xTrue");
}

#[test]
fn what_leads_out_is_not_there() {
    for source in [
        "{% include 'a' %}",
        "{% import 'a' as b %}",
        "{% from 'a' import b %}",
        "{% extends 'a' %}",
        "{% block a %}{% endblock %}",
        "{% macro a() %}{% endmacro %}",
        "{% call a() %}{% endcall %}",
        "{% do A %}",
        "{% with a = A %}{% endwith %}",
        "{% filter upper %}{% endfilter %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% %}",
        "{% 1 %}",
    ] {
        let told = refused(source, "x");
        assert!(told.contains("no such statement") || told.contains("syntax error"), "{source}: {told}");
    }
    for source in [
        "{{ range(3) }}",
        "{{ debug() }}",
        "{{ namespace(a=A) }}",
        "{{ dict(a=A) }}",
        "{{ now() }}",
        "{{ A.upper() }}",
        "{{ A() }}",
    ] {
        let told = refused(source, "x");
        assert!(told.contains("no functions") || told.contains("cannot be used"), "{source}: {told}");
    }
    for source in ["{{ A|random }}", "{{ A|map('upper') }}", "{{ A|pprint }}", "{{ A|safe }}", "{{ A|attr('x') }}"] {
        assert!(refused(source, "x").contains("no such filter"), "{source}");
    }
    assert!(refused("{{ A is divisibleby 2 }}", "x").contains("no such test"));
    assert!(refused("{{ A is not odd }}", "x").contains("no such test"));
}

#[test]
fn what_is_not_there_is_an_error_that_helps() {
    let values = [("DB_PASSWORD", "pw"), ("HOST", "h")];
    let told = |source: &str| render(source, &values).unwrap_err().to_string();
    assert_eq!(
        told("a\n{{ DB_PASWORD }}"),
        "line 2 of the template: it uses something that is not there; did you mean DB_PASSWORD?"
    );
    assert!(told("{{ db_password }}").ends_with("did you mean DB_PASSWORD?"));
    assert!(told("{{ values[\"db-password\"] }}").ends_with("did you mean DB_PASSWORD?"));
    assert!(told("{{ hunter2 }}").ends_with("keys are written as they stand in spec.data"));
    for source in [
        "{{ nothing|upper }}",
        "{{ nothing ~ 'a' }}",
        "{% if nothing %}{% endif %}",
        "{% for a in nothing %}{% endfor %}",
        "{{ nothing.a }}",
        "{{ [nothing]|json }}",
        "{{ nothing|b64encode }}",
        "{{ nothing|join }}",
    ] {
        assert!(told(source).contains("not there"), "{source}: {}", told(source));
    }
    assert_eq!(
        render("{{ nothing|default('x') }}{{ nothing is defined }}{{ HOST|d('x') }}", &values).unwrap(),
        "xFalseh"
    );
}

#[test]
fn a_filter_that_is_called_otherwise_elsewhere_is_told_without_a_value() {
    for (filter, word) in
        [("b64enc", "b64encode"), ("toJson", "json"), ("quote", "dotenv"), ("sha256sum", "gives the value away")]
    {
        let error = Template::parse(&format!("x\n{{{{ A | {filter} }}}}")).unwrap_err();
        assert_eq!(error.line, Some(2));
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn syntax_errors_have_a_line() {
    for source in ["a\nb {{ A", "\n{{ A", "\n{% if A %}\n", "\n{{ 'a }}", "\n{{ A | }}", "\n{{ (A }}", "\n{% raw %}"] {
        let error = Template::parse(source).unwrap_err();
        assert_eq!(error.cause, Cause::Syntax, "{source}");
        assert!(error.line.is_some_and(|line| line >= 2), "{source}: {error}");
    }
    assert_eq!(Template::parse("{{ \"\\ud800\" }}").unwrap_err().cause, Cause::Syntax);
}

#[test]
fn lists_and_nothing_are_not_written_by_accident() {
    for source in ["{{ values }}", "{{ A|split }}", "{{ [A] }}", "{{ {'a': A} }}", "{{ (A, A) }}", "{{ loop }}"] {
        let told = refused(source, "x");
        assert!(told.contains("cannot be written as it is") || told.contains("not there"), "{source}: {told}");
    }
    assert!(refused("{{ none }}", "x").contains("nothing to write"));
    for source in [
        "{{ values ~ '' }}",
        "{{ A|split ~ 'x' }}",
        "{% set x = values ~ A %}{{ A }}",
        "{{ A|split|upper }}",
        "{{ values|string }}",
    ] {
        let told = refused(source, "x");
        assert!(told.contains("cannot be used as text") || told.contains("text only"), "{source}: {told}");
    }
}

#[test]
fn bytes_are_encoded_or_stand_alone() {
    let values: [(&str, &[u8]); 2] = [("KEYSTORE", b"\xfe\xed\0\xff"), ("A", b"x")];
    let made = |source: &str| render_bytes(source, &values);
    assert_eq!(made("{{ KEYSTORE | b64encode }}").unwrap(), b"/u0A/w==");
    assert_eq!(
        made("{{ KEYSTORE | base64url }}{{ KEYSTORE | urlencode }}{{ KEYSTORE|length }}").unwrap(),
        b"_u0A_w%FE%ED%00%FF4"
    );
    assert_eq!(made("{{ KEYSTORE }}\n").unwrap(), b"\xfe\xed\0\xff", "alone they are the value");
    assert_eq!(made("{{ KEYSTORE | b64encode | b64decode }}").unwrap(), b"\xfe\xed\0\xff");
    assert_eq!(made("{{ A | b64encode | b64decode }}").unwrap(), b"x");
    for source in [
        "{{ KEYSTORE }}x",
        "{{ KEYSTORE }}{{ KEYSTORE }}",
        "{{ KEYSTORE ~ '' }}",
        "{{ KEYSTORE | upper }}",
        "{{ KEYSTORE | json }}",
        "{{ [KEYSTORE] | json }}",
        "{{ [KEYSTORE] ~ '' }}",
        "{{ [A, KEYSTORE] | join }}",
        "{% set x = KEYSTORE ~ A %}{{ A }}",
        "{% set x %}{{ KEYSTORE }}{% endset %}{{ x | upper }}",
        "{% set x %}{{ KEYSTORE }}{% endset %}{{ A }}",
        "{{ A | replace('x', KEYSTORE) }}",
        "{{ KEYSTORE | dotenv }}",
        "{{ KEYSTORE | trim }}",
        "{{ KEYSTORE[0] }}",
        "{{ A | b64decode ~ 'x' }}",
    ] {
        assert!(made(source).is_err(), "{source}");
    }
    let told = made("{{ KEYSTORE | upper }}").unwrap_err().to_string();
    assert!(told.contains("not UTF-8") && told.contains("b64encode"), "{told}");
}
