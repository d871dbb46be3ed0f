//! Following what changes by watches, until all is Ready or for ever. A watch that expires is begun anew.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _, select_all};
use kube::Resource;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::estimate::{left, outlook};
use super::list::{Look, table};
use super::view::{ObjectView, Standing};
use super::world::{Change, World, api};
use super::{StatusArgs, finish, page, progress};
use crate::cli::cluster::{PAGE, Target};
use crate::cli::{Exit, print};
use crate::controller::guard::Guarded;
use crate::kube_error::{ApiError, ApiErrorKind};
use crate::remote::lane::ObjectKey;

/// How often the bar is drawn, and looked whether all is Ready.
const TICK: Duration = Duration::from_millis(250);
/// How often progress is told where there is no terminal.
const TELL: Duration = Duration::from_secs(5);

/// An error says whether nothing is worth following without that watch.
type Changes = BoxStream<'static, Result<Change, (bool, watcher::Error)>>;

fn changes<K>(api: Api<K>, config: &Config, vital: bool, wrap: fn(Event<K>) -> Change) -> Changes
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(api, config.clone())
        .default_backoff()
        .map(move |event| event.map(wrap).map_err(|error| (vital, error)))
        .boxed()
}

fn streams(args: &StatusArgs, target: &Target) -> futures::stream::SelectAll<Changes> {
    let pages = Config::default().page_size(PAGE);
    let objects = match &args.name {
        Some(name) => pages.clone().fields(&format!("metadata.name={name}")),
        None => pages.clone(),
    };
    let all = args.all_namespaces;
    select_all([
        changes(api(target, all), &objects, true, Change::Object),
        changes(api(target, all), &pages, false, Change::Connection),
        changes(target.of_cluster::<Guarded<_>>(), &pages, false, Change::ClusterConnection),
    ])
}

/// What is worth a row of its own when it changes. What goes on by itself is told by its progress, and of one object by its counts.
type Told = (Standing, String, Option<(u32, u32)>);

fn told(view: &ObjectView, one: bool) -> Told {
    let reason = if view.standing == Standing::Queued { String::new() } else { view.reason.clone() };
    (view.standing, reason, one.then_some((view.synced, view.total)))
}

fn key_of(view: &ObjectView) -> ObjectKey {
    ObjectKey::new(view.namespace.as_str(), view.name.as_str())
}

struct Follower<'a> {
    args: &'a StatusArgs,
    /// Nothing is told while it goes on: the end is for programs.
    silent: bool,
    terminal: bool,
    widths: Vec<usize>,
    rows: BTreeMap<ObjectKey, Told>,
    began: Instant,
    synced_at_start: u32,
    /// The bar as it stands on the last line.
    drawn: Option<String>,
    told: Option<(Instant, u32)>,
}

