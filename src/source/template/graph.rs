//! The templates of one VaultSecret: which refer to which, in what order they are rendered, and which sources each of them
//! depends on in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::engine::Template;
use super::error::{Cause, TemplateError};
use crate::value::SecretValue;

/// A template, and what it refers to.
#[derive(Clone, Debug)]
pub struct Node {
    template: Template,
    reads: BTreeSet<String>,
    sources: BTreeSet<String>,
}

impl Node {
    /// Keys that it refers to itself.
    #[must_use]
    pub fn reads(&self) -> &BTreeSet<String> {
        &self.reads
    }

    /// Keys without a template that its value depends on, through others too.
    #[must_use]
    pub fn sources(&self) -> &BTreeSet<String> {
        &self.sources
    }
}

/// The templates of one VaultSecret, judged without any value.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    all: BTreeSet<String>,
    keys: BTreeMap<String, Result<Node, TemplateError>>,
    order: Vec<String>,
    target: BTreeMap<String, Result<Node, TemplateError>>,
}

impl Templates {
    /// Judges them: `keys` with the template of each that has one, and those that are only shown.
    #[must_use]
    pub fn new<'s>(
        keys: impl IntoIterator<Item = (&'s str, Option<&'s str>)>,
        target: impl IntoIterator<Item = (&'s str, &'s str)>,
    ) -> Self {
        let keys: BTreeMap<&str, Option<&str>> = keys.into_iter().collect();
        let all: BTreeSet<String> = keys.keys().map(|key| (*key).to_owned()).collect();
        let is_template = |key: &str| matches!(keys.get(key), Some(Some(_)));
        let parsed = keys.iter().filter_map(|(key, source)| {
            let node = Template::parse((*source)?).map(|template| {
                let reads = reads(&template, &all, |key| !is_template(key));
                Node { template, reads, sources: BTreeSet::new() }
            });
            Some(((*key).to_owned(), node))
        });
        let mut templates = Self { keys: parsed.collect(), all, ..Self::default() };
        templates.arrange();
        for (name, source) in target {
            let node = templates.target_node(name, source);
            templates.target.insert(name.to_owned(), node);
        }
        templates
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.target.is_empty()
    }

    /// The template of a key of `spec.data`, or why it is refused; `None` for a key without one.
    #[must_use]
    pub fn of_key(&self, key: &str) -> Option<Result<&Node, &TemplateError>> {
        self.keys.get(key).map(Result::as_ref)
    }

    /// Keys with a template that is not refused, each after those that it refers to.
    pub fn in_order(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.order.iter().filter_map(|key| Some((key.as_str(), self.keys.get(key)?.as_ref().ok()?)))
    }

    /// The templates that are only shown, by the key they are shown under.
    pub fn of_target(&self) -> impl Iterator<Item = (&str, Result<&Node, &TemplateError>)> {
        self.target.iter().map(|(name, node)| (name.as_str(), node.as_ref()))
    }

    /// The first of those that is refused.
    #[must_use]
    pub fn target_refusal(&self) -> Option<(&str, &TemplateError)> {
        self.of_target().find_map(|(name, node)| Some((name, node.err()?)))
    }

    /// Whether a key is read by any template.
    #[must_use]
    pub fn is_read(&self, key: &str) -> bool {
        let nodes = self.keys.values().chain(self.target.values());
        nodes.flatten().any(|node| node.reads.contains(key))
    }

    /// Whether a key is read by a template that is only shown.
    #[must_use]
    pub fn is_shown(&self, key: &str) -> bool {
        self.of_target().any(|(_, node)| node.is_ok_and(|node| node.reads.contains(key)))
    }

    /// Renders a template of these. `value` gives the value of a key that it reads.
    ///
    /// # Errors
    /// When a key has no value, or the template fails.
    pub fn render(
        &self,
        node: &Node,
        mut value: impl FnMut(&str) -> Option<SecretValue>,
    ) -> Result<SecretValue, TemplateError> {
        let mut values = BTreeMap::new();
        for key in &node.reads {
            let Some(value) = value(key) else { return Err(TemplateError::whole(Cause::Missing(key.clone()))) };
            values.insert(key.clone(), value);
        }
        node.template.render(&values, &self.all)
    }

    fn target_node(&self, name: &str, source: &str) -> Result<Node, TemplateError> {
        if self.all.contains(name) {
            return Err(TemplateError::whole(Cause::Taken));
        }
        let template = Template::parse(source)?;
        let reads = reads(&template, &self.all, |_| true);
        if let Some(broken) = reads.iter().find(|key| matches!(self.keys.get(*key), Some(Err(_)))) {
            return Err(TemplateError::whole(Cause::Unusable(broken.clone())));
        }
        let sources = self.sources(&reads);
        Ok(Node { template, reads, sources })
    }

    /// The keys without a template behind these.
    fn sources(&self, reads: &BTreeSet<String>) -> BTreeSet<String> {
        let mut sources = BTreeSet::new();
        for key in reads {
            match self.keys.get(key) {
                None => drop(sources.insert(key.clone())),
                Some(Ok(node)) => sources.extend(node.sources.iter().cloned()),
                Some(Err(_)) => {}
            }
        }
        sources
    }

    /// Puts the keys with templates in order. Those in a circle, and those that refer to a refused one, are refused.
    fn arrange(&mut self) {
        let mut left: BTreeSet<String> =
            self.keys.iter().filter(|(_, node)| node.is_ok()).map(|(key, _)| key.clone()).collect();
        loop {
            let is_ready = |key: &String| {
                self.edges(key).all(|next| !left.contains(next) && matches!(self.keys.get(next), None | Some(Ok(_))))
            };
            let ready: Vec<String> = left.iter().filter(|key| is_ready(key)).cloned().collect();
            if ready.is_empty() {
                break;
            }
            for key in ready {
                left.remove(&key);
                let sources = self.keys.get(&key).and_then(|n| n.as_ref().ok()).map(|node| self.sources(&node.reads));
                if let (Some(Ok(node)), Some(sources)) = (self.keys.get_mut(&key), sources) {
                    node.sources = sources;
                }
                self.order.push(key);
            }
        }
        let refused: Vec<(String, Cause)> = left.iter().map(|key| (key.clone(), self.why(key, &left))).collect();
        for (key, cause) in refused {
            self.keys.insert(key, Err(TemplateError::whole(cause)));
        }
    }

    /// Keys with a template that one refers to.
    fn edges<'t>(&'t self, key: &str) -> impl Iterator<Item = &'t String> {
        let reads = self.keys.get(key).and_then(|node| node.as_ref().ok()).map(Node::reads);
        reads.into_iter().flatten().filter(|read| self.keys.contains_key(*read))
    }

    /// Why a key is left: the shortest circle that it is in, or the key that it waits for in vain.
    fn why(&self, key: &String, left: &BTreeSet<String>) -> Cause {
        let mut from: BTreeMap<&String, &String> = BTreeMap::new();
        let mut queue: VecDeque<&String> = VecDeque::from([key]);
        while let Some(at) = queue.pop_front() {
            for next in self.edges(at).filter(|next| left.contains(*next)) {
                if next == key {
                    let mut path = vec![at.clone()];
                    let mut step = at;
                    while let Some(before) = from.get(step) {
                        path.push((*before).clone());
                        step = before;
                    }
                    path.reverse();
                    return Cause::Cycle(path);
                }
                if !from.contains_key(next) {
                    from.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        let blocked = |next: &&String| left.contains(*next) || matches!(self.keys.get(*next), Some(Err(_)));
        Cause::Unusable(self.edges(key).find(blocked).cloned().unwrap_or_default())
    }
}

/// The keys that a template refers to. As a whole, `values` holds those that `belongs` says.
fn reads(template: &Template, all: &BTreeSet<String>, belongs: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let read = |key: &&String| template.names(key) || (template.uses_all() && belongs(key));
    all.iter().filter(read).cloned().collect()
}
