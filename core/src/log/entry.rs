//! What the log hands to the state derived from it: entries, where they lie, and the trait that takes them.

use bytes::Bytes;

use crate::completion::Wakes;
use crate::error::Result;
use crate::ids::{LeaderEpoch, PartitionId};

use super::control::OFFSET_COMMIT_VERSION;
use super::frame::PAYLOAD_VERSION;
use super::pair::{Scope, StatePair};

/// What a frame is. The numbers are persisted.
///
/// Numbers from 128 on may be skipped by a reader that does not know them; any other unknown number
/// refuses to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A record batch of one partition.
    Records = 1,
    /// Several parts that happen together.
    Set = 2,
    /// The log's own mark: a new term, a clean close, an idle moment. Takes no index.
    Mark = 3,
    /// [`TopicCreate`](super::control::TopicCreate)
    TopicCreate = 4,
    /// [`TopicAlter`](super::control::TopicAlter)
    TopicAlter = 5,
    /// [`TopicDelete`](super::control::TopicDelete)
    TopicDelete = 6,
    /// [`PartitionOpen`](super::control::PartitionOpen)
    PartitionOpen = 7,
    /// [`LogStart`](super::control::LogStart)
    LogStart = 8,
    /// [`OffsetCommit`](super::control::OffsetCommit)
    OffsetCommit = 9,
    /// [`Group`](super::control::Group)
    Group = 10,
    /// [`ProducerIds`](super::control::ProducerIds)
    ProducerIds = 11,
    /// [`ProducerExpire`](super::control::ProducerExpire)
    ProducerExpire = 12,
    /// [`Vote`](super::control::Vote); of a group's log alone. Takes no index.
    Vote = 13,
    /// [`Membership`](super::control::Membership); of a group's log alone.
    Membership = 14,
    /// A new leader's first entry; of a group's log alone.
    Blank = 15,
    /// Reserved: a partition goes on in another shard.
    PartitionSeal = 16,
    /// Reserved: a transaction's state.
    Txn = 17,
    /// Reserved: what was forwarded from another log.
    Forward = 18,
    /// The index at the end of a sealed segment. Takes no index of its own.
    Footer = 128,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Records,
        Self::Set,
        Self::Mark,
        Self::TopicCreate,
        Self::TopicAlter,
        Self::TopicDelete,
        Self::PartitionOpen,
        Self::LogStart,
        Self::OffsetCommit,
        Self::Group,
        Self::ProducerIds,
        Self::ProducerExpire,
        Self::Vote,
        Self::Membership,
        Self::Blank,
        Self::PartitionSeal,
        Self::Txn,
        Self::Forward,
        Self::Footer,
    ];

    /// The number on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.number() == number)
    }

    /// The name in `headwater dump`: UPPER_SNAKE.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "RECORDS",
            Self::Set => "SET",
            Self::Mark => "MARK",
            Self::TopicCreate => "TOPIC_CREATE",
            Self::TopicAlter => "TOPIC_ALTER",
            Self::TopicDelete => "TOPIC_DELETE",
            Self::PartitionOpen => "PARTITION_OPEN",
            Self::LogStart => "LOG_START",
            Self::OffsetCommit => "OFFSET_COMMIT",
            Self::Group => "GROUP",
            Self::ProducerIds => "PRODUCER_IDS",
            Self::ProducerExpire => "PRODUCER_EXPIRE",
            Self::Vote => "VOTE",
            Self::Membership => "MEMBERSHIP",
            Self::Blank => "BLANK",
            Self::PartitionSeal => "PARTITION_SEAL",
            Self::Txn => "TXN",
            Self::Forward => "FORWARD",
            Self::Footer => "FOOTER",
        }
    }

    /// Whether a frame of this kind takes the next index; the others carry that of the entry before.
    #[must_use]
    pub const fn takes_index(self) -> bool {
        !matches!(self, Self::Mark | Self::Vote | Self::Footer)
    }

    /// Whether this version writes and applies frames of this kind in a log of its own.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        !self.is_of_group() && !matches!(self, Self::PartitionSeal | Self::Txn | Self::Forward)
    }

    /// Whether this version reads payloads of this kind and version.
    #[must_use]
    pub const fn reads_version(self, version: u16) -> bool {
        let newest = match self {
            Self::OffsetCommit => OFFSET_COMMIT_VERSION,
            _ => PAYLOAD_VERSION,
        };
        version >= PAYLOAD_VERSION && version <= newest
    }

    /// Whether frames of this kind stand only in the log of a group of members.
    #[must_use]
    pub const fn is_of_group(self) -> bool {
        matches!(self, Self::Vote | Self::Membership | Self::Blank)
    }
}

/// Where a payload lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The segment's number.
    pub segment: u64,
    /// Position of the frame in the segment's file, bytes.
    pub position: u64,
    /// Where the payload begins, in bytes from the frame's start: behind the frame header, or, for a
    /// part of a SET, further on.
    pub payload_at: u32,
    /// Bytes of the payload.
    pub len: u32,
}

/// One entry of the log, or one part of a SET.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its index, from 1; the parts of a SET share theirs.
    pub index: u64,
    /// The term it was written in.
    pub term: LeaderEpoch,
    /// The writer's wall clock, ms since 1970 UTC.
    pub time_ms: i64,
    /// What it is.
    pub kind: Kind,
    /// Version of the payload.
    pub version: u16,
    /// The partition it is about; 0 where the kind has none.
    pub partition: PartitionId,
    /// Where the payload lies.
    pub location: Location,
    /// The payload.
    pub payload: &'a [u8],
    /// The same payload, shared, when it was just written.
    pub tail: Option<Bytes>,
}

/// The state that is derived from the log. It alone gives entries a meaning.
pub trait Machine: Send + Sync {
    /// Takes one entry, in index order: every entry found at open, then every entry right after it was
    /// written, under the writer's lock. It reads no clock and waits for nothing. MARK and FOOTER are not
    /// entries; a SET comes as its parts, one call each, with the same index.
    fn apply(&self, entry: &Entry<'_>, wakes: &mut Wakes);

    /// Everything up to and including `index` is synced. Called by open, by the sync thread, and by the
    /// writer of a storage that is not durable; with rising indexes, and never before `apply` of the same.
    fn synced(&self, index: u64, wakes: &mut Wakes);

    /// The state as of the last entry applied, as pairs in any order. Called under the writer's lock.
    fn pairs(&self, scope: Scope) -> Vec<StatePair>;

    /// Becomes what [`pairs`](Self::pairs) of [`Scope::All`] gave, all of it synced. Called at most once, by
    /// open, and before anything is applied.
    ///
    /// # Errors
    /// `Corrupt` if the pairs are not such a state; then nothing has changed.
    fn restore(&self, pairs: &[StatePair]) -> Result<()>;
}
