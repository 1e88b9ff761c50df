//! Small numbers with a meaning, as types, so that one cannot stand for another.
//!
//! Plain integers appear only on the wire, on disk and across languages.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A partition's id within its shard, given when it is opened and never reused.
    PartitionId(u32)
);
id!(
    /// The term a record was written in: it rises at every open that did not find a clean close.
    LeaderEpoch(i32)
);
id!(
    /// A producer's identity; its batches carry it, so that a repeated one is recognised.
    ProducerId(i64)
);
id!(
    /// The generation of a consumer group: it rises whenever its membership changes.
    Generation(i32)
);

/// A topic's name and one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number within the topic, from 0.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// How safe a record is: named when asked for, and returned with every acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Durability {
    /// In the operating system's cache: survives the process, not the power.
    Os,
    /// After fdatasync: survives the power.
    Disk,
    /// On a majority of replicas. Needs a cluster.
    Quorum,
}

impl Durability {
    /// `os`, `disk` or `quorum`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Os => "os",
            Self::Disk => "disk",
            Self::Quorum => "quorum",
        }
    }

    /// The number in completion rows: 1 os, 2 disk, 3 quorum.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Os => 1,
            Self::Disk => 2,
            Self::Quorum => 3,
        }
    }
}

impl std::str::FromStr for Durability {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "os" => Ok(Self::Os),
            "disk" => Ok(Self::Disk),
            "quorum" => Ok(Self::Quorum),
            other => Err(crate::Error::new(
                crate::ErrorCode::InvalidOption,
                format!("durability is `{other}`; it must be `os`, `disk` or `quorum`"),
            )),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
