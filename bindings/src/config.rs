//! Options: every one optional, none meaning core's default. Ranges and meanings stand in core alone.
//!
//! Words, places and lists cross as text, numbers as `i64`: core's `set` reads and checks them, and says
//! which option was wrong and what it must be.

use headwater::Result;
use headwater::client::options;
use headwater::limits::SEND_WAITERS_MAX;

/// A row of core's table of options, for the test that compares it.
#[derive(Clone, Debug, uniffi::Record)]
pub struct OptionRow {
    /// `connect`, `producer`, `consumer`, `process`, `topic` or `serve`.
    pub group: String,
    /// The name, snake case.
    pub name: String,
    /// `integer`, `boolean`, `text`, `texts`, `integers` or `word`.
    pub kind: String,
    /// The default, as text.
    pub default_text: String,
    /// What a value may be, in words.
    pub range: String,
    /// One line of documentation.
    pub doc: String,
}

/// Every option of every group.
#[uniffi::export]
#[must_use]
pub fn option_table() -> Vec<OptionRow> {
    let row = |row: &options::OptionRow| OptionRow {
        group: row.group.into(),
        name: row.name.into(),
        kind: row.kind.into(),
        default_text: row.default.into(),
        range: row.range.to_string(),
        doc: row.doc.into(),
    };
    options::table().iter().map(row).collect()
}

/// How many `send`s of one producer may wait for room in a facade.
#[uniffi::export]
#[must_use]
pub fn send_waiters_max() -> i32 {
    i32::try_from(SEND_WAITERS_MAX).unwrap_or(i32::MAX)
}

/// A value as core's `set` reads it.
trait Text {
    fn text(&self) -> String;
}

impl Text for String {
    fn text(&self) -> String {
        self.clone()
    }
}

impl Text for i64 {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for bool {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for Vec<i32> {
    fn text(&self) -> String {
        let numbers: Vec<_> = self.iter().map(ToString::to_string).collect();
        numbers.join(",")
    }
}

macro_rules! options {
    ($(#[$doc:meta])* $name:ident => $core:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, uniffi::Record)]
        pub struct $name {
            $(
                /// As in core's table of options.
                #[uniffi(default = None)]
                pub $field: Option<$type>,
            )*
        }

        impl $name {
            /// The same as core's.
            pub(crate) fn to_core(&self) -> Result<headwater::$core> {
                let mut core = headwater::$core::default();
                $(
                    if let Some(value) = &self.$field {
                        core.set(stringify!($field), &value.text())?;
                    }
                )*
                Ok(core)
            }
        }
    };
}

options! {
    /// How a log is opened or reached, and how it is left.
    NativeConnectOptions => ConnectOptions {
        create: bool,
        sharing: String,
        segment_bytes: i64,
        max_bytes: i64,
        max_bytes_policy: String,
        tail_cache_bytes: i64,
        threads: i64,
        close_timeout_ms: i64,
        exit_timeout_ms: i64,
    }
}

options! {
    /// How a producer sends.
    NativeProducerOptions => ProducerOptions {
        durability: String,
        linger_ms: i64,
        batch_bytes: i64,
        buffer_bytes: i64,
        max_block_ms: i64,
        delivery_timeout_ms: i64,
        request_timeout_ms: i64,
        retry_backoff_ms: i64,
        retry_backoff_max_ms: i64,
        in_flight: i64,
        idempotence: bool,
        compression: String,
        partitioner: String,
    }
}

options! {
    /// What a consumer reads and when a record counts as processed.
    NativeConsumerOptions => ConsumerOptions {
        group: String,
        instance_id: String,
        partitions: Vec<i32>,
        start: String,
        until: String,
        ack: String,
        commit_interval_ms: i64,
        max_block_records: i64,
        max_block_bytes: i64,
        read_ahead_bytes: i64,
        max_unacked: i64,
        heartbeat_ms: i64,
        session_timeout_ms: i64,
        processing_timeout_ms: i64,
        rebalance_timeout_ms: i64,
        assignor: String,
        isolation: String,
    }
}

options! {
    /// How `process` runs handlers.
    NativeProcessOptions => ProcessOptions {
        concurrency: i64,
        order: String,
        attempts: i64,
        backoff_ms: i64,
        backoff_max_ms: i64,
        dead_letter: String,
    }
}

options! {
    /// What a topic is like.
    NativeTopicOptions => TopicOptions {
        partitions: i64,
        durability: String,
        retention_ms: i64,
        retention_bytes: i64,
        cleanup_policy: String,
        tombstone_retention_ms: i64,
        max_message_bytes: i64,
        message_timestamp_type: String,
        min_insync_replicas: i64,
        exist_ok: bool,
    }
}
