//! Kelvin: `/api/v4/secrets`, tokens from a Keycloak of its own.

use serde_json::{Map, Value, json};

use super::accounts::{Caller, CredentialKind, TokenKind};
use super::faults::{Hint, Partial};
use super::http::{Answer, BodyProblem, Call, Precision};
use super::log::Op;
use super::remote::{NoSuchCredential, Remote};
use super::server::Listen;
use super::shared::{About, Provider, State, Variant};
use super::store::{DEFAULT_TENANT, Entry};
use super::{kelvin_list, keycloak};

/// What a credential may do, in Kelvin's words.
pub const KELVIN_PERMISSIONS: [&str; 4] = [
    "kelvin.permission.secret.create",
    "kelvin.permission.secret.read",
    "kelvin.permission.secret.update",
    "kelvin.permission.secret.delete",
];

/// The confidential client that is there from the start, and its secret.
pub const KELVIN_CLIENT: (&str, &str) = ("vaultsecret", "demo-client-secret");
/// The public client through which users log in.
pub const KELVIN_PUBLIC_CLIENT: &str = "kelvin-client";
/// The user that is there from the start, and the password.
pub const KELVIN_USER: (&str, &str) = ("operator@kelvin.ai", "demo-password");

/// Switches of Kelvin: what its documents leave open, and what differs between its versions.
#[derive(Debug, Clone)]
pub struct KelvinOptions {
    /// Where to listen.
    pub listen: Listen,
    /// Realm of the identity provider.
    pub realm: String,
    /// Lifetime of an access token in seconds.
    pub expires_in: u64,
    /// Lifetime of a refresh token in seconds.
    pub refresh_expires_in: u64,
    /// Whether a refresh token is good for one use only.
    pub refresh_once: bool,
    /// Whether `/metadata` is served, and its `path` begins with a slash.
    pub metadata: Metadata,
    /// Whether a create answers with all metadata (now) or the name alone (older).
    pub create_answers_all: bool,
    /// Whether there is an update route; old platforms have none.
    pub update_route: bool,
    /// Whether names may hold `.` and `_`, as on old platforms.
    pub old_alphabet: bool,
    /// Whether writing the same value again moves `updated`.
    pub same_value_moves: bool,
    /// Whether an empty page has `data: null`.
    pub null_data: bool,
    /// Whether `next_page` is a path with a query instead of an opaque bookmark.
    pub path_bookmarks: bool,
    /// Whether unknown body fields and query parameters are refused.
    pub refuse_unknown: bool,
    /// Greatest page size that is accepted.
    pub max_page_size: usize,
    /// How moments are written.
    pub precision: Precision,
}

/// How `/metadata` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// It is not there.
    Absent,
    /// `"path": "auth"`
    Plain,
    /// `"path": "/auth"`
    LeadingSlash,
}

impl Default for KelvinOptions {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            realm: "kelvin".to_owned(),
            expires_in: 3600,
            refresh_expires_in: 1800,
            refresh_once: false,
            metadata: Metadata::Plain,
            create_answers_all: true,
            update_route: true,
            old_alphabet: false,
            same_value_moves: true,
            null_data: false,
            path_bookmarks: false,
            refuse_unknown: true,
            max_page_size: 10_000,
            precision: Precision::Micros,
        }
    }
}

/// Marks the remote as Kelvin.
pub struct KelvinProvider;

/// A Kelvin platform.
pub type Kelvin = Remote<KelvinProvider>;

impl Remote<KelvinProvider> {
    /// Adds a confidential client with the four permissions.
    pub fn add_client(&self, id: &str, secret: &str, tenant: &str) {
        let principal = format!("krn:user:service-account-{id}");
        self.add_credential(id, CredentialKind::Client, secret, tenant, principal, &KELVIN_PERMISSIONS);
    }

    /// Adds a user with the four permissions.
    pub fn add_user(&self, name: &str, password: &str, tenant: &str) {
        self.add_credential(
            name,
            CredentialKind::User,
            password,
            tenant,
            format!("krn:user:{name}"),
            &KELVIN_PERMISSIONS,
        );
    }

    /// Demands a one-time password from a user as well.
    pub fn set_totp_of(&self, name: &str, totp: &str) -> Result<(), NoSuchCredential> {
        self.credential(name, |credential| credential.totp = Some(totp.to_owned()))
    }

    /// An access token made behind the identity provider's back, for configurations that hold a fixed one.
    pub fn issue_token(&self, id: &str) -> String {
        let options = self.core.options();
        self.core.write(|state| keycloak::issue(&options, state, TokenKind::Access, id, id, "devkit"))
    }
}

impl Variant for KelvinProvider {
    type Options = KelvinOptions;
}

impl Provider for KelvinProvider {
    const NAME: &'static str = "kelvin";

    fn listen(options: &KelvinOptions) -> Listen {
        options.listen.clone()
    }

