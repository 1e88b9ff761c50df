//! The consumer's hold on a stream, whether its connection is there yet or not.
//!
//! A stream that waits for a connection has nothing to give; one whose connection is lost ends, and its reader
//! opens another from where it stands. Dropped, the subscription ends.

use std::fmt;
use std::sync::Arc;

use super::connection::Connection;
use super::feed::TcpFeed;
use super::line::Line;
use crate::client::retry::passes;
use crate::client::transport::{Feed, FetchedBatch};
use crate::completion::{Wake, Wakes};
use crate::error::{Error, ErrorCode, Result};
use crate::protocol::request::{FetchPosition, SubscribeAt};
use crate::sync::Mutex;

/// See the module.
pub(super) struct Subscribed {
    line: Arc<Line>,
    stream: Mutex<Stream>,
}

#[derive(Clone)]
struct Open {
    feed: Arc<TcpFeed>,
    connection: Arc<Connection>,
}

enum Stream {
    Waiting {
        subscribe: SubscribeAt,
        wake: Option<Wake>,
    },
    Open(Open),
    Ended(Error),
}

impl Subscribed {
    pub(super) fn open(
        line: Arc<Line>,
        feed: Arc<TcpFeed>,
        connection: &Arc<Connection>,
    ) -> Arc<Self> {
        let connection = Arc::clone(connection);
        Arc::new(Self {
            line,
            stream: Mutex::new(Stream::Open(Open { feed, connection })),
        })
    }

    pub(super) fn waiting(line: Arc<Line>, subscribe: SubscribeAt) -> Arc<Self> {
        let wake = None;
        Arc::new(Self {
            line,
            stream: Mutex::new(Stream::Waiting { subscribe, wake }),
        })
    }

    /// There is a connection. False if it has ended already: then it waits for the next.
    pub(super) fn begin(&self, connection: &Arc<Connection>, wakes: &mut Wakes) -> bool {
        let mut stream = self.stream.lock();
        let Stream::Waiting { subscribe, wake } = &mut *stream else {
            return true;
        };
        match connection.subscribe(subscribe.clone()) {
            Ok(feed) => {
                if let Some(wake) = wake.take() {
                    feed.watch(wake);
                }
                let connection = Arc::clone(connection);
                *stream = Stream::Open(Open { feed, connection });
                true
            }
            Err(error) if passes(&error) => false,
            Err(error) => {
                drop(stream);
                self.end(&error, wakes);
                true
            }
        }
    }

    /// There will be no connection. One that is open ends with its own.
    pub(super) fn end(&self, error: &Error, wakes: &mut Wakes) {
        let mut stream = self.stream.lock();
        if let Stream::Waiting { wake, .. } = &mut *stream {
            if let Some(wake) = wake.take() {
                wakes.push(wake);
            }
            *stream = Stream::Ended(error.clone());
        }
    }

    fn opened(&self) -> Result<Option<Open>> {
        self.line.check_process()?;
        match &*self.stream.lock() {
            Stream::Open(open) => Ok(Some(open.clone())),
            Stream::Waiting { .. } => Ok(None),
            Stream::Ended(error) => Err(error.clone()),
        }
    }
}

impl Feed for Subscribed {
    fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>> {
        let Some(Open { feed, connection }) = self.opened()? else {
            return Ok(Vec::new());
        };
        let taken = feed.take(max_bytes)?;
        connection.give_credit(&feed);
        Ok(taken)
    }

    fn watch(&self, wake: Wake) {
        let mut stream = self.stream.lock();
        match &mut *stream {
            Stream::Waiting { wake: waits, .. } => *waits = Some(wake),
            Stream::Open(open) => {
                let feed = Arc::clone(&open.feed);
                drop(stream);
                feed.watch(wake);
            }
            Stream::Ended(_) => {
                drop(stream);
                wake.run();
            }
        }
    }

    fn reassign(&self, positions: Vec<FetchPosition>) -> Result<()> {
        self.line.check_process()?;
        let mut stream = self.stream.lock();
        match &mut *stream {
            Stream::Waiting { subscribe, .. } => {
                subscribe.positions = positions;
                Ok(())
            }
            Stream::Open(open) => {
                let Open { feed, connection } = open.clone();
                drop(stream);
                connection.reassign(&feed, positions)
            }
            Stream::Ended(error) => Err(error.clone()),
        }
    }

    fn hold(&self, bytes: u64) {
        if let Ok(Some(Open { feed, connection })) = self.opened() {
            feed.hold(bytes);
            connection.give_credit(&feed);
        }
    }

    fn close(&self) {
        if self.line.check_process().is_err() {
            return;
        }
        let mut wakes = Wakes::new();
        let closed = Error::new(ErrorCode::Closed, "the subscription was closed");
        self.end(&closed, &mut wakes);
        if let Ok(Some(Open { feed, connection })) = self.opened() {
            connection.unsubscribe(&feed);
        }
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Subscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.stream.lock() {
            Stream::Waiting { subscribe, .. } => f
                .debug_tuple("Waiting")
                .field(&subscribe.positions.len())
                .finish(),
            Stream::Open(open) => open.feed.fmt(f),
            Stream::Ended(error) => f.debug_tuple("Ended").field(error).finish(),
        }
    }
}
