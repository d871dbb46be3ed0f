//! The operator's own Secrets: the key ring and the sealing identities. Their shape is looked at, and no value leaves here.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::Api;

use super::model::{Area, Finding, count_of, some_of};
use super::seen::{Seen, get};
use crate::api::names;
use crate::source::sealed::Ring;
use crate::value::SecretValue;

/// What there is of them.
pub struct Keys {
    ring: Seen<Secret>,
    identities: Seen<Secret>,
    recipients: Seen<ConfigMap>,
}

/// Reads them.
pub async fn look(client: &Client, namespace: &str) -> Keys {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    Keys {
        ring: get("reading the key ring", &secrets, names::KEY_RING).await,
        identities: get("reading the sealing identities", &secrets, names::SEALING_IDENTITIES).await,
        recipients: get("reading the sealing recipients", &maps, names::SEALING_RECIPIENTS).await,
    }
}

/// Judges them.
#[must_use]
pub fn judge(keys: &Keys, namespace: &str) -> Vec<Finding> {
    vec![ring(&keys.ring, namespace), identities(keys, namespace)]
}

fn ring(seen: &Seen<Secret>, namespace: &str) -> Finding {
    let subject = format!("Secret {}", names::KEY_RING);
    let secret = match seen {
        Seen::Here(secret) => secret,
        Seen::Absent => {
            return Finding::failed(
                Area::Operator,
                subject,
                "is not there; the operator makes it when it starts first",
            )
            .mend(
                "if values were pushed before, restore it from a backup: without it all of them are pushed once more",
            );
        }
        unseen => {
            let why = unseen.unseen(&format!("read Secret {namespace}/{}", names::KEY_RING)).unwrap_or_default();
            return Finding::skipped(Area::Operator, subject, why);
        }
    };
    let ids: Vec<&String> = secret.data.iter().flatten().map(|(id, _)| id).collect();
    let strange: Vec<&&String> = ids.iter().filter(|id| !is_numbered(id, 'k')).collect();
    if crate::keyring::read(secret).is_none() {
        return Finding::failed(Area::Operator, subject, "holds no key (k1, k2, …, each of 16 bytes or more)").mend(
            "restore it from a backup, or delete it to start with a new one, which pushes every value once more",
        );
    }
    if let Some(finding) = marks(secret, &subject, "key-ring", namespace) {
        return finding;
    }
    if !strange.is_empty() {
        let text = format!("holds {} that no key is called", some_of(&strange, 3));
        return Finding::warning(Area::Operator, subject, text)
            .mend("keys are called k1, k2, …: docs/operations.md, What to back up");
    }
    Finding::passed(Area::Operator, subject, format!("is there with {}", count_of(ids.len(), "key")))
}

fn identities(keys: &Keys, namespace: &str) -> Finding {
    let subject = format!("Secret {}", names::SEALING_IDENTITIES);
    let there_were = keys.recipients.here().is_some();
    let secret = match &keys.identities {
        Seen::Here(secret) => secret,
        Seen::Absent if there_were => {
            let text = "is gone, and sealed values cannot be opened";
            let mend = format!(
                "restore it from a backup; if there is none, kubectl delete configmap {} -n {namespace}, and seal every value again",
                names::SEALING_RECIPIENTS
            );
            return Finding::failed(Area::Operator, subject, text).mend(mend);
        }
        Seen::Absent => {
            let text = "is not there; the operator makes it when it starts first";
            return Finding::failed(Area::Operator, subject, text).mend("look why the operator does not start");
        }
        unseen => {
            let why =
                unseen.unseen(&format!("read Secret {namespace}/{}", names::SEALING_IDENTITIES)).unwrap_or_default();
            return Finding::skipped(Area::Operator, subject, why);
        }
    };
    let data = secret.data.iter().flatten().map(|(id, bytes)| (id.clone(), SecretValue::new(bytes.0.clone())));
    let (ring, bad) = Ring::read(data);
    let Some(ring) = ring else {
        return Finding::failed(
            Area::Operator,
            subject,
            "holds no identity (i1, i2, …, each with one line AGE-SECRET-KEY-1…)",
        )
        .mend("restore it from a backup");
    };
    if let Some(finding) = marks(secret, &subject, "sealing", namespace) {
        return finding;
    }
    if !bad.is_empty() {
        let text = format!("{} cannot be read as an identity", some_of(&bad, 3));
        return Finding::warning(Area::Operator, subject, text).mend("docs/sealed.md says what an identity looks like");
    }
    let newest = ring.newest().to_string();
    let published = keys.recipients.here().and_then(|map| map.data.as_ref()?.get(names::NEWEST_RECIPIENT));
    if published.is_some_and(|published| published.trim() != newest) {
        let text =
            format!("ConfigMap {} names another recipient than that of the newest identity", names::SEALING_RECIPIENTS);
        return Finding::failed(Area::Operator, subject, text)
            .mend(format!("the operator mends it while it runs; who changed it: kubectl get configmap {} -n {namespace} --show-managed-fields -o yaml", names::SEALING_RECIPIENTS));
    }
    Finding::passed(
        Area::Operator,
        subject,
        format!("is there with {}", count_of(ring.recipients().count(), "identity").replace("identitys", "identities")),
    )
}

