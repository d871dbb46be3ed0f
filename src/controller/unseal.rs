//! Opens the sealed values of a VaultSecret.

use std::collections::HashMap;
use std::sync::Arc;

use super::desired::Issue;
use super::pass::Pass;
use super::sealing::{NoRing, version_of};
use super::values::ReadError;
use crate::api::{Reason, names};
use crate::source::sealed::{OpenError, Ring, Scope};
use crate::value::SecretValue;

/// A value with its version, or why there is none.
pub type Opened = Result<(SecretValue, String), Issue>;

/// Opens what is sealed, by position in `spec.data`.
///
/// # Errors
/// When it is not known yet which identities there are.
pub async fn open_all(pass: &Pass<'_>) -> Result<HashMap<usize, Opened>, ReadError> {
    let sealed: Vec<(usize, String, String)> = pass
        .vs
        .spec
        .data
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| {
            Some((index, entry.key.clone(), entry.value_from.as_ref()?.sealed.as_ref()?.clone()))
        })
        .collect();
    if sealed.is_empty() {
        return Ok(HashMap::new());
    }
    let ring = match pass.ctx.sealing.ring() {
        Ok(ring) => ring,
        Err(NoRing::Unseen) => return Err(ReadError::Api(NoRing::Unseen.to_string())),
        Err(NoRing::Unusable(why)) => {
            return Ok(sealed.into_iter().map(|(index, key, _)| (index, Err(refused(&key, &why)))).collect());
        }
    };
    let place = Place {
        namespace: pass.key.namespace.to_string(),
        name: pass.key.name.to_string(),
        system: pass.ctx.settings.operator_namespace.clone(),
    };
    // Arithmetic only, but by somebody else's choice a lot of it: it holds up no other object.
    let opened = tokio::task::spawn_blocking(move || {
        sealed.into_iter().map(|(index, key, text)| (index, open(&ring, &place, &key, &text))).collect()
    });
    opened.await.map_err(|_| ReadError::Api("opening the sealed values was cut short".to_owned()))
}

struct Place {
    namespace: String,
    name: String,
    system: String,
}

fn open(ring: &Arc<Ring>, place: &Place, key: &str, text: &str) -> Opened {
    let scope = Scope::new(&place.namespace, &place.name, key).map_err(|error| refused(key, &error.to_string()))?;
    open_one(ring, &scope, text, &place.system).map(|value| (value, version_of(ring)))
}

/// Opens one sealed value for its place. Pure.
///
/// # Errors
/// Why it would be refused, and what to do about it.
pub fn open_one(ring: &Ring, scope: &Scope, text: &str, system: &str) -> Result<SecretValue, Issue> {
    ring.open(scope, text)
        .map(|(value, _)| value)
        .map_err(|error| refused(scope.key(), &advice(&error, scope, ring, system)))
}

fn refused(key: &str, text: &str) -> Issue {
    Issue::new(Reason::ValueRefused, format!("key {key}: {text}"))
}

/// What is wrong, and what to do about it.
fn advice(error: &OpenError, scope: &Scope, ring: &Ring, system: &str) -> String {
    let again = format!(
        "seal the value for this place: vaultsecret seal --namespace {} --name {} --key {}",
        scope.namespace(),
        scope.name(),
        scope.key()
    );
    match error {
        OpenError::NoIdentity => format!(
            "none of the operator's identities opens the sealed value: it was sealed to another recipient than {}, or damaged; \
             {again}; or give the identity back to Secret {system}/{}",
            ring.newest(),
            names::SEALING_IDENTITIES
        ),
        OpenError::Newer => format!("{error}; upgrade the operator"),
        _ => format!("{error}; {again}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::source::sealed::{generate, seal};

    fn ring() -> Arc<Ring> {
        Arc::new(Ring::read([("i1".to_owned(), generate())]).0.unwrap())
    }

    fn place(namespace: &str) -> Place {
        Place { namespace: namespace.to_owned(), name: "app".to_owned(), system: "ops".to_owned() }
    }

    #[test]
    fn a_refusal_says_what_to_do_and_shows_no_value() {
        let (mine, other) = (ring(), ring());
        let scope = Scope::new("shop", "app", "KEY").unwrap();
        let text = seal(&[mine.newest()], &scope, b"hunter2").unwrap();
        let (value, version) = open(&mine, &place("shop"), "KEY", &text).unwrap();
        assert_eq!((value.expose(), version), (&b"hunter2"[..], version_of(&mine)));
        for (ring, namespace, key, text, part) in [
            (&other, "shop", "KEY", text.as_str(), "another recipient than age1"),
            (&mine, "attacker", "KEY", &text, "another namespace; seal the value for this place"),
            (&mine, "shop", "OTHER", &text, "sealed for key KEY of VaultSecret app"),
            (&mine, "shop", "KEY", "hunter2", "not what `vaultsecret seal` printed"),
        ] {
            let issue = open(ring, &place(namespace), key, text).unwrap_err();
            assert_eq!(issue.reason, Reason::ValueRefused);
            let said = &issue.message;
            assert!(said.starts_with(&format!("key {key}: ")) && said.contains(part), "{said}");
            assert!(said.contains(&format!("--namespace {namespace} --name app --key {key}")), "{said}");
            assert!(!said.contains("hunter2") && !said.contains("AGE-SECRET"), "{said}");
        }
        let issue = open(&mine, &place("attacker"), "KEY", &text).unwrap_err();
        assert!(!issue.message.contains("shop"), "names of another namespace: {}", issue.message);
    }
}
