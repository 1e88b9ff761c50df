//! The sticky assignor: as even as the subscriptions allow, and nothing moves that need not.
//!
//! Each member keeps what it had; what has no owner goes to whoever has least; then partitions wander from
//! those with more to those with less, over others in between where subscriptions differ (a path that takes
//! one from its start and leaves one more at its end), until no such path is left. For load that is the best
//! there is (an optimal semi-matching). Where all subscribed to the same, no partition moves that could stay:
//! those who had most keep the places of which there is one more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Assignment, Subscriber, partitions_of, subscribed};
use crate::ids::TopicPartition;

pub(super) fn assign(
    subscribers: &[Subscriber<'_>],
    topics: &BTreeMap<Arc<str>, i32>,
) -> Assignment {
    let mut deal = Deal::new(subscribers, topics);
    let ownerless = deal.keep(subscribers);
    if deal.is_uniform() {
        deal.share_out(ownerless);
    } else {
        deal.fill(ownerless);
        deal.balance();
    }
    deal.assignment()
}

/// A topic by its place among those subscribed to.
type TopicPlace = usize;

struct Deal<'a> {
    topics: Vec<DealtTopic<'a>>,
    /// For each subscriber the partitions it has, by topic.
    has: Vec<BTreeMap<TopicPlace, BTreeSet<i32>>>,
    loads: Vec<usize>,
}

struct DealtTopic<'a> {
    name: &'a Arc<str>,
    count: i32,
    subscribers: Vec<usize>,
}

