//! The requests of one connection that are under way, in the order in which they came.
//!
//! As at Kafka's own brokers, a request is started when all before it are answered; only those that are pipelined
//! (Produce) are started behind each other, so that a batch need not wait for the sync of the one before.
//!
//! For record batches there must be room among those that the server has taken in ([`Room`]), over all connections of
//! all protocols. It is asked for when it is their turn here and not before: who waits for something else holds none.
//! It is given back as they are appended, so none waits for who does not read its answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use headwater::server::{Place, Room};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::answer::{Answer, Reply};
use super::api::Arrived;
use super::context::Context;
use super::wire::Malformed;

/// See the module.
pub(super) struct Queue {
    context: Context,
    room: Room,
    requests: VecDeque<UnderWay>,
    /// How many of them, from the first on, are started.
    started: usize,
    /// Set while the first that is not started waits for room.
    place: Option<Pin<Box<dyn Future<Output = Option<Place>> + Send>>>,
}

struct UnderWay {
    request: Arrived,
    /// When it came.
    since: Instant,
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
    pub(super) fn new(context: Context, room: Room) -> Self {
        Self {
            context,
            room,
            requests: VecDeque::new(),
            started: 0,
            place: None,
        }
    }

    /// Notes that answers of so many bytes are on their way.
    pub(super) fn sent(&self, bytes: usize) {
        self.context.figures().sent(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is no room for the record batches that are next: what follows them is better not read yet.
    pub(super) const fn waits_for_room(&self) -> bool {
        self.place.is_some()
    }

    /// Takes in a request.
    pub(super) fn push(&mut self, request: Arrived, bytes: OwnedSemaphorePermit) {
        self.context.figures().received(request.bytes());
        self.requests.push_back(UnderWay {
            request,
            since: Instant::now(),
            state: State::Waiting,
            _bytes: bytes,
        });
    }

    /// Starts those whose turn it is, as far as there is room for them; to be polled whatever else is waited for.
    pub(super) fn poll_start(&mut self, task: &mut TaskContext<'_>) {
        while let Some(next) = self.requests.get(self.started) {
            let before = self.started.checked_sub(1);
            let is_turn = before.is_none_or(|before| {
                let before = self.requests.get(before);
                next.request.api.is_pipelined && before.is_some_and(UnderWay::is_pipelined)
            });
            if !is_turn {
                return;
            }
            let place = match next.request.batch_bytes() {
                None => None,
                Some(bytes) => match poll_place(&mut self.place, &self.room, bytes, task) {
                    Poll::Ready(place) => place,
                    Poll::Pending => return,
                },
            };
            let state = match next.request.start(&self.context, place) {
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
        self.poll_start(task);
        let Some(first) = self.requests.front_mut() else {
            return Poll::Pending;
        };
        let reply = match &mut first.state {
            State::Waiting => return Poll::Pending,
            State::Now(reply) => std::mem::replace(reply, Reply::Nothing),
            State::Later(reply) => ready!(reply.as_mut().poll(task)),
            State::Malformed(malformed) => {
                let malformed = malformed.clone();
                first.count(&self.context, true);
                return Poll::Ready(Err(malformed));
            }
        };
        first.count(&self.context, reply.has_failed());
        let answered = Answered {
            correlation_id: first.request.correlation_id,
            has_flexible_header: first.request.has_flexible_header(),
            api: first.request.api.name,
            reply,
        };
        self.requests.pop_front();
        self.started -= 1;
        self.poll_start(task);
        Poll::Ready(Ok(answered))
    }
}

/// Room for so many bytes: at once, or when it is this connection's turn.
fn poll_place(
    waiting: &mut Option<Pin<Box<dyn Future<Output = Option<Place>> + Send>>>,
    room: &Room,
    bytes: usize,
    task: &mut TaskContext<'_>,
) -> Poll<Option<Place>> {
    if waiting.is_none()
        && let Some(place) = room.try_take(bytes)
    {
        return Poll::Ready(Some(place));
    }
    let turn = waiting.get_or_insert_with(|| {
        let room = room.clone();
        Box::pin(async move { room.take(bytes).await })
    });
    let place = ready!(turn.as_mut().poll(task));
    *waiting = None;
    Poll::Ready(place)
}

impl UnderWay {
    /// Notes that it is answered.
    fn count(&self, context: &Context, has_failed: bool) {
        let figures = context.figures();
        figures.answered(self.request.api, self.since.elapsed(), has_failed);
    }

    /// Whether the next one may be started before this one is answered.
    fn is_pipelined(&self) -> bool {
        self.request.api.is_pipelined && !matches!(self.state, State::Malformed(_))
    }
}
