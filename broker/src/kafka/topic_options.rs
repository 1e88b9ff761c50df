//! A topic's options under Kafka's names, with Kafka's values.
//!
//! A topic keeps a value for each of its options, and not who set it: what is as the broker would have it is said to
//! be the default, and everything else to be set. Names of Kafka's that mean nothing here are refused by name, but for
//! those of segments: clients set them by habit, the log has one size for all topics, and they change nothing that a
//! client can see.

use headwater::ErrorCode;
use headwater::engine::topic_config::{TopicConfig, TopicDefaults};
use headwater::service::Service;

use super::error::{Failure, code, number};

/// An option's name and value.
pub(super) type Pair = (String, String);

/// What a value is, in Kafka's numbers.
pub(super) mod kind {
    pub(crate) const BOOLEAN: i8 = 1;
    pub(crate) const STRING: i8 = 2;
    pub(crate) const INT: i8 = 3;
    pub(crate) const LONG: i8 = 5;
    pub(crate) const LIST: i8 = 7;
}

/// An option of topics.
#[derive(Debug)]
pub(super) struct TopicOption {
    /// Kafka's name.
    pub(super) name: &'static str,
    /// Kafka's name of what the broker gives to topics that do not say.
    pub(super) broker_name: Option<&'static str>,
    pub(super) kind: i8,
    pub(super) documentation: &'static str,
    meaning: Meaning,
}

#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// An option of ours, with the same values.
    Plain(&'static str),
    /// `cleanup_policy`: a list.
    CleanupPolicy,
    /// `message_timestamp_type`: in camel case.
    TimestampType,
    /// Batches stay as their producers compressed them.
    Compression,
    /// A number that is taken and not used: what it is for is the log's, and so.
    Unused(fn(&Service) -> String),
}

const fn plain(
    name: &'static str,
    broker_name: Option<&'static str>,
    kind: i8,
    ours: &'static str,
    documentation: &'static str,
) -> TopicOption {
    TopicOption {
        name,
        broker_name,
        kind,
        documentation,
        meaning: Meaning::Plain(ours),
    }
}

const fn unused(
    name: &'static str,
    kind: i8,
    of_log: fn(&Service) -> String,
    documentation: &'static str,
) -> TopicOption {
    TopicOption {
        name,
        broker_name: None,
        kind,
        documentation,
        meaning: Meaning::Unused(of_log),
    }
}

/// Every option, by name.
pub(super) const OPTIONS: &[TopicOption] = &[
    TopicOption {
        name: "cleanup.policy",
        broker_name: Some("log.cleanup.policy"),
        kind: kind::LIST,
        documentation: "What happens to old records: delete, compact, or both.",
        meaning: Meaning::CleanupPolicy,
    },
    TopicOption {
        name: "compression.type",
        broker_name: Some("compression.type"),
        kind: kind::STRING,
        documentation: "Always producer: batches are stored and sent as their producers compressed them.",
        meaning: Meaning::Compression,
    },
    plain(
        "delete.retention.ms",
        Some("log.cleaner.delete.retention.ms"),
        kind::LONG,
        "tombstone_retention_ms",
        "How long a tombstone is kept in a compacted topic after the cleaning that first kept it.",
    ),
    plain(
        "headwater.durability",
        None,
        kind::STRING,
        "durability",
        "When a record counts and becomes readable: os (it survives the process) or disk (it survives the power).",
    ),
    plain(
        "max.message.bytes",
        Some("message.max.bytes"),
        kind::INT,
        "max_message_bytes",
        "The largest record batch that is taken, as it is sent.",
    ),
    TopicOption {
        name: "message.timestamp.type",
        broker_name: Some("log.message.timestamp.type"),
        kind: kind::STRING,
        documentation: "Whose timestamps records have: CreateTime (the producer's) or LogAppendTime.",
        meaning: Meaning::TimestampType,
    },
    plain(
        "min.insync.replicas",
        Some("min.insync.replicas"),
        kind::INT,
        "min_insync_replicas",
        "Always 1: there is one broker.",
    ),
    plain(
        "retention.bytes",
        Some("log.retention.bytes"),
        kind::LONG,
        "retention_bytes",
        "How many bytes of a partition are kept; -1: without limit.",
    ),
    plain(
        "retention.ms",
        Some("log.retention.ms"),
        kind::LONG,
        "retention_ms",
        "How long records are kept; -1: without limit.",
    ),
    unused(
        "segment.bytes",
        kind::INT,
        |service| service.segment_bytes().to_string(),
        "Taken and not used: all topics share the segments of one log, whose size the broker is given when it starts.",
    ),
    unused(
        "segment.ms",
        kind::LONG,
        |service| service.segment_ms().to_string(),
        "Taken and not used: all topics share the segments of one log, which begins another as retention needs it.",
    ),
];

