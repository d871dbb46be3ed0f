//! What runs in the development node's own containers: one static program of the standard library alone.
//!
//! `pod pause` does nothing, and so holds the namespaces of a Pod. `pod show PORT env:NAME file:PATH …` answers every HTTP request
//! with a line for each of what it was given: what it was called, and a hash of the value as it is now; never a value.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((command, [])) if command == "pause" => loop {
            std::thread::park();
        },
        Some((command, [port, shown @ ..])) if command == "show" => match serve(port, shown) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("port {port}: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: pod pause | pod show PORT env:NAME file:PATH ...");
            ExitCode::from(2)
        }
    }
}

fn serve(port: &str, shown: &[String]) -> std::io::Result<()> {
    let port = port.parse::<u16>().map_err(std::io::Error::other)?;
    for stream in TcpListener::bind(("0.0.0.0", port))?.incoming() {
        let Ok(mut stream) = stream else { continue };
        // The request is not looked at: there is one answer.
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let body: String = shown.iter().map(|what| format!("{what} {}\n", hash_of(what))).collect();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
    Ok(())
}

/// The hash in sixteen digits, or a dash for what is not there.
fn hash_of(what: &str) -> String {
    let value = match what.split_once(':') {
        Some(("env", name)) => std::env::var_os(name).map(|value| value.into_encoded_bytes()),
        Some(("file", path)) => std::fs::read(path).ok(),
        _ => None,
    };
    value.map_or_else(|| "-".to_owned(), |value| {
        let mut hasher = DefaultHasher::new();
        hasher.write(&value);
        format!("{:016x}", hasher.finish())
    })
}
