//! What the status says of the namespaces. Pure.

use kube::core::ObjectMeta;

use crate::api::cluster_vault_secret::{ClusterVaultSecretStatus, NamespaceStatus};
use crate::api::condition::{self, Wanted, types};
use crate::api::{ClusterReason, NamespaceReason, VaultSecret};
use crate::controller::object::is_on_its_way;

/// Most namespaces that are listed one by one.
const LISTED: usize = 100;
/// Longest message of one of them, in bytes.
const MESSAGE_BYTES: usize = 256;

/// What holds in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The namespace.
    pub name: String,
    /// It has what it should.
    pub ready: bool,
    /// It is about to, by itself.
    pub passing: bool,
    /// Only a person can end it.
    pub stalled: bool,
    /// It is not to have it any more.
    pub leaving: bool,
    /// Why, in a word.
    pub reason: String,
    /// One sentence; empty when it is ready.
    pub message: String,
}

impl Place {
    /// It has what it should.
    #[must_use]
    pub fn ready(name: &str) -> Self {
        let reason = NamespaceReason::Synced.as_str().to_owned();
        let (name, message) = (name.to_owned(), String::new());
        Self { name, ready: true, passing: false, stalled: false, leaving: false, reason, message }
    }

    /// It is not as it should be.
    #[must_use]
    pub fn not_ready(name: &str, reason: NamespaceReason, message: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            ready: false,
            passing: reason == NamespaceReason::Pending,
            stalled: reason.is_stalled(),
            leaving: false,
            reason: reason.as_str().to_owned(),
            message: message.into(),
        }
    }

    /// What the VaultSecret there says of itself.
    #[must_use]
    pub fn of(name: &str, vs: &VaultSecret) -> Self {
        if vs.metadata.deletion_timestamp.is_some() {
            return Self::not_ready(name, NamespaceReason::Pending, "the VaultSecret is going; another follows it");
        }
        let status = vs.status.clone().unwrap_or_default();
        let told = condition::find(&status.conditions, types::READY);
        let Some(told) = told.filter(|_| status.observed_generation == vs.metadata.generation) else {
            return Self::not_ready(name, NamespaceReason::Pending, "the VaultSecret has not been looked at yet");
        };
        if told.status == "True" {
            return Self::ready(name);
        }
        Self {
            name: name.to_owned(),
            ready: false,
            passing: is_on_its_way(&told.reason),
            stalled: condition::find(&status.conditions, types::STALLED).is_some_and(|c| c.status == "True"),
            leaving: false,
            reason: told.reason.clone(),
            message: told.message.clone(),
        }
    }
}

/// Adds the places where something is to go and is still there. One that is to have it, and is not ready, says that first.
pub fn add_left<'a>(places: &mut Vec<Place>, left: impl Iterator<Item = (&'a str, String)>) {
    for (name, message) in left {
        let told = Place::not_ready(name, NamespaceReason::WriteFailed, message);
        match places.iter_mut().find(|place| place.name == name) {
            Some(place) if place.ready => *place = told,
            Some(_) => {}
            None => places.push(Place { leaving: true, ..told }),
        }
    }
}

/// What holds of the whole.
#[derive(Debug, Default)]
pub struct Observed {
    /// Each namespace that is to have it.
    pub places: Vec<Place>,
    /// The one VaultSecret of all, under Shared, as a place.
    pub lead: Option<Place>,
    /// What stands in the way of all of it.
    pub problem: Option<(ClusterReason, String)>,
    /// See the status.
    pub copies: Option<String>,
}

impl Observed {
    /// How many namespaces are to have it.
    fn wanted(&self) -> usize {
        self.places.iter().filter(|place| !place.leaving).count()
    }
}

/// What the status is to say, but for the times of its conditions.
#[derive(Debug)]
pub struct Told {
    /// The reason of `Ready`.
    pub reason: ClusterReason,
    /// Its sentence.
    pub message: String,
}

impl Told {
    /// Whether `Ready` is `True` with that reason.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.reason, ClusterReason::Synced | ClusterReason::NoNamespaces)
    }
}

