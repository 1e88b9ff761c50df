//! The task of a connection: reads answers, writes what others could not, keeps time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::connection::Connection;
use super::in_flight::{self, Asked, Failed};
use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorCode, Result};
use crate::protocol::decoder::FrameDecoder;
use crate::protocol::frame::{Frame, FrameError, FrameKind};
use crate::protocol::header::{Goodbye, Push, WireError};
use crate::protocol::out_of_range::OutOfRange;
use crate::protocol::request::Request;
use crate::protocol::response::Response;

impl Connection {
    /// Runs the connection to its end: why it ended, and what is to be asked over another.
    pub(super) async fn run<R: AsyncRead + Unpin>(
        self: Arc<Self>,
        mut reader: R,
        mut decoder: FrameDecoder,
    ) -> (Error, Vec<Asked>) {
        let _guard = FailOnDrop(Arc::clone(&self));
        let error = {
            let receiving = pin!(self.receive(&mut reader, &mut decoder));
            let timing = pin!(self.keep_time());
            tokio::select! {
                biased;
                driven = poll_fn(|context| self.link.poll_drive(context)) => match driven {
                    Ok(()) => self.closed(),
                    Err(error) => self.lost(&error.to_string()).with_source(error),
                },
                error = receiving => error,
                error = timing => error,
            }
        };
        let repeated = self.fail(&error);
        (error, repeated)
    }

