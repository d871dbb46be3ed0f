#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const OK: Outcome = Outcome::Answered;
const DOWN: Outcome = Outcome::Transient { retry_after: None };

fn s(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

fn key(namespace: &str, name: u32) -> ObjectKey {
    ObjectKey::new(namespace, name.to_string())
}

fn lane(per_minute: u32, burst: u32, in_flight: u32) -> Core {
    let limits =
        LaneLimits { requests_per_minute: per_minute, burst, max_in_flight: in_flight, ..LaneLimits::default() };
    Core::new(limits, 7, s(0))
}

fn granted(answer: Answer) -> Granted {
    match answer {
        Answer::Granted(granted) => granted,
        Answer::Queued(place) => panic!("queued: {place:?}"),
    }
}

fn queued(answer: Answer) -> Place<Moment> {
    match answer {
        Answer::Queued(place) => place,
        Answer::Granted(granted) => panic!("granted: {granted:?}"),
    }
}

fn woken(core: &mut Core) -> Vec<String> {
    let woken = |effect| if let Effect::Wake(who) = effect { Some(who.to_string()) } else { None };
    core.take_effects().into_iter().filter_map(woken).collect()
}

/// Asks, sends one request, answers it and ends the turn.
fn once(core: &mut Core, now: Moment, who: &ObjectKey, outcome: Outcome) {
    let turn = granted(core.ask(now, who, Rank::Value, 1));
    let flight = core.take(now, turn.grant).unwrap();
    core.report(now, flight, outcome);
    core.end(now, flight);
    core.close(now, turn.grant);
}

fn paced(core: &mut Core, now: Moment, within: Option<Flight>) -> Result<Option<Flight>, Waiting<Moment>> {
    let id = core.wait(now, within);
    let mine = core.take_effects().into_iter().find_map(|effect| match effect {
        Effect::Served(served, flight) if served == id => Some(Ok(Some(flight))),
        Effect::Refused(refused, why) if refused == id => Some(Err(why)),
        _ => None,
    });
    mine.unwrap_or(Ok(None))
}

#[test]
fn with_nobody_waiting_a_turn_is_what_budget_and_places_allow() {
    let mut core = lane(60, 5, 3);
    let turn = granted(core.ask(s(0), &key("a", 0), Rank::Value, 9));
    assert_eq!((turn.requests, turn.at_once), (5, 3));
    let first: Vec<_> = (0..4).map_while(|_| core.take(s(0), turn.grant)).collect();
    assert_eq!(first.len(), 3, "no more at once than places");
    core.end(s(0), first[0]);
    assert!(core.take(s(0), turn.grant).is_some());
    assert!(woken(&mut core).is_empty());
}

#[test]
fn a_dropped_turn_gives_everything_back() {
    let mut core = lane(60, 5, 3);
    let turn = granted(core.ask(s(0), &key("a", 0), Rank::Value, 5));
    assert_eq!(core.status(s(0)).tokens, 0);
    core.close(s(0), turn.grant);
    let status = core.status(s(0));
    assert_eq!((status.tokens, status.reserved, status.in_flight), (5, 0, 0));
    assert_eq!(core.next_due(s(0)), None, "at rest nothing is due");
    assert!(core.grants.is_empty() && core.held.is_empty());
}

#[test]
fn who_waits_is_woken_claims_and_is_not_asked_twice() {
    let mut core = lane(60, 1, 1);
    once(&mut core, s(0), &key("a", 0), OK);
    let place = queued(core.ask(s(0), &key("a", 1), Rank::Value, 1));
    assert_eq!(place, Place { ahead: 0, eta: Some(s(1)), because: Waiting::Budget });
    queued(core.ask(s(0), &key("b", 1), Rank::Value, 1));
    assert_eq!(core.next_due(s(0)), Some(s(1)));
    core.tick(s(1));
    assert_eq!(woken(&mut core), ["a/1"]);
    once(&mut core, s(1), &key("a", 1), OK);
    core.tick(s(2));
    assert_eq!(woken(&mut core), ["b/1"]);
}

#[test]
fn an_ask_that_finds_its_turn_due_is_granted_without_a_wake() {
    let mut core = lane(60, 1, 1);
    once(&mut core, s(0), &key("a", 0), OK);
    queued(core.ask(s(0), &key("a", 1), Rank::Value, 1));
    granted(core.ask(s(1), &key("a", 1), Rank::Value, 1));
    assert!(woken(&mut core).is_empty());
}

#[test]
fn a_turn_that_is_not_claimed_lapses_and_loses_its_place() {
    let mut core = lane(60, 1, 1);
    once(&mut core, s(0), &key("a", 0), OK);
    for name in 1..4 {
        queued(core.ask(s(0), &key("a", name), Rank::Value, 1));
    }
    core.tick(s(1));
    assert_eq!(woken(&mut core), ["a/1"]);
    assert_eq!(core.next_due(s(1)), Some(s(11)));
    core.tick(s(11));
    assert_eq!(woken(&mut core), ["a/2"]);
    assert_eq!(queued(core.ask(s(11), &key("a", 1), Rank::Value, 1)).ahead, 1, "at the tail, behind a/3");
}

#[test]
fn who_leaves_gives_its_turn_to_the_next() {
    let mut core = lane(60, 1, 1);
    once(&mut core, s(0), &key("a", 0), OK);
    for name in 1..4 {
        queued(core.ask(s(0), &key("a", name), Rank::Value, 1));
    }
    core.leave(s(0), &key("a", 2));
    core.tick(s(1));
    assert_eq!(woken(&mut core), ["a/1"]);
    core.leave(s(1), &key("a", 1));
    assert_eq!(woken(&mut core), ["a/3"]);
}

#[test]
fn while_others_wait_a_turn_is_a_quantum_and_places_are_shared() {
    let mut core = lane(60_000, 100, 4);
    let busy = granted(core.ask(s(0), &key("a", 0), Rank::Value, 4));
    for namespace in ["b", "c", "d", "e"] {
        queued(core.ask(s(0), &key(namespace, 0), Rank::Value, 50));
    }
    core.close(s(0), busy.grant);
    assert_eq!(woken(&mut core), ["b/0", "c/0", "d/0", "e/0"]);
    let turn = granted(core.ask(s(0), &key("b", 0), Rank::Value, 50));
    assert_eq!((turn.requests, turn.at_once), (25, 1));
    let less = granted(core.ask(s(0), &key("c", 0), Rank::Value, 2));
    assert_eq!(less.requests, 2, "it wants less by now");
}

#[test]
fn sixty_ahead_at_ten_a_minute_is_about_six_minutes() {
    let mut core = lane(10, 1, 4);
    once(&mut core, s(0), &key("a", 0), OK);
    for name in 1..=60 {
        queued(core.ask(s(0), &key("a", name), Rank::Value, 1));
    }
    let place = queued(core.ask(s(0), &key("a", 61), Rank::Value, 1));
    assert_eq!((place.ahead, place.eta), (60, Some(s(366))));
}

#[test]
fn retry_after_stops_everything_then_one_goes_first() {
    let mut core = lane(6000, 10, 4);
    let turn = granted(core.ask(s(0), &key("a", 0), Rank::Value, 4));
    let flights: Vec<_> = (0..3).filter_map(|_| core.take(s(0), turn.grant)).collect();
    queued(core.ask(s(0), &key("b", 0), Rank::Value, 1));
    queued(core.ask(s(0), &key("c", 0), Rank::Value, 1));
    core.end(s(0), flights[0]);
    assert_eq!(woken(&mut core), ["b/0"]);

    core.report(s(0), flights[1], Outcome::Limited { retry_after: Some(s(30)) });
    core.report(s(0), flights[2], Outcome::Limited { retry_after: Some(s(3)) });
    let limited = Waiting::Limited { until: s(30) };
    assert!(core.take(s(1), turn.grant).is_none(), "what is left of a turn is void");
    assert_eq!(
        queued(core.ask(s(1), &key("b", 0), Rank::Value, 1)),
        Place { ahead: 0, eta: Some(s(29)), because: limited }
    );
    assert_eq!(paced(&mut core, s(1), None), Err(limited));
    assert_eq!(core.next_due(s(1)), Some(s(30)));
    core.end(s(1), flights[1]);
    core.end(s(1), flights[2]);
    core.close(s(1), turn.grant);
    core.tick(s(30) - ms(1));
    assert!(woken(&mut core).is_empty());

    core.tick(s(30));
    assert_eq!(woken(&mut core), ["b/0"], "the one whose turn was withdrawn, alone");
    once(&mut core, s(30), &key("b", 0), OK);
    assert_eq!(woken(&mut core), ["c/0"]);
}

#[test]
fn breaker_opens_lets_one_through_and_prefers_a_probe() {
    let mut core = lane(6000, 20, 4);
    (0..5).for_each(|_| once(&mut core, s(0), &key("a", 0), DOWN));
    let until = match queued(core.ask(s(0), &key("a", 0), Rank::Value, 3)).because {
        Waiting::BreakerOpen { until } => until,
        other => panic!("{other:?}"),
    };
    assert!(until > ms(799) && until < ms(1201));
    assert_eq!(paced(&mut core, s(0), None), Err(Waiting::BreakerOpen { until }));
    assert_eq!(core.next_due(s(0)), Some(until));

    core.tick(until);
    assert_eq!(woken(&mut core), ["a/0"], "with no probe at hand, an object's request is the trial");
    assert_eq!(paced(&mut core, until, None), Ok(None));
    let turn = granted(core.ask(until, &key("a", 0), Rank::Value, 3));
    assert_eq!(turn.requests, 1);
    let trial = core.take(until, turn.grant).unwrap();
    queued(core.ask(until, &key("b", 0), Rank::Value, 1));
    core.report(until, trial, DOWN);
    core.end(until, trial);
    core.close(until, turn.grant);
    let refused = core.take_effects();
    let [Effect::Refused(_, Waiting::BreakerOpen { until: later })] = refused[..] else { panic!("{refused:?}") };
    assert!(later - until > ms(1599) && later - until < ms(2401), "twice as long");

    let trial = paced(&mut core, later, None).unwrap().expect("a probe goes before b/0");
    queued(core.ask(later, &key("c", 0), Rank::Value, 1));
    assert_eq!(paced(&mut core, later, None), Ok(None), "only one");
    core.report(later, trial, OK);
    assert_eq!(core.health().breaker, BreakerState::Closed);
    assert_eq!(woken(&mut core), ["b/0", "c/0"]);
}

#[test]
fn a_trial_that_is_given_up_goes_to_the_next() {
    let mut core = lane(6000, 20, 4);
    (0..5).for_each(|_| once(&mut core, s(0), &key("a", 0), DOWN));
    queued(core.ask(s(0), &key("a", 0), Rank::Value, 1));
    queued(core.ask(s(0), &key("b", 0), Rank::Value, 1));
    core.tick(s(2));
    assert_eq!(woken(&mut core), ["a/0"]);
    let turn = granted(core.ask(s(2), &key("a", 0), Rank::Value, 1));
    core.close(s(2), turn.grant);
    assert_eq!(woken(&mut core), ["b/0"]);
}

#[test]
fn timeouts_from_the_bad_time_do_not_open_the_breaker_again() {
    let mut core = lane(6000, 20, 20);
    let hanging: Vec<_> = (0..8).map(|_| paced(&mut core, s(0), None).unwrap().unwrap()).collect();
    (0..5).for_each(|_| once(&mut core, s(1), &key("a", 0), DOWN));
    once(&mut core, s(3), &key("a", 0), OK);
    for flight in hanging {
        core.report(s(10), flight, DOWN);
        core.end(s(10), flight);
    }
    assert_eq!(core.health().breaker, BreakerState::Closed);
}

#[test]
fn paused_grants_nothing_and_resumes_with_one() {
    let mut core = lane(6000, 20, 4);
    core.pause(s(0), "AuthenticationFailed".into());
    for name in 0..3 {
        let place = queued(core.ask(s(0), &key("a", name), Rank::Value, 1));
        assert_eq!((place.because, place.eta), (Waiting::Paused, None));
    }
    assert_eq!(paced(&mut core, s(1), None), Err(Waiting::Paused));
    assert_eq!(core.next_due(s(9999)), None);
    core.resume(s(10));
    assert_eq!(woken(&mut core), ["a/0"]);
    once(&mut core, s(10), &key("a", 0), OK);
    assert_eq!(woken(&mut core), ["a/1", "a/2"]);
}

#[test]
fn a_refused_credential_is_tried_one_request_at_a_time() {
    let mut core = lane(6000, 20, 2);
    let turn = granted(core.ask(s(0), &key("a", 0), Rank::Value, 2));
    let flights: Vec<_> = (0..2).filter_map(|_| core.take(s(0), turn.grant)).collect();
    queued(core.ask(s(0), &key("b", 0), Rank::Value, 1));
    queued(core.ask(s(0), &key("c", 0), Rank::Value, 1));
    for flight in flights {
        core.report(s(0), flight, Outcome::Unauthenticated);
        core.end(s(0), flight);
    }
    assert_eq!(woken(&mut core), ["b/0"]);
}

#[test]
fn a_page_of_a_list_needs_no_second_place_and_goes_first() {
    let mut core = lane(60, 1, 1);
    let list = paced(&mut core, s(0), None).unwrap().unwrap();
    let probe = core.wait(s(0), None);
    queued(core.ask(s(0), &key("a", 0), Rank::Value, 1));
    let page = core.wait(s(0), Some(list));
    assert_eq!(core.next_due(s(0)), Some(s(1)));
    core.tick(s(1));
    assert_eq!(core.take_effects(), [Effect::Served(page, list)]);
    core.tick(s(2));
    assert_eq!(core.take_effects(), [], "the list still has the only place");
    core.end(s(2), list);
    let effects = core.take_effects();
    assert!(matches!(effects[..], [Effect::Served(id, _)] if id == probe), "{effects:?}");
}

#[test]
fn a_list_that_was_cut_by_a_limit_can_go_on_when_it_holds_the_only_place() {
    let mut core = lane(60, 5, 1);
    let list = paced(&mut core, s(0), None).unwrap().unwrap();
    core.report(s(0), list, Outcome::Limited { retry_after: Some(s(5)) });
    assert!(paced(&mut core, s(1), Some(list)).is_err());
    queued(core.ask(s(1), &key("a", 0), Rank::Value, 1));
    assert_eq!(paced(&mut core, s(5), Some(list)), Ok(Some(list)));
}

#[test]
fn ten_thousand_waiting_are_all_served_in_turn() {
    let mut core = lane(60_000, 100, 8);
    core.pause(s(0), "x".into());
    for name in 0..10_000 {
        queued(core.ask(s(0), &key(&format!("ns{}", name % 7), name), Rank::Value, 1));
    }
    core.resume(s(0));
    let (mut now, mut served) = (s(0), 0);
    loop {
        for effect in core.take_effects() {
            let Effect::Wake(who) = effect else { continue };
            once(&mut core, now, &who, OK);
            served += 1;
        }
        if core.effects.is_empty() {
            let Some(due) = core.next_due(now) else { break };
            now = due;
            core.tick(now);
        }
    }
    assert_eq!(served, 10_000);
    assert!(now <= s(10), "the budget is used to the full: {now:?}");
}
