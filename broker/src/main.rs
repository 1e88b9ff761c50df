//! The `headwater` program: what a process adds to [`headwater_broker::cli`].
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;

use headwater_broker::cli::{self, Io};
use headwater_broker::signals;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("HEADWATER_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let stop = signals::stop_on_interrupt(|| std::process::exit(130));
    cli::run(std::env::args_os(), Io::standard(), &stop)
}
