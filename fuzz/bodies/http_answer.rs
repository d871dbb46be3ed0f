//! Answers of a described API: two pages of a list, and an answer to a create. The first byte says which description reads them.

use std::sync::LazyLock;

use vaultsecret_operator::remote::http::Description;

static DESCRIPTIONS: LazyLock<Vec<Description>> = LazyLock::new(|| {
    let pagings = [
        r#"{"cursor": {"next": "/next", "parameter": "after", "orLink": true, "pageSize": 2}}"#,
        r#"{"page": {"parameter": "page", "totalPages": "/pages"}}"#,
        r#"{"link": {"next": "/next"}}"#,
    ];
    pagings.iter().map(|paging| description(paging)).collect()
});

fn description(paging: &str) -> Description {
    let spec = format!(
        r#"{{"url": "https://a.example",
            "create": {{"path": "/s", "json": {{"n": "{{{{ name }}}}", "v": "{{{{ value }}}}"}},
                        "answer": {{"id": "/id", "version": "/v"}}}},
            "update": {{"path": "/s/{{{{ id }}}}", "json": {{"v": "{{{{ value }}}}"}}}},
            "delete": {{"path": "/s/{{{{ id }}}}"}},
            "list": {{"path": "/s", "items": "/items", "entry": {{"name": "/n", "id": "/id", "version": "/v"}},
                      "total": "/total", "paging": {paging}}},
            "answers": [{{"status": [200, 400], "body": {{"at": ["/e"], "contains": ["x"]}}, "means": "Exists"}}]}}"#
    );
    let spec = serde_json::from_str(&spec).expect("a description");
    Description::read(&spec).expect("a right one")
}

/// Reads one pair of pages.
pub fn run(data: &[u8]) {
    let Some((&which, rest)) = data.split_first() else { return };
    let description = &DESCRIPTIONS[usize::from(which) % DESCRIPTIONS.len()];
    let (first, second) = rest.split_at(rest.len() / 2);
    if let Ok(entries) = description.entries(&[first, second]) {
        assert!(entries.iter().all(|entry| !entry.name.is_empty() && entry.id.is_some()));
    }
    let _ = description.created(rest);
    let _ = description.refusal(200, rest);
    let _ = description.refusal(400, rest);
}
