//! The table itself. A macro makes the struct, its `set` and its rows from the same lines.

use super::value::{
    Ack, Assignor, CleanupPolicy, Compression, Isolation, MaxBytesPolicy, Order, Partitioner,
    Sharing, Start, TimestampType, Until, Value,
};
use super::{FolderSizes, OptionRow, Range, normal, unknown};
use crate::error::Result;
use crate::ids::Durability;
use crate::log::lock::KILLS_SUSPENDED_HOLDERS;

const DURABILITIES: Range = Range::Words(&["os", "disk", "quorum"]);
const BOOLEANS: Range = Range::Words(&["true", "false"]);
const STARTS: &str =
    "`earliest`, `latest`, an offset, or a time (`time:MS`, `YYYY-MM-DDTHH:MM:SSZ`)";
const UNTILS: &str = "`end`, an offset, or a time (`time:MS`, `YYYY-MM-DDTHH:MM:SSZ`)";

const SHARING_DEFAULT: Sharing = if KILLS_SUSPENDED_HOLDERS {
    Sharing::Exclusive
} else {
    Sharing::Processes
};

/// Eight of the smallest segments.
const MAX_BYTES_MIN: i64 = 8 << 20;

const fn numbers(min: i64, max: i64) -> Range {
    Range::Numbers { min, max }
}

/// Every option of every group, in the order of the documentation.
#[must_use]
pub fn table() -> &'static [OptionRow] {
    static TABLE: std::sync::OnceLock<Vec<OptionRow>> = std::sync::OnceLock::new();
    TABLE.get_or_init(|| {
        [
            ProducerOptions::ROWS,
            ConsumerOptions::ROWS,
            ProcessOptions::ROWS,
            TopicOptions::ROWS,
            ConnectOptions::ROWS,
            ServeOptions::ROWS,
        ]
        .concat()
    })
}

macro_rules! options {
    (
        $(#[$doc:meta])*
        $name:ident, $group:literal {
            $(#[doc = $line:literal] $field:ident: $type:ty, $how:ident $default:tt, $range:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $(
                #[doc = $line]
                #[doc = ""]
                #[doc = concat!("Default: ", options!(@text $how $default), ".")]
                pub $field: Option<$type>,
            )*
        }

        impl $name {
            /// The rows of the table for this group.
            pub const ROWS: &'static [OptionRow] = &[$(OptionRow {
                group: $group,
                name: stringify!($field),
                kind: <$type as Value>::KIND,
                default: options!(@text $how $default),
                range: $range,
                doc: $line.trim_ascii(),
            },)*];

            /// Sets an option from text. The name may be in snake case, camelCase, or dotted.
            ///
            /// # Errors
            /// `UNKNOWN_OPTION`, naming the nearest; `INVALID_OPTION`, naming value and range.
            pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
                let plain = normal(name);
                let mut rows = Self::ROWS.iter();
                $(
                    if let Some(row) = rows.next() && plain == row.name {
                        self.$field = Some(<$type as Value>::parse(row, value)?);
                        return Ok(());
                    }
                )*
                Err(unknown($group, name))
            }

            /// Checks every option that is set against its range.
            ///
            /// # Errors
            /// `INVALID_OPTION`, naming the option, the value found and the range.
            pub fn check(&self) -> Result<()> {
                let mut rows = Self::ROWS.iter();
                $(
                    if let (Some(row), Some(value)) = (rows.next(), &self.$field) {
                        <$type as Value>::check(value, row)?;
                    }
                )*
                Ok(())
            }

            /// Takes what `other` sets and this does not.
            #[must_use]
            pub fn or(mut self, other: &Self) -> Self {
                $(self.$field = self.$field.or_else(|| other.$field.clone());)*
                self
            }

            /// Every option that is set, by name and as text.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, String)> {
                let mut entries = Vec::new();
                $(
                    if let Some(value) = &self.$field {
                        entries.push((stringify!($field), <$type as Value>::print(value)));
                    }
                )*
                entries
            }

            $(options!(@resolve $how $field $type, $default);)*
        }
    };
    (@text default ($value:expr, $text:literal)) => { $text };
    (@text none ($text:literal)) => { $text };
    (@resolve default $field:ident $type:ty, ($value:expr, $text:literal)) => {
        #[doc = concat!("The option, or its default (", $text, ").")]
        #[must_use]
        pub fn $field(&self) -> $type {
            self.$field.unwrap_or($value)
        }
    };
    (@resolve none $field:ident $type:ty, ($text:literal)) => {};
}

