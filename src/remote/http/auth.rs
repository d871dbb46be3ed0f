//! How requests to a described API are authorised.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::answer::check_pointer;
use super::request::{Allowed, Parts, RequestTemplate, header_name};
use super::template::Values;
use crate::api::http::{HttpAuthSpec, HttpClientCredentials, HttpLogin, HttpRefresh, HttpSpec};
use crate::api::vault_secret::KeyRef;
use crate::remote::auth::{Credential, Grant, Granted, LONGEST_LIFETIME, Tokens, header, is_text, text, unusable};
use crate::remote::client::{Answer, Body, Http, Request};
use crate::remote::{BuildError, CallError, Operation};
use crate::value::SecretValue;

/// Lifetime of a token whose answer should say it and does not.
const UNSTATED_LIFETIME: u64 = 60;
/// Placeholder of the refresh token.
const REFRESH_TOKEN: &str = "refreshToken";

/// Where a login goes that is on another host than the API, as the description says it.
pub(crate) fn other_host(spec: &HttpSpec) -> Result<Option<Url>, BuildError> {
    let Some(text) = spec.auth.as_ref().and_then(|auth| auth.other_urls().first().map(|url| (*url).to_owned())) else {
        return Ok(None);
    };
    let url = Url::parse(&text).map_err(|_| wrong("the URL of the login is no URL"))?;
    let base: Option<Url> = Url::parse(&spec.url).ok();
    Ok((base.map(|base| base.origin()) != Some(url.origin())).then_some(url))
}

/// The credential of a description. `elsewhere` is the client of [`other_host`].
pub(crate) fn credential(
    spec: &HttpSpec,
    secrets: &[(KeyRef, SecretValue)],
    base: &Url,
    elsewhere: Option<Http>,
) -> Result<Credential, BuildError> {
    let Some(auth) = &spec.auth else { return Ok(Credential::Static(HeaderMap::new())) };
    let secret = |of: &KeyRef| {
        let found = secrets.iter().find(|(known, _)| known == of).map(|(_, secret)| secret.clone());
        found.ok_or_else(|| wrong("a part of the credential was not read"))
    };
    match auth {
        HttpAuthSpec {
            bearer_token_ref: Some(of),
            basic: None,
            headers: None,
            client_credentials: None,
            login: None,
        } => Credential::bearer(&secret(of)?),
        HttpAuthSpec {
            bearer_token_ref: None,
            basic: Some(of),
            headers: None,
            client_credentials: None,
            login: None,
        } => {
            let value = basic(&secret(&of.username_ref)?, &secret(&of.password_ref)?, str::to_owned)?;
            Ok(Credential::Static(HeaderMap::from_iter([(AUTHORIZATION, value)])))
        }
        HttpAuthSpec {
            bearer_token_ref: None,
            basic: None,
            headers: Some(keys),
            client_credentials: None,
            login: None,
        } => {
            let mut headers = HeaderMap::new();
            for key in keys {
                let name = header_name(&key.name).map_err(|error| BuildError(format!("http.auth.headers: {error}")))?;
                let prefix = key.prefix.as_deref().unwrap_or_default();
                headers.insert(name, header(prefix, &secret(&key.value_ref)?).ok_or_else(unusable)?);
            }
            Ok(Credential::Static(headers))
        }
        HttpAuthSpec {
            bearer_token_ref: None,
            basic: None,
            headers: None,
            client_credentials: Some(of),
            login: None,
        } => {
            let grant = Client::new(of, secret(&of.client_id_ref)?, secret(&of.client_secret_ref)?, base)?;
            Ok(Credential::Tokens(Box::new(Tokens::new(Box::new(grant), elsewhere))))
        }
        HttpAuthSpec {
            bearer_token_ref: None,
            basic: None,
            headers: None,
            client_credentials: None,
            login: Some(of),
        } => {
            let mut parts = BTreeMap::new();
            for credential in &of.credentials {
                parts.insert(credential.name.clone(), secret(&credential.value_ref)?);
            }
            let grant = Login::new(of, parts, base)?;
            Ok(Credential::Tokens(Box::new(Tokens::new(Box::new(grant), elsewhere))))
        }
        _ => Err(wrong("exactly one of bearerTokenRef, basic, headers, clientCredentials and login must be set")),
    }
}

fn wrong(sentence: &str) -> BuildError {
    BuildError(format!("http.auth: {sentence}"))
}

fn not_text() -> BuildError {
    BuildError("a part of the login is empty or not text".to_owned())
}

