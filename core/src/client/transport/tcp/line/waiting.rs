//! What waits for the next connection: requests in order, up to their deadlines, and streams.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use crate::client::transport::tcp::connection::Connection;
use crate::client::transport::tcp::in_flight::{Asked, Failed};
use crate::client::transport::tcp::subscribed::Subscribed;
use crate::error::{Error, ErrorCode};
use crate::limits;

/// The connection there is, and what waits while there is none.
pub(super) struct State {
    pub(super) connection: Option<Arc<Connection>>,
    /// What the last connection was to.
    pub(super) description: String,
    /// What waits for the next one, in order.
    pub(super) parked: VecDeque<Asked>,
    pub(super) streams: Vec<Weak<Subscribed>>,
    /// Since when there is none, and why.
    pub(super) lost: Option<(Instant, Error)>,
    /// Why nothing can be asked any more.
    pub(super) ended: Option<Error>,
    /// When it was connected, or stopped being so.
    pub(super) since: Instant,
}

impl State {
    /// Why one more request cannot be asked.
    pub(super) fn check(&self) -> Option<Error> {
        if let Some(error) = &self.ended {
            return Some(error.clone());
        }
        if self.parked.len() < limits::CLIENT_REQUESTS_MAX {
            return None;
        }
        Some(Error::new(
            ErrorCode::QuotaExceeded,
            format!(
                "{} requests wait for a connection to {}; no more are allowed",
                limits::CLIENT_REQUESTS_MAX,
                self.description
            ),
        ))
    }

    /// Takes out what is late; when to look again.
    pub(super) fn expire(&mut self, now: Instant) -> (Failed, Option<Instant>) {
        let is_late = |asked: &Asked| asked.deadline <= now;
        let mut late = Vec::new();
        while self.parked.front().is_some_and(is_late) {
            late.extend(self.parked.pop_front());
        }
        let next = self.parked.front().map(|asked| asked.deadline);
        let (lost_ms, reason) = match &self.lost {
            Some((since, error)) => (since.elapsed().as_millis(), error.message()),
            None => (0, "the connection was lost"),
        };
        let error = Error::new(
            ErrorCode::NetworkException,
            format!(
                "no connection to {} for {lost_ms} ms: {reason}",
                self.description
            ),
        );
        (Failed::all(late, &error), next)
    }
}