options! {
    /// How a producer sends.
    ProducerOptions, "producer" {
        /// How safe a record is before it is acknowledged.
        durability: Durability, none("topic's"), DURABILITIES;
        /// How long a batch waits for more records; batches form anyway while others are on their way.
        linger_ms: u64, default(0, "0"), numbers(0, 60_000);
        /// The size at which a record batch is closed; a single larger record still makes one.
        batch_bytes: u64, default(131_072, "131072"), numbers(1_024, 16 << 20);
        /// Room for records that are not acknowledged yet, all batches of the producer together.
        buffer_bytes: u64, default(16 << 20, "16777216"), numbers(256 << 10, 4 << 30);
        /// How long `send` waits for room.
        max_block_ms: u64, default(60_000, "60000"), numbers(0, 3_600_000);
        /// The time from `send` within which a record is acknowledged or failed.
        delivery_timeout_ms: u64, default(120_000, "120000"), numbers(1, 86_400_000);
        /// How long one request may take.
        request_timeout_ms: u64, default(30_000, "30000"), numbers(100, 600_000);
        /// The pause before the first retry.
        retry_backoff_ms: u64, default(100, "100"), numbers(1, 60_000);
        /// The longest pause between retries.
        retry_backoff_max_ms: u64, default(1_000, "1000"), numbers(1, 60_000);
        /// Batches of one partition that may be on their way at once.
        in_flight: u32, default(5, "5"), numbers(1, 5);
        /// Whether a repeated batch is recognised, so that a retry never duplicates.
        idempotence: bool, default(true, "true"), BOOLEANS;
        /// How batches are compressed.
        compression: Compression, default(Compression::None, "none"), Range::Words(Compression::WORDS);
        /// How a record without a partition finds one.
        partitioner: Partitioner, default(Partitioner::Murmur2, "murmur2"), Range::Words(Partitioner::WORDS);
    }
}

options! {
    /// What a consumer reads and when a record counts as processed.
    ConsumerOptions, "consumer" {
        /// The consumer group, whose committed offsets say where to go on.
        group: String, none("none: all partitions, no commits"), Range::Any("a group id of 1 to 249 characters");
        /// The name of a static member, which keeps its partitions while it is away.
        instance_id: String, none("none"), Range::Any("a name of 1 to 249 bytes");
        /// The partitions to read of every topic.
        partitions: Vec<i32>, none("all"), numbers(0, 4_095);
        /// Where to begin without a committed offset; behind records deleted unread only `latest` goes to the end.
        start: Start, default(Start::Earliest, "earliest"), Range::Any(STARTS);
        /// Where to end.
        until: Until, none("none: follows"), Range::Any(UNTILS);
        /// When a record counts as processed.
        ack: Ack, default(Ack::Auto, "auto"), Range::Words(Ack::WORDS);
        /// How often what is processed is committed.
        commit_interval_ms: u64, default(1_000, "1000"), numbers(10, 600_000);
        /// Records of a block at most.
        max_block_records: u32, default(1_000, "1000"), numbers(1, 100_000);
        /// Bytes of a block at most; a single larger record still makes one.
        max_block_bytes: u64, default(1 << 20, "1048576"), numbers(1 << 10, 64 << 20);
        /// Bytes read ahead at most, all partitions together.
        read_ahead_bytes: u64, default(8 << 20, "8388608"), numbers(64 << 10, 1 << 30);
        /// With `ack=manual`: records given out beyond the first that is not acknowledged.
        max_unacked: u32, default(10_000, "10000"), numbers(1, 1_000_000);
        /// How often a member tells that it lives.
        heartbeat_ms: u64, default(3_000, "3000"), numbers(100, 1_800_000);
        /// How long a silent member is kept.
        session_timeout_ms: u64, default(45_000, "45000"), numbers(1_000, 1_800_000);
        /// How long a member may work without asking for more.
        processing_timeout_ms: u64, default(300_000, "300000"), numbers(1_000, 86_400_000);
        /// How long a member may take to give up a partition.
        rebalance_timeout_ms: u64, default(60_000, "60000"), numbers(1_000, 1_800_000);
        /// How partitions are spread over the members of a group.
        assignor: Assignor, default(Assignor::Sticky, "sticky"), Range::Words(Assignor::WORDS);
        /// Whether records of transactions that are not committed are seen.
        isolation: Isolation, default(Isolation::ReadCommitted, "read_committed"), Range::Words(Isolation::WORDS);
    }
}

