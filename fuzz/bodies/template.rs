//! Any text as a template: it is rendered within its limits or refused, and what is told holds nothing of a value.

use vaultsecret_operator::source::template::{MOST_VALUE, Templates};
use vaultsecret_operator::value::SecretValue;

/// Renders one text, as a key's template and as one of the target's.
pub fn run(input: &[u8]) {
    let Some(source) = input.utf8_chunks().next().map(|chunk| chunk.valid()) else { return };
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
            // What the author of the template wrote may be repeated; what a key holds may not.
            Err(error) if !source.contains("planted") && !source.contains("cGxhbnRlZC10aHJlZQ") => {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("planted") && !shown.contains("cGxhbnRlZC10aHJlZQ"), "{shown}");
            }
            Err(_) => {}
        }
    }
}