    fn seed(_: &KelvinOptions, state: &mut State) {
        let mut add = |kind, (id, secret): (&str, &str), principal| {
            let credential =
                super::accounts::Credential::new(kind, secret, DEFAULT_TENANT, principal, &KELVIN_PERMISSIONS);
            state.accounts.credentials.insert(id.to_owned(), credential);
        };
        add(CredentialKind::Client, KELVIN_CLIENT, format!("krn:user:service-account-{}", KELVIN_CLIENT.0));
        add(CredentialKind::User, KELVIN_USER, format!("krn:user:{}", KELVIN_USER.0));
    }

    fn about(_: &State, call: &Call) -> About {
        match (call.method.as_str(), call.route().as_slice()) {
            ("POST", ["auth", "realms", _, "protocol", "openid-connect", "token"]) => About::new(Op::Token, None),
            ("GET", ["metadata"]) | ("GET", ["auth", "realms", _, ".well-known", "openid-configuration"]) => {
                About::new(Op::Discovery, None)
            }
            ("POST", ["api", "v4", "secrets", "create"]) => About::new(Op::Create, call.peek("name")),
            ("GET", ["api", "v4", "secrets", "list"]) => {
                About { page: Some(kelvin_list::page_number(call)), ..About::new(Op::List, None) }
            }
            ("POST", ["api", "v4", "secrets", name, "update"]) => About::new(Op::Update, Some((*name).to_owned())),
            ("POST", ["api", "v4", "secrets", name, "delete"]) => About::new(Op::Delete, Some((*name).to_owned())),
            _ => About::new(Op::Other, None),
        }
    }

    fn caller(options: &KelvinOptions, state: &State, call: &Call) -> Option<Caller> {
        match call.bearer() {
            Some(token) => state.accounts.by_token(token, state.now()),
            None => keycloak::caller(options, state, call),
        }
    }

    fn handle(options: &KelvinOptions, state: &mut State, call: &Call) -> Answer {
        match (call.method.as_str(), call.route().as_slice()) {
            ("POST", ["auth", "realms", realm, "protocol", "openid-connect", "token"]) => {
                keycloak::token(options, state, call, realm)
            }
            ("GET", ["auth", "realms", realm, ".well-known", "openid-configuration"]) => {
                keycloak::discovery(options, call, realm)
            }
            ("GET", ["metadata"]) => metadata(options, call),
            (method, ["api", "v4", "secrets", rest @ ..]) => secrets(options, state, call, method, rest),
            _ => no_route(),
        }
    }

    fn error(_: &KelvinOptions, status: u16, hint: Option<&Hint>, echo: &[String]) -> Answer {
        if let Some(Hint::Body(body)) = hint {
            return Answer::refused(status, body);
        }
        let reason =
            hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
        let mut error =
            problem(&reason.to_lowercase().replace(' ', "_"), reason, &format!("{reason} {}", echo.join(" ")));
        if let (Some(error), false) = (error.as_object_mut(), echo.is_empty()) {
            error.insert("payload".to_owned(), json!({ "submitted": echo }));
        }
        Answer::refused(status, &json!({ "errors": [error] }))
    }

    fn spoil(call: &Call, list: Answer, how: Partial) -> Answer {
        kelvin_list::spoil(call, list, how)
    }

    fn stored(name: &str) -> String {
        name.to_owned()
    }

    fn submitted(call: &Call) -> Option<String> {
        keycloak::submitted(call).or_else(|| call.peek("value"))
    }
}

fn problem(name: &str, title: &str, description: &str) -> Value {
    json!({ "name": name, "title": title, "description": description, "solution": "", "payload": {} })
}

/// An error in Kelvin's envelope.
pub(crate) fn refuse(status: u16, name: &str, description: &str) -> Answer {
    let title =
        hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    Answer::refused(status, &json!({ "errors": [problem(name, title, description)] }))
}

/// What the router says where it has no route, in text and not in the envelope.
fn no_route() -> Answer {
    Answer::text(404, "text/plain", "404 page not found\n")
}

fn metadata(options: &KelvinOptions, call: &Call) -> Answer {
    let path = match options.metadata {
        Metadata::Absent => return no_route(),
        Metadata::Plain => "auth",
        Metadata::LeadingSlash => "/auth",
    };
    let authentication = json!({ "realm": options.realm, "url": call.base(), "path": path, "logout_path": "logout" });
    Answer::done(200, &json!({ "authentication": authentication, "api": {}, "docker": {}, "sdk": {} }))
}

