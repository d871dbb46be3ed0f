//! From `spec.http` to what a client works by. Every mistake that can be found without asking the API is found here, and
//! said in one sentence that begins with the field.

use std::sync::Arc;

use reqwest::Method;

use super::answer::{Judge, Places, check_pointer};
use super::paging::{Layout, Pager, Paging};
use super::request::{Allowed, Parts, RequestTemplate};
use super::rules::DescribedRules;
use crate::api::http::{HttpEntry, HttpList, HttpMethod, HttpOperation, HttpPaging, HttpSpec};
use crate::remote::{BuildError, DriftSignal, ErrorClass, Listed, Operation, Written};

/// A description that was read and found right.
#[derive(Debug)]
pub struct Description {
    pub(crate) create: Write,
    pub(crate) update: Write,
    pub(crate) delete: Write,
    pub(crate) list: RequestTemplate,
    pub(crate) list_success: Vec<u16>,
    pub(crate) layout: Layout,
    pub(crate) judge: Judge,
    pub(crate) rules: Arc<DescribedRules>,
}

/// A request that changes something.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) request: RequestTemplate,
    pub(crate) success: Vec<u16>,
    pub(crate) answer: Option<Places>,
}

impl Description {
    /// Reads a description.
    ///
    /// # Errors
    /// The first mistake, as a sentence.
    pub fn read(spec: &HttpSpec) -> Result<Self, BuildError> {
        read(spec).map_err(|sentence| BuildError(format!("http.{sentence}")))
    }

    /// Its rules for names and values.
    #[must_use]
    pub fn rules(&self) -> &Arc<DescribedRules> {
        &self.rules
    }

    /// The entries of a list whose pages are at hand.
    ///
    /// # Errors
    /// What the list lacks; also when it names a page that is not there.
    pub fn entries(&self, pages: &[&[u8]]) -> Result<Vec<Listed>, &'static str> {
        let mut pager = Pager::new(&self.layout, &self.rules);
        for page in pages {
            if pager.take(page, "")?.is_none() {
                return Ok(pager.entries);
            }
        }
        Err("a page is missing")
    }

    /// What the body of an answer to a create says.
    #[must_use]
    pub fn created(&self, body: &[u8]) -> Written {
        self.create.answer.as_ref().map(|places| places.written(Operation::Create, body)).unwrap_or_default()
    }

    /// What an answer to a create means; `None`: that it was done, or that it is no status at all.
    #[must_use]
    pub fn refusal(&self, status: u16, body: &[u8]) -> Option<ErrorClass> {
        let status = reqwest::StatusCode::from_u16(status).ok()?;
        self.judge.class(Operation::Create, status, &serde_json::from_slice(body).unwrap_or_default())
    }
}

fn read(spec: &HttpSpec) -> Result<Description, String> {
    let create = write(spec, &spec.create, Operation::Create)?;
    let update = write(spec, &spec.update, Operation::Update)?;
    let delete = write(spec, &spec.delete, Operation::Delete)?;
    let list = list(spec)?;
    let layout = layout(&spec.list)?;
    check_placeholders(&create, &update, &delete, &layout)?;
    let stamps = same_kind_of_stamp(spec)?;
    let shown = layout.entry.has_stamp() && stamps;
    let drift = if shown { DriftSignal::Timestamp } else { DriftSignal::Presence };
    Ok(Description {
        create,
        update,
        delete,
        list,
        list_success: spec.list.success.clone(),
        layout,
        judge: Judge::parse(&spec.answers, &spec.retry_after)?,
        rules: Arc::new(DescribedRules::parse(spec, drift)?),
    })
}

fn write(spec: &HttpSpec, operation: &HttpOperation, what: Operation) -> Result<Write, String> {
    let field = what.as_str();
    let (method, names, all): (Method, &[&str], &[&str]) = match what {
        Operation::Create => (Method::POST, &["name"], &["name", "value"]),
        Operation::Update => (Method::PUT, &["name", "id"], &["name", "id", "value"]),
        _ => (Method::DELETE, &["name", "id"], &["name", "id"]),
    };
    if operation.method == Some(HttpMethod::Get) {
        return Err(format!("{field}: a GET changes nothing"));
    }
    let allowed = Allowed { path: names, headers: names, body: all };
    let request = RequestTemplate::parse(&Parts::of_operation(what, method, operation, &spec.headers), &allowed)
        .map_err(|error| format!("{field}: {error}"))?;
    if let Some(wrong) = operation.success.iter().find(|status| !(200..300).contains(*status)) {
        return Err(format!("{field}.success: {wrong} does not say that anything was done"));
    }
    let answer = operation.answer.as_ref().map(Places::parse).transpose();
    Ok(Write {
        request,
        success: operation.success.clone(),
        answer: answer.map_err(|error| format!("{field}.answer: {error}"))?,
    })
}

