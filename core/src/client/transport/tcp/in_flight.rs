//! The requests that are on their way: who waits for them, until when, and what their failure means.
//!
//! A table without socket or clock. Numbers rise, and all requests have the same time to be answered, so
//! the lowest number is always the next to run out of it.

use std::collections::BTreeMap;
use tokio::time::Instant;

use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorCode, Outcome};
use crate::protocol::request::Request;
use crate::protocol::response::Response;

/// Requests by number.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    requests: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    completion: Completion<Response>,
    /// Whether it changes something.
    has_effect: bool,
    /// Where its frame begins in the stream.
    position: u64,
    deadline: Instant,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn insert(
        &mut self,
        id: u64,
        has_effect: bool,
        position: u64,
        deadline: Instant,
        completion: Completion<Response>,
    ) {
        self.requests.insert(
            id,
            Waiting {
                completion,
                has_effect,
                position,
                deadline,
            },
        );
    }

    /// Who waits for the answer of this number: none if it has been let go.
    pub(super) fn remove(&mut self, id: u64) -> Option<Completion<Response>> {
        self.requests.remove(&id).map(|waiting| waiting.completion)
    }

    /// When the next one runs out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.requests
            .first_key_value()
            .map(|(_, waiting)| waiting.deadline)
    }

    /// Takes out those whose time is over, each with its error.
    pub(super) fn expire(&mut self, now: Instant, error: &Error) -> Failed {
        let mut failed = Vec::new();
        while let Some(first) = self.requests.first_entry() {
            if first.get().deadline > now {
                break;
            }
            let waiting = first.remove();
            // It may still be on its way to the server, whether or not it was sent yet.
            let outcome = waiting.outcome();
            failed.push((waiting.completion, error.clone().with_outcome(outcome)));
        }
        Failed(failed)
    }

    /// Takes out those with a higher number: the server has not taken them in.
    pub(super) fn refuse_after(&mut self, last_id: u64, error: &Error) -> Failed {
        let refused = self.requests.split_off(&last_id.saturating_add(1));
        Failed(
            refused
                .into_values()
                .map(|waiting| (waiting.completion, error.clone()))
                .collect(),
        )
    }

    /// Takes out all. `written_position` is how far the stream was handed to the socket.
    pub(super) fn fail_all(&mut self, written_position: u64, error: &Error) -> Failed {
        let all = std::mem::take(&mut self.requests);
        let failed = all.into_values().map(|waiting| {
            let was_sent = waiting.position < written_position;
            let outcome = if was_sent {
                waiting.outcome()
            } else {
                Outcome::NotDone
            };
            (waiting.completion, error.clone().with_outcome(outcome))
        });
        Failed(failed.collect())
    }
}

impl Waiting {
    fn outcome(&self) -> Outcome {
        if self.has_effect {
            Outcome::Unknown
        } else {
            Outcome::NotDone
        }
    }
}

/// Requests that have failed, to be told so when no lock is held.
#[derive(Debug)]
#[must_use]
pub(super) struct Failed(Vec<(Completion<Response>, Error)>);

impl Failed {
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
