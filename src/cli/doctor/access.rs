//! What the operator may do and may not: asked of the API server, as the operator's account, and judged by the table.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::{Client, client};

use super::model::{Area, Finding, some_of};
use super::rights::{Mode, Place, Right, forbidden, needed};
use super::seen::Seen;
use crate::kube_error::within;

/// Requests at the same time.
const AT_ONCE: usize = 8;

/// A namespace of every cluster that is not the operator's business.
const FOREIGN: &str = "kube-system";

/// The account that the operator has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// The name by which the API server knows it.
    #[must_use]
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// Its groups.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{}", self.namespace),
            "system:authenticated".to_owned(),
        ]
    }
}

/// A right in a namespace, or in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which right.
    pub right: Right,
    /// Namespace; empty for all of them, and for what has none.
    pub namespace: String,
}

/// What there is to ask about some rights.
#[must_use]
pub fn questions(rights: &[Right], mode: &Mode, own: &str) -> Vec<Question> {
    let watched: &[String] = match mode {
        Mode::Cluster => &[],
        Mode::Namespaced(watched) => watched,
    };
    let mut all = Vec::new();
    for right in rights {
        let namespaces: Vec<&str> = match right.place {
            Place::Everywhere => vec![""],
            // Who works in its own namespace has the rights of work there.
            Place::Own if watched.iter().any(|name| name == own) && is_work(right, mode) => Vec::new(),
            Place::Own => vec![own],
            Place::Watched => watched.iter().map(String::as_str).collect(),
            Place::Elsewhere if watched.iter().any(|name| name == FOREIGN) || own == FOREIGN => Vec::new(),
            Place::Elsewhere => vec![FOREIGN],
        };
        all.extend(
            namespaces.into_iter().map(|namespace| Question { right: right.clone(), namespace: namespace.to_owned() }),
        );
    }
    all
}

fn is_work(right: &Right, mode: &Mode) -> bool {
    needed(mode).contains(&Right { place: Place::Watched, ..right.clone() })
}

/// What the API server said to the questions.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// What it must be able to do, and whether it is.
    pub needed: Vec<(Question, bool)>,
    /// What it must not be able to do, and whether it is.
    pub forbidden: Vec<(Question, bool)>,
}

/// Asks about all rights. `myself`: whoever calls is the operator.
pub async fn ask(client: &Client, account: &Account, myself: bool, mode: &Mode) -> Seen<Answers> {
    let mut answers = Answers { needed: Vec::new(), forbidden: Vec::new() };
    let asked = [(needed(mode), &mut answers.needed), (forbidden(mode), &mut answers.forbidden)];
    for (rights, into) in asked {
        let questions = questions(&rights, mode, &account.namespace);
        let mut said = stream::iter(questions)
            .map(async |question| {
                let allowed = one(client, account, myself, &question).await;
                (question, allowed)
            })
            .buffered(AT_ONCE);
        while let Some((question, allowed)) = said.next().await {
            match allowed {
                Seen::Here(allowed) => into.push((question, allowed)),
                Seen::Absent => return Seen::Absent,
                Seen::Forbidden => return Seen::Forbidden,
                Seen::Unknown(why) => return Seen::Unknown(why),
            }
        }
    }
    Seen::Here(answers)
}

async fn one(client: &client::Client, account: &Account, myself: bool, question: &Question) -> Seen<bool> {
    let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (resource, subresource) = match question.right.resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (question.right.resource.as_str(), None),
    };
    let attributes = ResourceAttributes {
        namespace: filled(&question.namespace),
        group: filled(&question.right.group),
        resource: Some(resource.to_owned()),
        subresource,
        name: filled(&question.right.name),
        verb: Some(question.right.verb.clone()),
        ..ResourceAttributes::default()
    };
    const CALL: &str = "asking what the operator may do";
    let params = PostParams::default();
    let answer = if myself {
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        within(CALL, api.create(&params, &review)).await.map(|review| review.status)
    } else {
        let spec = SubjectAccessReviewSpec {
            user: Some(account.user()),
            groups: Some(account.groups()),
            resource_attributes: Some(attributes),
            ..Default::default()
        };
        let review = SubjectAccessReview { spec, ..Default::default() };
        let api: Api<SubjectAccessReview> = Api::all(client.clone());
        within(CALL, api.create(&params, &review)).await.map(|review| review.status)
    };
    Seen::of(answer.map(|status| Some(status.is_some_and(|status| status.allowed))))
}

