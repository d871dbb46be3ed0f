//! When an object that is going is let go, whatever is left of its entries at the remote.
//!
//! `deletionTimestamp` is the API server's clock, and the deadline is judged here. A clock that is ahead of the API server's would
//! give entries up before their time, all at once, after a start for one: so the two are compared, by the `Date` of an answer.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use kube::core::Request;
use kube::core::params::GetParams;

use super::context::Context;
use crate::sync::plan::after;

/// Limit of the request that asks for the time.
const LIMIT: Duration = Duration::from_secs(5);

/// How far the API server's clock is ahead of ours, or a little less; `None` when it does not tell. Any answer tells it, a refusal
/// too.
pub async fn server_ahead(ctx: &Context) -> Option<SignedDuration> {
    let request = Request::new("").get("version", &GetParams::default()).ok()?.map(Body::from);
    let answer = tokio::time::timeout(LIMIT, ctx.client.send(request)).await.ok()?.ok()?;
    let date = answer.headers().get("date")?.to_str().ok()?;
    Some(ahead(parse(date)?, ctx.clock.now()))
}

fn parse(date: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
}

/// How far a clock is ahead that showed `date`, cut to the second, before `ended` by ours. Rather less than more: the deadline comes
/// later then.
fn ahead(date: Timestamp, ended: Timestamp) -> SignedDuration {
    date.duration_since(ended)
}

/// When the deadline of a deletion is over, by our clock. Where nothing is known of the API server's clock, it is not over before it
/// would be if the object had been deleted when this process first saw it so.
#[must_use]
pub fn deadline(
    deleted: Timestamp,
    limit: Duration,
    server_ahead: Option<SignedDuration>,
    first_seen: Timestamp,
) -> Timestamp {
    let since = match server_ahead {
        Some(ahead) => deleted.checked_sub(ahead).unwrap_or(first_seen),
        None => deleted.max(first_seen),
    };
    after(since, limit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::controller::fixture::Fixture;

    const LIMIT: Duration = Duration::from_secs(900);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_deadline_is_as_long_whatever_the_clocks_show() {
        // Deleted when ours showed 1000, seen at once or after a restart.
        for skew in [-7200, -901, -1, 0, 1, 901, 7200] {
            for first_seen in [1000, 1500] {
                let deleted = at(1000 + skew);
                let told = ahead(at(1600 + skew), at(1600));
                assert_eq!(deadline(deleted, LIMIT, Some(told), at(first_seen)), at(1900), "{skew}");
            }
        }
    }

    #[test]
    fn it_does_not_come_early_where_the_clock_is_not_known() {
        assert_eq!(deadline(at(0), LIMIT, None, at(1000)), at(1900), "ours is ahead, or it was deleted long ago");
        assert_eq!(deadline(at(1000), LIMIT, None, at(400)), at(1900), "ours is behind");
    }

    #[tokio::test]
    async fn an_answer_of_the_api_server_tells_its_clock() {
        let fixture = Fixture::start().await;
        let ahead = server_ahead(&fixture.ctx).await.unwrap();
        assert!(ahead <= SignedDuration::ZERO && ahead > SignedDuration::from_secs(-5), "{ahead:?}");
        assert_eq!(parse("Wed, 21 Oct 2015 07:28:00 GMT"), Some(at(1_445_412_480)));
    }
}
