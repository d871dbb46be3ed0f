use super::*;

/// Half of what the threads of the runtime have.
const SMALL_STACK: usize = 1024 * 1024;

/// A stack that overflows ends the process, which tells the name of the thread and nothing else.
fn with_a_small_stack<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().name(what.to_owned()).stack_size(SMALL_STACK).spawn(run).unwrap().join().unwrap()
}

#[test]
fn long_chains_are_refused_and_the_longest_fit_the_stack() {
    let shapes: [(&str, &str, &str); 16] = [
        ("{{ A", "|trim", " }}"),
        ("{{ A", ".a", " }}"),
        ("{{ A", "[0]", " }}"),
        ("{{ A", " ~ A", " }}"),
        ("{{ A", " + A", " }}"),
        ("{{ ", "-", "1 }}"),
        ("{{ ", "not ", "A }}"),
        ("{{ ", "A if A else ", "A }}"),
        ("{{ A", " and A", " }}"),
        ("{{ A", " < A", " }}"),
        ("{{ A", "()", " }}"),
        ("{{ A", " is defined", " }}"),
        ("{{ [", "[],", "] }}"),
        ("{% if A %}", "{% elif A %}", "{% endif %}"),
        ("{{ A", "|default(A)", " }}"),
        ("{% set x = A", "|trim", " %}"),
    ];
    for (start, step, end) in shapes {
        with_a_small_stack(step, move || {
            let make = |steps: usize| format!("{start}{}{end}", step.repeat(steps));
            let fits = |steps: usize| {
                !matches!(Template::parse(&make(steps)), Err(TemplateError { cause: Cause::TooComplex, .. }))
            };
            let longest = (1..400).take_while(|steps| fits(*steps)).last().unwrap();
            assert!((40..=250).contains(&longest), "{step}: {longest}");
            let _ = render(&make(longest), &[("A", "1")]);
            for far in [longest + 1, 1000, MOST_TEMPLATE / step.len() - 10] {
                let error = Template::parse(&make(far)).unwrap_err();
                assert_eq!(error.cause, Cause::TooComplex, "{step}: {far}");
            }
        });
    }
}

#[test]
fn deep_nesting_is_refused_and_what_is_left_fits_the_stack() {
    for (open, inner, close) in [
        ("(", "A", ")"),
        ("[", "A", "]"),
        ("{'a':", "A", "}"),
        ("{% if A %}", "{{ A|trim|trim }}", "{% endif %}"),
        ("{% for a in A|split %}", "{{ a }}", "{% endfor %}"),
    ] {
        with_a_small_stack(open, move || {
            for depth in [10, 18, 21, 40, 160, 1000] {
                let nested = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
                let source = if open.starts_with("{%") { nested } else { format!("{{{{ ({nested})|json }}}}") };
                let made = render(&source, &[("A", "x")]);
                assert_eq!(depth <= 18, made.is_ok(), "{open}{depth}: {made:?}");
            }
        });
    }
    // The worst of both: statements as deep as they go around an expression as long as they go.
    with_a_small_stack("both", || {
        for depth in 1..30 {
            let chain = format!("{{{{ A{} }}}}", "|trim".repeat(120));
            let source = format!("{}{chain}{}", "{% if A %}".repeat(depth), "{% endif %}".repeat(depth));
            assert_eq!(render(&source, &[("A", "x")]).is_ok(), depth <= 20, "{depth}");
        }
    });
}

#[test]
fn a_template_has_a_size() {
    let long = "x".repeat(MOST_TEMPLATE);
    assert_eq!(render(&long, &[]).unwrap().len(), MOST_TEMPLATE);
    assert_eq!(Template::parse(&(long + "x")).unwrap_err().cause, Cause::TooLong);
}

