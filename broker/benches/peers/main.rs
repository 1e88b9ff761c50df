//! What `.ci/bench` measures beside Headwater: the floors of the machine, and the same work with NATS JetStream and
//! Redis Streams, which it starts. Of the standard library alone, so that the script can build it with rustc in
//! seconds; cargo knows it as a bench, so that it is formatted and linted as everything else.
//!
//! The clients speak the wire protocols, with requests written many at a time and answers counted rather than
//! parsed: less work than any client that an application would use, so what is measured is the server.
//!
//! ```text
//! peers floor-file FILE | floor-synced-file FILE | floor-fdatasync FILE | floor-echo
//! peers nats|redis PORT produce|consume|latency|end-to-end
//!       --records N --size BYTES --batch N --rate N --partitions N --connections N
//! ```
//!
//! Prints one JSON object, with the fields of `headwater bench --json`.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod figures;
mod floor;
mod nats;
mod redis;
mod wire;

use std::process::ExitCode;

use figures::{Figures, Shape};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Cargo's own benches are asked for with `--bench` alone: there is no server to measure.
    if args.iter().all(|arg| arg == "--bench") {
        println!("peers: run by .ci/bench");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<Figures> {
    let at = args.iter().position(|arg| arg.starts_with("--"));
    let (words, options) = args.split_at(at.unwrap_or(args.len()));
    let shape = Shape::of(options)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["floor-file", path] => floor::file(path, &shape, false),
        ["floor-synced-file", path] => floor::file(path, &shape, true),
        ["floor-fdatasync", path] => floor::fdatasync(path, &shape),
        ["floor-echo"] => floor::echo(&shape),
        ["nats", port, work] => nats::run(port.parse()?, work, &shape),
        ["redis", port, work] => redis::run(port.parse()?, work, &shape),
        _ => Err(format!("not understood: {words:?}").into()),
    }
}
