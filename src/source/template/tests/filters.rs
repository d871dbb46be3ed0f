use super::*;

#[test]
fn text() {
    assert_eq!(of("{{ A|upper }}{{ A|lower }}{{ A|capitalize }}", "aB é"), "AB Éab éAb é");
    assert_eq!(of("{{ A|trim }}|{{ A|trim(' x') }}", " x a x "), "x a x|a");
    assert_eq!(of("{{ A|replace('a', 'bb') }}{{ A|replace('z', '') }}", "aXa"), "bbXbbaXa");
    assert_eq!(of("{{ A|split|join('-') }}/{{ A|split(',')|first }}/{{ A|split(',')|last }}", "a b,c"), "a-b,c/a b/c");
    assert_eq!(of("{{ (A|split(','))[1] }}{{ A|split(',')|length }}{{ A|length }}", "é,b"), "b23");
    assert_eq!(of("{{ A|lines|join('|') }}", "a\r\nb\n"), "a|b");
    assert_eq!(of("{{ A|int + 1 }}{{ (A|int)|string }}", " 41 "), "4241");
    assert_eq!(of("{{ A|default('b') }}{{ A|default('b', true) }}{{ x|default }}", ""), "b");
    assert_eq!(of("{{ ['a', A]|join(', ') }}", "b"), "a, b");
    assert_eq!(of("{{ 5432|urlencode }}{{ true|string }}", ""), "5432True");
}

#[test]
fn indent() {
    let lines = "a\n\nb\n";
    assert_eq!(of("{{ A|indent }}", lines), "a\n\n    b\n");
    assert_eq!(of("{{ A|indent(2, first=true) }}", lines), "  a\n\n  b\n");
    assert_eq!(of("{{ A|indent(1, first=true, blank=true) }}", lines), " a\n \n b\n");
    assert!(refused("{{ A|indent(2, frist=true) }}", lines).contains("too many or too few arguments"));
    assert!(refused("{{ A|indent(9999999) }}", lines).contains("too large"));
}

#[test]
fn base64() {
    assert_eq!(of("{{ A|b64encode }} {{ A|base64url }}", "a>?b~"), "YT4/Yn4= YT4_Yn4");
    for text in ["YT4/Yn4=", "YT4/Yn4", "YT4_Yn4", "YT4_Yn4=", " YT4/\n Yn4=\n"] {
        assert_eq!(of("{{ A|b64decode }}", text), "a>?b~", "{text}");
    }
    for text in ["Y", "YT4/Yn4==x", "!", "YT4_/n4="] {
        assert!(refused("{{ A|b64decode }}", text).contains("not base64"), "{text}");
    }
}

#[test]
fn urlencode_is_for_every_part_of_a_url() {
    assert_eq!(
        of("{{ A|urlencode }}", "aZ0-._~ /?#[]@!$&'()*+,;=:%é"),
        "aZ0-._~%20%2F%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%3A%25%C3%A9"
    );
}

#[test]
fn json_and_yaml() {
    let value = "q\"b\\s/n\nt\tr\r\0\u{7f}\u{85}\u{2028}\u{feff}é\u{1f511}";
    for filter in ["json", "yaml"] {
        let made = of(&format!("{{{{ {{'a': A, 'b': [1, 2.5, true, none, -3], 'c': {{}}}} | {filter} }}}}"), value);
        let read: serde_json::Value = serde_json::from_str(&made).unwrap();
        assert_eq!(read, serde_json::json!({"a": value, "b": [1, 2.5, true, null, -3], "c": {}}));
        let read: serde_json::Value = serde_saphyr::from_str(&made).unwrap();
        assert_eq!(read["a"], value, "{made}");
        assert!(!made.contains('\n'));
    }
    assert_eq!(of("{{ {'b': A, 'a': A|split}|json }}", "x y"), r#"{"a":["x","y"],"b":"x y"}"#);
    assert_eq!(of("{{ {'b': A, 'a': 1}|yaml }}", "no"), r#"{"a": 1, "b": "no"}"#);
    assert_eq!(of("{{ values|json }}", "x"), r#"{"A":"x"}"#);
    assert!(refused("{{ {1: A}|json }}", "x").contains("keys of a map are texts"));
}

#[test]
fn dotenv() {
    for (value, line) in [
        ("plain-1.2_3/4:5@6%7+8,9", "plain-1.2_3/4:5@6%7+8,9"),
        ("", "''"),
        ("two words", "'two words'"),
        ("a=b", "'a=b'"),
        ("#x", "'#x'"),
        ("$HOME `id` \"q\" a\\b", "'$HOME `id` \"q\" a\\b'"),
        ("line\nline", "'line\nline'"),
        ("it's", "\"it's\""),
        ("it's $5 \"q\" `x` \\", "\"it's \\$5 \\\"q\\\" \\`x\\` \\\\\""),
        ("a\\\\b", "\"a\\\\\\\\b\""),
        ("a\\", "\"a\\\\\""),
    ] {
        assert_eq!(of("{{ A|dotenv }}", value), line, "{value:?}");
    }
    assert!(refused("{{ A|dotenv }}", "a\rb").contains("carriage return"));
}

/// What a shell reads from such a line is the value.
#[test]
fn a_shell_reads_what_dotenv_wrote() {
    for value in
        ["two words", "a=b $HOME `id` \"q\" a\\b 'x' \\\\ \\", "~!@#$%^&*()_+`-={}|[]\\:\"<>?,./'", "a\nb'", "!x", "*"]
    {
        let script = format!("X={}\nprintf %s \"$X\"", of("{{ A|dotenv }}", value));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
    }
}

#[test]
fn netrc() {
    assert_eq!(of("machine h login l password {{ A|netrc }}", "p'\"w#\\"), "machine h login l password p'\"w#\\");
    for value in ["", "a b", "a\nmachine evil", "\"a", "#a", "a\u{a0}b", "a\0"] {
        assert!(render("{{ A|netrc }}", &[("A", value)]).is_err(), "{value:?}");
    }
}

const CERTIFICATES: [&str; 2] = [
    "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n",
    "-----BEGIN CERTIFICATE-----\nQg==\n-----END CERTIFICATE-----\n",
];

#[test]
fn pem() {
    let [leaf, ca] = CERTIFICATES;
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let key = format!("-----BEGIN {label}-----\nQw==\n-----END {label}-----\n");
        let bundle = format!("subject=x\n{leaf}{key}\nissuer=y\n{ca}");
        assert_eq!(of("{{ A|pem_certs }}", &bundle), format!("{leaf}{ca}"));
        assert_eq!(of("{{ A|pem_key }}", &bundle), key);
        assert_eq!(of("{{ A|pem_key }}", &bundle.replace('\n', "\r\n")), key);
        assert!(refused("{{ A|pem_key }}", &format!("{key}{key}")).contains("more than one private key"));
        assert!(refused("{{ A|pem_certs }}", &key).contains("no certificate"));
    }
    assert!(refused("{{ A|pem_key }}", leaf).contains("no private key"));
    for broken in [
        "-----BEGIN CERTIFICATE",
        "-----BEGIN CERTIFICATE-----\nQQ==",
        "-----BEGIN CERTIFICATE-----\nQQ==\n-----END X-----",
        "-----BEGIN CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE----",
        "-----BEGIN A\nB-----\n-----END A\nB-----",
        "-----BEGIN CERTIFICATE-----\n\u{e9}\n-----END CERTIFICATE-----",
    ] {
        assert!(refused("{{ A|pem_certs }}", broken).contains("PEM block"), "{broken}");
    }
}