options! {
    /// How `process` runs handlers.
    ProcessOptions, "process" {
        /// Handlers that run at the same time.
        concurrency: u32, default(16, "16"), numbers(1, 10_000);
        /// What stays in order.
        order: Order, default(Order::Key, "key"), Range::Words(Order::WORDS);
        /// Times a record is tried.
        attempts: u32, default(5, "5"), numbers(1, 10_000);
        /// The pause before the second attempt; it doubles.
        backoff_ms: u64, default(100, "100"), numbers(1, 86_400_000);
        /// The longest pause between attempts.
        backoff_max_ms: u64, default(30_000, "30000"), numbers(1, 86_400_000);
        /// The topic that takes what failed at every attempt.
        dead_letter: String, none("none: stop with the error"), Range::Any("the name of a topic");
    }
}

options! {
    /// What a topic is like. Names are Kafka's, with `.` as `_`.
    TopicOptions, "topic" {
        /// Its partitions.
        partitions: u32, default(1, "1"), numbers(1, 4_096);
        /// How safe a record is before it is acknowledged, unless the producer says otherwise.
        durability: Durability, none("disk (mem: os)"), DURABILITIES;
        /// How long records are kept.
        retention_ms: i64, none("the folder's: -1 (connect), 604800000 (serve)"), Range::Limit;
        /// Bytes kept in each partition.
        retention_bytes: i64, default(-1, "-1"), Range::Limit;
        /// What happens to old records.
        cleanup_policy: CleanupPolicy, default(CleanupPolicy::Delete, "delete"), Range::Words(CleanupPolicy::WORDS);
        /// How long the mark of a deleted key is kept.
        tombstone_retention_ms: i64, default(86_400_000, "86400000"), numbers(0, i64::MAX);
        /// The size of a record batch at most.
        max_message_bytes: u64, default(1_048_588, "1048588"), numbers(1_024, 16 << 20);
        /// Who says when a record was made.
        message_timestamp_type: TimestampType, default(TimestampType::CreateTime, "create_time"), Range::Words(TimestampType::WORDS);
        /// Replicas that must have a record at `quorum`.
        min_insync_replicas: u32, default(1, "1"), numbers(1, 1);
        /// Whether a topic of that name is no error.
        exist_ok: bool, default(false, "false"), BOOLEANS;
    }
}