/// Where a login goes: below the API's URL, or at a URL of its own.
fn place(url: Option<&str>, path: Option<&str>, base: &Url) -> Result<(Url, String), BuildError> {
    match (url, path) {
        (None, Some(path)) => Ok((base.clone(), path.to_owned())),
        (Some(url), None) => {
            let url = Url::parse(url).map_err(|_| wrong("the URL of the login is no URL"))?;
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            let path = format!("{}{query}", url.path());
            let mut origin = url;
            origin.set_path("/");
            origin.set_query(None);
            origin.set_fragment(None);
            Ok((origin, path))
        }
        _ => Err(wrong("exactly one of a URL and a path must say where the login goes")),
    }
}

/// `Basic`, with user and password encoded in some way before.
fn basic(
    user: &SecretValue,
    password: &SecretValue,
    encode: impl Fn(&str) -> String,
) -> Result<HeaderValue, BuildError> {
    if !is_text(user) || !is_text(password) {
        return Err(not_text());
    }
    let user = encode(text(user));
    if user.contains(':') {
        return Err(wrong("a user name holds no colon"));
    }
    let pair = Zeroizing::new(format!("{user}:{}", encode(text(password))));
    let token = SecretValue::from(STANDARD.encode(pair.as_bytes()));
    header("Basic ", &token).ok_or_else(unusable)
}

fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// OAuth 2.0, grant `client_credentials`.
struct Client {
    request: RequestTemplate,
    base: Url,
    headers: HeaderMap,
    fields: Vec<(String, SecretValue)>,
}

impl Client {
    fn new(spec: &HttpClientCredentials, id: SecretValue, secret: SecretValue, base: &Url) -> Result<Self, BuildError> {
        if !is_text(&id) || !is_text(&secret) {
            return Err(not_text());
        }
        let (base, path) = place(spec.token_url.as_deref(), spec.token_path.as_deref(), base)?;
        let parts = Parts {
            operation: Operation::Login,
            method: Method::POST,
            path: &path,
            headers: Vec::new(),
            json: None,
            form: None,
        };
        let request = RequestTemplate::parse(&parts, &Allowed { path: &[], headers: &[], body: &[] })
            .map_err(|error| BuildError(format!("http.auth.clientCredentials: {error}")))?;
        let mut headers = HeaderMap::new();
        let mut fields = vec![("grant_type".to_owned(), SecretValue::from("client_credentials"))];
        if spec.basic == Some(true) {
            headers.insert(AUTHORIZATION, basic(&id, &secret, form_encoded)?);
        } else {
            fields.extend([("client_id".to_owned(), id), ("client_secret".to_owned(), secret)]);
        }
        fields.extend(spec.parameters.iter().map(|field| (field.name.clone(), SecretValue::from(&*field.value))));
        Ok(Self { request, base, headers, fields })
    }
}

impl Grant for Client {
    fn login(&self, _: &Http) -> Result<Request, CallError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(self.fields.iter().map(|(name, value)| (name, text(value))));
        let request = self.request.render(&self.base, Values(&[]))?;
        Ok(Request { headers: self.headers.clone(), body: Body::Form(form.finish()), ..request })
    }

    fn refresh(&self, http: &Http, _: &SecretValue) -> Result<Request, CallError> {
        self.login(http)
    }

    fn read(&self, answer: &Answer) -> Result<Granted, CallError> {
        let body = json(answer)?;
        granted(answer, &body, (AUTHORIZATION, "Bearer "), "/access_token", Some("/expires_in"))
    }
}

/// A login of the API's own.
struct Login {
    request: RequestTemplate,
    base: Url,
    credentials: BTreeMap<String, SecretValue>,
    token: String,
    expires_in: Option<String>,
    header: HeaderName,
    prefix: String,
    refresh: Option<(RequestTemplate, HttpRefresh)>,
}

impl Login {
    fn new(spec: &HttpLogin, credentials: BTreeMap<String, SecretValue>, base: &Url) -> Result<Self, BuildError> {
        let said = |error: String| BuildError(format!("http.auth.login: {error}"));
        if !credentials.values().all(is_text) {
            return Err(not_text());
        }
        if credentials.contains_key(REFRESH_TOKEN) {
            return Err(said(format!("a credential is not called {REFRESH_TOKEN}")));
        }
        if let Some(account) = &spec.account
            && !credentials.contains_key(account)
        {
            return Err(said("account is the name of no credential".to_owned()));
        }
        let places = [Some(&spec.token), spec.expires_in.as_ref()];
        places.into_iter().flatten().try_for_each(|place| check_pointer(place)).map_err(said)?;
        let names: Vec<&str> = credentials.keys().map(String::as_str).collect();
        let allowed = Allowed { path: &[], headers: &names, body: &names };
        let (base, path) = place(spec.url.as_deref(), spec.path.as_deref(), base)?;
        let request = RequestTemplate::parse(&Parts::of_login(spec, &path), &allowed).map_err(said)?;
        if let Some(unused) = names.iter().find(|name| !request.uses(name)) {
            return Err(said(format!("the credential {unused} is in no part of the request")));
        }
        let header = spec.header.as_deref().map(header_name).transpose().map_err(said)?.unwrap_or(AUTHORIZATION);
        let usual = if header == AUTHORIZATION { "Bearer " } else { "" };
        let refresh = match &spec.refresh {
            None => None,
            Some(refresh) => {
                Some((Self::refresh_request(spec, refresh, &path, &names).map_err(said)?, refresh.clone()))
            }
        };
        Ok(Self {
            request,
            base,
            token: spec.token.clone(),
            expires_in: spec.expires_in.clone(),
            prefix: spec.prefix.clone().unwrap_or_else(|| usual.to_owned()),
            header,
            refresh,
            credentials,
        })
    }

