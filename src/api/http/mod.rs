//! `spec.http`: a REST API described in YAML. Plain data; `remote::http` makes a client of it.

mod auth;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use auth::{
    HttpAuthHeader, HttpAuthSpec, HttpBasic, HttpClientCredentials, HttpCredential, HttpLogin, HttpRefresh,
};

/// A REST API, described: one request an operation, and where things are in its answers.
///
/// Texts may hold placeholders such as `{{ name }}`. They are replaced inside strings that were parsed before, so a
/// value cannot change the structure of a body, leave its segment of a path or begin another header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSpec {
    /// Base URL. Paths are below it, and no request goes to another host unless one is named in `auth`.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (self.startsWith('https://') || self.startsWith('http://'))").message("url must be an http or https URL, such as https://secrets.example.com"))]
    pub url: String,
    /// What the API is called in messages. Default: the remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub service: Option<String>,
    /// Sent with every request below `url`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HttpHeader>,
    /// How requests are authorised. Absent: by `tls.clientCertificateRef` or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<HttpAuthSpec>,
    /// Creates an entry; has to fail when the name is taken. Placeholders: `name`, `value`. Default method: POST.
    pub create: HttpOperation,
    /// Replaces the value of an entry. Placeholders: `name`, `id`, `value`. Default method: PUT.
    pub update: HttpOperation,
    /// Deletes an entry. Placeholders: `name`, `id`. Default method: DELETE.
    pub delete: HttpOperation,
    /// Lists all entries.
    pub list: HttpList,
    /// What answers mean, where it is not what their status says. The first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub answers: Vec<HttpAnswer>,
    /// Where the body of a refusal says how many seconds to wait, besides the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$")))]
    pub retry_after: Vec<String>,
    /// Which names the API takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<HttpNames>,
    /// Which ids the API gives, as a regular expression that the whole id must match. Others are not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub id_pattern: Option<String>,
    /// The longest value, in bytes. Default: 65536.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub max_value_bytes: Option<u32>,
}

/// A name and a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpField {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Text, with placeholders.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpHeader {
    /// Name.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"))]
    pub name: String,
    /// Text, with placeholders; never `value`.
    #[schemars(length(max = 4096), regex(pattern = r"^[^\x00-\x1f\x7f]*$"))]
    pub value: String,
}

/// Method: GET, POST, PUT, PATCH or DELETE. Default: POST to create and to log in, PUT to update, DELETE to delete, GET to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

/// A request that changes something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpOperation {
    /// Method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// Path below `url`, and a query where there is one: `/v1/secrets/{{ name }}?force=true`. What stands for a placeholder
    /// is percent-encoded and cannot leave its segment.
    #[schemars(length(max = 2048), regex(pattern = r"^/[^#\\\x00-\x1f]*$"))]
    pub path: String,
    /// Headers of this request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HttpHeader>,
    /// Body: any structure, sent as JSON. Placeholders may stand in its strings and keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any")]
    pub json: Option<Value>,
    /// Body: fields, sent as `application/x-www-form-urlencoded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub form: Option<Vec<HttpField>>,
    /// Statuses that say that it was done. Default: every 2xx.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 200, max = 299)))]
    pub success: Vec<u16>,
    /// Where things are in the answer. Absent: it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<HttpEntry>,
}

/// Where the parts of an entry are: JSON pointers (RFC 6901) such as `/data/id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.updated) && has(self.version))").message("updated and version exclude each other"))]
pub struct HttpEntry {
    /// Name; needed in the items of the list. The empty text: the item itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub name: Option<String>,
    /// Id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub id: Option<String>,
    /// Time of the last change. Two spellings of one time are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub updated: Option<String>,
    /// A text or a whole number that every change moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub version: Option<String>,
    /// Time at which the entry was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub created_by: Option<String>,
    /// Who changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub updated_by: Option<String>,
}

/// The request that lists the entries, and how its answer is read. An answer without its list is unreadable, not empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpList {
    /// Method. Default: GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// Path below `url`, and a query where there is one.
    #[schemars(length(max = 2048), regex(pattern = r"^/[^#\\\x00-\x1f]*$"))]
    pub path: String,
    /// Headers of this request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HttpHeader>,
    /// Body: any structure, sent as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any")]
    pub json: Option<Value>,
    /// Body: fields, sent as a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub form: Option<Vec<HttpField>>,
    /// Statuses that say that it was done. Default: every 2xx.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 200, max = 299)))]
    pub success: Vec<u16>,
    /// Where the list is in the answer; the empty text: the answer itself.
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub items: String,
    /// Whether an empty list may be `null`. That is believed only while nothing of ours can be missing. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_is_empty: Option<bool>,
    /// Where things are in an item.
    pub entry: HttpEntry,
    /// Where the answer says how many items it holds. A number that differs makes it unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub count: Option<String>,
    /// Where the answer says how many entries there are on all pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub total: Option<String>,
    /// How further pages are had. Absent: the first is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paging: Option<HttpPaging>,
}

