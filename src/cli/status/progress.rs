//! The bar of a bulk. Pure.

use std::time::Duration;

use super::estimate::Outlook;
use crate::cli::show::span;

const WIDTH: u32 = 30;

/// A bar with what is left.
pub(super) fn bar(sum: &Outlook, left: Option<Duration>) -> String {
    let (done, total) = (sum.synced_entries, sum.total_entries);
    let filled = (u64::from(done) * u64::from(WIDTH)).checked_div(u64::from(total)).unwrap_or(u64::from(WIDTH));
    let filled = usize::try_from(filled).unwrap_or(0).min(WIDTH as usize);
    let empty = WIDTH as usize - filled;
    format!("[{}{}] {}", "#".repeat(filled), "-".repeat(empty), line(sum, left))
}

/// The same in words.
pub(super) fn line(sum: &Outlook, left: Option<Duration>) -> String {
    let (done, total) = (sum.synced_entries, sum.total_entries);
    let percent = (u64::from(done) * 100).checked_div(u64::from(total)).unwrap_or(100);
    let left = match left {
        Some(left) => format!(", about {} left", span(i64::try_from(left.as_secs()).unwrap_or(i64::MAX))),
        None => String::new(),
    };
    let held = if sum.held_entries > 0 { format!(", {} held up", sum.held_entries) } else { String::new() };
    format!("{done}/{total} entries in sync, {percent}%{left}{held}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_bar_fills_and_tells_what_is_left() {
        let sum = |synced, total| Outlook { synced_entries: synced, total_entries: total, ..Outlook::default() };
        let left = Some(Duration::from_secs(95));
        assert_eq!(
            bar(&sum(250, 500), left),
            "[###############---------------] 250/500 entries in sync, 50%, about 95s left"
        );
        assert!(bar(&sum(500, 500), None).ends_with("##] 500/500 entries in sync, 100%"));
        assert!(bar(&sum(0, 0), None).ends_with("100%"), "nothing is all of nothing");
    }
}