fn secrets(options: &KelvinOptions, state: &mut State, call: &Call, method: &str, rest: &[&str]) -> Answer {
    let (op, name, permission) = match rest {
        ["create"] => (Op::Create, "", KELVIN_PERMISSIONS[0]),
        ["list"] => (Op::List, "", KELVIN_PERMISSIONS[1]),
        [name, "update"] if options.update_route => (Op::Update, *name, KELVIN_PERMISSIONS[2]),
        [name, "delete"] => (Op::Delete, *name, KELVIN_PERMISSIONS[3]),
        _ => return no_route(),
    };
    if method != if op == Op::List { "GET" } else { "POST" } {
        return Answer::text(405, "text/plain", "405 method not allowed\n");
    }
    let caller = call.bearer().and_then(|token| state.accounts.by_token(token, state.now()));
    let Some(caller) = caller else {
        return refuse(401, "unauthorized", "The access token is missing, invalid or expired.");
    };
    let granted = |granted: &String| granted == permission || granted == "kelvin.permission.*";
    if caller.suspended || !caller.permissions.iter().any(granted) {
        return refuse(403, "forbidden", "You don't have the required permissions to perform this action.");
    }
    let done = match op {
        Op::Create => create(options, state, call, &caller),
        Op::Update => update(options, state, call, &caller, name),
        Op::Delete => delete(state, call, &caller, name),
        _ => kelvin_list::list(options, state, call, &caller),
    };
    done.unwrap_or_else(|refusal| refusal)
}

fn body(options: &KelvinOptions, call: &Call, fields: &[&str]) -> Result<Map<String, Value>, Answer> {
    let object = call.object().map_err(|problem| {
        let text = match problem {
            BodyProblem::ContentType => "Content-Type must be application/json.",
            BodyProblem::Syntax => "The body is not valid JSON.",
            BodyProblem::NotAnObject => "The body must be an object.",
        };
        refuse(400, "invalid_body", text)
    })?;
    match object.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(key) if options.refuse_unknown => {
            Err(refuse(400, "unknown_field", &format!("The field {key} is not known.")))
        }
        _ => Ok(object),
    }
}

fn value(object: &Map<String, Value>) -> Result<Option<&str>, Answer> {
    let value = match object.get("value") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(value)) => value.as_str(),
        Some(_) => return Err(refuse(400, "invalid_value", "The field value must be a string.")),
    };
    // In bytes, the stricter reading of a limit whose unit is not documented.
    if value.is_empty() || value.len() > 64_000 {
        return Err(refuse(400, "invalid_value", "The field value must have 1 to 64000 characters."));
    }
    Ok(Some(value))
}

fn name_is_valid(options: &KelvinOptions, name: &str) -> bool {
    let allowed = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || options.old_alphabet && matches!(c, '.' | '_')
    };
    (1..=32).contains(&name.len()) && name.chars().all(allowed)
}

/// The metadata of an entry, all that Kelvin ever shows.
pub(crate) fn meta(options: &KelvinOptions, entry: &Entry) -> Value {
    let write = |at| options.precision.write(at);
    json!({
        "name": entry.name, "created": write(entry.created), "created_by": entry.created_by,
        "updated": write(entry.updated), "updated_by": entry.updated_by,
    })
}

fn create(options: &KelvinOptions, state: &mut State, call: &Call, caller: &Caller) -> Result<Answer, Answer> {
    let object = body(options, call, &["name", "value"])?;
    let name = object.get("name").and_then(Value::as_str).filter(|name| name_is_valid(options, name));
    let Some(name) = name else {
        return Err(refuse(
            400,
            "invalid_name",
            "The field name must have 1 to 32 lowercase alphanumeric characters or -.",
        ));
    };
    let Some(value) = value(&object)? else {
        return Err(refuse(400, "missing_value", "The field value is required."));
    };
    if state.store.get(&caller.tenant, name).is_some() {
        return Err(refuse(409, "secret_already_exists", "A secret of that name already exists."));
    }
    let stamp = state.stamp(&caller.principal);
    let entry = state.store.insert(&caller.tenant, name, value, None, &stamp);
    let answer = if options.create_answers_all { meta(options, &entry) } else { json!({ "name": entry.name }) };
    Ok(Answer::done(201, &answer))
}

fn not_found() -> Answer {
    refuse(404, "secret_not_found", "There is no secret of that name.")
}

fn update(
    options: &KelvinOptions,
    state: &mut State,
    call: &Call,
    caller: &Caller,
    name: &str,
) -> Result<Answer, Answer> {
    let object = body(options, call, &["value"])?;
    let value = value(&object)?;
    let stamp = state.stamp(&caller.principal);
    // A parameter that is not given stays unchanged: without a value nothing happens.
    let entry = match value {
        Some(value) => state.store.replace(&caller.tenant, name, value, &stamp, options.same_value_moves),
        None => state.store.get(&caller.tenant, name).cloned(),
    };
    entry.map(|entry| Answer::done(200, &meta(options, &entry))).ok_or_else(not_found)
}

fn delete(state: &mut State, call: &Call, caller: &Caller, name: &str) -> Result<Answer, Answer> {
    if !call.body.is_empty() {
        return Err(refuse(400, "invalid_body", "The request must not have a body."));
    }
    state.store.remove(&caller.tenant, name).map(|_| Answer::empty(200)).ok_or_else(not_found)
}