/// How further pages are had: exactly one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.cursor), has(self.page), has(self.link)].filter(x, x).size() == 1").message("exactly one of cursor, page and link must be set"))]
pub struct HttpPaging {
    /// The answer names the next page, and that name goes into the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<HttpCursor>,
    /// Pages are numbered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<HttpPages>,
    /// The answer holds the URL of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<HttpLink>,
}

/// A cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCursor {
    /// Where the answer has it; null, empty or absent on the last page.
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub next: String,
    /// Parameter of the query that it goes into.
    #[schemars(length(min = 1, max = 128))]
    pub parameter: String,
    /// Whether it may also be a URL with a query, to be asked for as it is. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub or_link: Option<bool>,
    /// How many items a full page has. A page that is full and has no cursor at all, not even null, is unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub page_size: Option<u32>,
    /// So many empty pages in a row end the list, although they name another. Default: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub ends_after_empty_pages: Option<u32>,
}

/// Numbered pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpPages {
    /// Parameter of the query that the number goes into.
    #[schemars(length(min = 1, max = 128))]
    pub parameter: String,
    /// Number of the first page: 0 or 1. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub first: Option<u32>,
    /// Where the answer says how many pages there are. Absent: an empty page is the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub total_pages: Option<String>,
}

/// A link to the next page, which must be on the same host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.next) != (has(self.header) && self.header)").message("exactly one of next and header: true must be set"))]
pub struct HttpLink {
    /// Where the answer has it; null, empty or absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$"))]
    pub next: Option<String>,
    /// It is in the header `Link`, with `rel="next"`. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpAnswer {
    /// Which statuses.
    #[schemars(length(min = 1, max = 16), inner(range(min = 200, max = 599)))]
    pub status: Vec<u16>,
    /// At which operations: Create, Update, Delete, List. Default: all for which the meaning makes sense.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub on: Vec<HttpOn>,
    /// What the body must say. Default: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<HttpMatch>,
    /// The meaning. Exists: at a create, the name is taken. NotFound: at an update or a delete, there is no such entry. Invalid:
    /// the request is wrong and will stay so. Forbidden: the credential may not do this. RateLimited: too many requests.
    /// NoCredits: the account has used up what it may use. StoredNothing: the same request may succeed later. Refused: nothing
    /// was stored, and only a person can mend it. Unavailable: whether it was processed is not known.
    pub means: HttpMeaning,
}

/// Operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpOn {
    /// Create.
    Create,
    /// Update.
    Update,
    /// Delete.
    Delete,
    /// List.
    List,
}

/// What a body must say: one of the places holds one of the texts, or there is something at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// Places, as JSON pointers.
    #[schemars(length(min = 1, max = 8), inner(length(max = 256), regex(pattern = r"^(/([^~/]|~[01])*)*$")))]
    pub at: Vec<String>,
    /// Is one of these; true, false and numbers are compared as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 256)))]
    pub equals: Vec<String>,
    /// Contains one of these, in whatever case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub contains: Vec<String>,
    /// Ends in one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub ends_with: Vec<String>,
}

/// What an answer can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpMeaning {
    /// Create: the name is taken.
    Exists,
    /// Update, Delete: there is no such entry.
    NotFound,
    /// The request is wrong and will stay so.
    Invalid,
    /// The credential may not do this.
    Forbidden,
    /// Too many requests.
    RateLimited,
    /// The account has used up what it may use: a fast retry is no use.
    NoCredits,
    /// Nothing was stored, and the same request may succeed later.
    StoredNothing,
    /// Nothing was stored, and only a person can mend it.
    Refused,
    /// The remote is in trouble: whether the request was processed is not known.
    Unavailable,
}

/// Which names the API takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpNames {
    /// A regular expression that the whole name must match. Default: any name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: Option<String>,
    /// The longest name, in characters. Default: 253.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_length: Option<u32>,
    /// Whether the API stores names in upper case. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_case: Option<bool>,
    /// The rule as a sentence, for whoever gave a name that is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub rule: Option<String>,
    /// What separates words in the name that is suggested instead of a refused one: `-`, `_` or `.`. Default: `-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1), regex(pattern = r"^[-_.]$"))]
    pub separator: Option<String>,
}

fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}
