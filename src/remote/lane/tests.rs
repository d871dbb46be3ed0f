#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::advance;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn key(namespace: &str, name: u32) -> ObjectKey {
    ObjectKey::new(namespace, name.to_string())
}

fn lane(per_minute: u32, burst: u32, in_flight: u32) -> (Arc<Lane>, UnboundedReceiver<ObjectKey>) {
    let (wake, woken) = unbounded_channel();
    let limits =
        LaneLimits { requests_per_minute: per_minute, burst, max_in_flight: in_flight, ..LaneLimits::default() };
    (Lane::new("kelvin".into(), limits, wake), woken)
}

fn turn(ask: Ask) -> Turn {
    match ask {
        Ask::Granted(turn) => turn,
        Ask::Queued(place) => panic!("queued: {place:?}"),
    }
}

fn place(ask: Ask) -> Place {
    match ask {
        Ask::Queued(place) => place,
        Ask::Granted(_) => panic!("granted"),
    }
}

async fn send(lane: &Arc<Lane>, who: &ObjectKey, takes: Duration, outcome: Outcome) {
    let mut turn = turn(lane.ask(who, Rank::Value, 1));
    let slot = turn.take().unwrap();
    tokio::time::sleep(takes).await;
    slot.report(outcome);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_served_at_the_pace_of_the_budget() {
    let (lane, mut woken) = lane(60, 2, 4);
    let start = Instant::now();
    let mut waiting = 0;
    for name in 0..20 {
        match lane.ask(&key("a", name), Rank::Value, 1) {
            Ask::Granted(mut turn) => turn.take().unwrap().report(Outcome::Answered),
            Ask::Queued(place) => {
                assert_eq!(place.ahead, waiting);
                waiting += 1;
            }
        }
    }
    assert_eq!(waiting, 18);
    for name in 2..20 {
        let who = woken.recv().await.unwrap();
        assert_eq!(who, key("a", name));
        send(&lane, &who, Duration::from_millis(20), Outcome::Answered).await;
    }
    assert_eq!(start.elapsed().as_secs(), 18);
}

#[tokio::test(start_paused = true)]
async fn a_hung_remote_holds_up_nobody_else() {
    let (hung, _woken) = lane(600, 20, 2);
    let (well, mut woken) = lane(60_000, 50, 2);
    let hanging: Vec<_> = (0..2)
        .map(|name| {
            let hung = Arc::clone(&hung);
            tokio::spawn(async move { send(&hung, &key("a", name), s(30), Outcome::Answered).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(place(hung.ask(&key("a", 9), Rank::Value, 1)).because, Waiting::InFlight);
    let start = Instant::now();
    for name in 0..500 {
        if let Ask::Granted(mut turn) = well.ask(&key("b", name), Rank::Value, 1) {
            turn.take().unwrap().report(Outcome::Answered);
        } else {
            let who = woken.recv().await.unwrap();
            turn(well.ask(&who, Rank::Value, 1)).take().unwrap().report(Outcome::Answered);
        }
    }
    assert!(start.elapsed() < s(2), "{:?}", start.elapsed());
    assert!(hanging.iter().all(|task| !task.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_is_thirty_seconds_of_silence_and_two_notices() {
    let (lane, mut woken) = lane(6000, 50, 8);
    let mut changed = lane.changed();
    let mut turn = turn(lane.ask(&key("a", 0), Rank::Value, 8));
    let slots: Vec<_> = std::iter::from_fn(|| turn.take()).collect();
    assert_eq!(slots.len(), 8);
    let start = Instant::now();
    for slot in slots {
        slot.report(Outcome::Limited { retry_after: Some(s(30)) });
        advance(Duration::from_millis(10)).await;
    }
    drop(turn);
    assert!(changed.has_changed().unwrap());
    let until = changed.borrow_and_update().limited_until.unwrap();
    for name in 0..3 {
        let place = place(lane.ask(&key("b", name), Rank::Value, 1));
        assert!(matches!(place.because, Waiting::Limited { .. }) && place.eta.unwrap() > s(29));
    }
    assert!(matches!(lane.pace().await, Err(Waiting::Limited { .. })));
    assert!(!changed.has_changed().unwrap(), "eight refusals are one transition");
    let who = woken.recv().await.unwrap();
    assert_eq!((who.clone(), start.elapsed().as_secs()), (key("b", 0), 30));
    assert!(woken.try_recv().is_err(), "one goes first");
    send(&lane, &who, Duration::from_millis(20), Outcome::Answered).await;
    assert_eq!(woken.recv().await.unwrap(), key("b", 1));
    assert_eq!(woken.recv().await.unwrap(), key("b", 2));
    assert!(changed.has_changed().unwrap());
    assert_eq!(changed.borrow_and_update().limited_until, None);
    assert!(until > lane.started_at);
}

#[tokio::test(start_paused = true)]
async fn breaker_transitions_are_told_once_each() {
    let (lane, _woken) = lane(6000, 50, 8);
    let mut changed = lane.changed();
    let mut turn = turn(lane.ask(&key("a", 0), Rank::Value, 8));
    for slot in std::iter::from_fn(|| turn.take()).collect::<Vec<_>>() {
        slot.report(Outcome::Transient { retry_after: None });
    }
    drop(turn);
    changed.changed().await.unwrap();
    assert!(matches!(changed.borrow_and_update().breaker, BreakerState::Open { .. }));
    assert!(matches!(lane.try_pace(), Err(Waiting::BreakerOpen { .. })));
    changed.changed().await.unwrap();
    assert_eq!(changed.borrow_and_update().breaker, BreakerState::HalfOpen);
    let probe = lane.pace().await.unwrap();
    assert!(matches!(lane.try_pace(), Err(Waiting::InFlight)));
    assert!(!changed.has_changed().unwrap());
    probe.report(Outcome::Answered);
    drop(probe);
    assert!(changed.has_changed().unwrap());
    assert_eq!(changed.borrow_and_update().breaker, BreakerState::Closed);
    assert!(lane.try_pace().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_turn_nobody_claims_goes_to_the_next() {
    let (lane, mut woken) = lane(60, 1, 1);
    send(&lane, &key("a", 0), Duration::ZERO, Outcome::Answered).await;
    for name in 1..3 {
        assert_eq!(place(lane.ask(&key("a", name), Rank::Value, 1)).because, Waiting::Budget);
    }
    assert_eq!(lane.position(&key("a", 2)).unwrap().ahead, 1);
    assert_eq!(woken.recv().await.unwrap(), key("a", 1));
    let start = Instant::now();
    assert_eq!(woken.recv().await.unwrap(), key("a", 2));
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(lane.position(&key("a", 1)).is_none());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_request_can_be_given_up() {
    let (lane, _woken) = lane(60, 1, 1);
    let first = lane.pace().await.unwrap();
    assert!(tokio::time::timeout(s(5), lane.pace()).await.is_err(), "the only place is taken");
    drop(first);
    assert_eq!(lane.state().in_flight, 0);
    assert!(lane.lock().waiters.is_empty());
    assert!(lane.pace().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn pages_are_paid_for_and_wait_a_limit_out() {
    let (lane, _woken) = lane(60, 1, 1);
    let slot = Arc::new(lane.pace().await.unwrap());
    let (pages, start) = (slot.pages(), Instant::now());
    pages().await;
    pages().await;
    assert_eq!(start.elapsed().as_secs(), 2);
    slot.report(Outcome::Limited { retry_after: Some(s(60)) });
    pages().await;
    assert_eq!(start.elapsed().as_secs(), 62);
}

#[tokio::test(start_paused = true)]
async fn new_limits_and_a_resume_take_effect_at_once() {
    let (lane, mut woken) = lane(60, 1, 1);
    let first = lane.pace().await.unwrap();
    assert_eq!(place(lane.ask(&key("a", 0), Rank::Value, 1)).because, Waiting::Budget);
    lane.set_limits(LaneLimits { requests_per_minute: 60_000, max_in_flight: 2, ..LaneLimits::default() });
    assert_eq!(woken.recv().await.unwrap(), key("a", 0));
    lane.pause("AuthenticationFailed");
    assert_eq!(lane.changed().borrow().paused.as_deref(), Some("AuthenticationFailed"));
    assert_eq!(place(lane.ask(&key("a", 0), Rank::Value, 1)).because, Waiting::Paused);
    drop(first);
    lane.resume();
    assert_eq!(woken.recv().await.unwrap(), key("a", 0));
}

#[tokio::test(start_paused = true)]
async fn the_timer_sleeps_at_rest_and_ends_with_the_lane() {
    let (lane, mut woken) = lane(60, 1, 1);
    send(&lane, &key("a", 0), Duration::ZERO, Outcome::Answered).await;
    tokio::task::yield_now().await;
    assert_eq!(lane.lock().alarm, None, "nothing is due");
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 1);
    drop(lane);
    assert!(woken.recv().await.is_none(), "nobody can be woken any more");
    tokio::task::yield_now().await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}