options! {
    /// How a log is opened or reached, and how it is left.
    ConnectOptions, "connect" {
        /// Whether a missing folder is created.
        create: bool, default(true, "true"), BOOLEANS;
        /// Whether other processes may open the same folder; the first serves them.
        sharing: Sharing, default(SHARING_DEFAULT, "processes (exclusive on phones)"), Range::Words(Sharing::WORDS);
        /// The size at which a new segment file is begun.
        segment_bytes: u64, none("67108864, or a 16th of the folder's limit"), numbers(1 << 20, 1 << 30);
        /// Bytes of the folder at most, 8 segments or more.
        max_bytes: u64, none("none: no limit"), numbers(MAX_BYTES_MIN, i64::MAX);
        /// What happens when the folder has no room for another segment.
        max_bytes_policy: MaxBytesPolicy, default(MaxBytesPolicy::Refuse, "refuse"), Range::Words(MaxBytesPolicy::WORDS);
        /// Recent records kept in memory.
        tail_cache_bytes: u64, default(8 << 20, "8388608"), numbers(0, 16 << 30);
        /// Threads of the runtime for sockets; one runtime a process, made at the first need.
        threads: u32, default(2, "2"), numbers(1, 64);
        /// How long `close` waits unless told.
        close_timeout_ms: u64, default(30_000, "30000"), numbers(0, 600_000);
        /// How long the end of the process waits for what is not delivered.
        exit_timeout_ms: u64, default(2_000, "2000"), numbers(0, 600_000);
    }
}

options! {
    /// How a broker serves.
    ServeOptions, "serve" {
        /// The addresses to listen on.
        listen: Vec<String>, none("127.0.0.1:9092"), Range::Any("addresses `host:port` or `unix:PATH`");
        /// The folder to serve.
        data: String, none("required (--dev: mem:)"), Range::Any("a path");
        /// The size at which a new segment file is begun.
        segment_bytes: u64, none("67108864, or a 16th of the folder's limit"), numbers(1 << 20, 1 << 30);
        /// Bytes of the folder at most, 8 segments or more.
        max_bytes: u64, none("none: no limit"), numbers(MAX_BYTES_MIN, i64::MAX);
        /// What happens when the folder has no room for another segment.
        max_bytes_policy: MaxBytesPolicy, default(MaxBytesPolicy::Refuse, "refuse"), Range::Words(MaxBytesPolicy::WORDS);
        /// Recent records kept in memory.
        tail_cache_bytes: u64, default(16 << 20, "16777216"), numbers(0, 16 << 30);
        /// Threads of the runtime for sockets.
        threads: u32, none("the cores, at most 4"), numbers(1, 64);
        /// Connections at most.
        max_connections: u32, default(10_000, "10000"), numbers(1, 1_000_000);
        /// The size of one frame at most.
        max_frame_bytes: u64, default(64 << 20, "67108864"), numbers(1 << 20, 256 << 20);
        /// After how long a silent connection is closed.
        idle_timeout_ms: u64, default(600_000, "600000"), numbers(1_000, 86_400_000);
        /// How often a silent connection is asked whether it lives.
        keep_alive_ms: u64, default(10_000, "10000"), numbers(100, 86_400_000);
        /// Whether a topic is created when it is first named.
        auto_create_topics: bool, none("false (--dev, Broker(): true)"), BOOLEANS;
        /// How long the broker waits for what is in flight when it is told to end.
        close_timeout_ms: u64, default(30_000, "30000"), numbers(0, 600_000);
    }
}

impl ConnectOptions {
    /// How large the folder and its segments may be.
    pub(crate) fn sizes(&self) -> Result<FolderSizes> {
        FolderSizes::new(Self::ROWS, self.segment_bytes, self.max_bytes)
    }
}

impl ServeOptions {
    /// How large the folder and its segments may be.
    ///
    /// # Errors
    /// `INVALID_OPTION` for a limit below eight segments.
    pub fn sizes(&self) -> Result<FolderSizes> {
        FolderSizes::new(Self::ROWS, self.segment_bytes, self.max_bytes)
    }
}

impl TopicOptions {
    /// What a topic is created or altered with: every option that is set, `exist_ok` apart.
    pub(crate) fn config(&self) -> Vec<(String, String)> {
        let entries = self
            .entries()
            .into_iter()
            .filter(|(name, _)| *name != "exist_ok");
        entries
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}
