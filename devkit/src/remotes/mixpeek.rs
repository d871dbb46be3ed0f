//! Mixpeek: `/v1/organizations/secrets`, the vault of an organization.

use serde_json::{Value, json};

use super::accounts::{Caller, Credential, CredentialKind};
use super::fastapi::{self, Text, Violation};
use super::faults::{Hint, Partial};
use super::http::{Answer, Call};
use super::log::Op;
use super::remote::Remote;
use super::server::Listen;
use super::shared::{About, Provider, State, Variant};
use super::store::DEFAULT_TENANT;

/// The key that is there from the start, with the permission `admin`: its identifier and the key.
pub const MIXPEEK_KEY: (&str, &str) = ("operator", "sk_demo_admin");

/// What is answered to the create of a name that is taken, which is not documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// 409 `AlreadyExistsError`
    Conflict,
    /// 400 `AlreadyExistsError`
    BadRequest,
    /// 422 `ValidationError` whose message says so.
    Unprocessable,
}

/// How errors look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorShape {
    /// `{"success":false,"status":…,"error":{…}}`, 422 too.
    Envelope,
    /// The same, but a 422 is FastAPI's own `{"detail":[…]}`.
    FastApi422,
    /// `{"detail":{"error":{…}}}`, an older nesting.
    Nested,
}

/// Switches of Mixpeek: what its documents leave open, or say in two ways.
#[derive(Debug, Clone)]
pub struct MixpeekOptions {
    /// Where to listen.
    pub listen: Listen,
    /// Status of a create.
    pub create_status: u16,
    /// Answer to the create of a name that is taken.
    pub duplicate: Duplicate,
    /// How errors look.
    pub errors: ErrorShape,
    /// Whether the flags that do not apply are `null` instead of absent.
    pub null_flags: bool,
    /// Whether unknown body fields are refused (`extra_forbidden`) or named in `warnings`.
    pub refuse_unknown: bool,
    /// Whether an empty list is `null`.
    pub null_data: bool,
}

impl Default for MixpeekOptions {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            create_status: 201,
            duplicate: Duplicate::Conflict,
            errors: ErrorShape::Envelope,
            null_flags: true,
            refuse_unknown: true,
            null_data: false,
        }
    }
}

/// Marks the remote as Mixpeek.
pub struct MixpeekProvider;

/// A Mixpeek installation. Its tenants are organizations.
pub type Mixpeek = Remote<MixpeekProvider>;

impl Remote<MixpeekProvider> {
    /// Adds a key of an organization (tenant) with these permissions: `read`, `write`, `delete`, `admin`. What the vendor gives
    /// by default is the first three.
    pub fn add_key(&self, id: &str, key: &str, tenant: &str, permissions: &[&str]) {
        self.add_credential(id, CredentialKind::Key, key, tenant, id.to_owned(), permissions);
    }
}

impl Variant for MixpeekProvider {
    type Options = MixpeekOptions;
}

impl Provider for MixpeekProvider {
    const NAME: &'static str = "mixpeek";

    fn listen(options: &MixpeekOptions) -> Listen {
        options.listen.clone()
    }

    fn seed(_: &MixpeekOptions, state: &mut State) {
        let credential =
            Credential::new(CredentialKind::Key, MIXPEEK_KEY.1, DEFAULT_TENANT, MIXPEEK_KEY.0.to_owned(), &["admin"]);
        state.accounts.credentials.insert(MIXPEEK_KEY.0.to_owned(), credential);
    }

    fn about(_: &State, call: &Call) -> About {
        match (call.method.as_str(), call.route().as_slice()) {
            ("POST", ["v1", "organizations", "secrets"]) => About::new(Op::Create, call.peek("secret_name")),
            ("GET", ["v1", "organizations", "secrets"]) => About::new(Op::List, None),
            ("PUT", ["v1", "organizations", "secrets", name]) => About::new(Op::Update, Some((*name).to_owned())),
            ("DELETE", ["v1", "organizations", "secrets", name]) => About::new(Op::Delete, Some((*name).to_owned())),
            _ => About::new(Op::Other, None),
        }
    }

    fn caller(_: &MixpeekOptions, state: &State, call: &Call) -> Option<Caller> {
        state.accounts.by_key(call.bearer()?)
    }

