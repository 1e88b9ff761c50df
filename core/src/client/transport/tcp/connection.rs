//! An open connection, client side: numbers requests, matches answers, and knows how it ended.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use crate::sync::{Condvar, Mutex};

use super::TcpOptions;
use super::feed::TcpFeed;
use super::in_flight::{Asked, InFlight, Unasked};
use crate::completion::{Wakes, is_own_thread};
use crate::error::{Error, ErrorCode, Outcome, Result};
use crate::limits;
use crate::protocol::frame::FrameKind;
use crate::protocol::header::{Credit, Goodbye, Reassign, ReassignAt};
use crate::protocol::link::{Flush, Link, SendError};
use crate::protocol::request::{FetchPosition, Request, Subscribe, SubscribeAt};
use crate::protocol::version::VERSION_WITH_EPOCHS;
use crate::world;

/// A connection whose handshake is done.
pub(super) struct Connection {
    pub(super) link: Arc<Link>,
    /// The address, for messages.
    pub(super) description: String,
    /// Of the protocol, as agreed.
    version: u16,
    pub(super) request_timeout: Duration,
    pub(super) keep_alive: Duration,
    pub(super) ping_timeout: Duration,
    pub(super) state: Mutex<State>,
    /// Signalled when nothing is in flight any more.
    pub(super) settled: Condvar,
    /// Counts reads, for whoever looks whether there were any.
    pub(super) reads: AtomicU64,
    /// The process that made it. A child after a fork has the socket too, and must not touch it.
    pub(super) process: Arc<AtomicU32>,
}

pub(super) struct State {
    pub(super) next_id: u64,
    pub(super) in_flight: InFlight,
    pub(super) feeds: BTreeMap<u64, Arc<TcpFeed>>,
    /// Asked, and said not to have been taken in: for the next connection.
    pub(super) refused: Vec<Asked>,
    /// Whether the server has said that it takes in nothing more.
    pub(super) has_goodbye: bool,
    /// Why nothing more can be asked.
    pub(super) ended: Option<Error>,
}

impl Connection {
    pub(super) fn new(
        link: Arc<Link>,
        description: String,
        version: u16,
        options: &TcpOptions,
    ) -> Arc<Self> {
        let state = State {
            next_id: 1,
            in_flight: InFlight::default(),
            feeds: BTreeMap::new(),
            refused: Vec::new(),
            has_goodbye: false,
            ended: None,
        };
        Arc::new(Self {
            link,
            description,
            version,
            request_timeout: options.request_timeout,
            keep_alive: options.keep_alive,
            ping_timeout: options.ping_timeout,
            state: Mutex::new(state),
            settled: Condvar::new(),
            reads: AtomicU64::new(0),
            process: Arc::new(AtomicU32::new(std::process::id())),
        })
    }

    pub(super) fn description(&self) -> &str {
        &self.description
    }