/// The reason that `Ready` has, and its sentence.
#[must_use]
pub fn tell(observed: &Observed) -> Told {
    if let Some((reason, message)) = &observed.problem {
        return Told { reason: *reason, message: message.clone() };
    }
    let ready = observed.places.iter().filter(|place| place.ready).count();
    let counts = format!("{ready} of {} namespaces have it", observed.wanted());
    if let Some(lead) = observed.lead.as_ref().filter(|lead| !lead.ready) {
        let reason = if lead.passing { ClusterReason::Progressing } else { ClusterReason::SharedNotReady };
        let message = format!("{counts}; the VaultSecret in {}: {}: {}", lead.name, lead.reason, lead.message);
        return Told { reason, message };
    }
    let name_first = |places: Vec<&Place>| {
        let first = places.first().map(|p| format!("; {}: {}: {}", p.name, p.reason, p.message)).unwrap_or_default();
        let more = if places.len() > 1 { format!("; and {} more", places.len() - 1) } else { String::new() };
        format!("{counts}{first}{more}")
    };
    let failing: Vec<_> = observed.places.iter().filter(|place| !place.ready && !place.passing).collect();
    if !failing.is_empty() {
        return Told { reason: ClusterReason::NamespacesNotReady, message: name_first(failing) };
    }
    if ready < observed.wanted() {
        let waiting = observed.places.iter().filter(|place| !place.ready).collect();
        return Told { reason: ClusterReason::Progressing, message: name_first(waiting) };
    }
    if observed.wanted() == 0 {
        let message = "no namespace matches spec.namespaces".to_owned();
        return Told { reason: ClusterReason::NoNamespaces, message };
    }
    Told { reason: ClusterReason::Synced, message: counts }
}

/// The status that says so, made from the one before.
#[must_use]
pub fn compose(
    before: &ClusterVaultSecretStatus,
    meta: &ObjectMeta,
    observed: &Observed,
    told: &Told,
    now: jiff::Timestamp,
) -> ClusterVaultSecretStatus {
    let mut status = before.clone();
    let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let ready = observed.places.iter().filter(|place| place.ready).count();
    status.observed_generation = meta.generation;
    status.matching = Some(count(observed.wanted()));
    status.ready = Some(count(ready));
    status.ready_namespaces = Some(format!("{ready}/{}", observed.wanted()));
    status.copies.clone_from(&observed.copies);
    let mut places: Vec<&Place> = observed.places.iter().collect();
    places.sort_by(|a, b| (rank(a), &a.name).cmp(&(rank(b), &b.name)));
    status.namespaces = places.into_iter().take(LISTED).map(listed).collect();
    let (reason, message) = (told.reason.as_str(), told.message.clone());
    let mut set = |kind, status_: &'static str| {
        let wanted = Wanted { kind, status: status_, reason, message: cut(&message, 4 * MESSAGE_BYTES) };
        condition::upsert(&mut status.conditions, wanted, meta.generation, now);
    };
    set(types::READY, if told.is_ready() { "True" } else { "False" });
    let becomes = becomes(observed, told);
    if let Some(kind) = becomes {
        set(kind, "True");
    }
    for kind in [types::RECONCILING, types::STALLED].into_iter().filter(|kind| becomes != Some(*kind)) {
        condition::remove(&mut status.conditions, kind);
    }
    status
}

/// What kstatus is told beside Ready: that it goes on by itself, or only when a person sees to it; nothing when all is well.
fn becomes(observed: &Observed, told: &Told) -> Option<&'static str> {
    let stalled = match told.reason {
        ClusterReason::Synced | ClusterReason::NoNamespaces => return None,
        ClusterReason::Invalid | ClusterReason::NamesCollide => true,
        ClusterReason::SharedNotReady => observed.lead.as_ref().is_some_and(|lead| lead.stalled),
        ClusterReason::NamespacesNotReady => observed.places.iter().any(|place| place.stalled),
        ClusterReason::Progressing | ClusterReason::ConnectionMissing => false,
    };
    Some(if stalled { types::STALLED } else { types::RECONCILING })
}

