//! The last part: with nothing to do, nothing is done.

use std::time::{Duration, Instant};

use super::error::Failure;
use super::table::NOTHING;
use super::world::{OPERATOR, World};
use crate::controlplane::AuditRecord;

/// For a number of lists that come by the clock.
const LISTS: Duration = Duration::from_secs(60);
/// How many lists of each remote are awaited.
const INTERVALS: usize = 2;

/// Watches two probe intervals of each remote.
pub(super) async fn nothing_is_written(world: &World) -> Result<(), Failure> {
    world.report.heading("At rest, over two probe intervals");
    world.all_settled().await?;
    // From a list on, so that whole intervals are watched.
    lists(world, 1).await?;
    let audit = world.control_plane.audit();
    let (mark, began) = (audit.mark(), Instant::now());
    let lists = lists(world, INTERVALS).await?;
    let watched = began.elapsed();

    let user = format!("system:serviceaccount:{}:{}", OPERATOR.0, OPERATOR.1);
    let writes = audit.requests_after(mark, |record| record.user == user && is_write(record));
    let mutations: usize = world.sites.iter().map(|site| site.new_writes()).sum();
    if mutations > 0 || !writes.is_empty() {
        let line = |record: &AuditRecord| format!("{} {} ({})", record.verb, record.uri, record.code);
        let written: Vec<String> = writes.iter().map(line).collect();
        return Err(Failure::Wrong {
            expected: "no write at a remote and none of the operator to the API server while nothing changes"
                .to_owned(),
            seen: format!("{mutations} remote writes since the last step; API server: [{}]", written.join(", ")),
            site: None,
        });
    }
    let lists: usize = lists.iter().sum();
    let text = format!("{lists} lists, 0 remote writes, 0 writes of the operator to the API server");
    world.report.done(watched, &text);
    world.report.row("nothing, for two probe intervals: 0 API-server writes", NOTHING, 0);
    Ok(())
}

/// Waits for so many more lists of each remote; how many there were.
async fn lists(world: &World, wanted: usize) -> Result<Vec<usize>, Failure> {
    let from: Vec<u64> = world.sites.iter().map(|site| site.last_call()).collect();
    let seen = || -> Vec<usize> { world.sites.iter().zip(&from).map(|(site, seq)| site.lists_after(*seq)).collect() };
    let expected = format!("each remote is asked for its list {wanted} times more");
    let look = async || {
        let seen = seen();
        if seen.iter().all(|&lists| lists >= wanted) { Ok(()) } else { Err(format!("lists so far: {seen:?}")) }
    };
    world.until(None, &expected, LISTS, look).await?;
    Ok(seen())
}

fn is_write(record: &AuditRecord) -> bool {
    // Asking what one may do is a create by its verb, and stores nothing.
    let stores = !record.resource.ends_with("reviews");
    stores && ["create", "update", "patch", "delete", "deletecollection"].contains(&record.verb.as_str())
}
