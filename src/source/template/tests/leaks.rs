//! No message holds anything of a value, or of the template.

use super::*;

/// In the world once; part of every value, and of the text of every template below.
const PLANTED: &str = "hunter2SECRET";

fn expect_no_leak(what: &str, error: &TemplateError) {
    let shown = format!("{error} {error:?} {error:#?}").to_lowercase();
    let encoded = of("{{ A|b64encode }}", PLANTED).to_lowercase();
    for secret in [PLANTED.to_lowercase(), encoded.trim_end_matches('=').to_owned(), "hunter2".to_owned()] {
        assert!(!shown.contains(&secret), "{what}: {shown}");
    }
}

/// Every filter with values and arguments that most of them refuse.
#[test]
fn no_filter_tells_a_value() {
    let values = [
        format!("\"{PLANTED} \u{e9}\0\r\n'"),
        format!("-----BEGIN CERTIFICATE-----\n{PLANTED}\n-----END X{PLANTED}-----"),
    ];
    let filters = "b64decode b64encode base64url capitalize d default dotenv first indent int items join json last length lines lower \
                   netrc pem_certs pem_key public_key replace split string trim upper urlencode yaml";
    let arguments =
        ["", "(A)", "('hunter2SECRET', A)", "(A, A, A, A)", "(hunter2SECRET=A)", "(first=A)", "([A])", "(-1)", "(B)"];
    let inputs = ["A", "B", "[A]", "{A: B}", "none", "nothing", "values", "A|split", "[B]", "'hunter2SECRET'"];
    let mut failed = 0;
    for filter in filters.split_whitespace() {
        for argument in arguments {
            for input in inputs {
                for value in &values {
                    let source = format!("{{{{ ({input})|{filter}{argument} }}}}");
                    let bytes: [(&str, &[u8]); 2] = [("A", value.as_bytes()), ("B", b"hunter2SECRET\xff")];
                    if let Err(error) = render_bytes(&source, &bytes) {
                        failed += 1;
                        expect_no_leak(&source, &error);
                    }
                }
            }
        }
    }
    assert!(failed > 1000, "{failed}");
}

/// One template for each kind of error, and many that are broken in the middle of a secret.
#[test]
fn no_kind_of_error_tells_a_value_or_the_template() {
    let long = format!("{{{{ A{} }}}}", "|trim".repeat(300));
    let big = format!("hunter2SECRET{}", "x".repeat(MOST_TEMPLATE));
    let all = [
        "{{ hunter2SECRET",
        "{{ 'hunter2SECRET }}",
        "{{ A hunter2SECRET }}",
        "{% hunter2SECRET %}",
        "{% if hunter2SECRET %}",
        "{{ hunter2SECRET }}",
        "{{ A|hunter2SECRET }}",
        "{{ A is hunter2SECRET }}",
        "{{ hunter2SECRET() }}",
        "{{ A.hunter2SECRET() }}",
        "{{ A.hunter2SECRET }}",
        "{{ A[hunter2SECRET] }}",
        "{{ A - 1 }}",
        "{{ A / 'hunter2SECRET' }}",
        "{{ -A }}",
        "{{ A + 1 }}",
        "{{ 1 + A }}",
        "{{ A % A }}",
        "{{ A // A }}",
        "{{ A * A }}",
        "{{ [A] - [A] }}",
        "{{ A[A] }}",
        "{{ A['x':] }}",
        "{{ A[::0] }}",
        "{% for a, b in A|split %}{% endfor %}",
        "{% set a, b = A %}",
        "{% for a in 1 %}{% endfor %}",
        "{{ loop(A) }}",
        "{{ A in 1 }}",
        "{{ values[A] }}",
        "{{ values.hunter2SECRET }}",
        "{{ {A: 1}[A].x }}",
        "{{ {[A]: 1} }}",
        "{{ B }}{{ A }}",
        "{{ B ~ A }}",
        "{{ A|int }}",
        "{{ \"hunter2SECRET\\uZZZZ\" }}",
        "{{ 99999999999999999999999999999999999999999999 }}",
        "{{ A",
        &long,
        &big,
        "{% for a in A|split('') %}{% for b in A|split('') %}{% for c in A|split('') %}{% for d in A|split('') %}{{ A }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ A is startingwith 1 }}",
        "{{ A is startingwith B }}",
        "{{ B is endingwith A }}",
        "{{ A is startingwith }}",
        "{{ none ~ A }}{{ none }}",
    ];
    for source in all {
        let bytes: [(&str, &[u8]); 2] = [("A", PLANTED.as_bytes()), ("B", b"hunter2SECRET\xff")];
        match render_bytes(source, &bytes) {
            Err(error) => expect_no_leak(source, &error),
            Ok(_) => assert!(source.contains("none ~ A"), "{source} was rendered"),
        }
    }
    let templates = Templates::new([("A", None), ("T", Some("{{ A }}hunter2SECRET"))], []);
    assert!(!format!("{templates:?}").contains("hunter2"), "the text of a template is not shown");
}

/// What is told of something that is not there are names of keys, never the word that was used.
#[test]
fn only_names_of_keys_are_told() {
    let error = render("{{ hunter2SECRT }}", &[("HUNTER2_SECRET", "x")]).unwrap_err();
    assert_eq!(error.cause, Cause::Undefined(vec!["HUNTER2_SECRET".to_owned()]));
    assert!(!error.to_string().contains("hunter2SECRT"));
}