    /// Asks; the frame goes out when `wakes` run.
    ///
    /// # Errors
    /// The request itself, with why it cannot be asked; nobody has been told yet, for the caller may hold locks.
    pub(super) fn submit(&self, asked: Asked, wakes: &mut Wakes) -> Result<(), Box<Unasked>> {
        let unasked = |asked, reason| Err(Box::new(Unasked { asked, reason }));
        if let Err(error) = self.check_version(&asked.request) {
            return unasked(asked, Some(error));
        }
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return unasked(asked, None);
        }
        if let Err(error) = state.check_room(&self.description) {
            return unasked(asked, Some(error));
        }
        let id = state.take_id();
        let payload = Some(&asked.payload).filter(|payload| !payload.is_empty());
        let flush = Flush::Later(wakes);
        let sent = self
            .link
            .send(id, FrameKind::Request, &asked.request, payload, flush);
        match sent {
            Ok(position) => {
                state.in_flight.insert(id, position, asked);
                Ok(())
            }
            Err(SendError::Closed) => unasked(asked, None),
            Err(error) => unasked(asked, Some(self.not_sent(error))),
        }
    }

    pub(super) fn subscribe(&self, subscribe: SubscribeAt) -> Result<Arc<TcpFeed>> {
        self.check_process()?;
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let id = state.take_id();
        let credit_bytes = subscribe.credit_bytes;
        let flush = Flush::Later(&mut wakes);
        let sent = if self.version >= VERSION_WITH_EPOCHS {
            self.link
                .send(id, FrameKind::SubscribeAt, &subscribe, [], flush)
        } else {
            let subscribe = Subscribe::from(subscribe);
            self.link
                .send(id, FrameKind::Subscribe, &subscribe, [], flush)
        };
        sent.map_err(|error| self.not_sent(error))?;
        let feed = TcpFeed::new(id, credit_bytes);
        state.feeds.insert(id, Arc::clone(&feed));
        Ok(feed)
    }

    pub(super) fn reassign(&self, feed: &TcpFeed, positions: Vec<FetchPosition>) -> Result<()> {
        self.check_process()?;
        let mut wakes = Wakes::new();
        // Under the lock, so that two reassignments are sent in the order of their numbers.
        let state = self.state.lock();
        let assignment = feed.begin_assignment()?;
        let flush = Flush::Later(&mut wakes);
        let sent = if self.version >= VERSION_WITH_EPOCHS {
            let header = ReassignAt {
                assignment,
                positions,
            };
            self.link
                .send(feed.id(), FrameKind::ReassignAt, &header, [], flush)
        } else {
            let positions = positions.into_iter();
            let header = Reassign {
                assignment,
                partitions: positions.map(Into::into).collect(),
            };
            self.link
                .send(feed.id(), FrameKind::Reassign, &header, [], flush)
        };
        drop(state);
        self.give_credit(feed);
        sent.map(|_| ()).map_err(|error| self.not_sent(error))
    }

    /// Gives credit back for what was taken, if there is enough of it.
    pub(super) fn give_credit(&self, feed: &TcpFeed) {
        if let Some(bytes) = feed.take_owed() {
            // A connection that is lost is told by the feed's end.
            let header = Credit { bytes };
            let _ = self
                .link
                .send(feed.id(), FrameKind::Credit, &header, [], Flush::Here);
        }
    }

    pub(super) fn unsubscribe(&self, feed: &TcpFeed) {
        if self.check_process().is_err() {
            return;
        }
        let mut wakes = Wakes::new();
        let is_open = self.state.lock().feeds.remove(&feed.id()).is_some();
        if is_open {
            let flush = Flush::Later(&mut wakes);
            let _ = self
                .link
                .send(feed.id(), FrameKind::Unsubscribe, &(), [], flush);
        }
        feed.end(
            &Error::new(ErrorCode::Closed, "the subscription was closed"),
            &mut wakes,
        );
    }

    /// Waits for what is in flight, then says goodbye.
    pub(super) fn close(&self, timeout: Duration) -> Result<()> {
        self.check_process()?;
        let mut state = self.state.lock();
        state.end(self.closed());
        if !is_own_thread() {
            let deadline = world::now().checked_add(timeout);
            while state.in_flight.len() > 0 {
                match deadline {
                    Some(deadline) => {
                        if self.settled.wait_until(&mut state, deadline).timed_out() {
                            break;
                        }
                    }
                    None => self.settled.wait(&mut state),
                }
            }
        }
        let unanswered = state.in_flight.len();
        drop(state);
        self.hang_up();
        if unanswered == 0 {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::RequestTimedOut,
            format!(
                "{} had not answered {unanswered} requests when the connection was closed",
                self.description
            ),
        )
        .with_outcome(Outcome::Unknown))
    }

    /// Says goodbye; what is in flight fails when the connection is gone.
    pub(super) fn hang_up(&self) {
        if self.check_process().is_err() {
            return;
        }
        self.state.lock().end(self.closed());
        let goodbye = Goodbye {
            code: 0,
            message: String::new(),
            last_correlation_id: 0,
        };
        let _ = self
            .link
            .send(0, FrameKind::Goodbye, &goodbye, [], Flush::Task);
        self.link.finish();
    }

    pub(super) fn check_process(&self) -> Result<()> {
        super::check_owner(&self.process)
    }

    fn check_version(&self, request: &Request) -> Result<()> {
        let (known, wanted) = (self.version, request.version_min());
        if wanted <= known {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::UnsupportedVersion,
            format!(
                "{} speaks version {known} of the native protocol and this request needs version {wanted}; \
                 upgrade the broker",
                self.description
            ),
        ))
    }

    pub(super) fn closed(&self) -> Error {
        Error::new(
            ErrorCode::Closed,
            format!("the connection to {} was closed", self.description),
        )
    }

    fn not_sent(&self, error: SendError) -> Error {
        match error {
            SendError::Frame(error) => Error::new(
                ErrorCode::MessageTooLarge,
                format!("a request to {}: {error}", self.description),
            ),
            SendError::Closed => self.lost("it has ended"),
        }
    }

    pub(super) fn lost(&self, reason: &str) -> Error {
        Error::new(
            ErrorCode::NetworkException,
            format!("the connection to {} was lost: {reason}", self.description),
        )
    }

    /// It has ended: fails all that waits for it, but for what can be asked over another connection, which is
    /// returned in order.
    pub(super) fn fail(&self, error: &Error) -> Vec<Asked> {
        let mut wakes = Wakes::new();
        self.link.close();
        let written_position = self.link.written_position();
        let mut state = self.state.lock();
        state.end(error.clone());
        let (failed, mut repeated) = state.in_flight.fail_all(written_position, error);
        repeated.append(&mut state.refused);
        let feeds = std::mem::take(&mut state.feeds);
        self.settle(&state);
        drop(state);
        failed.tell(&mut wakes);
        for feed in feeds.values() {
            feed.end(error, &mut wakes);
        }
        repeated
    }

    pub(super) fn settle(&self, state: &State) {
        if state.in_flight.len() == 0 {
            self.settled.notify_all();
        }
    }
}

impl State {
    /// Whether one more request may be asked.
    fn check_room(&self, description: &str) -> Result<()> {
        if self.in_flight.len() >= limits::CLIENT_REQUESTS_MAX {
            return Err(Error::new(
                ErrorCode::QuotaExceeded,
                format!(
                    "{} requests to {description} wait for their answers; no more are allowed",
                    limits::CLIENT_REQUESTS_MAX
                ),
            ));
        }
        Ok(())
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Nothing more can be asked. The first reason stands.
    pub(super) fn end(&mut self, error: Error) {
        self.ended.get_or_insert(error);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Connection")
            .field("description", &self.description)
            .field("in_flight", &state.in_flight.len())
            .field("subscriptions", &state.feeds.len())
            .field("ended", &state.ended)
            .finish_non_exhaustive()
    }
}

/// What went wrong below, for messages.
pub(super) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}