/// Labels that the admission policies and the operator know it by.
fn marks(secret: &Secret, subject: &str, role: &str, namespace: &str) -> Option<Finding> {
    let labels = secret.metadata.labels.clone().unwrap_or_default();
    let has = |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
    if has(names::ROLE, role) && has(names::MANAGED_BY, names::OPERATOR) {
        return None;
    }
    let text = format!("lacks its labels {}={role} and {}={}", names::ROLE, names::MANAGED_BY, names::OPERATOR);
    let name = secret.metadata.name.clone().unwrap_or_default();
    let mend = format!(
        "kubectl label secret {name} -n {namespace} --overwrite {}={role} {}={}",
        names::ROLE,
        names::MANAGED_BY,
        names::OPERATOR
    );
    Some(Finding::warning(Area::Operator, subject, text).mend(mend))
}

fn is_numbered(id: &str, letter: char) -> bool {
    id.strip_prefix(letter).is_some_and(|rest| rest.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::super::model::State;
    use super::*;
    use crate::source::sealed::generate;

    fn secret(name: &str, role: &str, data: &[(&str, Vec<u8>)]) -> Secret {
        let mut made: Secret = serde_json::from_value(json!({"metadata": {"name": name, "labels": {
            names::ROLE: role, names::MANAGED_BY: names::OPERATOR,
        }}}))
        .unwrap();
        made.data = Some(data.iter().map(|(id, bytes)| ((*id).to_owned(), ByteString(bytes.clone()))).collect());
        made
    }

    fn keys() -> Keys {
        let identity = generate();
        let ring = Ring::read([("i1".to_owned(), identity.clone())]).0.unwrap();
        let recipients = json!({"data": {names::NEWEST_RECIPIENT: ring.newest().to_string()}});
        Keys {
            ring: Seen::Here(secret(names::KEY_RING, "key-ring", &[("k1", vec![7; 32]), ("k2", vec![8; 32])])),
            identities: Seen::Here(secret(names::SEALING_IDENTITIES, "sealing", &[("i1", identity.expose().to_vec())])),
            recipients: Seen::Here(serde_json::from_value(recipients).unwrap()),
        }
    }

    fn judged(change: impl Fn(&mut Keys)) -> Vec<(State, String)> {
        let mut keys = keys();
        change(&mut keys);
        judge(&keys, "ops").into_iter().map(|f| (f.state, f.message)).collect()
    }

    fn here(seen: &mut Seen<Secret>) -> &mut Secret {
        let Seen::Here(secret) = seen else { panic!("it is there") };
        secret
    }

    #[test]
    fn as_the_operator_makes_them_they_are_good() {
        let good = judged(|_| {});
        assert_eq!(good[0], (State::Passed, "is there with 2 keys".to_owned()));
        assert_eq!(good[1], (State::Passed, "is there with 1 identity".to_owned()));
    }

    #[test]
    fn what_is_lost_or_broken_is_told() {
        let lost = judged(|keys| (keys.ring, keys.identities) = (Seen::Absent, Seen::Absent));
        assert_eq!((lost[0].0, lost[1].0), (State::Failed, State::Failed));
        assert!(lost[1].1.contains("gone"), "{lost:?}");
        let empty = judged(|keys| here(&mut keys.ring).data = None);
        assert!(empty[0].1.contains("holds no key"), "{empty:?}");
        let bare = judged(|keys| here(&mut keys.identities).metadata.labels = None);
        assert!(bare[1].0 == State::Warning && bare[1].1.contains("vaultsecret.dev/role=sealing"), "{bare:?}");
        let other = judged(|keys| {
            let map = json!({"data": {names::NEWEST_RECIPIENT: "age1other"}});
            keys.recipients = Seen::Here(serde_json::from_value(map).unwrap());
        });
        assert!(other[1].0 == State::Failed && other[1].1.contains("another recipient"), "{other:?}");
    }
}
