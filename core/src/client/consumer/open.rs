//! Opening: which partitions, from where, to where.
//!
//! A chain of requests, each answered into the next step; nothing waits. With a group: join it, and begin at
//! what it committed; what it assigns later goes the same way. Without: every partition of the topics, or those
//! asked for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fetcher::{Assigned, Fetcher, Origin};
use super::membership::Granted;
use super::reader::Reader;
use super::state::State;
use crate::client::admin::unexpected;
use crate::client::options::{Start, Until};
use crate::completion::{Completion, Shared, Wakes};
use crate::error::{Error, ErrorCode, Result};
use crate::protocol::request::{OffsetAt, OffsetQuery, PartitionOffset, Request, SubscribeAt};
use crate::protocol::response::{Response, TopicDescription};
use crate::timer::Timer;
use crate::world;

/// One opening on its way.
pub(super) struct Opening {
    state: Arc<State>,
    /// None: reading has begun, and these are more partitions.
    done: Option<Completion<()>>,
    assigned: Vec<Assigned>,
    /// For every question, which of the assigned it is about.
    asked: Vec<(usize, Asked)>,
}

#[derive(Clone, Copy)]
enum Asked {
    Start,
    Until,
}

impl State {
    /// Opens it, unless it is open or opening. After a failure the next call tries again.
    pub(super) fn open(self: &Arc<Self>) -> Shared<()> {
        let (done, shared) = Completion::shared();
        let mut opening = self.opening.lock();
        if let Some(known) = &*opening
            && !matches!(known.peek(), Some(Err(_)))
        {
            return known.clone();
        }
        *opening = Some(shared.clone());
        drop(opening);
        let opening = Opening::new(self, Some(done), Vec::new());
        match self.check_open() {
            Ok(()) => opening.begin(),
            Err(error) => opening.fail(error, &mut Wakes::new()),
        }
        shared
    }
}

impl Opening {
    fn new(state: &Arc<State>, done: Option<Completion<()>>, assignment: Vec<Granted>) -> Self {
        let mut names = Names::default();
        let assigned = assignment
            .into_iter()
            .map(|Granted { offset: it, grant }| Assigned {
                topic: names.share(&it.topic),
                partition: it.partition,
                start: it.offset.max(0),
                origin: Origin::Found,
                committed: (it.offset >= 0).then_some(it.offset),
                until: None,
                grant,
            });
        Self {
            state: Arc::clone(state),
            done,
            assigned: assigned.collect(),
            asked: Vec::new(),
        }
    }

    /// Goes on with what a group has assigned to the member that joins.
    pub(super) fn of_member(state: &Arc<State>, assignment: Vec<Granted>, done: Completion<()>) {
        Self::new(state, Some(done), assignment).resolve(&mut Wakes::new());
    }

    /// Begins to read partitions that a topic has got since reading began.
    pub(super) fn of_new(state: &Arc<State>, assigned: Vec<Assigned>) {
        let opening = Self {
            assigned,
            ..Self::new(state, None, Vec::new())
        };
        match state.settings.start {
            Start::Time(_) => opening.resolve(&mut Wakes::new()),
            // All of it is later than what was there. An offset that was named is none of theirs.
            Start::Earliest | Start::Latest | Start::Offset(_) => {
                opening.subscribe(&mut Wakes::new());
            }
        }
    }

    /// Begins to read partitions that a group has assigned to its member.
    pub(super) fn of_more(state: &Arc<State>, assignment: Vec<Granted>) {
        Self::new(state, None, assignment).resolve(&mut Wakes::new());
    }

    fn begin(self) {
        let names = self.state.topics.clone();
        // What more is assigned may come before what is assigned first: both go there.
        *self.state.fetcher.lock() = Fetcher::new(Vec::new(), self.state.settings.is_manual);
        self.ask(Request::DescribeTopics { names }, Self::described);
    }

    /// Sends a request; its answer goes to `next`.
    fn ask(self, request: Request, next: fn(Self, Response, &mut Wakes)) {
        let transport = Arc::clone(&self.state.transport);
        let answered = Completion::call(move |answer: Result<Response>, wakes| {
            match answer.and_then(|response| self.state.check_open().map(|()| response)) {
                Ok(response) => next(self, response, wakes),
                Err(error) => self.fail(error, wakes),
            }
        });
        transport.submit(request, Bytes::new(), answered);
    }