/// What a person has to see first comes first.
fn rank(place: &Place) -> u8 {
    match place {
        Place { ready: true, .. } => 2,
        Place { passing: true, .. } => 1,
        _ => 0,
    }
}

fn listed(place: &Place) -> NamespaceStatus {
    NamespaceStatus {
        name: place.name.clone(),
        ready: place.ready,
        reason: place.reason.clone(),
        message: cut(&place.message, MESSAGE_BYTES),
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most { text.to_owned() } else { format!("{}…", &text[..text.floor_char_boundary(most)]) }
}

/// Whether two statuses say the same of `Ready`, and of the same spec: what else differs can wait.
#[must_use]
pub fn same_ready(a: &ClusterVaultSecretStatus, b: &ClusterVaultSecretStatus) -> bool {
    let of = |status: &ClusterVaultSecretStatus| {
        condition::find(&status.conditions, types::READY).map(|c| (c.status.clone(), c.reason.clone()))
    };
    a.observed_generation == b.observed_generation && of(a) == of(b)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn failing(name: &str) -> Place {
        Place::not_ready(name, NamespaceReason::TargetConflict, "Secret \"app\" is not ours")
    }

    fn pending(name: &str) -> Place {
        Place::not_ready(name, NamespaceReason::Pending, "soon")
    }

    fn told(places: Vec<Place>, lead: Option<Place>) -> (ClusterReason, String) {
        let told = tell(&Observed { places, lead, ..Observed::default() });
        (told.reason, told.message)
    }

    #[test]
    fn a_failing_namespace_is_told_before_one_that_waits() {
        assert_eq!(told(vec![], None).0, ClusterReason::NoNamespaces);
        assert_eq!(
            told(vec![Place::ready("a")], None),
            (ClusterReason::Synced, "1 of 1 namespaces have it".to_owned())
        );
        assert_eq!(told(vec![Place::ready("a"), pending("b")], None).0, ClusterReason::Progressing);
        let (reason, message) = told(vec![Place::ready("a"), pending("b"), failing("c"), failing("d")], None);
        assert_eq!(reason, ClusterReason::NamespacesNotReady);
        assert_eq!(message, "1 of 4 namespaces have it; c: TargetConflict: Secret \"app\" is not ours; and 1 more");
        assert_eq!(told(vec![failing("a")], Some(failing("system"))).0, ClusterReason::SharedNotReady);
        assert_eq!(told(vec![Place::ready("a")], Some(pending("system"))).0, ClusterReason::Progressing);
    }

    #[test]
    fn a_vault_secret_speaks_for_its_namespace() {
        let of = |generation: i64, ready: &str, reason: &str| {
            let vs: VaultSecret = serde_json::from_value(json!({
                "metadata": {"name": "app", "generation": 2},
                "spec": {"connectionRef": {"name": "c"}},
                "status": {"observedGeneration": generation, "conditions": [{"type": "Ready", "status": ready,
                    "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
            }))
            .unwrap();
            let place = Place::of("shop", &vs);
            (place.ready, place.passing, place.reason)
        };
        assert_eq!(of(2, "True", "Synced"), (true, false, "Synced".to_owned()));
        assert_eq!(of(1, "True", "Synced"), (false, true, "Pending".to_owned()), "of an earlier spec");
        assert_eq!(of(2, "False", "Queued"), (false, true, "Queued".to_owned()));
        assert_eq!(of(2, "False", "RemoteError"), (false, false, "RemoteError".to_owned()));
    }

    #[test]
    fn a_status_is_bounded_and_says_the_same_when_nothing_changed() {
        let mut places: Vec<_> = (0..300).map(|n| Place::ready(&format!("ready-{n:03}"))).collect();
        places.push(Place::not_ready("bad", NamespaceReason::WriteFailed, "x".repeat(5000)));
        places.push(pending("slow"));
        let observed = Observed { places, ..Observed::default() };
        let meta = ObjectMeta { generation: Some(3), ..ObjectMeta::default() };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let status = compose(&ClusterVaultSecretStatus::default(), &meta, &observed, &tell(&observed), now);
        assert_eq!((status.matching, status.ready), (Some(302), Some(300)));
        assert_eq!(status.ready_namespaces.as_deref(), Some("300/302"));
        let names: Vec<_> = status.namespaces.iter().map(|n| n.name.as_str()).collect();
        assert_eq!((names.len(), &names[..3]), (100, &["bad", "slow", "ready-000"][..]));
        assert!(serde_json::to_string(&status).unwrap().len() < 20_000);
        let later = "2026-01-02T00:00:00Z".parse().unwrap();
        let again = compose(&status, &meta, &observed, &tell(&observed), later);
        assert!(again == status && same_ready(&again, &status));
        let good = Observed { places: vec![Place::ready("a")], ..Observed::default() };
        let good = compose(&status, &meta, &good, &tell(&good), later);
        assert!(!same_ready(&good, &status));
        assert_eq!(condition::find(&good.conditions, types::READY).unwrap().status, "True");
    }

    #[test]
    fn what_waits_for_a_person_is_stalled() {
        let problem = |reason| Observed { problem: Some((reason, "no".to_owned())), ..Observed::default() };
        let places = |places: Vec<Place>| Observed { places, ..Observed::default() };
        let failed = |name| Place::not_ready(name, NamespaceReason::WriteFailed, "a quota");
        let shared = |lead| Observed { lead: Some(lead), ..Observed::default() };
        for (observed, kind) in [
            (problem(ClusterReason::Invalid), types::STALLED),
            (problem(ClusterReason::NamesCollide), types::STALLED),
            (problem(ClusterReason::ConnectionMissing), types::RECONCILING),
            (places(vec![pending("a")]), types::RECONCILING),
            (places(vec![failed("a")]), types::RECONCILING),
            (places(vec![failed("a"), failing("b")]), types::STALLED),
            (shared(failing("system")), types::STALLED),
            (shared(failed("system")), types::RECONCILING),
        ] {
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            let meta = ObjectMeta { generation: Some(3), ..ObjectMeta::default() };
            let status = compose(&ClusterVaultSecretStatus::default(), &meta, &observed, &tell(&observed), now);
            let kinds: Vec<_> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
            assert_eq!(kinds, ["Ready", kind], "{observed:?}");
            assert!(status.conditions.iter().all(|c| c.observed_generation == Some(3)));
            let well = places(vec![Place::ready("a")]);
            let well = compose(&status, &meta, &well, &tell(&well), now);
            assert_eq!(well.conditions.len(), 1, "nothing stays when all is well");
        }
    }

    #[test]
    fn what_is_to_go_and_does_not_is_told_and_counts_for_nobody() {
        let left = |names: &[&'static str]| names.iter().map(|name| (*name, "it stays".to_owned())).collect::<Vec<_>>();
        let mut places = vec![Place::ready("a"), Place::ready("b"), pending("c")];
        add_left(&mut places, left(&["b", "c", "old"]).into_iter());
        let (reason, message) = told(places.clone(), None);
        assert_eq!(reason, ClusterReason::NamespacesNotReady);
        assert_eq!(message, "1 of 3 namespaces have it; b: WriteFailed: it stays; and 1 more");
        assert_eq!(places.iter().map(|p| &*p.name).collect::<Vec<_>>(), ["a", "b", "c", "old"], "each once");
        assert_eq!(places[2].reason, "Pending");
        let mut places = Vec::new();
        add_left(&mut places, left(&["old"]).into_iter());
        let observed = Observed { places, ..Observed::default() };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let before = ClusterVaultSecretStatus::default();
        let status = compose(&before, &ObjectMeta::default(), &observed, &tell(&observed), now);
        assert_eq!((status.matching, status.namespaces.len()), (Some(0), 1));
        assert_eq!(tell(&observed).reason, ClusterReason::NamespacesNotReady);
    }
}