/// The option of this name.
///
/// # Errors
/// `INVALID_CONFIG` that names it.
pub(super) fn option(name: &str) -> Result<&'static TopicOption, Failure> {
    OPTIONS
        .iter()
        .find(|option| option.name == name)
        .ok_or_else(|| {
            let name = name.escape_debug();
            invalid(format!("`{name}` is no option of a topic here"))
        })
}

impl TopicOption {
    /// The option of ours that it is, with this value; none where it changes nothing.
    ///
    /// # Errors
    /// `INVALID_CONFIG` for what cannot be.
    pub(super) fn ours(&self, value: &str) -> Result<Option<Pair>, Failure> {
        let refused = |what: &str| {
            let (name, value) = (self.name, value.escape_debug());
            Err(invalid(format!("{name} is `{value}`; {what}")))
        };
        let value = value.trim();
        match self.meaning {
            Meaning::Plain(ours) => Ok(Some((ours.to_owned(), value.to_owned()))),
            Meaning::CleanupPolicy => {
                let Some(policy) = Policies::parse(value).and_then(Policies::ours) else {
                    return refused("it must be delete, compact or both");
                };
                Ok(Some(("cleanup_policy".to_owned(), policy.to_owned())))
            }
            Meaning::TimestampType => {
                let ours = match value {
                    "CreateTime" => "create_time",
                    "LogAppendTime" => "log_append_time",
                    _ => return refused("it must be CreateTime or LogAppendTime"),
                };
                Ok(Some(("message_timestamp_type".to_owned(), ours.to_owned())))
            }
            Meaning::Compression if value == "producer" => Ok(None),
            Meaning::Compression => refused(
                "it must be producer: this broker stores batches as their producers compressed them",
            ),
            Meaning::Unused(_) if value.parse::<u64>().is_ok() => Ok(None),
            Meaning::Unused(_) => refused("it must be a whole number"),
        }
    }

    /// Its value in a configuration, as Kafka writes it; none where there is nothing to say.
    pub(super) fn value(&self, config: &TopicConfig) -> Option<String> {
        let ours = |name: &str| {
            let mut pairs = config.to_pairs().into_iter();
            pairs
                .find(|(known, _)| known == name)
                .map(|(_, value)| value)
        };
        match self.meaning {
            Meaning::Plain(name) => ours(name),
            Meaning::CleanupPolicy => Some(Policies::of(config).text().to_owned()),
            Meaning::TimestampType if config.is_log_append_time => Some("LogAppendTime".to_owned()),
            Meaning::TimestampType => Some("CreateTime".to_owned()),
            Meaning::Compression => Some("producer".to_owned()),
            Meaning::Unused(_) => None,
        }
    }

    /// Its value where it is the log's, and no topic's to say.
    pub(super) fn value_of_log(&self, service: &Service) -> Option<String> {
        match self.meaning {
            Meaning::Unused(of_log) => Some(of_log(service)),
            _ => None,
        }
    }

    /// The pair that sets it to what the broker gives; none where there is nothing to set.
    pub(super) fn default_pair(&self, defaults: TopicDefaults) -> Option<Pair> {
        let value = self.value(&TopicConfig::new(defaults))?;
        self.ours(&value).ok().flatten()
    }

    /// Whether it is a list, which can be added to.
    pub(super) const fn is_list(&self) -> bool {
        matches!(self.meaning, Meaning::CleanupPolicy)
    }
}

/// What of `cleanup.policy` is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Policies {
    deletes: bool,
    compacts: bool,
}

