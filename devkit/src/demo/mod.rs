//! `devkit demo`: the whole operator at work on this machine, without a cluster and without an account anywhere.
//!
//! A control plane, stand-ins for the three remotes and the operator are started, the examples are applied, and then things go
//! wrong on purpose. Each repair is seen, timed, and its writes at the remote are counted. What is not seen within its deadline
//! ends the demo with everything that tells why.

mod arrive;
pub(crate) mod cluster;
mod diagnose;
pub(crate) mod error;
pub(crate) mod manifests;
pub(crate) mod mask;
mod operator;
mod repairs;
pub(crate) mod report;
mod rest;
pub(crate) mod standin;
mod start;
pub(crate) mod state;
mod step;
pub(crate) mod table;
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::remotes::Op;
use crate::remotes::cli::line;
use error::Failure;
use mask::Mask;
use report::{Reporter, Style};
pub(crate) use start::examples;
use world::World;

/// The shell's exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;
/// How often the remotes' calls are shown while one plays.
const POLL: Duration = Duration::from_millis(50);

/// See the whole thing work: API server, three remotes, operator, examples, trouble and repair.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The operator's program (default: `vaultsecret` beside this one)
    #[arg(long, env = "VAULTSECRET_BIN", value_name = "PATH")]
    pub operator: Option<PathBuf>,
    /// Leave everything running at the end until Ctrl-C, and say where it is
    #[arg(long)]
    pub keep: bool,
    /// Show the operator's log as it grows
    #[arg(long)]
    pub verbose: bool,
}

/// Runs the demo; the exit code. When it returns, everything that was started is stopped and removed.
pub async fn cli(args: Args) -> anyhow::Result<i32> {
    let mut interrupt = Interrupt::listen()?;
    let report = Arc::new(Reporter::new(Arc::new(Mask::default()), args.verbose));
    let started = tokio::select! {
        started = start::everything(&args, &report) => started,
        () = interrupt.came() => return Ok(INTERRUPTED),
    };
    let mut world = match started {
        Ok(world) => world,
        Err(failure) => {
            diagnose::failure(&report, &failure);
            return Ok(1);
        }
    };
    let code = tokio::select! {
        told = story(&mut world) => match told {
            Ok(()) => 0,
            Err(failure) => {
                diagnose::failure(&report, &failure);
                diagnose::surroundings(&world, &failure).await;
                1
            }
        },
        () = interrupt.came() => INTERRUPTED,
    };
    if args.keep && code != INTERRUPTED {
        start::show_addresses(&world);
        tokio::select! {
            () = show_calls(&world) => {}
            () = interrupt.came() => {}
        }
    }
    stop(world).await;
    Ok(code)
}

/// What the terminal shows, in order.
async fn story(world: &mut World) -> Result<(), Failure> {
    start::operator_is_ready(world).await?;
    arrive::values_arrive(world).await?;
    let world = &*world;
    repairs::all(world).await?;
    rest::nothing_is_written(world).await?;
    world.report.heading("Everything was seen");
    world.report.table();
    Ok(())
}

/// Prints each call about an entry. The others come by the clock and would drown them.
async fn show_calls(world: &World) {
    for site in &world.sites {
        drop(site.remote.take_done()); // they were of the story
    }
    loop {
        for site in &world.sites {
            let calls = site.remote.take_done();
            let about_an_entry = calls.iter().filter(|call| matches!(call.op, Op::Create | Op::Update | Op::Delete));
            for call in about_an_entry {
                world.report.text(Style::Plain, &format!("  {}", line(site.folder, call)));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The operator ends in its own time, all others at once.
async fn stop(world: World) {
    let World { operator, sites, control_plane, report, .. } = world;
    report.heading("Stopping");
    let ended = operator.stop().await;
    let ended =
        ended.map_or_else(|| "did not end by itself and was killed".to_owned(), |status| format!("ended ({status})"));
    for site in &sites {
        site.remote.stop().await;
    }
    drop(control_plane);
    report.text(Style::Plain, &format!("  the operator {ended}; everything is stopped and removed"));
}

/// Ctrl-C, or a polite request to end.
struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