fn list(spec: &HttpSpec) -> Result<RequestTemplate, String> {
    if matches!(spec.list.method, Some(HttpMethod::Put | HttpMethod::Patch | HttpMethod::Delete)) {
        return Err("list: a list is read by GET or POST".to_owned());
    }
    if let Some(wrong) = spec.list.success.iter().find(|status| !(200..300).contains(*status)) {
        return Err(format!("list.success: {wrong} does not say that anything was done"));
    }
    let allowed = Allowed { path: &[], headers: &[], body: &[] };
    RequestTemplate::parse(&Parts::of_list(&spec.list, &spec.headers), &allowed)
        .map_err(|error| format!("list: {error}"))
}

fn layout(list: &HttpList) -> Result<Layout, String> {
    let entry = Places::parse(&list.entry).map_err(|error| format!("list.entry: {error}"))?;
    if entry.name.is_none() {
        return Err("list.entry.name is missing: without it nobody knows which entries exist".to_owned());
    }
    for (field, place) in [("items", Some(&list.items)), ("count", list.count.as_ref()), ("total", list.total.as_ref())]
    {
        place.map_or(Ok(()), |place| check_pointer(place)).map_err(|error| format!("list.{field}: {error}"))?;
    }
    let paging = match &list.paging {
        None => Paging::None,
        Some(paging) => self::paging(paging).map_err(|error| format!("list.paging{error}"))?,
    };
    Ok(Layout {
        items: list.items.clone(),
        null_is_empty: list.null_is_empty == Some(true),
        entry,
        count: list.count.clone(),
        total: list.total.clone(),
        paging,
    })
}

fn paging(paging: &HttpPaging) -> Result<Paging, String> {
    match (&paging.cursor, &paging.page, &paging.link) {
        (Some(cursor), None, None) => {
            check_pointer(&cursor.next).map_err(|error| format!(".cursor.next: {error}"))?;
            Ok(Paging::Cursor(cursor.clone()))
        }
        (None, Some(page), None) => {
            if let Some(place) = &page.total_pages {
                check_pointer(place).map_err(|error| format!(".page.totalPages: {error}"))?;
            }
            Ok(Paging::Pages {
                parameter: page.parameter.clone(),
                first: page.first.unwrap_or(1),
                total_pages: page.total_pages.clone(),
            })
        }
        (None, None, Some(link)) => match (&link.next, link.header == Some(true)) {
            (Some(place), false) => {
                check_pointer(place).map_err(|error| format!(".link.next: {error}"))?;
                Ok(Paging::Link(Some(place.clone())))
            }
            (None, true) => Ok(Paging::Link(None)),
            _ => Err(".link: exactly one of next and header: true must be set".to_owned()),
        },
        _ => Err(": exactly one of cursor, page and link must be set".to_owned()),
    }
}

fn check_placeholders(create: &Write, update: &Write, delete: &Write, layout: &Layout) -> Result<(), String> {
    for (field, write) in [("create", create), ("update", update)] {
        if !write.request.body_uses("value") {
            return Err(format!("{field}: the body holds no {{{{ value }}}}, so no value would be sent"));
        }
    }
    if !create.request.uses("name") {
        return Err("create: there is no {{ name }} in it, so nobody would know what it creates".to_owned());
    }
    for (field, write) in [("update", update), ("delete", delete)] {
        let by_id = write.request.uses("id");
        if !by_id && !write.request.uses("name") {
            return Err(format!("{field}: there is neither {{{{ name }}}} nor {{{{ id }}}} in it"));
        }
        if by_id && layout.entry.id.is_none() {
            return Err(format!("{field} needs {{{{ id }}}}, but list.entry.id does not say where ids are"));
        }
    }
    Ok(())
}

/// Whether the answers to create and update show a stamp too; those of the list are compared with them.
fn same_kind_of_stamp(spec: &HttpSpec) -> Result<bool, String> {
    let listed = &spec.list.entry;
    let agrees = |field: &str, answer: Option<&HttpEntry>| {
        let Some(answer) = answer else { return Ok(false) };
        if (listed.updated.is_some() && answer.version.is_some())
            || (listed.version.is_some() && answer.updated.is_some())
        {
            return Err(format!("{field}.answer and list.entry must both say updated or both version"));
        }
        Ok(answer.updated.is_some() || answer.version.is_some())
    };
    let create = agrees("create", spec.create.answer.as_ref())?;
    let update = agrees("update", spec.update.answer.as_ref())?;
    Ok(create && update)
}

#[cfg(test)]
#[path = "description_tests.rs"]
mod tests;
