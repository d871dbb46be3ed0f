//! One trouble and its repair: the clock, the count of remote writes, and the line that is shown.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::error::Failure;
use super::standin::Site;
use super::table::seconds;
use super::world::World;

/// A step at one remote. Begun right before the trouble, finished when all of it is seen being right again.
pub(super) struct Step<'a> {
    world: &'a World,
    site: &'a Site,
    what: String,
    began: Instant,
}

impl<'a> Step<'a> {
    /// Starts the clock. Writes since the last step at this remote belong to no step, and there must be none.
    pub(super) fn begin(world: &'a World, site: &'a Site, what: impl Into<String>) -> Result<Self, Failure> {
        let what = format!("{}: {}", site.label, what.into());
        let writes = site.new_writes();
        if writes > 0 {
            return Err(Failure::Wrong {
                expected: format!("no write at the remote without cause before this: {what}"),
                seen: format!("{writes} of them"),
                site: Some(site.index),
            });
        }
        Ok(Self { world, site, what, began: Instant::now() })
    }

    /// Starts the clock anew: what was a condition of the repair is there only now.
    pub(super) fn restart_clock(&mut self) {
        self.began = Instant::now();
    }

    /// Time since the start of the clock.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits until `look` finds what is expected; how long after the start of the clock.
    pub(super) async fn until(
        &self,
        expected: &str,
        deadline: Duration,
        look: impl AsyncFn() -> Result<(), String>,
    ) -> Result<Duration, Failure> {
        self.world.until(Some(self.site), &format!("{}: {expected}", self.what), deadline, look).await?;
        Ok(self.elapsed())
    }

    /// Waits until an entry has the value at the remote.
    pub(super) async fn at_remote(&self, name: &str, value: &str, deadline: Duration) -> Result<Duration, Failure> {
        let expected = format!("{name} has the right value at {}", self.site.label);
        let look = async || match self.site.remote.value(name) {
            Some(found) if found == value => Ok(()),
            Some(_) => Err(format!("{name} has another value there")),
            None => Err(format!("there is no entry {name}")),
        };
        self.until(&expected, deadline, look).await
    }

    /// Waits until the projected Secret has the value.
    pub(super) async fn in_secret(&self, key: &str, value: &str, deadline: Duration) -> Result<Duration, Failure> {
        let target = &self.site.object.target;
        let expected = format!("{key} has the right value in Secret {}/{target}", self.site.object.namespace);
        let look = async || match self.world.projected(self.site, key).await? {
            Some(found) if found == value => Ok(()),
            Some(_) => Err(format!("{key} has another value there")),
            None => Err(format!("there is no {key} in the Secret, or no Secret")),
        };
        self.until(&expected, deadline, look).await
    }

    /// Waits until the VaultSecret is at rest again, holds the count of writes against what it has to be, and shows the step.
    pub(super) async fn finish(
        self,
        put_right: Duration,
        expected_writes: RangeInclusive<usize>,
        detail: &str,
    ) -> Result<(), Failure> {
        self.world.settled(self.site).await?;
        let writes = self.site.account();
        if !expected_writes.contains(&writes) {
            let (least, most) = (expected_writes.start(), expected_writes.end());
            let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
            return Err(Failure::Wrong {
                expected: format!("{}: remote writes: {wanted}", self.what),
                seen: format!("remote writes: {writes}"),
                site: Some(self.site.index),
            });
        }
        self.world.report.done(put_right, &format!("{}; {detail}", self.what));
        self.world.report.row(&self.what, &seconds(put_right), writes);
        Ok(())
    }
}
