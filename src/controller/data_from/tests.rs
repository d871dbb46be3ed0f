#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::remote::Provider;

const KELVIN: Rules = Rules::BuiltIn(Provider::Kelvin);
const DREADNODE: Rules = Rules::BuiltIn(Provider::Dreadnode);
const VAULT: Rules = Rules::BuiltIn(Provider::Vault);

fn spec(data: Value, data_from: Value) -> VaultSecretSpec {
    serde_json::from_value(json!({"connectionRef": {"name": "c"}, "data": data, "dataFrom": data_from})).unwrap()
}

/// Secrets by item: `[(item, name, keys)]`.
fn expanded(spec: &VaultSecretSpec, secrets: &[(usize, &str, &[&str])], rules: &Rules) -> Result<Expansion, Issue> {
    let keys: Vec<Vec<String>> =
        secrets.iter().map(|(_, _, keys)| keys.iter().map(|key| (*key).to_owned()).collect()).collect();
    let sources: Vec<Source<'_>> =
        secrets.iter().zip(&keys).map(|((item, secret, _), keys)| Source { item: *item, secret, keys }).collect();
    expand(spec, &sources, Some(Remote { rules, connection: "VaultConnection/c" }))
}

/// `key=remoteName` of what comes of it.
fn names(expansion: &Expansion) -> Vec<String> {
    expansion.data.iter().map(|entry| format!("{}={}", entry.key, entry.remote_name())).collect()
}

fn from(secret: &str) -> Value {
    json!({"secretRef": {"name": secret}})
}

#[test]
fn every_key_that_matches_is_an_entry() {
    let item =
        json!({"secretRef": {"name": "app"}, "match": {"regexp": "^DB_"}, "encoding": "Base64", "project": false});
    let got =
        expanded(&spec(json!([]), json!([item])), &[(0, "app", &["DB_USER", "OTHER", "DB_HOST"])], &VAULT).unwrap();
    assert_eq!(names(&got), ["DB_HOST=DB_HOST", "DB_USER=DB_USER"]);
    let entry = serde_json::to_value(&got.data[0]).unwrap();
    let wanted = json!({"key": "DB_HOST", "remoteName": "DB_HOST", "push": true, "project": false, "encoding": "Base64",
                        "valueFrom": {"secretKeyRef": {"name": "app", "key": "DB_HOST"}}});
    assert_eq!(entry, wanted);
    assert_eq!(got.keys["app"], BTreeSet::from(["DB_HOST".to_owned(), "DB_USER".to_owned()]));
}

#[test]
fn names_are_rewritten_one_step_after_the_other() {
    let rewrite = json!([
        {"regexp": {"source": "^DB_(.*)$", "target": "db-$1"}},
        {"template": "{{ secret }}.{{ key | lower | replace('_', '-') }}"},
        {"regexp": {"source": "nothing", "target": "something"}},
    ]);
    let item = json!({"secretRef": {"name": "app"}, "rewrite": rewrite});
    let got = expanded(&spec(json!([]), json!([item])), &[(0, "app", &["DB_USER_NAME", "X"])], &VAULT).unwrap();
    assert_eq!(names(&got), ["DB_USER_NAME=app.db-user-name", "X=app.x"]);
}

#[test]
fn what_is_wrong_with_an_item_is_one_sentence() {
    let refused = |item: Value, text: &str| {
        let issue = expanded(&spec(json!([]), json!([item])), &[(0, "app", &["A"])], &KELVIN).unwrap_err();
        assert!(issue.message.contains(text) && !issue.message.contains('\n'), "{}", issue.message);
        issue.reason
    };
    let with = |name: &str, value: Value| json!({"secretRef": {"name": "app"}, name: value});
    let regexp = with("match", json!({"regexp": "a(b"}));
    assert_eq!(
        refused(regexp, "dataFrom[0].match.regexp is no regular expression: unclosed group"),
        Reason::NameRefused
    );
    let rewrite = with("rewrite", json!([{"regexp": {"source": "[", "target": ""}}]));
    assert_eq!(refused(rewrite, "dataFrom[0].rewrite[0].regexp is no regular"), Reason::NameRefused);
    let template = |text: &str| with("rewrite", json!([{"template": text}]));
    let text = "dataFrom[0].rewrite[0].template: line 1 of the template: syntax error";
    assert_eq!(refused(template("{{ key"), text), Reason::TemplateError);
    let text =
        "dataFrom[0].rewrite[0], key A of Secret app: line 1 of the template: it uses something that is not there";
    assert_eq!(refused(template("{{ nothing }}"), text), Reason::TemplateError);
    let long = json!(vec![json!({"regexp": {"source": ".", "target": "$0".repeat(500)}}); 16]);
    assert_eq!(refused(with("rewrite", long), "longer than 1024 bytes"), Reason::NameRefused);
    assert_eq!(refused(with("rewrite", json!([{}])), "exactly one of regexp and template"), Reason::NameRefused);
}

