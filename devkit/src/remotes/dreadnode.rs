//! Dreadnode: `/api/v1/user/secrets`, secrets of the user whose key it is.

use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::accounts::{Caller, Credential, CredentialKind, Token, TokenKind, later};
use super::fastapi::{self, Text, Violation};
use super::faults::{Hint, Partial};
use super::http::{Answer, Call, Precision};
use super::log::Op;
use super::remote::Remote;
use super::server::Listen;
use super::shared::{About, Provider, State, Variant};
use super::store::{DEFAULT_TENANT, Entry};

/// The key that is there from the start: its identifier and the key.
pub const DREADNODE_KEY: (&str, &str) = ("operator", "dn_key_demo");

/// Providers and the names that go with them.
const PRESETS: [(&str, &str); 4] = [
    ("openai", "OPENAI_API_KEY"),
    ("anthropic", "ANTHROPIC_API_KEY"),
    ("github", "GITHUB_TOKEN"),
    ("tinker", "TINKER_API_KEY"),
];

/// Switches of Dreadnode: what its documents leave open.
#[derive(Debug, Clone)]
pub struct DreadnodeOptions {
    /// Where to listen.
    pub listen: Listen,
    /// Status of a create.
    pub create_status: u16,
    /// Status of a delete: 200 with `null`, or 204.
    pub delete_status: u16,
    /// Whether identifiers are written in upper-case hex.
    pub uppercase_ids: bool,
    /// Whether writing the same value again moves `updated_at`.
    pub same_value_moves: bool,
    /// Whether an API key is good as a Bearer token, too.
    pub key_as_bearer: bool,
    /// Whether unknown body fields are refused.
    pub refuse_unknown: bool,
    /// Whether an empty list is `null`.
    pub null_data: bool,
    /// How moments are written.
    pub precision: Precision,
}

impl Default for DreadnodeOptions {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            create_status: 201,
            delete_status: 204,
            uppercase_ids: true,
            same_value_moves: true,
            key_as_bearer: false,
            refuse_unknown: true,
            null_data: false,
            precision: Precision::Micros,
        }
    }
}

/// Marks the remote as Dreadnode.
pub struct DreadnodeProvider;

/// A Dreadnode platform. Its tenants are users.
pub type Dreadnode = Remote<DreadnodeProvider>;

impl Remote<DreadnodeProvider> {
    /// Adds an API key of a user (tenant).
    pub fn add_key(&self, id: &str, key: &str, tenant: &str) {
        self.add_credential(id, CredentialKind::Key, key, tenant, tenant.to_owned(), &["read", "write"]);
    }

    /// A short-lived access token, as the web application has one, good as a Bearer token.
    pub fn issue_token(&self, id: &str, lifetime: Duration) -> String {
        self.core.write(|state| {
            let now = state.now();
            let token = Token {
                kind: TokenKind::Access,
                credential: id.to_owned(),
                client: id.to_owned(),
                expires: later(now, lifetime),
            };
            state.accounts.issue(token, "devkit", now)
        })
    }
}

impl Variant for DreadnodeProvider {
    type Options = DreadnodeOptions;
}

impl Provider for DreadnodeProvider {
    const NAME: &'static str = "dreadnode";

    fn listen(options: &DreadnodeOptions) -> Listen {
        options.listen.clone()
    }

    fn seed(_: &DreadnodeOptions, state: &mut State) {
        let credential = Credential::new(
            CredentialKind::Key,
            DREADNODE_KEY.1,
            DEFAULT_TENANT,
            DEFAULT_TENANT.to_owned(),
            &["read", "write"],
        );
        state.accounts.credentials.insert(DREADNODE_KEY.0.to_owned(), credential);
    }

    fn about(state: &State, call: &Call) -> About {
        let known = |id: &str| Uuid::parse_str(id).ok().and_then(|id| state.store.name_of(id)).map(str::to_owned);
        match (call.method.as_str(), call.route().as_slice()) {
            ("POST", ["api", "v1", "user", "secrets"]) => {
                About::new(Op::Create, call.peek("name").map(|name| Self::stored(&name)))
            }
            ("POST", ["api", "v1", "user", "secrets", "preset"]) => {
                let preset =
                    call.peek("provider").and_then(|provider| PRESETS.iter().find(|preset| preset.0 == provider));
                About::new(Op::Create, preset.map(|preset| preset.1.to_owned()))
            }
            ("GET", ["api", "v1", "user", "secrets"]) => About::new(Op::List, None),
            ("GET", ["api", "v1", "user", "secrets", id]) if *id != "presets" => About::new(Op::Get, known(id)),
            ("PUT", ["api", "v1", "user", "secrets", id]) => About::new(Op::Update, known(id)),
            ("DELETE", ["api", "v1", "user", "secrets", id]) => About::new(Op::Delete, known(id)),
            _ => About::new(Op::Other, None),
        }
    }

    fn caller(options: &DreadnodeOptions, state: &State, call: &Call) -> Option<Caller> {
        if call.headers.contains_key("x-api-key") {
            return state.accounts.by_key(call.header("x-api-key")?);
        }
        let token = call.bearer()?;
        let by_key = || options.key_as_bearer.then(|| state.accounts.by_key(token)).flatten();
        state.accounts.by_token(token, state.now()).or_else(by_key)
    }

