//! The command line: `headwater NOUN VERB`.
//!
//! Data goes to stdout, everything else to stderr. `--json` turns every answer into one JSON object a
//! line and errors into `{"error": ..}` on stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing
//! found or timed out, 130 interrupted.

mod args;
mod bench;
mod consume;
mod dump;
mod group;
#[cfg(feature = "kafka")]
mod kafka_compat;
mod lines;
mod output;
mod produce;
mod serve;
mod stop;
mod topic;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use headwater::{Client, ConnectOptions, Error, ErrorCode, ErrorKind, Pending};

use args::{Args, Command};
pub use output::Io;
pub use stop::Stop;

/// Done.
const EXIT_DONE: u8 = 0;
/// Failed.
const EXIT_FAILED: u8 = 1;
/// The command line itself is wrong.
const EXIT_USAGE: u8 = 2;
/// Nothing found, or timed out.
const EXIT_NOTHING: u8 = 3;
/// Interrupted by Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;

/// How long a command that was interrupted waits for what is on its way.
const INTERRUPTED_CLOSE: Duration = Duration::from_secs(5);

/// How a command ended, short of failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    Nothing,
    Interrupted,
}

/// Runs a command line, program name first, and says how the process should exit.
///
/// It neither exits nor touches signals: `stop` is how a caller asks a running command to end.
pub fn run<I, T>(args: I, io: Io, stop: &Stop) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    ExitCode::from(run_code(args, io, stop))
}

/// The same for hosts that end their process themselves: the exit code as a number.
pub fn run_code<I, T>(args: I, mut io: Io, stop: &Stop) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    // Before the line is understood, so that what is wrong with it is told in the form asked for.
    io.set_json(args.iter().any(|arg| arg == "--json"));
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => return usage(&error, &mut io),
    };
    io.set_json(args.json);
    io.set_quiet(args.quiet);
    let ended = dispatch(args, &mut io, stop).and_then(|ended| io.flush().map(|()| ended));
    match ended {
        Ok(Ended::Done) => EXIT_DONE,
        Ok(Ended::Nothing) => EXIT_NOTHING,
        Ok(Ended::Interrupted) => EXIT_INTERRUPTED,
        Err(_) if io.is_pipe_broken() => EXIT_DONE,
        // Who interrupts a command need not be told that it was.
        Err(error) if stop.is_set() && error.code() == ErrorCode::RequestTimedOut => {
            EXIT_INTERRUPTED
        }
        Err(error) => {
            io.error(&error);
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::Timeout => EXIT_NOTHING,
                _ => EXIT_FAILED,
            }
        }
    }
}

fn usage(error: &clap::Error, io: &mut Io) -> u8 {
    let text = error.render();
    if error.use_stderr() && io.is_json() {
        let message = text.to_string();
        let message = message.lines().next().unwrap_or_default();
        let message = message.trim_start_matches("error: ").to_owned();
        io.error(&Error::new(ErrorCode::InvalidArgument, message));
        return EXIT_USAGE;
    }
    if error.use_stderr() {
        io.note(text.to_string().trim_end());
        return EXIT_USAGE;
    }
    // Help and version were asked for: they are the answer.
    match io.line(text.to_string().trim_end()) {
        Ok(()) => EXIT_DONE,
        Err(_) => EXIT_FAILED,
    }
}

fn dispatch(args: Args, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let address = args.address;
    match args.command {
        Command::Serve(serve) => serve::run(&serve, io, stop),
        Command::Topic(topic) => topic::run(topic, &address, io, stop),
        Command::Produce(produce) => produce::run(&produce, &address, io, stop),
        Command::Consume(consume) => consume::run(&consume, &address, io, stop),
        Command::Group(group) => group::run(group, &address, io, stop),
        Command::Bench(bench) => bench::run(&bench, &address, io, stop),
        Command::Dump(dump) => dump::run(&dump, io, stop),
        #[cfg(feature = "kafka")]
        Command::KafkaCompat => kafka_compat::run(io),
        Command::Completions { shell } => args::completions(shell, io),
    }
}

/// Connects as a command does: only those that write create a missing folder.
fn connect(address: &str, create: bool, stop: &Stop) -> Result<Client, Error> {
    let options = ConnectOptions {
        create: Some(create),
        ..ConnectOptions::default()
    };
    wait(headwater::connect_with(address, options), stop).map_err(|error| match error.kind() {
        ErrorKind::Unavailable => Error::new(
            error.code(),
            format!(
                "{}; `headwater serve --data ./data` runs a broker, `--address ./data` does without",
                error.message()
            ),
        ),
        _ => error,
    })
}

/// Waits for an answer, or until the command is to end.
fn wait<T: Send + 'static>(mut answer: Pending<T>, stop: &Stop) -> Result<T, Error> {
    while !answer.wait_ready(Some(stop::LOOK))? {
        if stop.is_set() {
            return Err(Error::new(ErrorCode::RequestTimedOut, "interrupted"));
        }
    }
    answer.wait(None)
}

/// Waits for a close, which takes a timeout and may be asked again with a shorter one: not long if the command was, or is
/// meanwhile, interrupted. All closes of a command together then take no longer than [`INTERRUPTED_CLOSE`].
fn close<T: Send + 'static>(
    close: impl Fn(Option<Duration>) -> Pending<T>,
    stop: &Stop,
) -> Result<T, Error> {
    let left = || stop.time_to_close(INTERRUPTED_CLOSE);
    let mut closing = close(stop.is_set().then(left));
    while !closing.wait_ready(Some(stop::LOOK))? {
        if stop.is_set() {
            return close(Some(left())).wait(None);
        }
    }
    closing.wait(None)
}
