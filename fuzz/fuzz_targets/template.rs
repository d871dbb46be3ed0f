//! Any text as a template: it is rendered within its limits or refused, and what is told holds nothing of a value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vaultsecret_operator::source::template::{MOST_VALUE, Templates};
use vaultsecret_operator::value::SecretValue;

fuzz_target!(|source: &str| {
    let keys = [("A", None), ("B", None), ("my-key", None), ("T", Some(source))];
    let templates = Templates::new(keys, [("target", source)]);
    let nodes = templates.of_key("T").into_iter().chain(templates.of_target().map(|(_, node)| node));
    for node in nodes {
        let made = node.map_err(Clone::clone).and_then(|node| {
            templates.render(node, |key| match key {
                "A" => Some(SecretValue::from("planted-one a,b")),
                "B" => Some(SecretValue::new(b"planted-two \xff".to_vec())),
                _ => Some(SecretValue::from("cGxhbnRlZC10aHJlZQ==")),
            })
        });
        match made {
            Ok(value) => assert!(value.len() <= MOST_VALUE),
            Err(error) => {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("planted") && !shown.contains("cGxhbnRlZC10aHJlZQ"), "{shown}");
            }
        }
    }
});