    fn handle(options: &MixpeekOptions, state: &mut State, call: &Call) -> Answer {
        let route = call.route();
        let ["v1", "organizations", "secrets", rest @ ..] = route.as_slice() else {
            return refuse(options, 404, "NotFoundError", "Not Found", json!({}));
        };
        let Some(caller) = Self::caller(options, state, call) else {
            return refuse(options, 401, "UnauthorizedError", "Missing or invalid API key", json!({}));
        };
        let reads = call.method == hyper::Method::GET;
        // ADMIN holds DELETE, which holds WRITE, which holds READ.
        let granted = caller.permissions.iter().any(|permission| {
            permission == "admin" || reads && ["read", "write", "delete"].contains(&permission.as_str())
        });
        if caller.suspended || !granted {
            let needed = if reads { "READ" } else { "ADMIN" };
            return refuse(
                options,
                403,
                "ForbiddenError",
                &format!("This operation requires the {needed} permission"),
                json!({}),
            );
        }
        let done = match (call.method.as_str(), rest) {
            ("GET", []) => Ok(list(options, state, &caller)),
            ("POST", []) => create(options, state, call, &caller),
            ("PUT", [name]) => update(options, state, call, &caller, name),
            ("DELETE", [name]) => match state.store.remove(&caller.tenant, name) {
                Some(_) => Ok(success(options, 200, name, "deleted", Vec::new())),
                None => Err(not_found(options, name)),
            },
            (_, [] | [_]) => Err(refuse(options, 405, "BadRequestError", "Method Not Allowed", json!({}))),
            _ => Err(refuse(options, 404, "NotFoundError", "Not Found", json!({}))),
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    fn error(options: &MixpeekOptions, status: u16, hint: Option<&Hint>, echo: &[String]) -> Answer {
        let kind = match status {
            400 => "BadRequestError",
            401 => "UnauthorizedError",
            403 => "ForbiddenError",
            404 => "NotFoundError",
            409 => "AlreadyExistsError",
            422 => "ValidationError",
            429 => "TooManyRequestsError",
            503 => "WriterReadOnlyError",
            _ => "InternalServerError",
        };
        let nested = MixpeekOptions { errors: ErrorShape::Nested, ..options.clone() };
        let (options, details) = match hint {
            Some(Hint::Body(body)) => return Answer::refused(status, body),
            Some(Hint::RetryAfterSeconds(seconds)) => {
                (options, json!({ "retryable": true, "retry_after_seconds": seconds }))
            }
            Some(Hint::RetryAfter(seconds)) => (options, json!({ "retry_after": seconds })),
            Some(Hint::NestedRetryAfterSeconds(seconds)) => (&nested, json!({ "retry_after_seconds": seconds })),
            Some(Hint::NotRetryable) => (options, json!({ "retryable": false })),
            Some(Hint::Credit) | None => (options, json!({})),
        };
        if echo.is_empty() {
            return refuse(options, status, kind, "The request was refused", details);
        }
        let echo = echo.join(" ");
        if status == 422 {
            return invalid(
                options,
                vec![Violation::new(
                    &["body", "secret_value"],
                    format!("Value is not acceptable: {echo}"),
                    "value_error",
                )],
            );
        }
        refuse(options, status, kind, &format!("The request was refused: {echo}"), json!({ "input": echo }))
    }

    fn spoil(_: &Call, mut list: Answer, how: Partial) -> Answer {
        if let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(&list.body) {
            match how {
                Partial::MissingItems => drop(body.remove("secrets")),
                Partial::NullItems => drop(body.insert("secrets".to_owned(), Value::Null)),
                Partial::CountDisagrees => {
                    let count = body.get("count").and_then(Value::as_u64).unwrap_or(0);
                    body.insert("count".to_owned(), (count + 1).into());
                }
            }
            list.body = Value::Object(body).to_string().into_bytes();
        }
        list
    }

    fn stored(name: &str) -> String {
        name.to_owned()
    }

    fn submitted(call: &Call) -> Option<String> {
        call.peek("secret_value")
    }
}

fn refuse(options: &MixpeekOptions, status: u16, kind: &str, message: &str, details: Value) -> Answer {
    let error = json!({ "type": kind, "message": message, "details": details });
    let body = match options.errors {
        ErrorShape::Nested => json!({ "detail": { "error": error } }),
        ErrorShape::Envelope | ErrorShape::FastApi422 => json!({ "success": false, "status": status, "error": error }),
    };
    Answer::refused(status, &body)
}

fn invalid(options: &MixpeekOptions, violations: Vec<Violation>) -> Answer {
    if options.errors == ErrorShape::FastApi422 {
        let detail: Value =
            violations.iter().map(|wrong| json!({ "loc": wrong.loc, "msg": wrong.msg, "type": wrong.kind })).collect();
        return Answer::refused(422, &json!({ "detail": detail }));
    }
    let errors: Value = violations
        .iter()
        .map(|wrong| json!({ "type": wrong.kind, "location": wrong.loc, "message": wrong.msg }))
        .collect();
    refuse(options, 422, "ValidationError", "Request validation failed", json!({ "validation_errors": errors }))
}

fn not_found(options: &MixpeekOptions, name: &str) -> Answer {
    refuse(
        options,
        404,
        "NotFoundError",
        "There is no secret of that name",
        json!({ "resource": "secret", "id": name }),
    )
}

fn success(options: &MixpeekOptions, status: u16, name: &str, what: &str, warnings: Vec<String>) -> Answer {
    let mut body = serde_json::Map::from_iter([("secret_name".to_owned(), json!(name))]);
    for flag in ["created", "updated", "deleted"] {
        if flag == what || options.null_flags {
            body.insert(flag.to_owned(), if flag == what { true.into() } else { Value::Null });
        }
    }
    if !warnings.is_empty() {
        body.insert("warnings".to_owned(), warnings.into());
    }
    Answer::done(status, &Value::Object(body))
}

fn list(options: &MixpeekOptions, state: &State, caller: &Caller) -> Answer {
    let names: Vec<&str> = state.store.list(&caller.tenant).iter().map(|entry| entry.name.as_str()).collect();
    let secrets = if names.is_empty() && options.null_data { Value::Null } else { json!(names) };
    Answer::done(200, &json!({ "secrets": secrets, "count": names.len() }))
}

const NAME: Text = Text { field: "secret_name", most: Some(100), required: true };
const VALUE: Text = Text { field: "secret_value", most: None, required: true };

/// The keys of a body that were ignored.
fn ignored(object: &serde_json::Map<String, Value>, fields: &[&str]) -> Vec<String> {
    object
        .keys()
        .filter(|key| !fields.contains(&key.as_str()))
        .map(|key| format!("The key {key} is not known and was ignored"))
        .collect()
}

fn create(options: &MixpeekOptions, state: &mut State, call: &Call, caller: &Caller) -> Result<Answer, Answer> {
    let fields = ["secret_name", "secret_value"];
    let wrong = |violations| invalid(options, violations);
    let object = fastapi::object(call, &fields, options.refuse_unknown).map_err(wrong)?;
    let (name, value) = fastapi::pair(&object, &NAME, &VALUE).map_err(wrong)?;
    if state.store.get(&caller.tenant, name).is_some() {
        let message = "A secret of that name already exists. Use the update endpoint to modify existing secrets";
        return Err(match options.duplicate {
            Duplicate::Conflict => refuse(options, 409, "AlreadyExistsError", message, json!({})),
            Duplicate::BadRequest => refuse(options, 400, "AlreadyExistsError", message, json!({})),
            Duplicate::Unprocessable => {
                invalid(options, vec![Violation::new(&["body", "secret_name"], message, "value_error")])
            }
        });
    }
    let stamp = state.stamp(&caller.principal);
    state.store.insert(&caller.tenant, name, value, None, &stamp);
    Ok(success(options, options.create_status, name, "created", ignored(&object, &fields)))
}

fn update(
    options: &MixpeekOptions,
    state: &mut State,
    call: &Call,
    caller: &Caller,
    name: &str,
) -> Result<Answer, Answer> {
    let fields = ["secret_value"];
    let object =
        fastapi::object(call, &fields, options.refuse_unknown).map_err(|violations| invalid(options, violations))?;
    let value = fastapi::text(&object, &VALUE).map_err(|wrong| invalid(options, vec![wrong]))?.unwrap_or_default();
    let stamp = state.stamp(&caller.principal);
    match state.store.replace(&caller.tenant, name, value, &stamp, true) {
        Some(_) => Ok(success(options, 200, name, "updated", ignored(&object, &fields))),
        None => Err(not_found(options, name)),
    }
}