    fn refresh_request(
        spec: &HttpLogin,
        refresh: &HttpRefresh,
        path: &str,
        names: &[&str],
    ) -> Result<RequestTemplate, String> {
        check_pointer(&refresh.token)?;
        refresh.expires_in.as_ref().map_or(Ok(()), |place| check_pointer(place))?;
        let body: Vec<&str> = names.iter().copied().chain([REFRESH_TOKEN]).collect();
        let parts = Parts {
            path: refresh.path.as_deref().unwrap_or(path),
            json: refresh.json.as_ref(),
            form: refresh.form.as_deref(),
            ..Parts::of_login(spec, path)
        };
        let allowed = Allowed { path: &[], headers: names, body: &body };
        let request = RequestTemplate::parse(&parts, &allowed).map_err(|error| format!("refresh: {error}"))?;
        if !request.body_uses(REFRESH_TOKEN) {
            return Err(format!("refresh: the body holds no {{{{ {REFRESH_TOKEN} }}}}"));
        }
        Ok(request)
    }

    fn render(&self, request: &RequestTemplate, refresh_token: Option<&SecretValue>) -> Result<Request, CallError> {
        let own = self.credentials.iter().map(|(name, secret)| (name.as_str(), text(secret)));
        let values: Vec<(&str, &str)> = own.chain(refresh_token.map(|token| (REFRESH_TOKEN, text(token)))).collect();
        request.render(&self.base, Values(&values))
    }
}

impl Grant for Login {
    fn login(&self, _: &Http) -> Result<Request, CallError> {
        self.render(&self.request, None)
    }

    fn refresh(&self, _: &Http, token: &SecretValue) -> Result<Request, CallError> {
        match &self.refresh {
            Some((request, _)) => self.render(request, Some(token)),
            None => self.render(&self.request, None),
        }
    }

    fn read(&self, answer: &Answer) -> Result<Granted, CallError> {
        let body = json(answer)?;
        let header = (self.header.clone(), self.prefix.as_str());
        let mut granted = granted(answer, &body, header, &self.token, self.expires_in.as_deref())?;
        if let Some((_, refresh)) = &self.refresh {
            let token = body.pointer(&refresh.token).and_then(Value::as_str).filter(|token| !token.is_empty());
            let seconds = refresh.expires_in.as_ref().and_then(|place| seconds(body.pointer(place)?));
            granted.refresh = token.map(|token| (SecretValue::from(token), seconds.filter(|seconds| *seconds > 0)));
        }
        Ok(granted)
    }
}

/// The answer of a login as JSON; zeroed by nobody, and gone with the call.
fn json(answer: &Answer) -> Result<Value, CallError> {
    serde_json::from_slice(answer.required_body()?).map_err(|_| answer.unreadable("the answer holds no access token"))
}

fn granted(
    answer: &Answer,
    body: &Value,
    (name, prefix): (HeaderName, &str),
    token: &str,
    expires_in: Option<&str>,
) -> Result<Granted, CallError> {
    let token = body.pointer(token).and_then(Value::as_str);
    let token = token.ok_or_else(|| answer.unreadable("the answer holds no access token"))?;
    let value = header(prefix, &SecretValue::from(token))
        .ok_or_else(|| answer.unreadable("the access token cannot stand in a header"))?;
    let lifetime = match expires_in {
        Some(place) => body.pointer(place).and_then(seconds).unwrap_or(UNSTATED_LIFETIME),
        // Nobody says when it ends: it is used until it is refused.
        None => LONGEST_LIFETIME,
    };
    Ok(Granted { header: (name, value), lifetime, refresh: None })
}

/// A number of seconds, as a number or, as some write it, as text.
fn seconds(found: &Value) -> Option<u64> {
    found.as_u64().or_else(|| found.as_str()?.parse().ok())
}
