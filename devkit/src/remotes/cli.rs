//! The three remotes for people: served until Ctrl-C, with fixed credentials.
#![allow(clippy::print_stdout)] // it talks to a person

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::Args;

use super::dreadnode::{DREADNODE_KEY, Dreadnode, DreadnodeOptions};
use super::kelvin::{KELVIN_CLIENT, KELVIN_PUBLIC_CLIENT, KELVIN_USER, Kelvin, KelvinOptions};
use super::log::Request;
use super::mixpeek::{MIXPEEK_KEY, Mixpeek, MixpeekOptions};
use super::remote::Remote;
use super::server::Listen;
use super::shared::Provider;

/// Serve the three remotes until Ctrl-C.
#[derive(Debug, Clone, Args)]
pub struct RemotesArgs {
    /// Address to listen at
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,
    /// Port of Kelvin (0: a free one)
    #[arg(long, default_value_t = 0)]
    pub kelvin_port: u16,
    /// Port of Dreadnode (0: a free one)
    #[arg(long, default_value_t = 0)]
    pub dreadnode_port: u16,
    /// Port of Mixpeek (0: a free one)
    #[arg(long, default_value_t = 0)]
    pub mixpeek_port: u16,
    /// Delay of every request in milliseconds
    #[arg(long, default_value_t = 0)]
    pub latency: u64,
}

/// Serves the three remotes, says where, and logs each call on a line, never a value.
pub async fn run(args: RemotesArgs) -> anyhow::Result<()> {
    let listen = |port| Listen { address: args.address, port, tls: None };
    let kelvin = Kelvin::start(KelvinOptions { listen: listen(args.kelvin_port), ..KelvinOptions::default() }).await?;
    let dreadnode =
        Dreadnode::start(DreadnodeOptions { listen: listen(args.dreadnode_port), ..DreadnodeOptions::default() })
            .await?;
    let mixpeek =
        Mixpeek::start(MixpeekOptions { listen: listen(args.mixpeek_port), ..MixpeekOptions::default() }).await?;
    let latency = Duration::from_millis(args.latency);
    kelvin.set_latency(latency);
    dreadnode.set_latency(latency);
    mixpeek.set_latency(latency);

    println!("{:<10} {:<26} CREDENTIALS", "REMOTE", "URL");
    println!("{:<10} {:<26} client {} secret {}", "kelvin", kelvin.url(), KELVIN_CLIENT.0, KELVIN_CLIENT.1);
    println!("{:<10} {:<26} client {KELVIN_PUBLIC_CLIENT} user {} password {}", "", "", KELVIN_USER.0, KELVIN_USER.1);
    println!("{:<10} {:<26} X-API-Key {}", "dreadnode", dreadnode.url(), DREADNODE_KEY.1);
    println!("{:<10} {:<26} Bearer {}", "mixpeek", mixpeek.url(), MIXPEEK_KEY.1);

    tokio::select! {
        () = follow("kelvin", &kelvin) => {}
        () = follow("dreadnode", &dreadnode) => {}
        () = follow("mixpeek", &mixpeek) => {}
        stopped = tokio::signal::ctrl_c() => stopped?,
    }
    Ok(())
}

/// Prints the calls as they end, and forgets them.
#[allow(private_bounds)]
async fn follow<P: Provider>(label: &str, remote: &Remote<P>) {
    let mut changes = remote.core.changes.subscribe();
    loop {
        for request in remote.take_done() {
            println!("{}", line(label, &request));
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// A call on a line.
pub(crate) fn line(label: &str, request: &Request) -> String {
    let status = request.status.map_or_else(|| "cut".to_owned(), |status| status.to_string());
    let name = request.name.as_deref().unwrap_or("-").escape_debug().to_string();
    let who = request.credential.as_deref().unwrap_or("-");
    let op = format!("{:?}", request.op).to_lowercase();
    format!("{:.3} {label:<10} {status:<4} {op:<10} {name:<32} {who}  {}", request.at, request.line)
}

#[cfg(test)]
mod tests {
    use super::super::log::{AuthKind, Op};
    use super::*;

    #[test]
    fn a_call_is_one_line() {
        let request = Request {
            seq: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            op: Op::Create,
            name: Some("a".to_owned()),
            line: "POST /x".to_owned(),
            query: None,
            page: None,
            status: Some(201),
            outcome: Some(201),
            credential: Some("operator".to_owned()),
            tenant: None,
            processed: true,
            auth: AuthKind::Bearer,
            fault: None,
            done: true,
        };
        let line = line("kelvin", &request);
        assert!(line.starts_with("1970-01-01T00:00:00.000Z kelvin     201  create     a "), "{line}");
        assert!(line.ends_with("operator  POST /x"), "{line}");
    }
}