#[test]
fn what_stands_in_data_wins() {
    let data = json!([{"key": "A", "remoteName": "a", "value": "v"}]);
    let got = expanded(&spec(data, json!([from("app")])), &[(0, "app", &["A", "B"])], &VAULT).unwrap();
    assert_eq!(names(&got), ["A=a", "B=B"]);
    assert_eq!(got.data[0].value_from, None);
    assert_eq!(got.keys["app"], BTreeSet::from(["B".to_owned()]));
}

#[test]
fn a_key_of_two_secrets_is_refused_and_both_are_named() {
    let two = spec(json!([]), json!([from("one"), from("two")]));
    for secrets in [[(0, "one", &["A"][..]), (1, "two", &["A"])], [(1, "two", &["A"]), (0, "one", &["A"])]] {
        let issue = expanded(&two, &secrets, &VAULT).unwrap_err();
        assert_eq!(issue.reason, Reason::NameRefused);
        let said = &issue.message;
        assert!(
            said.contains("key A of Secret one (dataFrom[0])") && said.contains("key A of Secret two (dataFrom[1])"),
            "{said}"
        );
    }
    // It stands in data, so it is known what it is.
    let said = spec(json!([{"key": "A", "value": "v"}]), json!([from("one"), from("two")]));
    assert!(expanded(&said, &[(0, "one", &["A"]), (1, "two", &["A"])], &VAULT).is_ok());
    // The same key by two items is no less unclear: they may encode it in two ways.
    let twice = spec(json!([]), json!([from("one"), from("one")]));
    assert!(expanded(&twice, &[(0, "one", &["A"]), (1, "one", &["A"])], &VAULT).is_err());
}

#[test]
fn two_that_become_one_entry_are_refused_as_the_remote_stores_names() {
    let data = json!([{"key": "X", "remoteName": "db_user", "value": "v"}]);
    let both = spec(data, json!([from("app")]));
    assert!(expanded(&both, &[(0, "app", &["DB_USER"])], &VAULT).is_ok());
    let said = expanded(&both, &[(0, "app", &["DB_USER"])], &DREADNODE).unwrap_err().message;
    for part in ["key X of data", "key DB_USER of Secret app", "entry \"DB_USER\" at VaultConnection/c"] {
        assert!(said.contains(part), "{said}");
    }
    let lost = json!({"secretRef": {"name": "app"}, "rewrite": [{"regexp": {"source": ".*", "target": "x"}}]});
    let said = expanded(&spec(json!([]), json!([lost])), &[(0, "app", &["A", "B"])], &KELVIN).unwrap_err().message;
    assert!(said.contains("key A of Secret app") && said.contains("key B of Secret app"), "{said}");
}

