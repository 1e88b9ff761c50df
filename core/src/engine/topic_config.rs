//! What a topic is configured to be: names, ranges and defaults of its options, and their text form.
//!
//! Options travel and are stored as text under their snake-case names, so that a log written by a newer
//! version with options unknown here can still be read: what is not known is kept and shown, not used.

use crate::error::{Error, ErrorCode, Result};
use crate::ids::Durability;
use crate::limits;

/// The options of a topic, each with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Number of partitions, 1..=4,096.
    pub partitions: u32,
    /// The level at which records count and become readable.
    pub durability: Durability,
    /// How long records are kept, in ms; -1: without limit.
    pub retention_ms: i64,
    /// How many bytes of a partition are kept; -1: without limit.
    pub retention_bytes: i64,
    /// Largest record batch taken, in bytes.
    pub max_message_bytes: u32,
    /// Whether the time of appending replaces the producer's timestamps.
    pub is_log_append_time: bool,
    /// What happens to old records.
    pub cleanup_policy: CleanupPolicy,
    /// How long a tombstone is kept in a compacted topic after the cleaning that first kept it, in ms.
    pub tombstone_retention_ms: i64,
    /// Replicas that must be in sync; 1 without a cluster.
    pub min_insync_replicas: u32,
    /// Options of a newer version, kept as they are.
    unknown: Vec<(String, String)>,
}

/// What happens to old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Those beyond the limits of retention go.
    Delete,
    /// Of each key only the last one stays; limits of retention count for nothing.
    Compact,
    /// Both.
    Both,
}

impl CleanupPolicy {
    /// Whether limits of retention count.
    #[must_use]
    pub const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::Both)
    }

    /// Whether keys count.
    #[must_use]
    pub const fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::Both)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::Both => "both",
        }
    }

    /// By its name; Kafka's for `both` are taken too.
    fn parse(value: &str) -> Result<Self> {
        match value {
            "delete" => Ok(Self::Delete),
            "compact" => Ok(Self::Compact),
            "both" | "compact,delete" | "delete,compact" => Ok(Self::Both),
            _ => Err(not_one_of(
                "cleanup_policy",
                value,
                "delete, compact or both",
            )),
        }
    }
}

/// What a folder gives to a topic that does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// `disk`, or `os` where nothing can be more.
    pub durability: Durability,
    /// In ms; -1: without limit.
    pub retention_ms: i64,
}

impl TopicConfig {
    /// The defaults.
    #[must_use]
    pub fn new(defaults: TopicDefaults) -> Self {
        Self {
            partitions: 1,
            durability: defaults.durability,
            retention_ms: defaults.retention_ms,
            retention_bytes: -1,
            max_message_bytes: 1_048_588,
            is_log_append_time: false,
            cleanup_policy: CleanupPolicy::Delete,
            tombstone_retention_ms: 86_400_000,
            min_insync_replicas: 1,
            unknown: Vec::new(),
        }
    }

    /// The options as asked for, over the defaults.
    ///
    /// # Errors
    /// `INVALID_CONFIG` for a value out of range, `UNKNOWN_OPTION`, `UNSUPPORTED_FEATURE`; the message
    /// names the option, the value found and the range.
    pub fn requested(defaults: TopicDefaults, config: &[(String, String)]) -> Result<Self> {
        let mut wanted = Self::new(defaults);
        for (name, value) in config {
            wanted.set(name, value)?;
        }
        Ok(wanted)
    }

    /// The options as stored, whatever this version makes of them: never fails.
    #[must_use]
    pub fn stored(defaults: TopicDefaults, config: &[(String, String)]) -> Self {
        let mut stored = Self::new(defaults);
        for (name, value) in config {
            if stored.set(name, value).is_err() {
                stored.unknown.push((name.clone(), value.clone()));
            }
        }
        stored
    }

    /// Sets one option by its snake-case name.
    ///
    /// # Errors
    /// As [`TopicConfig::requested`]; then nothing is changed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "partitions" => {
                let range = 1..=i64::from(limits::PARTITIONS_PER_TOPIC_MAX);
                self.partitions = u32_in(name, value, range, ErrorCode::InvalidPartitions)?;
            }
            "durability" => self.durability = durability(value)?,
            "retention_ms" => self.retention_ms = limit(name, value)?,
            "retention_bytes" => self.retention_bytes = limit(name, value)?,
            "cleanup_policy" => self.cleanup_policy = CleanupPolicy::parse(value)?,
            "tombstone_retention_ms" => {
                self.tombstone_retention_ms =
                    int_in(name, value, 0..=i64::MAX, ErrorCode::InvalidConfig)?;
            }
            "max_message_bytes" => {
                let range = 1_024..=limits::BATCH_BYTES_MAX as i64;
                self.max_message_bytes = u32_in(name, value, range, ErrorCode::InvalidConfig)?;
            }
            "message_timestamp_type" => {
                self.is_log_append_time = match value {
                    "create_time" => false,
                    "log_append_time" => true,
                    _ => return Err(not_one_of(name, value, "create_time or log_append_time")),
                };
            }
            "min_insync_replicas" => {
                self.min_insync_replicas = u32_in(name, value, 1..=1, ErrorCode::InvalidConfig)?;
            }
            _ => {
                return Err(Error::new(
                    ErrorCode::UnknownOption,
                    format!("`{name}` is no option of a topic"),
                ));
            }
        }
        Ok(())
    }

    /// Every option with its value, in the documentation's order.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        let timestamp_type = if self.is_log_append_time {
            "log_append_time"
        } else {
            "create_time"
        };
        let known = [
            ("partitions", self.partitions.to_string()),
            ("durability", self.durability.name().to_owned()),
            ("retention_ms", self.retention_ms.to_string()),
            ("retention_bytes", self.retention_bytes.to_string()),
            ("cleanup_policy", self.cleanup_policy.name().to_owned()),
            (
                "tombstone_retention_ms",
                self.tombstone_retention_ms.to_string(),
            ),
            ("max_message_bytes", self.max_message_bytes.to_string()),
            ("message_timestamp_type", timestamp_type.to_owned()),
            ("min_insync_replicas", self.min_insync_replicas.to_string()),
        ];
        let known = known
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        known.chain(self.unknown.iter().cloned()).collect()
    }

    /// What of the configuration is stored and not acted on, in words.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let unknown = self.unknown.iter();
        let notes = unknown
            .map(|(name, value)| format!("{name}={value} is of a version unknown here; not used"));
        notes.collect()
    }
}

