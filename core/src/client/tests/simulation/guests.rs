//! Clients that speak another protocol to the same broker: who they are is told by the crate that speaks it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::broker::Signal;
use super::clients::Stage;
use super::history::History;
use super::network::Way;
use super::wire::{Reader, Writer};
use super::{GROUP, TOPIC};
use crate::service::Service;
use crate::world::simulated::{self, Bug};

/// The group that the native clients are members of.
pub const NATIVE_GROUP: &str = GROUP;

/// Something that goes on beside others.
pub type Play = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Of each partition the offsets and the numbers of its records.
pub type Reading = Pin<Box<dyn Future<Output = Vec<Vec<(i64, u64)>>> + Send>>;

/// The guests of a simulation: who serves them, and what they do. They take time and chance from the [`Stage`] alone.
pub trait Guests: Send + Sync {
    /// The group that their members are in: [`NATIVE_GROUP`], or another.
    fn group(&self) -> &'static str;

    /// A broker has opened its log: who serves the guests' connections to it.
    fn open(&self, service: &Service) -> Arc<dyn Port>;

    /// A producer that sends so many records, has an end of each in the history, and counts itself.
    fn produce(&self, stage: Stage, producer: usize, records: u64, done: Arc<Signal>) -> Play;

    /// A member of the group that reads until it is told to stop, and counts itself.
    fn consume(&self, stage: Stage, member: usize, stop: Arc<Signal>) -> Play;

    /// Reads every partition from its beginning to these ends, when nothing goes wrong any more.
    fn read_all(&self, stage: Stage, ends: Vec<i64>) -> Reading;
}

/// What serves the guests' connections to one broker.
pub trait Port: Send + Sync {
    /// Serves a connection to its end.
    fn serve(&self, reader: Reader, writer: Writer) -> Play;

    /// Ends all connections in order, within so long.
    fn close(&self, within: Duration) -> Play;
}

/// Whether the seed is run with this bug.
#[must_use]
pub fn has(bug: Bug) -> bool {
    simulated::has(bug)
}

impl Stage {
    /// The topic that all produce to and read.
    #[must_use]
    pub const fn topic(&self) -> &'static str {
        TOPIC
    }

    /// How many partitions it has.
    #[must_use]
    pub const fn partitions(&self) -> i32 {
        self.partitions
    }

    /// What is true whatever happens.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whether nothing goes wrong any more.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.calm.is_set()
    }

    /// Notes what happens, in words.
    pub fn note(&self, what: impl Into<String>) {
        self.world.note(what);
    }

    /// A connection of a guest to the broker; may never come.
    ///
    /// # Errors
    /// When there is no broker.
    pub async fn dial(&self, client: usize) -> io::Result<(Reader, Writer)> {
        Arc::clone(&self.network).dial(client, Way::Guest).await
    }
}

/// Who plays beside the native clients.
#[derive(Clone, Default)]
pub(super) struct Cast {
    pub(super) guests: Option<Arc<dyn Guests>>,
    /// Whether there are no native clients.
    pub(super) are_alone: bool,
}

/// How many there are of each kind, and of whom.
pub(super) struct Counts {
    pub(super) producers: usize,
    pub(super) members: usize,
    pub(super) guest_producers: usize,
    pub(super) guest_members: usize,
    guest_group: &'static str,
}

impl Cast {
    /// So many native clients, and guests by the seed.
    pub(super) fn counts(&self, stage: &Stage, producers: usize, members: usize) -> Counts {
        let native = Counts {
            producers,
            members,
            guest_producers: 0,
            guest_members: 0,
            guest_group: "",
        };
        let Some(guests) = &self.guests else {
            return native;
        };
        let is_native = usize::from(!self.are_alone);
        Counts {
            producers: producers * is_native,
            members: members * is_native,
            guest_producers: 1 + stage.below(2) as usize,
            guest_members: stage.below(4) as usize,
            guest_group: guests.group(),
        }
    }
}

impl Counts {
    pub(super) const fn all_producers(&self) -> usize {
        self.producers + self.guest_producers
    }

    pub(super) const fn all_members(&self) -> usize {
        self.members + self.guest_members
    }

    pub(super) const fn all(&self) -> usize {
        self.all_producers() + self.all_members()
    }

    /// The groups that somebody is a member of.
    pub(super) fn groups(&self) -> impl Iterator<Item = &'static str> {
        let groups = [
            (GROUP, self.members),
            (self.guest_group, self.guest_members),
        ];
        let read = groups.into_iter().filter(|(_, members)| *members > 0);
        read.map(|(group, _)| group)
    }
}
