//! The grammar of the command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use headwater::Error;

use super::{Ended, Io};

/// What stands above the options that every command takes.
const EVERYWHERE: &str = "Everywhere";

/// A Kafka-style log: in a folder, in memory, or behind a broker.
#[derive(Debug, Parser)]
#[command(
    name = "headwater",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(super) struct Args {
    /// Where the log is: a folder (`./data`), or a broker (`localhost:9092`)
    #[arg(
        long,
        global = true,
        help_heading = EVERYWHERE,
        env = "HEADWATER_ADDRESS",
        default_value = "127.0.0.1:9092"
    )]
    pub(super) address: String,
    /// Answer in JSON, one object a line
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(super) json: bool,
    /// Print nothing but data and errors
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub(super) quiet: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a broker
    Serve(Serve),
    /// Create, list, describe, alter and delete topics, and delete records
    #[command(subcommand)]
    Topic(Topic),
    /// Send records, one a line
    Produce(Produce),
    /// Read records
    Consume(Consume),
    /// List, describe, reset and delete consumer groups
    #[command(subcommand)]
    Group(Group),
    /// Measure: produce, consume or latency
    Bench(Bench),
    /// Print or verify the files of a data folder, offline
    Dump(Dump),
    /// Print which APIs of Kafka's protocol the port speaks, and in which versions
    #[cfg(feature = "kafka")]
    KafkaCompat,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct Serve {
    /// The data folder; created if missing
    #[arg(long, required_unless_present = "dev", conflicts_with = "dev")]
    pub(super) data: Option<PathBuf>,
    /// An address to listen on; may be given more than once [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) listen: Vec<String>,
    /// What Kafka's clients are told to connect to [default: the address that they have connected to]
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) advertise: Option<String>,
    /// How long a group of Kafka's clients that begins waits for more members [default: 50]
    #[arg(long, value_name = "MS")]
    pub(super) group_initial_delay_ms: Option<u64>,
    /// A log in memory that creates topics as they are used, for development
    #[arg(long)]
    pub(super) dev: bool,
    /// Allow addresses that other machines can reach (there is no authentication yet)
    #[arg(long)]
    pub(super) allow_remote: bool,
    /// Set an option of the broker
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(super) set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Topic {
    /// Create a topic
    Create {
        /// Its name
        name: String,
        /// How many partitions
        #[arg(long)]
        partitions: Option<u32>,
        /// Set an option, such as durability=os
        #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
        config: Vec<(String, String)>,
        /// A topic of that name is no error
        #[arg(long)]
        exist_ok: bool,
    },
    /// List all topics
    List,
    /// Show a topic's options and partitions
    Describe {
        /// Its name
        name: String,
    },
    /// Change options of a topic
    Alter {
        /// Its name
        name: String,
        /// Set an option, such as durability=disk
        #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value, required = true)]
        config: Vec<(String, String)>,
    },
    /// Delete a topic and its records
    Delete {
        /// Its name
        name: String,
    },
    /// Delete the records of a partition before an offset
    DeleteRecords {
        /// The topic's name
        name: String,
        /// The partition
        #[arg(long)]
        partition: i32,
        /// The first offset that stays; -1: all there is is deleted
        #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
        before: i64,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct Produce {
    /// The topic
    pub(super) topic: String,
    /// A file of records, one a line; standard input if none
    pub(super) file: Option<PathBuf>,
    /// What stands between key and value; without it a line is a value
    #[arg(long, value_name = "TEXT")]
    pub(super) key_separator: Option<String>,
    /// The partition for every record
    #[arg(long)]
    pub(super) partition: Option<i32>,
    /// A header for every record; may be given more than once
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(super) headers: Vec<(String, String)>,
    /// What an acknowledgement waits for: os or disk [default: the topic's]
    #[arg(long)]
    pub(super) durability: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Consume {
    /// The topics
    #[arg(required = true)]
    pub(super) topics: Vec<String>,
    /// The consumer group; with one, progress is committed
    #[arg(long)]
    pub(super) group: Option<String>,
    /// Where to begin: earliest, latest, an offset, or a time (`2026-01-31T12:00:00Z`, `time:MS`)
    #[arg(long, default_value = "earliest")]
    pub(super) from: String,
    /// Stop after this many records
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// Stop where the topic ended when the command began
    #[arg(long)]
    pub(super) exit_at_end: bool,
    /// How to print a record: %t topic, %p partition, %o offset, %T timestamp, %k key, %v value, %h headers, \n, \t [default: %v\n]
    #[arg(long)]
    pub(super) format: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Group {
    /// List all groups
    List,
    /// Show a group's members, committed offsets and lag
    Describe {
        /// Its id
        group: String,
    },
    /// Set where a group without members goes on reading
    Reset {
        /// Its id; a group that is not there is made
        group: String,
        /// The topic, all its partitions; may be given more than once [default: what it has committed]
        #[arg(long = "topic")]
        topics: Vec<String>,
        /// Where to: earliest, latest, an offset, a time as with `consume --from`, or +N or -N from where it stands
        #[arg(long, value_name = "WHERE", allow_negative_numbers = true)]
        to: String,
        /// Show from where to where each partition would go, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget a group without members
    Delete {
        /// Its id
        group: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum BenchKind {
    /// Records sent and acknowledged a second
    Produce,
    /// Records read a second, by a fresh reader from offset 0
    Consume,
    /// The time from send to acknowledgement at a fixed rate
    Latency,
    /// The time from send to a reader at a fixed rate
    EndToEnd,
}

impl BenchKind {
    /// What it is called on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::Latency => "latency",
            Self::EndToEnd => "end-to-end",
        }
    }

    /// Whether it sends at a rate.
    pub(super) fn has_rate(self) -> bool {
        matches!(self, Self::Latency | Self::EndToEnd)
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct Bench {
    /// What to measure
    pub(super) kind: BenchKind,
    /// The topic; created if it is missing
    #[arg(long, default_value = "bench")]
    pub(super) topic: String,
    /// How many records
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) records: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    pub(super) size: usize,
    /// Partitions of the topic, if it is created
    #[arg(long, default_value_t = 1)]
    pub(super) partitions: u32,
    /// Records handed over at once
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) batch: u32,
    /// Connections that `produce` sends over, one batch after the other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) connections: u32,
    /// Records a second for `latency` and `end-to-end`; 0: one in flight, as fast as it goes
    #[arg(long, default_value_t = 1_000)]
    pub(super) rate: u64,
    /// The topic's level: os or disk [default: disk, os in memory]
    #[arg(long)]
    pub(super) durability: Option<String>,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd [default: none]
    #[arg(long)]
    pub(super) compression: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Dump {
    /// The data folder
    pub(super) dir: PathBuf,
    /// Check every checksum and print only what is wrong, and a summary
    #[arg(long)]
    pub(super) verify: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not KEY=VALUE")),
    }
}

/// Prints a completion script.
pub(super) fn completions(shell: clap_complete::Shell, io: &mut Io) -> Result<Ended, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "headwater", &mut script);
    io.bytes(&script)?;
    Ok(Ended::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        Args::command().debug_assert();
    }
}
