//! Reading answers: what a status and a body mean, and where the parts of an entry are.

use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;

use super::rules::DescribedRules;
use crate::api::http::{HttpAnswer, HttpEntry, HttpMatch, HttpMeaning, HttpOn};
use crate::remote::client::Answer;
use crate::remote::{CallError, ErrorClass, Listed, Operation, Written, stamp, status};

/// What answers mean.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    rules: Vec<Rule>,
    /// Where bodies say how long to wait.
    hints: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    status: Vec<u16>,
    on: Vec<Operation>,
    body: Option<HttpMatch>,
    class: ErrorClass,
}

/// Where the parts of an entry are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<String>,
    stamp: Option<Stamp>,
    created: Option<String>,
    created_by: Option<String>,
    updated_by: Option<String>,
}

#[derive(Debug)]
enum Stamp {
    /// A time.
    Updated(String),
    /// A text or a number that is not looked into.
    Version(String),
}

impl Judge {
    /// Reads the rules; the error is a sentence.
    pub(crate) fn parse(answers: &[HttpAnswer], hints: &[String]) -> Result<Self, String> {
        let rules = answers
            .iter()
            .enumerate()
            .map(|(index, answer)| rule(answer).map_err(|error| format!("answers[{index}]: {error}")));
        for hint in hints {
            check_pointer(hint).map_err(|error| format!("retryAfter: {error}"))?;
        }
        Ok(Self { rules: rules.collect::<Result<_, String>>()?, hints: hints.to_vec() })
    }

    /// Whether the operation was done. `success` are the statuses that say so; none: every 2xx.
    pub(crate) fn judge(&self, answer: &Answer, success: &[u16], now: Timestamp) -> Result<(), CallError> {
        let (operation, code) = (answer.operation, answer.status.as_u16());
        let applies = |rule: &&Rule| rule.on.contains(&operation) && rule.status.contains(&code);
        if answer.status.is_success() && self.rules.iter().filter(applies).any(|rule| rule.body.is_some()) {
            // Done or not: the body alone says it.
            answer.required_body()?;
        }
        let body = serde_json::from_slice(answer.body_or_empty()).unwrap_or(Value::Null);
        match self.class(operation, answer.status, &body) {
            Some(class) => Err(status::error(answer, class, &self.hints, &body, now)),
            None if success.is_empty() || success.contains(&code) => Ok(()),
            None => Err(answer.unreadable("its status is none of those that say that it was done")),
        }
    }

    /// What is wrong, by the first rule that fits, else by the status. `None`: a 2xx of which no rule says otherwise.
    pub(crate) fn class(&self, operation: Operation, status: StatusCode, body: &Value) -> Option<ErrorClass> {
        let fits = |rule: &&Rule| {
            rule.on.contains(&operation)
                && rule.status.contains(&status.as_u16())
                && rule.body.as_ref().is_none_or(|wanted| says(wanted, body))
        };
        let by_rule = self.rules.iter().find(fits).map(|rule| rule.class);
        by_rule.or_else(|| (!status.is_success()).then(|| status::class(None, operation, status, body)))
    }

    /// Where bodies say how long to wait.
    #[cfg(test)]
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }
}

fn rule(answer: &HttpAnswer) -> Result<Rule, String> {
    use Operation::{Create, Delete, List, Update};
    let (class, possible): (ErrorClass, &[Operation]) = match answer.means {
        HttpMeaning::Exists => (ErrorClass::Exists, &[Create]),
        HttpMeaning::NotFound => (ErrorClass::NotFound, &[Update, Delete]),
        HttpMeaning::StoredNothing => (ErrorClass::RefusedClean, &[Create, Update, Delete]),
        HttpMeaning::Invalid => (ErrorClass::Invalid, &[Create, Update, Delete, List]),
        HttpMeaning::Forbidden => (ErrorClass::Forbidden, &[Create, Update, Delete, List]),
        HttpMeaning::RateLimited => (ErrorClass::RateLimited, &[Create, Update, Delete, List]),
        HttpMeaning::NoCredits => (ErrorClass::NoCredits, &[Create, Update, Delete, List]),
        HttpMeaning::Refused => (ErrorClass::Refused, &[Create, Update, Delete, List]),
        HttpMeaning::Unavailable => (ErrorClass::Unavailable, &[Create, Update, Delete, List]),
    };
    if answer.status.is_empty() {
        return Err("status is empty".to_owned());
    }
    let named: Vec<Operation> = answer
        .on
        .iter()
        .map(|on| match on {
            HttpOn::Create => Create,
            HttpOn::Update => Update,
            HttpOn::Delete => Delete,
            HttpOn::List => List,
        })
        .collect();
    if let Some(wrong) = named.iter().find(|operation| !possible.contains(operation)) {
        return Err(format!("{:?} can not be the meaning of an answer to {}", answer.means, wrong.as_str()));
    }
    if let Some(body) = &answer.body {
        if body.at.is_empty() {
            return Err("body names no place".to_owned());
        }
        body.at.iter().try_for_each(|place| check_pointer(place))?;
    }
    let on = if named.is_empty() { possible.to_vec() } else { named };
    Ok(Rule { status: answer.status.clone(), on, body: answer.body.clone(), class })
}

