//! What belongs to the client behind a connection: its door, what is in flight, its subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::Inner;
use super::counts::Counts;
use super::door::Door;
use super::load::Load;
use super::prompt::Promptness;
use super::push::{self, Pusher, Subscriber};
use super::room::{Place, Room};
use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorCode, Result};
use crate::protocol::decoder::FrameDecoder;
use crate::protocol::frame::{Frame, FrameError, FrameKind};
use crate::protocol::header::{Credit, Reassign, ReassignAt, WireError};
use crate::protocol::link::{Flush, Link, SendError};
use crate::protocol::request::{Request, Subscribe, SubscribeAt};
use crate::protocol::response::Response;

/// Frames taken in before what was answered meanwhile is written.
const FRAMES_AT_ONCE: usize = 64;

/// How far the bytes at hand were taken in.
pub(super) enum Taken {
    All,
    UpToLimit,
    Goodbye,
}

/// What belongs to the client behind a connection. Dropped, its subscriptions have ended.
pub(super) struct Session {
    door: Arc<dyn Door>,
    pub(super) link: Arc<Link>,
    pub(super) load: Arc<Load>,
    counts: Arc<Counts>,
    pushers: BTreeMap<u64, Arc<Pusher>>,
    promptness: Arc<Promptness>,
    pub(super) last_correlation_id: u64,
    requests_max: usize,
    bytes_max: usize,
    subscriptions_max: usize,
    room: Room,
    /// Record batches for which there is no room yet; what came behind them waits too.
    held: Option<Frame>,
    /// Room for them.
    place: Option<Place>,
}

impl Session {
    pub(super) fn new(door: Arc<dyn Door>, link: Arc<Link>, server: &Inner) -> Self {
        let options = &server.options;
        Self {
            door,
            link,
            load: Arc::default(),
            counts: Arc::clone(&server.counts),
            pushers: BTreeMap::new(),
            promptness: Arc::clone(&server.promptness),
            last_correlation_id: 0,
            requests_max: options.requests_max,
            bytes_max: options.bytes_max,
            subscriptions_max: options.subscriptions_max,
            room: server.room.clone(),
            held: None,
            place: None,
        }
    }