    fn described(mut self, response: Response, wakes: &mut Wakes) {
        let Response::Topics(topics) = response else {
            return self.fail(unexpected(&response), wakes);
        };
        if let Some(group) = self.state.settings.group.clone() {
            // That they exist is all there was to know: the group says which partitions.
            let Some(done) = self.done.take() else { return };
            return self.state.join(group, done);
        }
        let wanted = self.state.settings.partitions.clone();
        for topic in &topics {
            match partitions_of(topic, wanted.as_deref()) {
                Ok(assigned) => self.assigned.extend(assigned),
                Err(error) => return self.fail(error, wakes),
            }
        }
        self.resolve(wakes);
    }

    /// Turns what the options say into offsets.
    fn resolve(mut self, wakes: &mut Wakes) {
        let mut queries = Vec::new();
        let settings = &self.state.settings;
        for (place, assigned) in self.assigned.iter_mut().enumerate() {
            let start = match settings.start {
                _ if assigned.committed.is_some() => None,
                Start::Earliest => Some(OffsetAt::Earliest),
                Start::Latest => Some(OffsetAt::Latest),
                Start::Time(time_ms) => Some(OffsetAt::Time(time_ms)),
                Start::Offset(offset) => {
                    (assigned.start, assigned.origin) = (offset, Origin::Named);
                    None
                }
            };
            let until = match settings.until {
                None => None,
                Some(Until::End) => Some(OffsetAt::Latest),
                Some(Until::Time(time_ms)) => Some(OffsetAt::Time(time_ms)),
                Some(Until::Offset(offset)) => {
                    assigned.until = Some(offset);
                    None
                }
            };
            for (at, about) in [(start, Asked::Start), (until, Asked::Until)] {
                if let Some(at) = at {
                    let topic = assigned.topic.to_string();
                    queries.push(OffsetQuery {
                        topic,
                        partition: assigned.partition,
                        at,
                    });
                    self.asked.push((place, about));
                }
            }
        }
        if queries.is_empty() {
            return self.subscribe(wakes);
        }
        self.ask(Request::ListOffsets { queries }, Self::located);
    }

    fn located(mut self, response: Response, wakes: &mut Wakes) {
        let offsets = match response {
            Response::Offsets(offsets) if offsets.len() == self.asked.len() => offsets,
            other => return self.fail(unexpected(&other), wakes),
        };
        for ((place, about), offset) in self.asked.iter().zip(offsets) {
            if let Some(assigned) = self.assigned.get_mut(*place) {
                match about {
                    Asked::Start => assigned.start = offset,
                    Asked::Until => assigned.until = Some(offset),
                }
            }
        }
        self.subscribe(wakes);
    }

    fn subscribe(mut self, wakes: &mut Wakes) {
        let state = Arc::clone(&self.state);
        let assigned = std::mem::take(&mut self.assigned);
        let Some(done) = self.done.take() else {
            return state.read_more(assigned);
        };
        if let Err(error) = state.begin_reading(assigned) {
            self.done = Some(done);
            return self.fail(error, wakes);
        }
        // Looked at after the feed is there: either this or `close` ends it.
        if state.is_closed() {
            state.end_feed();
            self.done = Some(done);
            return self.fail(
                Error::new(ErrorCode::Closed, "the consumer was closed"),
                wakes,
            );
        }
        state.look_for_more_later();
        done.complete(Ok(()), wakes);
    }

    fn fail(self, error: Error, wakes: &mut Wakes) {
        let Some(done) = self.done else {
            return self.state.failed_to_read_more(self.assigned, &error);
        };
        self.state.leave(Completion::call(|_, _| {}));
        done.complete(Err(error), wakes);
    }
}

impl State {
    /// A reader of what `fetcher` has not reached the end of.
    pub(super) fn subscribe(&self, fetcher: &Fetcher) -> Result<Reader> {
        let feed = self.transport.subscribe(SubscribeAt {
            positions: fetcher.unfinished(),
            credit_bytes: self.settings.credit_bytes,
        })?;
        *self.feed.lock() = Some(Arc::clone(&feed));
        Ok(Reader::new(
            feed,
            fetcher.places(),
            self.transport.is_remote(),
        ))
    }

    /// Ends the stream; nothing more comes.
    pub(super) fn end_feed(&self) {
        let feed = self.feed.lock().take();
        if let Some(feed) = feed {
            feed.close();
        }
    }