/// Whether a body says what is wanted.
fn says(wanted: &HttpMatch, body: &Value) -> bool {
    let anything = wanted.equals.is_empty() && wanted.contains.is_empty() && wanted.ends_with.is_empty();
    wanted.at.iter().filter_map(|place| body.pointer(place)).any(|found| {
        let text = match found {
            Value::Null => return false,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => found.to_string(),
            Value::Array(_) | Value::Object(_) => return anything,
        };
        let lower = text.to_lowercase();
        anything
            || wanted.equals.contains(&text)
            || wanted.contains.iter().any(|part| lower.contains(&part.to_lowercase()))
            || wanted.ends_with.iter().any(|end| text.ends_with(end.as_str()))
    })
}

/// Whether a text is a JSON pointer.
pub(crate) fn check_pointer(text: &str) -> Result<(), String> {
    let escapes_right = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if (text.is_empty() || text.starts_with('/')) && escapes_right {
        return Ok(());
    }
    let shown: String = text.chars().take(60).collect();
    Err(format!("{shown:?} is no JSON pointer, such as /data/name"))
}

impl Places {
    /// Reads where the parts are; the error is a sentence.
    pub(crate) fn parse(spec: &HttpEntry) -> Result<Self, String> {
        let all =
            [&spec.name, &spec.id, &spec.updated, &spec.version, &spec.created, &spec.created_by, &spec.updated_by];
        all.into_iter().flatten().try_for_each(|place| check_pointer(place))?;
        let stamp = match (&spec.updated, &spec.version) {
            (Some(_), Some(_)) => return Err("updated and version exclude each other".to_owned()),
            (Some(updated), None) => Some(Stamp::Updated(updated.clone())),
            (None, Some(version)) => Some(Stamp::Version(version.clone())),
            (None, None) => None,
        };
        Ok(Self {
            name: spec.name.clone(),
            id: spec.id.clone(),
            stamp,
            created: spec.created.clone(),
            created_by: spec.created_by.clone(),
            updated_by: spec.updated_by.clone(),
        })
    }

    /// Whether the answer shows that an entry was changed.
    pub(crate) fn has_stamp(&self) -> bool {
        self.stamp.is_some()
    }

    /// An item of the list. The error is what it lacks.
    pub(crate) fn listed(&self, item: &Value, rules: &DescribedRules) -> Result<Listed, &'static str> {
        let name = text(item, self.name.as_ref()).ok_or("an entry of the list has no name")?;
        let id = text_or_number(item, self.id.as_ref());
        if self.id.is_some() && id.is_none() {
            return Err("an entry of the list has no id");
        }
        Ok(Listed {
            name: rules.stored_name(&name),
            id,
            version: self.version(item),
            created: text(item, self.created.as_ref()).as_deref().and_then(stamp::instant),
            created_by: text(item, self.created_by.as_ref()).filter(|text| text.len() <= MOST),
            updated_by: text(item, self.updated_by.as_ref()).filter(|text| text.len() <= MOST),
            owner: None,
        })
    }

    /// The answer to a write. What it does not say, or what cannot be read, is left out: the write is done.
    pub(crate) fn written(&self, operation: Operation, body: &[u8]) -> Written {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return Written::default() };
        let maker = || text(&body, self.created_by.as_ref()).filter(|_| operation == Operation::Create);
        Written {
            id: text_or_number(&body, self.id.as_ref()),
            version: self.version(&body),
            principal: text(&body, self.updated_by.as_ref()).or_else(maker).filter(|text| text.len() <= MOST),
        }
    }

    fn version(&self, of: &Value) -> Option<String> {
        match self.stamp.as_ref()? {
            Stamp::Updated(place) => {
                text(of, Some(place)).filter(|text| text.len() <= MOST).as_deref().and_then(stamp::canonical)
            }
            Stamp::Version(place) => text_or_number(of, Some(place)),
        }
    }
}

/// Ids, versions and principals are written into the status, so they are short: what is longer is none.
const MOST: usize = 256;

fn text(of: &Value, place: Option<&String>) -> Option<String> {
    of.pointer(place?)?.as_str().filter(|text| !text.is_empty() && text.len() <= 4 * MOST).map(str::to_owned)
}