#[test]
fn values_in_and_out_have_a_size() {
    let most = "x".repeat(MOST_VALUE);
    assert_eq!(of("{{ A }}", &most).len(), MOST_VALUE);
    assert!(matches!(render("{{ A }}x", &[("A", &most)]).unwrap_err().cause, Cause::OutputTooLarge));
    let more = most.clone() + "x";
    assert_eq!(render("{{ A }}", &[("A", &more)]).unwrap_err().cause, Cause::InputTooLarge("A".to_owned()));
    assert_eq!(render("{{ B }}", &[("A", &more), ("B", "b")]).unwrap(), "b", "what is not read may be large");
    for filter in [
        "b64encode",
        "base64url",
        "urlencode",
        "json",
        "yaml",
        "indent(1, first=true)",
        "replace('x', 'xx')",
        "dotenv ~ A",
    ] {
        assert!(
            refused(
                &format!("{{{{ (A|replace('x', ' ')|{filter})|length }}}}")
                    .replace("|replace('x', ' ')|replace", "|replace"),
                &most
            )
            .len()
                > 3
        );
    }
    assert!(refused("{{ A|replace('x', 'xx') }}", &most).contains("too large"));
    assert!(refused("{{ A|b64encode }}", &most).contains("too large"));
    assert!(refused("{{ [A, A]|join }}", &most).contains("too large"));
    assert!(refused("{{ [A, A]|json }}", &most).contains("too large"));
    assert!(refused("{{ A|split('x') }}", &most).contains("too long"));
    assert!(refused("{{ A|lines }}", &"\n".repeat(MOST_VALUE)).contains("too long"));
}

#[test]
fn work_is_limited() {
    let many = "x ".repeat(4000);
    let nested = "{% for a in A|split %}{% for b in A|split %}{{ b }}{% endfor %}{% endfor %}";
    assert_eq!(render(nested, &[("A", &many)]).unwrap_err().cause, Cause::OutOfFuel);
    let silent = "{% for a in A|split %}{% for b in A|split %}{% if b %}{% endif %}{% endfor %}{% endfor %}";
    assert_eq!(render(silent, &[("A", &many)]).unwrap_err().cause, Cause::OutOfFuel);
    let doubled = format!("{}{{{{ x|length }}}}", "{% set x = x ~ x %}".repeat(40));
    assert_eq!(render(&format!("{{% set x = A %}}{doubled}"), &[("A", "x")]).unwrap_err().cause, Cause::OutOfFuel);
}

/// Lists that hold each other grow by powers; the engine does not count what is inside of them.
#[test]
fn nothing_grows_by_powers() {
    for source in [
        "{% set x = [A, A] %}",
        "{% set x = {'a': A} %}",
        "{% set x = (A, A) %}",
        "{% set x = A, A %}",
        "{% set x = [[A]] %}",
        "{% set x = A|default([A]) %}",
        "{% set x = 1 if A else [A, A] %}",
        "{% set x = [values] %}",
        "{% set x = [A|split][0] %}",
        "{% for x in [A, A] %}{% endfor %}",
        "{% for x in [[A, A]] %}{% endfor %}",
        "{% for x in (A, A) %}{% endfor %}",
        "{% for x in A, A %}{% endfor %}",
        "{% for x in A|split if [A] %}{% endfor %}",
        "{% set x = A + A %}",
        "{% for x in A|split + A|split %}{% endfor %}",
        "{{ [A] * 1000 }}",
        "{{ 'a' * 1000 }}",
        "{{ 2 ** 1000 }}",
        "{% if A * 2 %}{% endif %}",
        "{% for x in A|split recursive %}{{ loop([x, x]) }}{% endfor %}",
        "{{ A|join(*A) }}",
        "{{ A|join(**values) }}",
        "{% set a, b = [A, A] %}",
        "{% set x = [values.A] %}",
        "{% set x = [ loop ] %}",
    ] {
        let error = Template::parse(source).unwrap_err();
        assert!(matches!(error.cause, Cause::NotAllowed(_)), "{source}: {error}");
    }
    for source in [
        "{% set x = ['a', 1, true, none, [2], {'a': 'b'}] %}{{ x|json }}",
        "{% set x = A|split(',')|last %}{{ x }}",
        "{% set x = values['A'] %}{{ x }}",
        "{% for k, v in values|items %}{{ v }}{% endfor %}",
        "{% set x = (A) %}{{ x }}",
        "{% for x in A|split if x not in ['a', 'b'] %}{{ x }}{% endfor %}",
        "{% set a, b = A|split(',') %}{{ a }}",
        "{% set x = A|default('a', true) %}{{ x }}",
        "{{ [A, [A]]|json }}",
        "{% if A in [A, 'x'] %}{% endif %}",
        "{% set x = A.b|default([1, 2]) %}",
    ] {
        assert!(render(source, &[("A", "a,b")]).is_ok(), "{source}: {:?}", render(source, &[("A", "a,b")]));
    }
}