    /// Takes in frames until the connection ends.
    async fn receive<R: AsyncRead + Unpin>(
        &self,
        reader: &mut R,
        decoder: &mut FrameDecoder,
    ) -> Error {
        loop {
            if let Err(error) = self.take_in(decoder) {
                return Error::new(
                    ErrorCode::CorruptFrame,
                    format!("{} sent what cannot be read: {error}", self.description),
                )
                .with_source(error);
            }
            match reader.read_buf(decoder.room()).await {
                Ok(0) => return self.lost("the broker closed it"),
                Ok(count) => decoder.received(count),
                Err(error) => return self.lost(&error.to_string()).with_source(error),
            }
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes in the frames at hand; who waits for them is woken once, at the end.
    fn take_in(&self, decoder: &mut FrameDecoder) -> Result<(), FrameError> {
        let mut wakes = Wakes::new();
        while let Some(frame) = decoder.next_frame()? {
            match frame.kind {
                FrameKind::Response => {
                    let response = frame.read_header::<Response>()?;
                    self.answer(&frame, Ok(response), &mut wakes)?;
                }
                FrameKind::Error => {
                    let error = frame.read_header::<WireError>()?;
                    self.answer(&frame, Err(error.into()), &mut wakes)?;
                }
                FrameKind::Push => {
                    let push = frame.read_header::<Push<'_>>()?;
                    let feed = self.state.lock().feeds.get(&frame.correlation_id).cloned();
                    // One that was closed may still be pushed to for a while.
                    if let Some(feed) = feed {
                        feed.receive(&push, frame.payload.clone(), &mut wakes)?;
                        self.give_credit(&feed);
                    }
                }
                FrameKind::SubscriptionError => {
                    let error = Error::from(frame.read_header::<WireError>()?);
                    self.end_feed(frame.correlation_id, &error, &mut wakes);
                }
                FrameKind::SubscriptionOutOfRange => {
                    let error = Error::from(frame.read_header::<OutOfRange>()?);
                    self.end_feed(frame.correlation_id, &error, &mut wakes);
                }
                FrameKind::Goodbye => self.goodbye(frame.read_header()?, &mut wakes),
                kind => {
                    let expected = "an answer or about a subscription";
                    return Err(FrameError::Unexpected { kind, expected });
                }
            }
        }
        Ok(())
    }

    fn end_feed(&self, id: u64, error: &Error, wakes: &mut Wakes) {
        let feed = self.state.lock().feeds.remove(&id);
        if let Some(feed) = feed {
            feed.end(error, wakes);
        }
    }

    fn answer(
        &self,
        frame: &Frame,
        result: Result<Response>,
        wakes: &mut Wakes,
    ) -> Result<(), FrameError> {
        frame.check_no_payload()?;
        let mut state = self.state.lock();
        let found = frame.correlation_id;
        if found >= state.next_id {
            let expected = "nothing was asked by that number";
            return Err(FrameError::CorrelationId {
                kind: frame.kind,
                found,
                expected,
            });
        }
        let completion = state.in_flight.remove(found);
        self.settle(&state);
        drop(state);
        // An answer that comes after its deadline finds nobody.
        if let Some(completion) = completion {
            completion.complete(result, wakes);
        }
        Ok(())
    }

    /// The server takes in nothing more; what it has taken in it still answers.
    fn goodbye(&self, goodbye: Goodbye, wakes: &mut Wakes) {
        let code = ErrorCode::from_number(goodbye.code).unwrap_or(ErrorCode::NetworkException);
        let error = Error::new(
            code,
            format!(
                "{} closed the connection: {}",
                self.description, goodbye.message
            ),
        );
        let mut state = self.state.lock();
        state.end(error.clone());
        state.has_goodbye = true;
        let refused = state.in_flight.refuse_after(goodbye.last_correlation_id);
        state.refused.extend(refused);
        let feeds = std::mem::take(&mut state.feeds);
        self.settle(&state);
        drop(state);
        for feed in feeds.values() {
            feed.end(&error, wakes);
        }
    }

    /// Lets requests go whose time is over, and asks the server whether it lives when it is silent. Ends
    /// when it does not.
    async fn keep_time(self: &Arc<Self>) -> Error {
        let mut seen = self.reads.load(Ordering::Relaxed);
        let mut quiet_since = Instant::now();
        let mut asked = None;
        loop {
            let now = Instant::now();
            let next = self.expire(now);
            if self.has_parted() {
                return self.lost("the broker said goodbye and does not go");
            }
            let reads = self.reads.load(Ordering::Relaxed);
            if reads != seen {
                (seen, quiet_since, asked) = (reads, now, None);
            }
            let look = match asked {
                Some(asked) if now.duration_since(asked) >= self.ping_timeout => {
                    return self.lost("the broker is silent");
                }
                Some(asked) => asked + self.ping_timeout,
                None if now.duration_since(quiet_since) >= self.keep_alive => {
                    self.ping();
                    asked = Some(now);
                    now + self.ping_timeout
                }
                None => quiet_since + self.keep_alive,
            };
            tokio::time::sleep_until(next.min(look)).await;
        }
    }

    /// Asks for a sign of life. Anything that comes is one, so the answer itself is nobody's.
    fn ping(&self) {
        let completion = Completion::call(|_: Result<Response>, _: &mut Wakes| ());
        let asked = Asked {
            request: Request::Ping,
            payload: Bytes::new(),
            completion,
            deadline: Instant::now() + self.request_timeout,
            is_bound: true,
            may_be_done: false,
        };
        // One that has ended already is not asked whether it lives.
        let _ = self.submit(asked, &mut Wakes::new());
    }

    /// Whether the server takes in nothing more and has answered all it took in: then it should be gone.
    fn has_parted(&self) -> bool {
        let state = self.state.lock();
        state.has_goodbye && state.in_flight.len() == 0
    }

    /// Lets go what is due; returns when to look again.
    fn expire(&self, now: Instant) -> Instant {
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        let error = in_flight::timed_out(&self.description, self.request_timeout);
        let expired = state.in_flight.expire(now, &error);
        // What was not taken in waits for the next connection, but not for ever.
        let late = state.refused.extract_if(.., |asked| asked.deadline <= now);
        let late: Vec<_> = late.collect();
        let reason = state.ended.clone().unwrap_or(error);
        let waiting = state.refused.iter().map(|asked| asked.deadline);
        let next = state.in_flight.next_deadline().into_iter().chain(waiting);
        let next = next.min().unwrap_or(now + self.request_timeout);
        self.settle(&state);
        drop(state);
        expired.tell(&mut wakes);
        Failed::all(late, &reason).tell(&mut wakes);
        next
    }
}

/// Fails what waits when the task is dropped: there will be no answers.
struct FailOnDrop(Arc<Connection>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        let error = self.0.lost("its task was stopped");
        // After the end in order there is nothing left.
        Failed::all(self.0.fail(&error), &error).tell(&mut Wakes::new());
    }
}