/// Whether a name may be a topic's: 1 to 249 of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION` that says what is wrong with it.
pub fn check_topic_name(name: &str) -> Result<()> {
    let invalid = |why: String| Err(Error::new(ErrorCode::InvalidTopic, why));
    if name.is_empty() {
        return invalid("the topic name is empty".to_owned());
    }
    if name.len() > limits::NAME_BYTES_MAX {
        let found = name.len();
        return invalid(format!(
            "the topic name has {found} characters; at most {} are allowed",
            limits::NAME_BYTES_MAX
        ));
    }
    if name == "." || name == ".." {
        return invalid(format!("`{name}` is no topic name"));
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.chars().find(|&c| !is_allowed(c)) {
        Some(c) => invalid(format!(
            "topic name `{}` contains {c:?}; allowed are a-z, A-Z, 0-9, `.`, `_` and `-`",
            name.escape_debug()
        )),
        None => Ok(()),
    }
}

fn durability(value: &str) -> Result<Durability> {
    match value.parse() {
        Ok(Durability::Quorum) => Err(Error::new(
            ErrorCode::UnsupportedFeature,
            "durability `quorum` needs a cluster, which is not there yet; use `disk`",
        )),
        Ok(level) => Ok(level),
        Err(_) => Err(not_one_of("durability", value, "os, disk or quorum")),
    }
}

fn limit(name: &str, value: &str) -> Result<i64> {
    let number = int_in(name, value, -1..=i64::MAX, ErrorCode::InvalidConfig)?;
    if number == 0 {
        return Err(Error::new(
            ErrorCode::InvalidConfig,
            format!("{name} is 0; it must be -1 (no limit) or at least 1"),
        ));
    }
    Ok(number)
}

fn u32_in(
    name: &str,
    value: &str,
    range: std::ops::RangeInclusive<i64>,
    code: ErrorCode,
) -> Result<u32> {
    let number = int_in(name, value, range, code)?;
    u32::try_from(number).map_err(|_| Error::new(code, format!("{name} is {number}: too large")))
}

fn int_in(
    name: &str,
    value: &str,
    range: std::ops::RangeInclusive<i64>,
    code: ErrorCode,
) -> Result<i64> {
    let (low, high) = (range.start(), range.end());
    match value.parse::<i64>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(Error::new(
            code,
            format!("{name} is `{value}`; it must be a whole number from {low} to {high}"),
        )),
    }
}

fn not_one_of(name: &str, value: &str, allowed: &str) -> Error {
    Error::new(
        ErrorCode::InvalidConfig,
        format!("{name} is `{value}`; it must be {allowed}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: TopicDefaults = TopicDefaults {
        durability: Durability::Disk,
        retention_ms: -1,
    };

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_is_shown_can_be_asked_for_again() {
        let config = [
            pair("partitions", "4"),
            pair("durability", "os"),
            pair("retention_ms", "1000"),
            pair("message_timestamp_type", "log_append_time"),
        ];
        let config = TopicConfig::requested(DEFAULTS, &config).unwrap();
        assert_eq!(
            TopicConfig::requested(DEFAULTS, &config.to_pairs()).unwrap(),
            config
        );
        assert!(config.notes().is_empty());
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_range() {
        for (name, value, code) in [
            ("partitions", "0", ErrorCode::InvalidPartitions),
            ("partitions", "4097", ErrorCode::InvalidPartitions),
            ("partitions", "many", ErrorCode::InvalidPartitions),
            ("retention_ms", "0", ErrorCode::InvalidConfig),
            ("retention_bytes", "-2", ErrorCode::InvalidConfig),
            ("durability", "tape", ErrorCode::InvalidConfig),
            ("durability", "quorum", ErrorCode::UnsupportedFeature),
            ("cleanup_policy", "compress", ErrorCode::InvalidConfig),
            ("max_message_bytes", "1023", ErrorCode::InvalidConfig),
            ("min_insync_replicas", "2", ErrorCode::InvalidConfig),
            ("colour", "red", ErrorCode::UnknownOption),
        ] {
            let error = TopicConfig::requested(DEFAULTS, &[pair(name, value)]).unwrap_err();
            assert_eq!(error.code(), code, "{name}={value}");
            assert!(error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn stored_options_of_a_newer_version_are_kept_and_shown() {
        let config = TopicConfig::stored(DEFAULTS, &[pair("colour", "red")]);
        assert!(config.to_pairs().contains(&pair("colour", "red")));
        assert_eq!(config.notes().len(), 1);
    }

    #[test]
    fn names_that_are_no_topic_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "caf\u{e9}", &"x".repeat(250)] {
            assert_eq!(
                check_topic_name(name).unwrap_err().code(),
                ErrorCode::InvalidTopic,
                "{name}"
            );
        }
        for name in ["a", "orders.v1", "_x-Y.9", &"x".repeat(249)] {
            assert_eq!(check_topic_name(name), Ok(()));
        }
    }
}
