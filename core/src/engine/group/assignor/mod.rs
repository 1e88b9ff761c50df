//! Assignors: who of a group's members is to read which partition.
//!
//! Pure functions: the same members, topics and earlier assignment give the same result. What comes out is
//! complete (each partition that somebody subscribed to has an owner), disjoint, and gives no member a topic
//! that it did not subscribe to. How it comes to be, step by step, is the coordinator's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::TopicPartition;

mod range;
mod round_robin;
mod sticky;

/// How a group's partitions are dealt out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// As evenly as the subscriptions allow, moving as few partitions as that takes. The default.
    #[default]
    Sticky,
    /// Kafka's range: of each topic a run of partitions that follow one another.
    Range,
    /// Kafka's round robin: the partitions of all topics in order, one after another to the next member.
    RoundRobin,
}

impl Assignor {
    /// Every assignor, in the order in which ties are decided.
    pub const ALL: [Self; 3] = [Self::Sticky, Self::Range, Self::RoundRobin];

    /// `sticky`, `range` or `round_robin`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sticky => "sticky",
            Self::Range => "range",
            Self::RoundRobin => "round_robin",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The one that most members name; of several the first of [`ALL`](Self::ALL).
    #[must_use]
    pub fn most_named(named: impl Iterator<Item = Self>) -> Self {
        let mut votes = [0_usize; Self::ALL.len()];
        for assignor in named {
            votes[assignor as usize] += 1;
        }
        let most = votes.iter().max().copied().unwrap_or_default();
        let mut tied = Self::ALL.into_iter().zip(votes);
        tied.find(|(_, count)| *count == most)
            .map_or_else(Self::default, |(assignor, _)| assignor)
    }

    /// Deals the partitions of `topics` (each with how many it has) out to the subscribers.
    ///
    /// `subscribers` stand in the order that range and round robin go by. Topics that nobody subscribed to
    /// are not in the result.
    #[must_use]
    pub fn assign(
        self,
        subscribers: &[Subscriber<'_>],
        topics: &BTreeMap<Arc<str>, i32>,
    ) -> Assignment {
        match self {
            Self::Sticky => sticky::assign(subscribers, topics),
            Self::Range => range::assign(subscribers, topics),
            Self::RoundRobin => round_robin::assign(subscribers, topics),
        }
    }
}

/// A member, as far as an assignor looks at it.
#[derive(Clone, Debug)]
pub struct Subscriber<'a> {
    /// The topics it subscribed to, whether they exist or not.
    pub topics: &'a BTreeSet<Arc<str>>,
    /// What it was assigned before.
    pub previous: BTreeSet<TopicPartition>,
}

/// For each partition the subscriber it goes to, by its place among them.
pub type Assignment = BTreeMap<TopicPartition, usize>;

/// The partitions of a topic.
fn partitions_of(topic: &Arc<str>, count: i32) -> impl Iterator<Item = TopicPartition> {
    (0..count).map(|partition| TopicPartition {
        topic: Arc::clone(topic),
        partition,
    })
}

/// For each topic that exists and has subscribers: how many partitions it has, and who subscribed to it.
fn subscribed<'a>(
    subscribers: &[Subscriber<'_>],
    topics: &'a BTreeMap<Arc<str>, i32>,
) -> BTreeMap<&'a Arc<str>, (i32, Vec<usize>)> {
    let mut found = BTreeMap::new();
    for (place, subscriber) in subscribers.iter().enumerate() {
        for wanted in subscriber.topics {
            if let Some((topic, count)) = topics.get_key_value(wanted) {
                let (_, places) = found.entry(topic).or_insert((*count, Vec::new()));
                places.push(place);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
