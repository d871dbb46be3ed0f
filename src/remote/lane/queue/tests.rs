#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

fn key(namespace: &str, name: usize) -> ObjectKey {
    ObjectKey::new(namespace, name.to_string())
}

fn drain(queue: &mut Queue) -> Vec<String> {
    std::iter::from_fn(|| queue.pop()).map(|(who, _)| who.to_string()).collect()
}

#[test]
fn goes_by_rank_then_round_over_namespaces_then_first_come() {
    let mut queue = Queue::default();
    for name in 0..3 {
        queue.enter(&key("a", name), Rank::Value, 1);
    }
    queue.enter(&key("c", 0), Rank::Confirm, 1);
    queue.enter(&key("d", 0), Rank::Delete, 1);
    queue.enter(&key("b", 0), Rank::Value, 1);
    queue.enter(&key("b", 1), Rank::Value, 1);
    assert_eq!(drain(&mut queue), ["a/0", "b/0", "a/1", "b/1", "a/2", "d/0", "c/0"]);
}

#[test]
fn asking_again_keeps_the_place_and_a_better_rank_moves() {
    let mut queue = Queue::default();
    for name in 0..3 {
        queue.enter(&key("a", name), Rank::Delete, 1);
    }
    queue.enter(&key("a", 0), Rank::Confirm, 7);
    assert_eq!(queue.ahead(&key("a", 0)), Some(0));
    assert_eq!(queue.mean_want(), 3);
    queue.enter(&key("a", 2), Rank::Value, 1);
    assert_eq!(queue.ahead(&key("a", 0)), Some(1));
    assert_eq!(drain(&mut queue), ["a/2", "a/0", "a/1"]);
}

#[test]
fn what_is_put_back_is_first_again() {
    let mut queue = Queue::default();
    for name in 0..2 {
        queue.enter(&key("a", name), Rank::Value, 1);
        queue.enter(&key("b", name), Rank::Value, 1);
    }
    let taken: Vec<_> = (0..2).map(|_| queue.pop().unwrap().0).collect();
    for who in taken.iter().rev() {
        queue.put_back(who, Rank::Value, 1);
    }
    assert_eq!(drain(&mut queue), ["a/0", "b/0", "a/1", "b/1"]);
}

#[test]
fn a_crowd_of_one_namespace_does_not_starve_another() {
    let mut queue = Queue::default();
    for name in 0..10_000 {
        queue.enter(&key("crowd", name), Rank::Value, 1);
    }
    queue.enter(&key("one", 0), Rank::Value, 1);
    assert_eq!(queue.ahead(&key("one", 0)), Some(1));
    assert_eq!(queue.ahead(&key("crowd", 9_999)), Some(10_000));
    assert_eq!(queue.pop().unwrap().0, key("crowd", 0));
    assert_eq!(queue.pop().unwrap().0, key("one", 0));
    for name in 0..10_000 {
        queue.leave(&key("crowd", name));
    }
    assert!(queue.is_empty());
    assert!(queue.rows.capacity() <= 128 && queue.lines[0].spaces.is_empty() && queue.lines[0].ring.is_empty());
}

/// The obvious slow version: what must come out.
#[derive(Default)]
struct Model {
    rings: [Vec<(String, Vec<ObjectKey>)>; 3],
}

impl Model {
    fn rank_of(&self, who: &ObjectKey) -> Option<usize> {
        (0..3).find(|rank| self.rings[*rank].iter().any(|(_, names)| names.contains(who)))
    }

    fn leave(&mut self, who: &ObjectKey) {
        for ring in &mut self.rings {
            for (_, names) in ring.iter_mut() {
                names.retain(|name| name != who);
            }
            ring.retain(|(_, names)| !names.is_empty());
        }
    }

    fn enter(&mut self, who: &ObjectKey, rank: usize) {
        if self.rank_of(who).is_some_and(|now| now <= rank) {
            return;
        }
        self.leave(who);
        match self.rings[rank].iter_mut().find(|(namespace, _)| **namespace == *who.namespace) {
            Some((_, names)) => names.push(who.clone()),
            None => self.rings[rank].push((who.namespace.to_string(), vec![who.clone()])),
        }
    }

    fn pop(&mut self) -> Option<ObjectKey> {
        let ring = self.rings.iter_mut().find(|ring| !ring.is_empty())?;
        let (namespace, mut names) = ring.remove(0);
        let who = names.remove(0);
        if !names.is_empty() {
            ring.push((namespace, names));
        }
        Some(who)
    }
}

const RANKS: [Rank; 3] = [Rank::Value, Rank::Delete, Rank::Confirm];

proptest! {
    #[test]
    fn behaves_as_the_obvious_version(steps in prop::collection::vec((0..6u8, 0..4usize, 0..5usize, 0..3usize), 1..120)) {
        let (mut queue, mut model) = (Queue::default(), Model::default());
        for (what, namespace, name, rank) in steps {
            let who = key(["a", "b", "c", "d"][namespace], name);
            match what {
                0..=3 => {
                    queue.enter(&who, RANKS[rank], 1);
                    model.enter(&who, rank);
                }
                4 => {
                    queue.leave(&who);
                    model.leave(&who);
                }
                _ => prop_assert_eq!(queue.pop().map(|(who, _)| who), model.pop()),
            }
            prop_assert_eq!(queue.len(), queue.lens().iter().sum::<u32>() as usize);
        }
        // What each was told is what comes true, to within a round.
        let mut told = Vec::new();
        for ring in &model.rings {
            for (_, names) in ring {
                told.extend(names.iter().enumerate().map(|(at, who)| (at, who.clone(), queue.ahead(who).unwrap())));
            }
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(who, _)| who).collect();
        for (at, who, told) in told {
            let ahead = u32::try_from(order.iter().position(|other| *other == who).unwrap()).unwrap();
            prop_assert!(told >= ahead && told < ahead + 4, "{} told {} was {}", who, told, ahead);
            prop_assert!(at > 0 || told == ahead, "exact for the first of a namespace");
        }
        prop_assert_eq!(order, std::iter::from_fn(|| model.pop()).collect::<Vec<_>>());
        prop_assert!(queue.lines.iter().all(|line| line.depth.is_empty() && line.spaces.is_empty()));
        prop_assert_eq!(queue.wanted, 0);
    }
}