    /// Takes in the frames that are there, as far as the limits allow.
    pub(super) fn take_in(&mut self, decoder: &mut FrameDecoder) -> Result<Taken, FrameError> {
        for _ in 0..FRAMES_AT_ONCE {
            if !self.load.is_below(self.requests_max, self.bytes_max) || !self.link.has_room() {
                // Others' batches are not to wait until this client reads its answers.
                self.place = None;
                return Ok(Taken::UpToLimit);
            }
            let frame = match self.held.take() {
                Some(frame) => frame,
                None => match decoder.next_frame()? {
                    Some(frame) => frame,
                    None => return Ok(Taken::All),
                },
            };
            if frame.kind == FrameKind::Goodbye {
                return Ok(Taken::Goodbye);
            }
            if !self.has_place(&frame) {
                self.held = Some(frame);
                return Ok(Taken::UpToLimit);
            }
            self.take_in_frame(frame)?;
        }
        Ok(Taken::UpToLimit)
    }

    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        ready!(
            self.load
                .poll_below(self.requests_max, self.bytes_max, context)
        );
        self.link.poll_room(context)
    }

    /// Waits for room for what is held.
    pub(super) async fn take_place(&mut self) {
        if let Some(frame) = &self.held {
            self.place = self.room.take(frame.payload.len()).await;
        }
    }

    /// Whether there is room for the record batches of a frame, if it has some.
    fn has_place(&mut self, frame: &Frame) -> bool {
        if frame.payload.is_empty() {
            return true;
        }
        if self.place.is_none() {
            self.place = self.room.try_take(frame.payload.len());
        }
        self.place.is_some()
    }

    fn take_in_frame(&mut self, frame: Frame) -> Result<(), FrameError> {
        match frame.kind {
            FrameKind::Request => self.request(frame),
            FrameKind::Subscribe => {
                let subscribe = frame.read_header::<Subscribe>()?;
                self.subscribe(&frame, &subscribe.into(), false)
            }
            FrameKind::SubscribeAt => {
                let subscribe = frame.read_header::<SubscribeAt>()?;
                self.subscribe(&frame, &subscribe, true)
            }
            FrameKind::Credit => {
                let Credit { bytes } = frame.read_header()?;
                if let Some(pusher) = self.pusher(&frame)? {
                    pusher.credit(bytes);
                }
                Ok(())
            }
            FrameKind::Reassign => {
                let reassign = frame.read_header::<Reassign>()?;
                if let Some(pusher) = self.pusher(&frame)? {
                    pusher.reassign(reassign.into());
                }
                Ok(())
            }
            FrameKind::ReassignAt => {
                let reassign = frame.read_header::<ReassignAt>()?;
                if let Some(pusher) = self.pusher(&frame)? {
                    pusher.reassign(reassign);
                }
                Ok(())
            }
            FrameKind::Unsubscribe => {
                frame.check_no_payload()?;
                if let Some(pusher) = self.pushers.remove(&frame.correlation_id) {
                    pusher.end();
                }
                Ok(())
            }
            kind => Err(FrameError::Unexpected {
                kind,
                expected: "a request or about a subscription",
            }),
        }
    }

    fn request(&mut self, frame: Frame) -> Result<(), FrameError> {
        let request = frame.read_header::<Request>()?;
        let has_batches = matches!(
            request,
            Request::Produce { .. } | Request::ProduceAndCommit { .. }
        );
        if !has_batches {
            frame.check_no_payload()?;
        }
        let id = self.take_id(&frame)?;
        let bytes = frame.size_bytes();
        self.load.begin(bytes);
        self.counts.request();
        let counts = Arc::clone(&self.counts);
        let link = Arc::clone(&self.link);
        let load = Arc::clone(&self.load);
        let place = self.place.take();
        let completion = Completion::call(move |result: Result<Response>, wakes: &mut Wakes| {
            if result.is_err() {
                counts.refused_request();
            }
            answer(&link, id, &result, wakes);
            load.end(bytes, wakes);
            if let Some(place) = place {
                wakes.push(place.give_back());
            }
        });
        self.door.submit(request, frame.payload, completion);
        Ok(())
    }

    /// `knows_positions`: whether the client is told where it stood as facts, or in words alone.
    fn subscribe(
        &mut self,
        frame: &Frame,
        subscribe: &SubscribeAt,
        knows_positions: bool,
    ) -> Result<(), FrameError> {
        frame.check_no_payload()?;
        let id = self.take_id(frame)?;
        self.pushers.retain(|_, pusher| !pusher.has_ended());
        let feed = if self.pushers.len() < self.subscriptions_max {
            self.door.subscribe(subscribe)
        } else {
            Err(Error::new(
                ErrorCode::QuotaExceeded,
                format!(
                    "a connection may have {} subscriptions",
                    self.subscriptions_max
                ),
            ))
        };
        match feed {
            Ok(feed) => {
                let link = Arc::clone(&self.link);
                let subscriber = Subscriber {
                    id,
                    link,
                    knows_positions,
                    promptness: Arc::clone(&self.promptness),
                };
                let pusher = Pusher::start(subscriber, feed, subscribe.credit_bytes, &self.door);
                self.pushers.insert(id, pusher);
            }
            Err(error) => push::send_error(&self.link, id, &error),
        }
        Ok(())
    }

    /// Ids rise, so that the last one says what was taken in.
    fn take_id(&mut self, frame: &Frame) -> Result<u64, FrameError> {
        let Frame {
            kind,
            correlation_id: found,
            ..
        } = *frame;
        if found <= self.last_correlation_id {
            return Err(FrameError::CorrelationId {
                kind,
                found,
                expected: "it must be higher than those before",
            });
        }
        self.last_correlation_id = found;
        Ok(found)
    }

    /// The subscription a frame is about: none if it has ended, which the client may not know yet.
    fn pusher(&self, frame: &Frame) -> Result<Option<&Arc<Pusher>>, FrameError> {
        frame.check_no_payload()?;
        Ok(self.pushers.get(&frame.correlation_id))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for pusher in self.pushers.values() {
            pusher.end();
        }
    }
}

/// Adds the answer to what goes out when the wakes run.
fn answer(link: &Link, id: u64, result: &Result<Response>, wakes: &mut Wakes) {
    let sent = match result {
        Ok(response) => link.send(id, FrameKind::Response, response, [], Flush::Later(wakes)),
        Err(error) => {
            let header = WireError::from(error);
            link.send(id, FrameKind::Error, &header, [], Flush::Later(wakes))
        }
    };
    // To a connection that has ended there is nothing to say.
    if let Err(SendError::Frame(error)) = sent {
        let error = Error::new(ErrorCode::MessageTooLarge, format!("the answer: {error}"));
        let header = WireError::from(&error);
        let _ = link.send(id, FrameKind::Error, &header, [], Flush::Later(wakes));
    }
}
