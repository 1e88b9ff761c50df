//! The requests of one connection that are under way, in the order in which they came.
//!
//! As at Kafka's own brokers, a request is started when all before it are answered; only those that are pipelined
//! (Produce) are started behind each other, so that a batch need not wait for the sync of the one before.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Answer, Reply};
use super::api::Arrived;
use super::context::Context;
use super::wire::Malformed;

/// See the module.
pub(super) struct Queue {
    context: Context,
    requests: VecDeque<UnderWay>,
    /// How many of them, from the first on, are started.
    started: usize,
}

struct UnderWay {
    request: Arrived,
    state: State,
    /// Its share of the bytes in flight, until it is answered.
    _bytes: OwnedSemaphorePermit,
}

enum State {
    Waiting,
    Now(Reply),
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// It could not be read: told once all before it are answered.
    Malformed(Malformed),
}

/// An answer, and what its header says.
pub(super) struct Answered {
    pub(super) correlation_id: i32,
    pub(super) has_flexible_header: bool,
    pub(super) api: &'static str,
    pub(super) reply: Reply,
}

impl Queue {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            requests: VecDeque::new(),
            started: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Takes in a request, and starts it if it is its turn.
    pub(super) fn push(&mut self, request: Arrived, bytes: OwnedSemaphorePermit) {
        self.requests.push_back(UnderWay {
            request,
            state: State::Waiting,
            _bytes: bytes,
        });
        self.start();
    }

    /// Starts those whose turn it is.
    fn start(&mut self) {
        while let Some(next) = self.requests.get(self.started) {
            let before = self.started.checked_sub(1);
            let is_turn = before.is_none_or(|before| {
                let before = self.requests.get(before);
                next.request.api.is_pipelined && before.is_some_and(UnderWay::is_pipelined)
            });
            if !is_turn {
                return;
            }
            let state = match next.request.start(&self.context) {
                Ok(Answer::Now(reply)) => State::Now(reply),
                Ok(Answer::Later(reply)) => State::Later(reply),
                Err(malformed) => State::Malformed(malformed),
            };
            if let Some(next) = self.requests.get_mut(self.started) {
                next.state = state;
            }
            self.started += 1;
        }
    }

    /// The next answer, once it is there; pending too if nothing is under way. Then what waited for it goes on.
    ///
    /// # Errors
    /// When the request cannot be read.
    pub(super) fn poll_next(
        &mut self,
        task: &mut TaskContext<'_>,
    ) -> Poll<Result<Answered, Malformed>> {
        let Some(first) = self.requests.front_mut() else {
            return Poll::Pending;
        };
        let reply = match &mut first.state {
            State::Waiting => return Poll::Pending,
            State::Now(reply) => std::mem::replace(reply, Reply::Nothing),
            State::Later(reply) => ready!(reply.as_mut().poll(task)),
            State::Malformed(malformed) => return Poll::Ready(Err(malformed.clone())),
        };
        let answered = Answered {
            correlation_id: first.request.correlation_id,
            has_flexible_header: first.request.has_flexible_header(),
            api: first.request.api.name,
            reply,
        };
        self.requests.pop_front();
        self.started -= 1;
        self.start();
        Poll::Ready(Ok(answered))
    }
}

impl UnderWay {
    /// Whether the next one may be started before this one is answered.
    fn is_pipelined(&self) -> bool {
        self.request.api.is_pipelined && !matches!(self.state, State::Malformed(_))
    }
}
