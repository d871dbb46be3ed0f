//! An object of ours that a watch brings, also when it cannot be decoded: one such object must not stop the others.
//!
//! kube's own guard copies every object twice before it decodes it. This one keeps the text, decodes it once, and looks at it
//! again only if that fails.

use std::borrow::Cow;

use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object, or why it is none, with its metadata.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Undecodable>);

/// An object that cannot be decoded.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// Why; may quote the object.
    pub error: String,
    /// Its metadata.
    pub metadata: ObjectMeta,
}

#[derive(Deserialize)]
struct Bare {
    metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let error = match serde_json::from_str(text.get()) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        let Bare { metadata } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self(Err(Undecodable { error, metadata })))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|bad| &bad.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|bad| &mut bad.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    const GOOD: &str = r#"{"metadata": {"name": "good"}, "data": {"key": "value"}}"#;
    const BAD: &str = r#"{"metadata": {"name": "bad", "namespace": "shop"}, "data": "no map"}"#;

    #[test]
    fn a_list_holds_what_can_be_decoded_and_names_the_rest() {
        let list =
            format!(r#"{{"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {{}}, "items": [{BAD}, {GOOD}]}}"#);
        let list: ObjectList<Guarded<ConfigMap>> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items[0].meta().name.as_deref(), Some("bad"));
        assert!(list.items[0].0.as_ref().unwrap_err().error.contains("expected a map"));
        assert_eq!(list.items[1].0.as_ref().unwrap().data.as_ref().unwrap()["key"], "value");
    }

    #[test]
    fn so_do_the_events_of_a_watch() {
        for (kind, object, good) in [("ADDED", GOOD, true), ("MODIFIED", BAD, false), ("DELETED", BAD, false)] {
            let event = format!(r#"{{"type": "{kind}", "object": {object}}}"#);
            let event: WatchEvent<Guarded<ConfigMap>> = serde_json::from_str(&event).unwrap();
            let (WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) = event else {
                panic!("{event:?}")
            };
            assert_eq!(object.0.is_ok(), good);
        }
    }
}