/// An id or a version: text, or a whole number as text.
fn text_or_number(of: &Value, place: Option<&String>) -> Option<String> {
    match of.pointer(place?)? {
        Value::String(text) if !text.is_empty() && text.len() <= MOST => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn judge(rules: Value) -> Result<Judge, String> {
        Judge::parse(&serde_json::from_value::<Vec<HttpAnswer>>(rules).unwrap(), &[])
    }

    fn answer(operation: Operation, status: u16, body: Result<&str, ErrorClass>) -> Answer {
        Answer {
            operation,
            status: StatusCode::from_u16(status).unwrap(),
            date: None,
            retry_after: None,
            link: String::new(),
            body: body.map(|text| text.as_bytes().to_vec()),
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_else_the_status() {
        let judge = judge(json!([
            {"status": [200], "body": {"at": ["/error"], "equals": ["name_taken"]}, "means": "Exists"},
            {"status": [200], "body": {"at": ["/ok"], "equals": ["false"]}, "means": "Unavailable"},
            {"status": [403], "on": ["Delete"], "means": "NotFound"},
        ]))
        .unwrap();
        let class =
            |operation, status, body: Value| judge.class(operation, StatusCode::from_u16(status).unwrap(), &body);
        let taken = json!({"ok": false, "error": "name_taken"});
        assert_eq!(class(Operation::Create, 200, taken.clone()), Some(ErrorClass::Exists));
        assert_eq!(class(Operation::Update, 200, taken), Some(ErrorClass::Unavailable));
        assert_eq!(class(Operation::Create, 200, json!({"ok": true})), None);
        assert_eq!(class(Operation::Delete, 403, Value::Null), Some(ErrorClass::NotFound));
        assert_eq!(class(Operation::Update, 403, Value::Null), Some(ErrorClass::Forbidden));
        assert_eq!(class(Operation::Create, 409, Value::Null), Some(ErrorClass::Exists));
    }

    #[test]
    fn a_body_that_decides_must_be_there() {
        let judge = judge(json!([{"status": [200], "body": {"at": ["/error"]}, "means": "Refused"}])).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let create = |body, success: &[u16]| judge.judge(&answer(Operation::Create, 200, body), success, now);
        assert!(create(Ok("{}"), &[]).is_ok());
        assert_eq!(create(Ok("{\"error\":1}"), &[]).unwrap_err().class, ErrorClass::Refused);
        assert_eq!(create(Err(ErrorClass::Timeout), &[]).unwrap_err().class, ErrorClass::Timeout);
        // Another 2xx than the ones that are named leaves a doubt.
        let error = create(Ok("{}"), &[201]).unwrap_err();
        assert_eq!((error.class, error.certainty()), (ErrorClass::Unreadable, crate::remote::Certainty::Unknown));
        assert!(create(Ok("{}"), &[200, 201]).is_ok());
    }

    #[test]
    fn a_rule_that_would_be_a_lie_is_refused() {
        for (rules, words) in [
            (json!([{"status": [404], "on": ["List"], "means": "NotFound"}]), "answers[0]: NotFound can not"),
            (json!([{"status": [409], "on": ["Update"], "means": "Exists"}]), "answer to update"),
            (json!([{"status": [], "means": "Exists"}]), "status is empty"),
            (json!([{"status": [400], "body": {"at": []}, "means": "Exists"}]), "no place"),
            (json!([{"status": [400], "body": {"at": ["a"]}, "means": "Exists"}]), "no JSON pointer"),
        ] {
            let error = judge(rules).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn parts_of_an_entry_are_where_they_are_said_to_be() {
        let spec = json!({"name": "/n~1m", "id": "/meta/id", "version": "/v", "createdBy": "/by"});
        let places = Places::parse(&serde_json::from_value(spec).unwrap()).unwrap();
        let item = json!({"n/m": "a", "meta": {"id": 7}, "v": 12, "by": "ann"});
        let listed = places.listed(&item, &DescribedRules::default()).unwrap();
        assert_eq!((&*listed.name, listed.id.as_deref(), listed.version.as_deref()), ("a", Some("7"), Some("12")));
        let written = places.written(Operation::Create, item.to_string().as_bytes());
        assert_eq!((written.id.as_deref(), written.principal.as_deref()), (Some("7"), Some("ann")));
        assert_eq!(places.written(Operation::Update, item.to_string().as_bytes()).principal, None);
        let rules = DescribedRules::default();
        assert!(places.listed(&json!({"n/m": "a"}), &rules).unwrap_err().contains("no id"));
        assert!(places.listed(&json!({"n/m": 1, "meta": {"id": "x"}}), &rules).unwrap_err().contains("no name"));
        assert_eq!(places.version(&json!({"v": 1.5})), None);
        assert_eq!(places.version(&json!({"v": "x".repeat(257)})), None, "the status is no place for long texts");
    }
}