impl Policies {
    /// Those of a list; none if it has another word.
    pub(super) fn parse(list: &str) -> Option<Self> {
        let mut policies = Self::default();
        for word in list
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            match word {
                "delete" => policies.deletes = true,
                "compact" => policies.compacts = true,
                _ => return None,
            }
        }
        Some(policies)
    }

    pub(super) const fn of(config: &TopicConfig) -> Self {
        Self {
            deletes: config.cleanup_policy.deletes(),
            compacts: config.cleanup_policy.compacts(),
        }
    }

    /// With these added.
    pub(super) const fn with(self, other: Self) -> Self {
        Self {
            deletes: self.deletes || other.deletes,
            compacts: self.compacts || other.compacts,
        }
    }

    /// With these taken away.
    pub(super) const fn without(self, other: Self) -> Self {
        Self {
            deletes: self.deletes && !other.deletes,
            compacts: self.compacts && !other.compacts,
        }
    }

    /// As Kafka writes it.
    pub(super) const fn text(self) -> &'static str {
        match (self.compacts, self.deletes) {
            (true, true) => "compact,delete",
            (true, false) => "compact",
            (false, true) => "delete",
            (false, false) => "",
        }
    }

    /// Our word for it; none for nothing at all.
    const fn ours(self) -> Option<&'static str> {
        match (self.compacts, self.deletes) {
            (true, true) => Some("both"),
            (true, false) => Some("compact"),
            (false, true) => Some("delete"),
            (false, false) => None,
        }
    }
}

/// What our refusal of options says in Kafka's words: whatever is wrong with a value is `INVALID_CONFIG`.
pub(super) fn failure(error: &headwater::Error) -> Failure {
    let code = match error.code() {
        ErrorCode::UnknownOption
        | ErrorCode::UnsupportedFeature
        | ErrorCode::InvalidOption
        | ErrorCode::InvalidArgument => code::INVALID_CONFIG,
        code => number(code),
    };
    Failure::new(code, Failure::from(error).message)
}

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(code::INVALID_CONFIG, message)
}

#[cfg(test)]
mod tests {
    use headwater::Durability;

    use super::*;

    const DEFAULTS: TopicDefaults = TopicDefaults {
        durability: Durability::Disk,
        retention_ms: 604_800_000,
    };

    #[test]
    fn every_option_of_ours_has_a_name_of_kafkas_and_its_value_can_be_set_again() {
        let config = TopicConfig::new(DEFAULTS);
        let mut set = Vec::new();
        for option in OPTIONS {
            let Some(value) = option.value(&config) else {
                continue;
            };
            set.extend(option.ours(&value).unwrap());
        }
        set.sort();
        let mut ours = config.to_pairs();
        ours.retain(|(name, _)| name != "partitions");
        ours.sort();
        assert_eq!(set, ours);
        assert!(OPTIONS.windows(2).all(|two| two[0].name < two[1].name));
    }

    #[test]
    fn values_of_kafkas_become_ours_and_come_back() {
        for (name, value, ours) in [
            (
                "cleanup.policy",
                "delete",
                Some(("cleanup_policy", "delete")),
            ),
            (
                "cleanup.policy",
                "delete, compact",
                Some(("cleanup_policy", "both")),
            ),
            ("retention.ms", "1000", Some(("retention_ms", "1000"))),
            (
                "message.timestamp.type",
                "LogAppendTime",
                Some(("message_timestamp_type", "log_append_time")),
            ),
            ("compression.type", "producer", None),
            ("segment.bytes", "52428800", None),
        ] {
            let found = option(name).unwrap().ours(value).unwrap();
            let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(found, ours, "{name}");
        }
        for (name, value) in [
            ("cleanup.policy", "compress"),
            ("cleanup.policy", ""),
            ("message.timestamp.type", "create_time"),
            ("compression.type", "zstd"),
            ("segment.bytes", "large"),
        ] {
            let failure = option(name).unwrap().ours(value).unwrap_err();
            assert_eq!(failure.code, 40, "{name}");
            assert!(failure.message.starts_with(name), "{}", failure.message);
        }
        let failure = option("flush.ms").unwrap_err();
        assert_eq!(
            (failure.code, failure.message.contains("`flush.ms`")),
            (40, true)
        );
    }
}