#[test]
fn too_many_keys_are_refused() {
    let keys: Vec<String> = (0..MOST_KEYS).map(|n| format!("K{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let secrets = [(0, "app", &*keys)];
    assert_eq!(expanded(&spec(json!([]), json!([from("app")])), &secrets, &VAULT).unwrap().data.len(), MOST_KEYS);
    let one_more = spec(json!([{"key": "X", "value": "v"}]), json!([from("app")]));
    let issue = expanded(&one_more, &secrets, &VAULT).unwrap_err();
    assert_eq!(issue.reason, Reason::ValueRefused);
    assert!(issue.message.contains("257 keys together"), "{}", issue.message);
}

#[test]
fn a_bundle_is_one_entry_beside_the_keys_that_the_secret_shows() {
    let rewrite = json!([{"template": "{{ key | lower }}"}]);
    let item =
        json!({"secretRef": {"name": "app"}, "remoteName": "app-config", "rewrite": rewrite, "encoding": "Base64"});
    let got = expanded(&spec(json!([]), json!([item])), &[(0, "app", &["B", "A"])], &KELVIN).unwrap();
    assert_eq!(names(&got), ["A=app-config", "B=app-config", "app-config=app-config"]);
    let pushed: Vec<bool> = got.data.iter().map(DataEntry::pushes).collect();
    let shown: Vec<bool> = got.data.iter().map(DataEntry::projects).collect();
    assert_eq!((pushed, shown), (vec![false, false, true], vec![true, true, false]));
    let bundle = got.data[2].value_from.clone().unwrap().bundle.unwrap();
    let members: Vec<(&str, &str)> = bundle.members.iter().map(|m| (m.name.as_str(), m.key.as_str())).collect();
    assert_eq!(members, [("a", "A"), ("b", "B")]);

    let alone =
        json!({"secretRef": {"name": "app"}, "remoteName": "app-config", "project": false, "key": "config.json"});
    let got = expanded(&spec(json!([]), json!([alone])), &[(0, "app", &["B", "A"])], &KELVIN).unwrap();
    assert_eq!((names(&got), got.data[0].projects()), (vec!["config.json=app-config".to_owned()], false));
    let nothing = expanded(&spec(json!([]), json!([alone])), &[(0, "app", &[])], &KELVIN).unwrap();
    assert_eq!(nothing.data, []);
}

#[test]
fn at_a_vault_the_keys_of_a_bundle_are_the_fields_of_one_entry() {
    let item =
        json!({"secretRef": {"name": "app"}, "remoteName": "config", "rewrite": [{"template": "{{ key | lower }}"}]});
    let got = expanded(&spec(json!([]), json!([item])), &[(0, "app", &["B", "A"])], &VAULT).unwrap();
    assert_eq!(names(&got), ["A=config", "B=config"]);
    let fields: Vec<Option<&str>> = got.data.iter().map(|entry| entry.remote_field.as_deref()).collect();
    assert_eq!(fields, [Some("a"), Some("b")]);
    assert!(got.data.iter().all(|entry| entry.pushes() && entry.projects()));
}

#[test]
fn names_in_a_bundle_are_not_there_twice() {
    let item = |target: &str| json!({"secretRef": {"name": "app"}, "remoteName": "config", "rewrite": [{"regexp": {"source": ".*", "target": target}}]});
    let said = |target: &str| {
        let spec = spec(json!([]), json!([item(target)]));
        expanded(&spec, &[(0, "app", &["A", "B"])], &KELVIN).unwrap_err().message
    };
    assert!(said("x").contains("would both become \"x\" in the bundle \"config\""), "{}", said("x"));
    assert!(said("").contains("would have no name in the bundle"), "{}", said(""));
    let taken = spec(
        json!([{"key": "config", "value": "v", "remoteName": "other"}]),
        json!([{"secretRef": {"name": "app"}, "remoteName": "config"}]),
    );
    let said = expanded(&taken, &[(0, "app", &["A"])], &KELVIN).unwrap_err().message;
    assert!(said.contains("give the bundle another key"), "{said}");
}

#[test]
fn secrets_with_one_label_may_have_the_same_keys_when_none_is_shown() {
    let selector = json!({"matchLabels": {"push": "yes"}});
    let rewrite = json!([{"template": "{{ secret }}-{{ key }}"}]);
    let secrets = [(0, "one", &["password"][..]), (0, "two", &["password"])];
    let hidden = json!({"selector": selector, "rewrite": rewrite, "project": false});
    let got = expanded(&spec(json!([]), json!([hidden])), &secrets, &KELVIN).unwrap();
    assert_eq!(names(&got), ["one.password=one-password", "two.password=two-password"]);
    let shown = json!({"selector": selector, "rewrite": rewrite});
    assert!(expanded(&spec(json!([]), json!([shown])), &secrets, &KELVIN).is_err());
    let bundle = json!({"selector": selector, "rewrite": rewrite, "project": false, "remoteName": "all"});
    let got = expanded(&spec(json!([]), json!([bundle])), &secrets, &KELVIN).unwrap();
    assert_eq!(names(&got), ["all=all"]);
}

fn items() -> impl Strategy<Value = Vec<Value>> {
    let regexp = prop::sample::select(vec!["^DB_", "[A-C]", "(", "", ".*", "$", "(?i)a"]);
    let target = prop::sample::select(vec!["$1", "x-$0", "", "$$", "${a}", "é"]);
    let template =
        prop::sample::select(vec!["{{ key }}", "{{ key | lower }}-{{ secret }}", "{{ x }}", "{{", "", "fixed"]);
    let rewrite = prop_oneof![
        (regexp.clone(), target).prop_map(|(source, target)| json!({"regexp": {"source": source, "target": target}})),
        template.prop_map(|text| json!({"template": text})),
    ];
    let rewrite = proptest::collection::vec(rewrite, 0..3);
    let bundle = prop::sample::select(vec![None, None, Some("bundle"), Some("A")]);
    let item = (any::<bool>(), proptest::option::of(regexp), rewrite, bundle, any::<bool>(), any::<bool>()).prop_map(
        |(selects, matches, rewrite, bundle, project, push)| {
            let mut item = json!({"rewrite": rewrite, "project": project, "push": push});
            if selects {
                item["selector"] = json!({"matchLabels": {"a": "b"}});
            } else {
                item["secretRef"] = json!({"name": "one"});
            }
            if let Some(regexp) = matches {
                item["match"] = json!({"regexp": regexp});
            }
            if let Some(name) = bundle {
                item["remoteName"] = json!(name);
            }
            item
        },
    );
    proptest::collection::vec(item, 1..4)
}

/// Which item has which of two Secrets, and what keys those have.
fn secrets() -> impl Strategy<Value = Vec<(usize, String, Vec<String>)>> {
    let keys = || {
        let keys = proptest::collection::btree_set("[A-D]|DB_[AB]|[a-c]", 0..5);
        keys.prop_map(|keys| keys.into_iter().collect::<Vec<String>>())
    };
    let pairs = proptest::collection::btree_set((0..4_usize, prop::sample::select(vec!["one", "two"])), 0..5);
    (pairs, keys(), keys()).prop_map(|(pairs, one, two)| {
        let keys = |name: &str| if name == "one" { one.clone() } else { two.clone() };
        pairs.into_iter().map(|(item, name)| (item, name.to_owned(), keys(name))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// It never panics, and what it gives can be relied on: no key and no entry twice, `data` as it stands, the same whatever the
    /// order in which the Secrets are known.
    #[test]
    fn whatever_is_wanted_comes_once(
        items in items(),
        secrets in secrets(),
        explicit in proptest::collection::btree_set("[A-D]", 0..3),
        provider in prop::sample::select(vec![&KELVIN, &DREADNODE, &VAULT]),
    ) {
        let data: Vec<Value> = explicit.iter().map(|key| json!({"key": key, "remoteName": format!("n{key}"), "value": "v"})).collect();
        let spec = spec(json!(data), json!(items));
        let sources = |backwards: bool| {
            let mut sources: Vec<Source<'_>> =
                secrets.iter().map(|(item, secret, keys)| Source { item: *item, secret, keys }).collect();
            if backwards {
                sources.reverse();
            }
            sources
        };
        let remote = Some(Remote { rules: provider, connection: "c" });
        let got = expand(&spec, &sources(false), remote);
        prop_assert_eq!(&got, &expand(&spec, &sources(true), remote));
        let Ok(got) = got else { return Ok(()) };
        prop_assert_eq!(&got.data[..spec.data.len()], &spec.data[..]);
        let keys: BTreeSet<&str> = got.data.iter().map(|entry| entry.key.as_str()).collect();
        prop_assert_eq!(keys.len(), got.data.len());
        let stored = |entry: &DataEntry| (provider.stored_name(entry.remote_name()), entry.remote_field.clone());
        let pushed: Vec<_> = got.data.iter().filter(|entry| entry.pushes()).map(stored).collect();
        prop_assert_eq!(pushed.iter().collect::<BTreeSet<_>>().len(), pushed.len());
        // What is recorded of the Secrets is enough to come to the same again.
        let recorded: Vec<(usize, String, Vec<String>)> = secrets.iter().map(|(item, secret, _)| {
            (*item, secret.clone(), got.keys.get(secret).map(|keys| keys.iter().cloned().collect()).unwrap_or_default())
        }).collect();
        let again: Vec<Source<'_>> =
            recorded.iter().map(|(item, secret, keys)| Source { item: *item, secret, keys }).collect();
        prop_assert_eq!(&got, &expand(&spec, &again, remote).unwrap());
    }

    /// Whichever of two comes first, both or neither are refused.
    #[test]
    fn a_collision_is_one_from_either_side(items in items(), secrets in secrets()) {
        let turned: Vec<Value> = items.iter().rev().cloned().collect();
        let last = items.len() - 1;
        let of = |secrets: &[(usize, String, Vec<String>)], items: &[Value], turn: bool| {
            let sources: Vec<Source<'_>> = secrets.iter().filter(|(item, ..)| *item <= last)
                .map(|(item, secret, keys)| Source { item: if turn { last - item } else { *item }, secret, keys }).collect();
            expand(&spec(json!([]), json!(items)), &sources, None).is_ok()
        };
        prop_assert_eq!(of(&secrets, &items, false), of(&secrets, &turned, true));
    }
}