    fn begin_reading(&self, mut assigned: Vec<Assigned>) -> Result<()> {
        let mut reader = self.reader.lock();
        let in_group = self.in_group.lock();
        if let Some(in_group) = &*in_group {
            // Some may have gone to others since.
            assigned.retain(|it| in_group.holds(&it.topic, it.partition, it.grant));
        }
        let mut fetcher = self.fetcher.lock();
        fetcher.assign(assigned);
        *reader = Some(self.subscribe(&fetcher)?);
        Ok(())
    }

    /// Reads these too from now on, as far as they are still held.
    fn read_more(self: &Arc<Self>, mut assigned: Vec<Assigned>) {
        let mut reader = self.reader.lock();
        let in_group = self.in_group.lock();
        if self.settings.group.is_some() {
            let Some(in_group) = &*in_group else { return };
            assigned.retain(|it| in_group.holds(&it.topic, it.partition, it.grant));
        }
        let mut fetcher = self.fetcher.lock();
        if self.settings.group.is_none() {
            fetcher.leave_new(&mut assigned);
            if assigned.is_empty() {
                return;
            }
        }
        fetcher.assign(assigned);
        drop(fetcher);
        self.report_reading(self.begin_again(reader.as_mut()));
    }

    /// Where partitions that were assigned begin could not be found: that is tried again, for each by itself, so
    /// that one which cannot be found is in nobody's way.
    fn failed_to_read_more(self: &Arc<Self>, assigned: Vec<Assigned>, error: &Error) {
        if self.is_closed() {
            return;
        }
        let _mine = self.span.enter();
        crate::seldom!(warn, %error, "reading of assigned partitions does not begin yet");
        if self.settings.group.is_none() {
            // They are found again.
            return;
        }
        let mut unlocated = self.unlocated.lock();
        unlocated
            .waiting
            .extend(assigned.into_iter().map(|it| Granted {
                offset: PartitionOffset {
                    topic: it.topic.to_string(),
                    partition: it.partition,
                    offset: it.committed.unwrap_or(-1),
                },
                grant: it.grant,
            }));
        if unlocated.timer.is_none() {
            let at = world::now() + LOCATE_AGAIN;
            unlocated.timer = Some(self.later(at, Self::locate_again));
        }
    }

    fn locate_again(self: &Arc<Self>) {
        let mut unlocated = self.unlocated.lock();
        unlocated.timer = None;
        let waiting = std::mem::take(&mut unlocated.waiting);
        drop(unlocated);
        for granted in waiting {
            let is_held = self.in_group.lock().as_ref().is_some_and(|it| {
                let topic = Arc::from(granted.offset.topic.as_str());
                it.holds(&topic, granted.offset.partition, granted.grant)
            });
            if is_held {
                Opening::of_more(self, vec![granted]);
            }
        }
    }
}

/// Partitions of which it could not be found where they begin.
#[derive(Debug, Default)]
pub(super) struct Unlocated {
    waiting: Vec<Granted>,
    timer: Option<Timer>,
}

/// After so long it is asked again where assigned partitions begin.
const LOCATE_AGAIN: Duration = Duration::from_millis(500);

pub(super) fn partitions_of(
    topic: &TopicDescription,
    wanted: Option<&[i32]>,
) -> Result<Vec<Assigned>> {
    let name: Arc<str> = topic.name.as_str().into();
    let assigned = |partition| Assigned {
        topic: Arc::clone(&name),
        partition,
        start: 0,
        origin: Origin::Found,
        committed: None,
        until: None,
        grant: 0,
    };
    let there = topic.partitions.iter().map(|it| it.partition);
    let Some(wanted) = wanted else {
        return Ok(there.map(assigned).collect());
    };
    let there: Vec<i32> = there.collect();
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    if let Some(missing) = wanted.iter().find(|partition| !there.contains(partition)) {
        return Err(Error::new(
            ErrorCode::UnknownTopicOrPartition,
            format!(
                "topic `{}` has no partition {missing}; it has 0 to {}",
                topic.name,
                there.len().saturating_sub(1)
            ),
        ));
    }
    Ok(wanted.into_iter().map(assigned).collect())
}

/// One allocation for every name.
#[derive(Default)]
struct Names(Option<Arc<str>>);

impl Names {
    fn share(&mut self, name: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *name => Arc::clone(last),
            _ => Arc::clone(self.0.insert(name.into())),
        }
    }
}