    fn handle(options: &DreadnodeOptions, state: &mut State, call: &Call) -> Answer {
        let route = call.route();
        let ["api", "v1", "user", "secrets", rest @ ..] = route.as_slice() else {
            return refuse(404, "Not Found", None);
        };
        let Some(caller) = Self::caller(options, state, call) else {
            return refuse(401, "Authentication failed", None);
        };
        let needed = if call.method == hyper::Method::GET { "read" } else { "write" };
        if caller.suspended || !caller.permissions.iter().any(|granted| granted == needed) {
            return refuse(403, "Access forbidden", None);
        }
        let done = match (call.method.as_str(), rest) {
            ("GET", []) => Ok(list(options, state, &caller)),
            ("POST", []) => create(options, state, call, &caller),
            ("POST", ["preset"]) => create_from_preset(options, state, call, &caller),
            ("GET", ["presets"]) => Ok(presets(state, &caller)),
            ("GET" | "PUT" | "DELETE", [id]) => one(options, state, call, &caller, id),
            (_, [] | [_]) => Err(refuse(405, "Method Not Allowed", None)),
            _ => Err(refuse(404, "Not Found", None)),
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    fn error(_: &DreadnodeOptions, status: u16, hint: Option<&Hint>, echo: &[String]) -> Answer {
        let detail = match (hint, status) {
            (Some(Hint::Body(body)), _) => return Answer::refused(status, body),
            (Some(Hint::Credit), _) => "Insufficient credits: your credit balance is used up",
            (_, 400) => "Invalid request",
            (_, 401) => "Authentication failed",
            (_, 403) => "Access forbidden",
            (_, 404) => "Not found",
            (_, 409) => "Already exists",
            (_, 422) => "Validation error",
            (_, 426) => "Upgrade required",
            (_, 429) => "Rate limited",
            (_, 502) => "Bad gateway",
            (_, 504) => "Gateway timeout",
            _ => "Internal server error",
        };
        if echo.is_empty() {
            return refuse(status, detail, None);
        }
        let echo = echo.join(" ");
        let violations =
            [Violation::new(&["body", "value"], format!("Value is not acceptable: {echo}"), "value_error")];
        refuse(status, &format!("{detail}: {echo}"), Some(&violations))
    }

    fn spoil(_: &Call, mut list: Answer, how: Partial) -> Answer {
        if let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(&list.body) {
            match how {
                Partial::MissingItems => drop(body.remove("secrets")),
                Partial::NullItems => drop(body.insert("secrets".to_owned(), Value::Null)),
                Partial::CountDisagrees => {
                    let total = body.get("total").and_then(Value::as_u64).unwrap_or(0);
                    body.insert("total".to_owned(), (total + 1).into());
                }
            }
            list.body = Value::Object(body).to_string().into_bytes();
        }
        list
    }

    fn stored(name: &str) -> String {
        name.to_ascii_uppercase()
    }

    fn submitted(call: &Call) -> Option<String> {
        call.peek("value")
    }
}

fn kind(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "already_exists_error",
        422 => "validation_error",
        426 => "upgrade_required_error",
        429 => "rate_limit_error",
        _ => "app_error",
    }
}

/// An error in the platform's one envelope.
fn refuse(status: u16, detail: &str, violations: Option<&[Violation]>) -> Answer {
    let mut body = json!({ "code": status, "detail": detail, "type": kind(status) });
    if let (Some(violations), Some(body)) = (violations, body.as_object_mut()) {
        let errors =
            violations.iter().map(|wrong| json!({ "loc": wrong.loc, "msg": wrong.msg, "type": wrong.kind })).collect();
        body.insert("errors".to_owned(), Value::Array(errors));
    }
    Answer::refused(status, &body)
}

fn invalid(violations: Vec<Violation>) -> Answer {
    refuse(422, "Validation error", Some(&violations))
}

const VALUE: Text = Text { field: "value", most: None, required: true };

fn name_is_valid(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Six characters in front and three behind, if enough stays hidden.
fn mask(value: &str) -> String {
    let chars: Vec<char> = value.chars().collect();
    match chars.as_slice() {
        [front @ .., a, b, c] if front.len() > 9 => {
            format!("{}••••{a}{b}{c}", front.iter().take(6).collect::<String>())
        }
        _ => "••••".to_owned(),
    }
}

fn show(options: &DreadnodeOptions, entry: &Entry) -> Value {
    let id = entry.id.to_string();
    json!({
        "id": if options.uppercase_ids { id.to_uppercase() } else { id },
        "name": entry.name, "provider": entry.provider, "masked_value": mask(entry.value()),
        "created_at": options.precision.write(entry.created), "updated_at": options.precision.write(entry.updated),
    })
}

fn list(options: &DreadnodeOptions, state: &State, caller: &Caller) -> Answer {
    let entries = state.store.list(&caller.tenant);
    let secrets: Value = if entries.is_empty() && options.null_data {
        Value::Null
    } else {
        entries.iter().map(|entry| show(options, entry)).collect()
    };
    Answer::done(200, &json!({ "secrets": secrets, "total": entries.len() }))
}

fn presets(state: &State, caller: &Caller) -> Answer {
    let show = |&(provider, name): &(&str, &str)| json!({ "provider": provider, "env_var_name": name, "configured": state.store.get(&caller.tenant, name).is_some() });
    Answer::done(200, &json!({ "presets": PRESETS.iter().map(show).collect::<Vec<_>>() }))
}

fn provider(object: &Map<String, Value>, required: bool) -> Result<Option<&str>, Violation> {
    let given = fastapi::text(object, &Text { field: "provider", most: None, required })?;
    match given {
        Some(given) if !PRESETS.iter().any(|preset| preset.0 == given) => Err(Violation::new(
            &["body", "provider"],
            "Input should be 'openai', 'anthropic', 'github' or 'tinker'",
            "literal_error",
        )),
        given => Ok(given),
    }
}

fn create(options: &DreadnodeOptions, state: &mut State, call: &Call, caller: &Caller) -> Result<Answer, Answer> {
    let object = fastapi::object(call, &["name", "value", "provider"], options.refuse_unknown).map_err(invalid)?;
    let (name, value) =
        fastapi::pair(&object, &Text { field: "name", most: Some(255), required: true }, &VALUE).map_err(invalid)?;
    let provider = provider(&object, false).map_err(|wrong| invalid(vec![wrong]))?;
    if !name_is_valid(name) {
        let message = "String should match pattern '^[A-Za-z_][A-Za-z0-9_]*$'";
        return Err(invalid(vec![Violation::new(&["body", "name"], message, "string_pattern_mismatch")]));
    }
    insert(options, state, caller, &DreadnodeProvider::stored(name), value, provider)
}

fn create_from_preset(
    options: &DreadnodeOptions,
    state: &mut State,
    call: &Call,
    caller: &Caller,
) -> Result<Answer, Answer> {
    let object = fastapi::object(call, &["provider", "value"], options.refuse_unknown).map_err(invalid)?;
    let provider = provider(&object, true).map_err(|wrong| invalid(vec![wrong]))?;
    let value = fastapi::text(&object, &VALUE).map_err(|wrong| invalid(vec![wrong]))?.unwrap_or_default();
    let name = PRESETS.iter().find(|preset| Some(preset.0) == provider).map_or("", |preset| preset.1);
    insert(options, state, caller, name, value, provider)
}

fn insert(
    options: &DreadnodeOptions,
    state: &mut State,
    caller: &Caller,
    name: &str,
    value: &str,
    provider: Option<&str>,
) -> Result<Answer, Answer> {
    if state.store.get(&caller.tenant, name).is_some() {
        return Err(refuse(409, "A secret of that name already exists", None));
    }
    let stamp = state.stamp(&caller.principal);
    let entry = state.store.insert(&caller.tenant, name, value, provider.map(str::to_owned), &stamp);
    Ok(Answer::done(options.create_status, &show(options, &entry)))
}

fn one(
    options: &DreadnodeOptions,
    state: &mut State,
    call: &Call,
    caller: &Caller,
    id: &str,
) -> Result<Answer, Answer> {
    let not_a_uuid =
        |_| invalid(vec![Violation::new(&["path", "secret_id"], "Input should be a valid UUID", "uuid_parsing")]);
    let id = Uuid::parse_str(id).map_err(not_a_uuid)?;
    let name = state.store.by_id(&caller.tenant, id).map(|entry| entry.name.clone());
    let found = || name.clone().ok_or_else(|| refuse(404, "Secret not found", None));
    match call.method.as_str() {
        "PUT" => {
            let object = fastapi::object(call, &["value"], options.refuse_unknown).map_err(invalid)?;
            let value = fastapi::text(&object, &VALUE).map_err(|wrong| invalid(vec![wrong]))?.unwrap_or_default();
            let stamp = state.stamp(&caller.principal);
            let entry = state.store.replace(&caller.tenant, &found()?, value, &stamp, options.same_value_moves);
            entry
                .map(|entry| Answer::done(200, &show(options, &entry)))
                .ok_or_else(|| refuse(404, "Secret not found", None))
        }
        "DELETE" => {
            state.store.remove(&caller.tenant, &found()?);
            Ok(if options.delete_status == 204 {
                Answer::empty(204)
            } else {
                Answer::done(options.delete_status, &Value::Null)
            })
        }
        _ => {
            let entry = state.store.get(&caller.tenant, &found()?);
            entry
                .map(|entry| Answer::done(200, &show(options, entry)))
                .ok_or_else(|| refuse(404, "Secret not found", None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_hides_enough() {
        assert_eq!(mask("sk-proj-abcdef123789"), "sk-pro••••789");
        assert_eq!(mask("short"), "••••");
        assert_eq!(mask("123456789012"), "••••");
    }

    #[test]
    fn names_are_those_of_variables() {
        for (name, valid) in [("A", true), ("_a1", true), ("1a", false), ("a-b", false), ("ä", false)] {
            assert_eq!(name_is_valid(name), valid, "{name}");
        }
    }
}