/// Follows until the end that was asked for.
pub(super) async fn follow(args: &StatusArgs, target: &Target, mut world: World) -> anyhow::Result<Exit> {
    if args.wait && world.is_ready() {
        return finish(args, target, &world);
    }
    let look = args.look();
    let silent = args.for_programs();
    let one = args.name.is_some();
    let rows = table(world.all(), look);
    if !silent && (args.watch || !one) {
        print(&page(args, target, &world, &world.views())?)?;
    }
    // Of one object the page comes at the end; its rows have heads of their own.
    if !silent && one {
        print(&rows.text("", look.colour, &[]))?;
    }
    let mut follower = Follower {
        args,
        silent,
        terminal: std::io::stdout().is_terminal() && !silent,
        widths: rows.widths(),
        rows: world.all().map(|view| (key_of(view), told(view, one))).collect(),
        began: Instant::now(),
        synced_at_start: outlook(world.all(), &world.connections).synced_entries,
        drawn: None,
        told: None,
    };
    let mut stream = streams(args, target);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = (args.wait && !args.timeout.is_zero()).then(|| follower.began + args.timeout);
    let mut changed = true;
    let mut complained = false;
    loop {
        tokio::select! {
            event = stream.next() => match event {
                Some(Ok(change)) => {
                    complained = false;
                    let keys = world.apply(change);
                    changed |= !keys.is_empty();
                    follower.tell_rows(&world, &keys)?;
                }
                Some(Err((vital, error))) => tell_error(target, vital, &error, &mut complained)?,
                None => anyhow::bail!("the watch ended"),
            },
            _ = tick.tick() => {
                if changed || follower.terminal {
                    changed = false;
                    if let Some(exit) = follower.look(target, &world)? {
                        return Ok(exit);
                    }
                }
            }
            () = until(deadline) => return follower.timed_out(target, &world),
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Fails where it cannot become better; else says once that it is tried again.
fn tell_error(target: &Target, vital: bool, error: &watcher::Error, complained: &mut bool) -> anyhow::Result<()> {
    let status = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(ApiError::new("watching", error)),
        // A watch that has expired is begun anew; there is nothing to say.
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => None,
    };
    let Some(error) = status else { return Ok(()) };
    match error.kind {
        // Connections that may not be looked at were noted.
        ApiErrorKind::Forbidden | ApiErrorKind::NotFound if !vital => Ok(()),
        ApiErrorKind::Forbidden | ApiErrorKind::NotFound => {
            Err(target.explain(&error, "watch", "VaultSecrets", Some(&target.namespace)))
        }
        _ if *complained => Ok(()),
        _ => {
            *complained = true;
            let told = target.explain(&error, "watch", "VaultSecrets", None);
            let _ = writeln!(std::io::stderr(), "note: {told}; trying again");
            Ok(())
        }
    }
}

impl Follower<'_> {
    fn tell_rows(&mut self, world: &World, keys: &[ObjectKey]) -> anyhow::Result<()> {
        let look: Look = self.args.look();
        for key in keys {
            let text = match world.view(key) {
                Some(view) => {
                    let row = told(view, self.args.name.is_some());
                    if self.rows.get(key) == Some(&row) {
                        continue;
                    }
                    self.rows.insert(key.clone(), row);
                    table([view], look).body(look.colour, &self.widths)
                }
                None if self.rows.remove(key).is_some() => {
                    format!("{} is gone\n", crate::cli::show::one_line(&key.to_string()))
                }
                None => continue,
            };
            if !self.silent {
                self.clear()?;
                print(&text)?;
            }
        }
        Ok(())
    }

    /// Draws the bar. Returns how it ends, if it does.
    fn look(&mut self, target: &Target, world: &World) -> anyhow::Result<Option<Exit>> {
        if self.args.name.is_some() && world.all().next().is_none() {
            self.clear()?;
            anyhow::bail!("the VaultSecret is gone");
        }
        let sum = outlook(world.all(), &world.connections);
        if self.args.wait && world.is_ready() {
            self.clear()?;
            return self.end(target, world).map(Some);
        }
        let done = sum.synced_entries.saturating_sub(self.synced_at_start);
        let left = left(&sum, done, self.began.elapsed());
        if self.terminal && sum.synced_entries < sum.total_entries {
            let bar = progress::bar(&sum, left);
            if self.drawn.as_ref() != Some(&bar) {
                print(&format!("\r\x1b[2K{bar}"))?;
                self.drawn = Some(bar);
            }
        } else if self.terminal {
            self.clear()?;
        } else if !self.silent
            && self.told.is_none_or(|(at, synced)| at.elapsed() >= TELL && synced != sum.synced_entries)
        {
            self.told = Some((Instant::now(), sum.synced_entries));
            print(&format!("progress: {}\n", progress::line(&sum, left)))?;
        }
        Ok(None)
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        if self.drawn.take().is_some() {
            print("\r\x1b[2K")?;
        }
        Ok(())
    }

    fn end(&self, target: &Target, world: &World) -> anyhow::Result<Exit> {
        if self.silent || self.args.name.is_some() {
            return finish(self.args, target, world);
        }
        let sum = outlook(world.all(), &world.connections);
        print(&format!("\n{}\n", super::estimate::sentence(&sum)))?;
        Ok(Exit::Done)
    }

    fn timed_out(&mut self, target: &Target, world: &World) -> anyhow::Result<Exit> {
        self.clear()?;
        self.end(target, world)?;
        let off = world.all().filter(|view| view.standing != Standing::Ready).count();
        let timeout = crate::cli::show::span(i64::try_from(self.args.timeout.as_secs()).unwrap_or(i64::MAX));
        let _ =
            writeln!(std::io::stderr(), "error: timed out after {timeout}: {off} of {} not Ready", world.all().count());
        Ok(Exit::Attention)
    }
}