/// Judges the answers. `install`: what applies the roles again.
#[must_use]
pub fn judge(answers: &Seen<Answers>, account: &Account, install: &str) -> Vec<Finding> {
    let user = format!("{}/{}", account.namespace, account.name);
    let answers =
        match answers {
            Seen::Here(answers) => answers,
            Seen::Unknown(why) => return vec![Finding::skipped(Area::Rights, &user, why)],
            Seen::Absent | Seen::Forbidden => {
                let text = "you may not create SubjectAccessReviews, so what the operator may do was not looked at";
                return vec![Finding::skipped(Area::Rights, &user, text).mend(
                    "ask as somebody who may: kubectl auth can-i create subjectaccessreviews.authorization.k8s.io",
                )];
            }
        };
    let mut found = Vec::new();
    let lacks = grouped(answers.needed.iter().filter(|(_, allowed)| !allowed).map(|(question, _)| question));
    if lacks.is_empty() {
        let text = format!("may do all that it must: {} of {}", answers.needed.len(), answers.needed.len());
        found.push(Finding::passed(Area::Rights, &user, text));
    } else if answers.needed.iter().all(|(_, allowed)| !allowed) {
        let text = "may do nothing of what it must: no role is bound to this account";
        found.push(Finding::failed(Area::Rights, &user, text).mend(install));
    } else {
        for (what, verbs) in lacks {
            let text = format!("may not {} {what}", verbs.join(", "));
            found.push(Finding::failed(Area::Rights, &user, text).mend(install));
        }
    }
    let allowed: Vec<&Question> =
        answers.forbidden.iter().filter(|(_, yes)| *yes).map(|(question, _)| question).collect();
    // What it may everywhere it may in each namespace, too.
    let implied = |question: &Question| {
        let everywhere = |q: &Question| q.namespace.is_empty() && is_same(&q.right, &question.right);
        !question.namespace.is_empty() && allowed.iter().any(|other| everywhere(other))
    };
    let allowed: Vec<&Question> = allowed.iter().copied().filter(|question| !implied(question)).collect();
    let has = grouped(allowed.iter().copied());
    let total = answers.forbidden.len();
    if has.is_empty() {
        found.push(Finding::passed(Area::Rights, &user, format!("is refused what it must not do: {total} of {total}")));
    } else {
        let list: Vec<String> = has.into_iter().map(|(what, verbs)| format!("{} {what}", verbs.join(", "))).collect();
        let text = format!("may do {} of {total} things that it must not: {}", allowed.len(), some_of(&list, 6));
        let look = format!(
            "find who gives it that: kubectl get clusterrolebindings,rolebindings -A -o wide | grep {}/{}",
            account.namespace, account.name
        );
        found.push(Finding::failed(Area::Rights, &user, text).mend(look));
    }
    found
}

/// Whether two rights are one but for their place.
fn is_same(one: &Right, other: &Right) -> bool {
    (&one.group, &one.resource, &one.name, &one.verb) == (&other.group, &other.resource, &other.name, &other.verb)
}

/// Verbs by what they are about.
fn grouped<'q>(questions: impl Iterator<Item = &'q Question>) -> BTreeMap<String, Vec<&'q str>> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for question in questions {
        all.entry(what(question)).or_default().push(&question.right.verb);
    }
    all
}

fn what(question: &Question) -> String {
    let right = &question.right;
    let mut text = right.resource.clone();
    if !right.group.is_empty() {
        text = format!("{text}.{}", right.group);
    }
    if !right.name.is_empty() {
        text = format!("{text} {}", right.name);
    }
    match question.namespace.as_str() {
        "" => text,
        namespace => format!("{text} in namespace {namespace}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::model::State;
    use super::*;

    fn account() -> Account {
        Account { namespace: "ops".to_owned(), name: "vault".to_owned() }
    }

    fn answers(mode: &Mode, says: impl Fn(&Question, bool) -> bool) -> Seen<Answers> {
        let all = |rights: Vec<Right>, must: bool| {
            let questions = questions(&rights, mode, "ops").into_iter();
            questions.map(|question| (question.clone(), says(&question, must))).collect()
        };
        Seen::Here(Answers { needed: all(needed(mode), true), forbidden: all(forbidden(mode), false) })
    }

    #[test]
    fn the_right_rights_are_two_good_lines() {
        for mode in [Mode::Cluster, Mode::Namespaced(vec!["shop".to_owned(), "blog".to_owned()])] {
            let found = judge(&answers(&mode, |_, must| must), &account(), "apply it");
            assert_eq!(found.iter().map(|f| f.state).collect::<Vec<_>>(), [State::Passed, State::Passed]);
        }
    }

    #[test]
    fn what_is_lacking_is_a_line_for_each_resource_and_place() {
        let mode = Mode::Namespaced(vec!["shop".to_owned(), "blog".to_owned()]);
        let says = |q: &Question, must: bool| must && !(q.right.resource == "secrets" && q.namespace == "shop");
        let found = judge(&answers(&mode, says), &account(), "apply it");
        assert_eq!(
            found[0].message,
            "may not get, list, watch, create, update, patch, delete secrets in namespace shop"
        );
        assert_eq!((found[0].state, found[0].mend.as_deref(), found.len()), (State::Failed, Some("apply it"), 2));
    }

    #[test]
    fn no_right_at_all_is_one_line() {
        let found = judge(&answers(&Mode::Cluster, |_, _| false), &account(), "apply it");
        assert!(found[0].message.contains("no role is bound") && found.len() == 2, "{found:?}");
    }

    #[test]
    fn too_many_rights_are_named() {
        let says = |q: &Question, must: bool| must || q.right.resource == "pods/exec";
        let found = judge(&answers(&Mode::Cluster, says), &account(), "apply it");
        assert_eq!(found[1].state, State::Failed);
        assert!(found[1].message.starts_with("may do 2 of "), "each once: {}", found[1].message);
        assert!(found[1].message.ends_with("that it must not: create, update pods/exec"), "{}", found[1].message);
        assert!(found[1].mend.as_deref().unwrap().ends_with("grep ops/vault"));
    }

    #[test]
    fn who_may_not_ask_is_told_so() {
        let found = judge(&Seen::Forbidden, &account(), "apply it");
        assert_eq!((found[0].state, found.len()), (State::Skipped, 1));
    }

    #[test]
    fn an_operator_that_works_in_its_own_namespace_has_its_rights_there() {
        let mode = Mode::Namespaced(vec!["ops".to_owned()]);
        let asked = questions(&forbidden(&mode), &mode, "ops");
        let secrets = asked.iter().filter(|q| q.namespace == "ops" && q.right.resource == "secrets");
        assert_eq!(
            secrets.map(|q| q.right.verb.as_str()).collect::<Vec<_>>(),
            ["deletecollection", "deletecollection"]
        );
    }
}