impl<'a> Deal<'a> {
    fn new(subscribers: &[Subscriber<'_>], topics: &'a BTreeMap<Arc<str>, i32>) -> Self {
        let subscribed = subscribed(subscribers, topics).into_iter();
        let topics = subscribed.map(|(name, (count, subscribers))| DealtTopic {
            name,
            count,
            subscribers,
        });
        Self {
            topics: topics.collect(),
            has: vec![BTreeMap::new(); subscribers.len()],
            loads: vec![0; subscribers.len()],
        }
    }

    /// Gives each what it had and may still have; returns what is left, in order.
    fn keep(&mut self, subscribers: &[Subscriber<'_>]) -> Vec<(TopicPlace, i32)> {
        let mut owners: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
        for (place, subscriber) in subscribers.iter().enumerate() {
            for partition in &subscriber.previous {
                owners.entry(partition).or_insert(place);
            }
        }
        let mut ownerless = Vec::new();
        for topic in 0..self.topics.len() {
            let (name, count) = (self.topics[topic].name, self.topics[topic].count);
            for partition in partitions_of(name, count) {
                let owner = owners.get(&partition).copied();
                match owner.filter(|owner| subscribers[*owner].topics.contains(name)) {
                    Some(owner) => self.give(owner, topic, partition.partition),
                    None => ownerless.push((topic, partition.partition)),
                }
            }
        }
        ownerless
    }

    /// Whether each subscriber of any topic is one of every topic.
    fn is_uniform(&self) -> bool {
        self.topics
            .windows(2)
            .all(|pair| pair[0].subscribers == pair[1].subscribers)
    }

    /// All subscribed to the same: each keeps at most its share, and what is left over fills up the others.
    fn share_out(&mut self, mut ownerless: Vec<(TopicPlace, i32)>) {
        let Some(first) = self.topics.first() else {
            return;
        };
        let mut places = first.subscribers.clone();
        let total = ownerless.len() + self.loads.iter().sum::<usize>();
        let (each, more) = (total / places.len(), total % places.len());
        // Who has most is first, and so among those whose share is one more.
        places.sort_by_key(|place| (std::cmp::Reverse(self.loads[*place]), *place));
        let shares: Vec<_> = places
            .iter()
            .enumerate()
            .map(|(nth, place)| (*place, each + usize::from(nth < more)))
            .collect();
        for (place, share) in &shares {
            while self.loads[*place] > *share {
                ownerless.extend(self.take_last(*place));
            }
        }
        ownerless.sort_unstable();
        let mut rest = ownerless.into_iter();
        for (place, share) in &shares {
            let missing = share.saturating_sub(self.loads[*place]);
            for (topic, partition) in rest.by_ref().take(missing) {
                self.give(*place, topic, partition);
            }
        }
    }

    /// Gives what has no owner to who has least, beginning with what the fewest can take.
    fn fill(&mut self, mut ownerless: Vec<(TopicPlace, i32)>) {
        ownerless.sort_by_key(|(topic, partition)| {
            (self.topics[*topic].subscribers.len(), *topic, *partition)
        });
        for (topic, partition) in ownerless {
            let takers = self.topics[topic].subscribers.iter().copied();
            if let Some(least) = takers.min_by_key(|place| (self.loads[*place], *place)) {
                self.give(least, topic, partition);
            }
        }
    }

    /// Moves partitions along paths that even out, until there is none. Each one lowers the sum of the
    /// squared loads, so it ends.
    fn balance(&mut self) {
        let mut settled = BTreeSet::new();
        loop {
            let open = (0..self.loads.len()).filter(|place| !settled.contains(place));
            let Some(most) = open.max_by_key(|place| (self.loads[*place], *place)) else {
                return;
            };
            match self.path_down(most) {
                Some(path) => {
                    self.shift(&path);
                    settled.clear();
                }
                None => {
                    settled.insert(most);
                }
            }
        }
    }

    /// The shortest path from `start` to one who has at least two less: each step names the topic that goes
    /// from one to the next.
    fn path_down(&self, start: usize) -> Option<Vec<(usize, TopicPlace, usize)>> {
        let mut came: BTreeMap<usize, (usize, TopicPlace)> = BTreeMap::new();
        let mut seen_topics = BTreeSet::new();
        let mut queue = VecDeque::from([start]);
        while let Some(from) = queue.pop_front() {
            for topic in self.has[from].keys().copied() {
                if !seen_topics.insert(topic) {
                    continue;
                }
                for to in self.topics[topic].subscribers.iter().copied() {
                    if to == start || came.contains_key(&to) {
                        continue;
                    }
                    came.insert(to, (from, topic));
                    if self.loads[to] + 2 <= self.loads[start] {
                        return Some(path_to(&came, start, to));
                    }
                    queue.push_back(to);
                }
            }
        }
        None
    }

    fn shift(&mut self, path: &[(usize, TopicPlace, usize)]) {
        for (from, topic, to) in path {
            let last = self.has[*from].get(topic).and_then(BTreeSet::last).copied();
            if let Some(partition) = last {
                self.take(*from, *topic, partition);
                self.give(*to, *topic, partition);
            }
        }
    }

    fn give(&mut self, place: usize, topic: TopicPlace, partition: i32) {
        let had = self.has[place].entry(topic).or_default();
        had.insert(partition);
        self.loads[place] += 1;
    }

    fn take(&mut self, place: usize, topic: TopicPlace, partition: i32) {
        if let Some(partitions) = self.has[place].get_mut(&topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.has[place].remove(&topic);
            }
            self.loads[place] -= 1;
        }
    }

    /// Takes one partition of the topic of which it has most, so that topics stay spread.
    fn take_last(&mut self, place: usize) -> Option<(TopicPlace, i32)> {
        let has = self.has[place].iter();
        let (topic, partitions) =
            has.max_by_key(|(topic, partitions)| (partitions.len(), **topic))?;
        let found = (*topic, *partitions.last()?);
        self.take(place, found.0, found.1);
        Some(found)
    }

    fn assignment(self) -> Assignment {
        let mut assignment = Assignment::new();
        for (place, has) in self.has.iter().enumerate() {
            for (topic, partitions) in has {
                let name = self.topics[*topic].name;
                assignment.extend(partitions.iter().map(|partition| {
                    let partition = TopicPartition {
                        topic: Arc::clone(name),
                        partition: *partition,
                    };
                    (partition, place)
                }));
            }
        }
        assignment
    }
}

fn path_to(
    came: &BTreeMap<usize, (usize, TopicPlace)>,
    start: usize,
    end: usize,
) -> Vec<(usize, TopicPlace, usize)> {
    let mut path = Vec::new();
    let mut at = end;
    while at != start
        && let Some((from, topic)) = came.get(&at)
    {
        path.push((*from, *topic, at));
        at = *from;
    }
    path.reverse();
    path
}
