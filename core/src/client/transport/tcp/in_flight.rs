//! The requests that are on their way: who waits for them, until when, and what their failure means.
//!
//! A table without socket or clock. It keeps the requests, so that those which cannot have happened are asked
//! again over the next connection.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::time::Instant;

use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorCode, Outcome};
use crate::protocol::request::Request;
use crate::protocol::response::Response;

/// A request and who waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// The record batches of a `Produce`, else nothing.
    pub(super) payload: Bytes,
    pub(super) completion: Completion<Response>,
    pub(super) deadline: Instant,
    /// Whether it is about this one connection, and of no use on another.
    pub(super) is_bound: bool,
    /// Whether it changes something, and was sent over a connection that was lost.
    pub(super) may_be_done: bool,
}

impl Asked {
    /// The error of one that is not asked, or not again.
    pub(super) fn refused(&self, error: Error) -> Error {
        let outcome = match self.may_be_done {
            true => Outcome::Unknown,
            false => Outcome::NotDone,
        };
        error.with_outcome(outcome)
    }
}

/// A request that was not asked.
#[derive(Debug)]
pub(super) struct Unasked {
    pub(super) asked: Asked,
    /// Why it cannot be; none: the connection has ended, and another may do.
    pub(super) reason: Option<Error>,
}

/// Requests by number.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    requests: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    /// Where its frame begins in the stream.
    position: u64,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn insert(&mut self, id: u64, position: u64, asked: Asked) {
        self.requests.insert(id, Waiting { asked, position });
    }

    /// Who waits for the answer of this number: none if it has been let go.
    pub(super) fn remove(&mut self, id: u64) -> Option<Completion<Response>> {
        let waiting = self.requests.remove(&id);
        waiting.map(|waiting| waiting.asked.completion)
    }

    /// When the next one runs out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        // They rise with the numbers: what was asked over another connection before is asked first.
        let first = self.requests.first_key_value();
        first.map(|(_, waiting)| waiting.asked.deadline)
    }

    /// Takes out those whose time is over, each with its error.
    pub(super) fn expire(&mut self, now: Instant, error: &Error) -> Failed {
        let mut failed = Vec::new();
        while let Some(first) = self.requests.first_entry() {
            if first.get().asked.deadline > now {
                break;
            }
            let asked = first.remove().asked;
            // It may still be on its way to the server, whether or not it was sent yet.
            let outcome = outcome_of(&asked.request);
            failed.push((asked.completion, error.clone().with_outcome(outcome)));
        }
        Failed(failed)
    }

    /// Takes out those with a higher number: the server has not taken them in.
    pub(super) fn refuse_after(&mut self, last_id: u64) -> Vec<Asked> {
        let refused = self.requests.split_off(&last_id.saturating_add(1));
        refused.into_values().map(|waiting| waiting.asked).collect()
    }

    /// Takes out all: those that have failed, and those that can be asked over another connection, in order.
    /// `written_position` is how far the stream was handed to the socket.
    pub(super) fn fail_all(
        &mut self,
        written_position: u64,
        error: &Error,
    ) -> (Failed, Vec<Asked>) {
        let (mut failed, mut repeated) = (Vec::new(), Vec::new());
        for waiting in std::mem::take(&mut self.requests).into_values() {
            let was_sent = waiting.position < written_position;
            let outcome = outcome_of(&waiting.asked.request);
            let may_be_repeated = !was_sent || is_repeatable(&waiting.asked.request);
            if waiting.asked.is_bound || !may_be_repeated {
                let outcome = if was_sent { outcome } else { Outcome::NotDone };
                failed.push((
                    waiting.asked.completion,
                    error.clone().with_outcome(outcome),
                ));
            } else {
                let is_sent_now = was_sent && outcome == Outcome::Unknown;
                repeated.push(Asked {
                    may_be_done: waiting.asked.may_be_done || is_sent_now,
                    ..waiting.asked
                });
            }
        }
        (Failed(failed), repeated)
    }
}

/// What is known of a request whose answer is lost.
fn outcome_of(request: &Request) -> Outcome {
    if has_effect(request) {
        Outcome::Unknown
    } else {
        Outcome::NotDone
    }
}

/// Requests that have failed, to be told so when no lock is held.
#[derive(Debug)]
#[must_use]
pub(super) struct Failed(Vec<(Completion<Response>, Error)>);

impl Failed {
    /// All of these, for one reason.
    pub(super) fn all(asked: impl IntoIterator<Item = Asked>, error: &Error) -> Self {
        let asked = asked.into_iter();
        let failed = asked.map(|it| {
            let error = it.refused(error.clone());
            (it.completion, error)
        });
        Self(failed.collect())
    }

    pub(super) fn tell(self, wakes: &mut Wakes) {
        for (completion, error) in self.0 {
            completion.complete(Err(error), wakes);
        }
    }
}

/// Whether a request changes something, so that one whose answer is lost may have happened.
pub(super) fn has_effect(request: &Request) -> bool {
    match request {
        Request::Ping
        | Request::ListTopics
        | Request::DescribeTopics { .. }
        | Request::InitProducer
        | Request::ListOffsets { .. }
        | Request::DescribeGroup { .. }
        | Request::ListGroups
        | Request::DescribeGroupDetails { .. } => false,
        Request::CreateTopic { .. }
        | Request::DeleteTopic { .. }
        | Request::AlterTopic { .. }
        | Request::Produce { .. }
        | Request::JoinGroup { .. }
        | Request::LeaveGroup { .. }
        | Request::CommitOffsets { .. }
        | Request::DeleteGroup { .. }
        | Request::DeleteRecords { .. }
        | Request::ProduceAndCommit { .. }
        | Request::GroupHeartbeat(_) => true,
    }
}

/// Whether it comes to the same when a request is carried out twice. (Record batches do too, by their
/// sequence: but that is for the producer to know.)
fn is_repeatable(request: &Request) -> bool {
    match request {
        Request::CreateTopic { exist_ok, .. } => *exist_ok,
        Request::AlterTopic { .. }
        | Request::CommitOffsets { .. }
        | Request::DeleteRecords { .. }
        | Request::GroupHeartbeat(_) => true,
        other => !has_effect(other),
    }
}

/// The error of a request that was not answered in time.
pub(super) fn timed_out(description: &str, timeout: std::time::Duration) -> Error {
    Error::new(
        ErrorCode::RequestTimedOut,
        format!(
            "{description} did not answer within {} ms",
            timeout.as_millis()
        ),
    )
}
