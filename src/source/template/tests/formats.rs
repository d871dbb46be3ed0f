//! What people make of templates, as the documentation shows it.

use super::*;

#[test]
fn a_connection_string() {
    let values = [("DB_USER", "app@shop"), ("DB_PASSWORD", "p/w:#?%"), ("HOST", "db.shop.svc")];
    let made = render(
        "postgresql://{{ DB_USER|urlencode }}:{{ DB_PASSWORD|urlencode }}@{{ HOST }}:5432/app?sslmode=verify-full",
        &values,
    )
    .unwrap();
    let url = url::Url::parse(&made).unwrap();
    let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    assert_eq!((plain(url.username()), plain(url.password().unwrap())), ("app@shop".to_owned(), "p/w:#?%".to_owned()));
    assert_eq!((url.host_str(), url.port()), (Some("db.shop.svc"), Some(5432)));
}

#[test]
fn docker_config() {
    let values = [("USER", "robot$ci"), ("PASSWORD", "p\"w\\d&<é")];
    let source = "{{ {'auths': {'ghcr.io': {'username': USER, 'password': PASSWORD, 'auth': (USER ~ ':' ~ PASSWORD)|b64encode}}}|json }}";
    let read: serde_json::Value = serde_json::from_str(&render(source, &values).unwrap()).unwrap();
    let entry = &read["auths"]["ghcr.io"];
    assert_eq!((entry["username"].as_str(), entry["password"].as_str()), (Some("robot$ci"), Some("p\"w\\d&<é")));
    assert_eq!(entry["auth"], of("{{ A|b64encode }}", "robot$ci:p\"w\\d&<é"));
}

#[test]
fn a_yaml_file() {
    let values = [("PASSWORD", "no: [1] # 'x'"), ("CA", "-----BEGIN\nabc\n-----END\n")];
    let source = "database:\n  password: {{ PASSWORD|yaml }}\n  ca: |\n    {{ CA|indent(4) }}\nlist: {{ ['a', PASSWORD]|yaml }}\n";
    let read: serde_json::Value = serde_saphyr::from_str(&render(source, &values).unwrap()).unwrap();
    assert_eq!(read["database"]["password"], "no: [1] # 'x'");
    assert_eq!(read["database"]["ca"].as_str().unwrap().trim_end(), "-----BEGIN\nabc\n-----END");
    assert_eq!(read["list"][1], "no: [1] # 'x'");
}

#[test]
fn an_env_file_of_all_values() {
    let values = [("A", "1"), ("B", "two words")];
    let source = "{% for key, value in values|items %}{{ key }}={{ value|dotenv }}\n{% endfor %}";
    assert_eq!(render(source, &values).unwrap(), "A=1\nB='two words'\n");
}
