//! The way to a broker: one connection after the other.
//!
//! While there is none, what is asked waits in order, up to its deadline, and so do streams. A connection is
//! made again at once, then after pauses that double. One to another log than before is no way to this one:
//! then everything ends.

mod waiting;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use self::waiting::State;
use super::TcpOptions;
use super::connect::Opened;
use super::connection::Connection;
use super::in_flight::{Asked, Failed, Unasked};
use super::subscribed::Subscribed;
use crate::client::health::LinkHealth;
use crate::client::retry::{Backoff, new_seed, passes};
use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorCode, Result};
use crate::protocol::request::{Request, SubscribeAt};
use crate::protocol::response::Response;
use crate::sync::Mutex;

/// Makes the next connection.
pub(super) type Connector =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Opened>> + Send>> + Send + Sync>;

/// A connection that lived so long was no failed attempt.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// See the module. Locks are taken in the order line, stream, connection.
pub(super) struct Line {
    request_timeout: Duration,
    backoff: Mutex<Backoff>,
    log_uuid: [u8; 16],
    /// As in [`Connection`].
    pub(super) process: Arc<AtomicU32>,
    state: Mutex<State>,
    /// Told when something came that waits, and at the end.
    changed: Notify,
}

impl Line {
    pub(super) fn new(opened: &Opened, options: &TcpOptions) -> Arc<Self> {
        let process = Arc::clone(&opened.connection.process);
        Arc::new(Self {
            request_timeout: options.request_timeout,
            backoff: Mutex::new(backoff(options)),
            log_uuid: opened.log_uuid,
            process,
            state: Mutex::new(State {
                connection: Some(Arc::clone(&opened.connection)),
                description: opened.connection.description().to_owned(),
                parked: VecDeque::new(),
                streams: Vec::new(),
                lost: None,
                ended: None,
                since: Instant::now(),
            }),
            changed: Notify::new(),
        })
    }

    pub(super) fn description(&self) -> String {
        self.state.lock().description.clone()
    }

    pub(super) fn health(&self) -> LinkHealth {
        let state = self.state.lock();
        let lost = state.lost.as_ref().map(|(_, error)| error);
        let last_error = state.ended.as_ref().or(lost).cloned();
        LinkHealth {
            is_connected: last_error.is_none(),
            since: state.since.elapsed(),
            last_error,
        }
    }

    pub(super) fn submit(
        &self,
        request: Request,
        payload: Bytes,
        completion: Completion<Response>,
    ) {
        if let Err(error) = self.check_process() {
            return completion.finish(Err(error));
        }
        // Declared first: the frame is written, and the completion told, when no lock is held any more.
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        // Under the lock: so deadlines rise with the order of asking.
        let asked = Asked {
            request,
            payload,
            completion,
            deadline: Instant::now() + self.request_timeout,
            is_bound: false,
            may_be_done: false,
        };
        if let Some(error) = state.check() {
            drop(state);
            return asked.completion.complete(Err(error), &mut wakes);
        }
        let asked = match &state.connection {
            Some(connection) => match connection.submit(asked, &mut wakes) {
                Ok(()) => return,
                Err(unasked) => *unasked,
            },
            None => Unasked {
                asked,
                reason: None,
            },
        };
        match asked {
            Unasked {
                asked,
                reason: None,
            } => {
                let is_first = state.parked.is_empty();
                state.parked.push_back(asked);
                drop(state);
                if is_first {
                    self.changed.notify_one();
                }
            }
            Unasked {
                asked,
                reason: Some(error),
            } => {
                drop(state);
                asked.completion.complete(Err(error), &mut wakes);
            }
        }
    }

    /// Opens a stream, now or over the next connection.
    pub(super) fn subscribe(self: &Arc<Self>, subscribe: SubscribeAt) -> Result<Arc<Subscribed>> {
        self.check_process()?;
        let mut state = self.state.lock();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        if let Some(connection) = &state.connection {
            match connection.subscribe(subscribe.clone()) {
                Ok(feed) => {
                    return Ok(Subscribed::open(Arc::clone(self), feed, connection));
                }
                Err(error) if passes(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let waiting = Subscribed::waiting(Arc::clone(self), subscribe);
        state.streams.retain(|stream| stream.strong_count() > 0);
        state.streams.push(Arc::downgrade(&waiting));
        Ok(waiting)
    }

    /// The task's work: from one connection to the next, until the end.
    pub(super) async fn run(self: Arc<Self>, mut opened: Opened, connector: Connector) {
        let _guard = EndOnDrop(Arc::clone(&self));
        let mut failed_attempts = 0;
        loop {
            let began = Instant::now();
            let Opened {
                connection,
                reader,
                decoder,
                ..
            } = opened;
            let mut running = pin!(connection.run(reader, decoder));
            // A broker that says goodbye takes in nothing more, and may take its time to go.
            let (error, repeated) = tokio::select! {
                biased;
                ended = &mut running => ended,
                () = self.keep_time() => running.await,
            };
            if !self.lose(&error, repeated) {
                return;
            }
            if began.elapsed() >= STABLE_AFTER {
                failed_attempts = 0;
            }
            match self.reconnect(&connector, &mut failed_attempts).await {
                Some(next) => opened = next,
                None => return,
            }
            self.resume(&opened.connection);
        }
    }

    /// The connection is gone. False if there is to be no other.
    fn lose(&self, error: &Error, repeated: Vec<Asked>) -> bool {
        let mut state = self.state.lock();
        state.connection = None;
        if let Some(ended) = state.ended.clone() {
            drop(state);
            Failed::all(repeated, &ended).tell(&mut Wakes::new());
            return false;
        }
        // They were asked before those that wait already.
        repeated
            .into_iter()
            .rev()
            .for_each(|asked| state.parked.push_front(asked));
        state.since = Instant::now();
        state.lost = Some((state.since, error.clone()));
        // Who takes lines of the log may send them by this very connection.
        drop(state);
        crate::seldom!(warn, %error, "connecting again");
        true
    }

    async fn reconnect(&self, connector: &Connector, failed_attempts: &mut u32) -> Option<Opened> {
        loop {
            let pause = match *failed_attempts {
                0 => Duration::ZERO,
                attempts => self.backoff.lock().pause(attempts),
            };
            *failed_attempts = failed_attempts.saturating_add(1);
            let attempt = async {
                sleep(pause).await;
                connector().await
            };
            let opened = tokio::select! {
                biased;
                () = self.keep_time() => return None,
                opened = attempt => opened,
            };
            match opened {
                Ok(opened) if opened.log_uuid == self.log_uuid => return Some(opened),
                Ok(opened) => {
                    opened.connection.hang_up();
                    let description = opened.connection.description().to_owned();
                    self.end(&other_log(&description));
                    return None;
                }
                Err(error) => {
                    crate::seldom!(debug, %error, "no connection");
                    if let Some((_, reason)) = &mut self.state.lock().lost {
                        *reason = error;
                    }
                }
            }
        }
    }

    /// Lets go what waited too long. Comes back when it is all over.
    async fn keep_time(&self) {
        loop {
            let next = {
                let mut state = self.state.lock();
                if state.ended.is_some() {
                    return;
                }
                let (late, next) = state.expire(Instant::now());
                drop(state);
                late.tell(&mut Wakes::new());
                next
            };
            let changed = self.changed.notified();
            match next {
                Some(next) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(next) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// What waited goes over this connection.
    fn resume(&self, connection: &Arc<Connection>) {
        let mut wakes = Wakes::new();
        // Some may be the last that is left of a stream, which ends with it: not under the lock.
        let mut streams = Vec::new();
        let mut impossible = Vec::new();
        let mut state = self.state.lock();
        let lost = state.lost.take();
        state.since = Instant::now();
        connection.description().clone_into(&mut state.description);
        for asked in overtaken(&mut state.parked) {
            let error = asked.refused(connection.lost("a later heartbeat says more"));
            impossible.push((asked.completion, error));
        }
        while let Some(asked) = state.parked.pop_front() {
            let Err(unasked) = connection.submit(asked, &mut wakes) else {
                continue;
            };
            let Unasked { asked, reason } = *unasked;
            if let Some(reason) = reason {
                let reason = asked.refused(reason);
                impossible.push((asked.completion, reason));
                continue;
            }
            // It has ended again: the task finds out, and this waits for the next.
            state.parked.push_front(asked);
            break;
        }
        let waiting = std::mem::take(&mut state.streams);
        streams.extend(waiting.iter().filter_map(Weak::upgrade));
        for stream in &streams {
            if !stream.begin(connection, &mut wakes) {
                state.streams.push(Arc::downgrade(stream));
            }
        }
        state.connection = Some(Arc::clone(connection));
        let is_over = state.ended.is_some();
        drop(state);
        if let Some((since, _)) = lost {
            let lost_ms = since.elapsed().as_millis();
            let broker = connection.description();
            crate::seldom!(info, broker, lost_ms, "connected again");
        }
        for (completion, reason) in impossible {
            completion.complete(Err(reason), &mut wakes);
        }
        if is_over {
            connection.hang_up();
        }
    }

    /// Waits for what is in flight, then says goodbye. What waits for a connection is given up.
    pub(super) fn close(&self, timeout: Duration) -> Result<()> {
        self.check_process()?;
        match self.end(&self.closed()) {
            Some(connection) => connection.close(timeout),
            None => Ok(()),
        }
    }

    /// Says goodbye; what is in flight fails when the connection is gone.
    pub(super) fn hang_up(&self) {
        if self.check_process().is_err() {
            return;
        }
        if let Some(connection) = self.end(&self.closed()) {
            connection.hang_up();
        }
    }

    /// Nothing is asked any more, and what waits will never be. Returns the connection there is.
    fn end(&self, error: &Error) -> Option<Arc<Connection>> {
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        if state.ended.is_none() && state.lost.is_none() {
            state.since = Instant::now();
        }
        let error = state.ended.get_or_insert_with(|| error.clone()).clone();
        let parked = std::mem::take(&mut state.parked);
        let streams = std::mem::take(&mut state.streams);
        let connection = state.connection.clone();
        drop(state);
        self.changed.notify_one();
        Failed::all(parked, &error).tell(&mut wakes);
        for stream in streams.iter().filter_map(Weak::upgrade) {
            stream.end(&error, &mut wakes);
        }
        connection
    }

    pub(super) fn check_process(&self) -> Result<()> {
        super::check_owner(&self.process)
    }

    fn closed(&self) -> Error {
        let description = self.description();
        Error::new(
            ErrorCode::Closed,
            format!("the connection to {description} was closed"),
        )
    }
}

/// The pauses before attempts to connect again: each client's are its own, whatever process it lives in.
fn backoff(options: &TcpOptions) -> Backoff {
    Backoff::new(
        options.reconnect_backoff,
        options.reconnect_backoff_max,
        options.seed.unwrap_or_else(new_seed),
    )
}

/// Takes out the heartbeats behind which the same member says something else. A broker that has started since
/// believes what it hears first: what a member held before it let go of it, which may be another's by now.
fn overtaken(parked: &mut VecDeque<Asked>) -> Vec<Asked> {
    let mut said = BTreeSet::new();
    let mut overtaken = Vec::new();
    for place in (0..parked.len()).rev() {
        let Some(Request::GroupHeartbeat(heartbeat)) = parked.get(place).map(|it| &it.request)
        else {
            continue;
        };
        if !said.insert((heartbeat.group.clone(), heartbeat.member_id.clone())) {
            overtaken.extend(parked.remove(place));
        }
    }
    overtaken
}

/// Ends everything when the task is dropped: there will be no other connection.
struct EndOnDrop(Arc<Line>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let error = Error::new(
            ErrorCode::NetworkException,
            "the connection was lost: its task was stopped",
        );
        self.0.end(&error);
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Line")
            .field("connection", &state.connection)
            .field("parked", &state.parked.len())
            .field("lost", &state.lost)
            .field("ended", &state.ended)
            .finish_non_exhaustive()
    }
}

fn other_log(description: &str) -> Error {
    Error::new(
        ErrorCode::InconsistentClusterId,
        format!(
            "{description} serves another log than before: offsets of the one mean nothing in the other; \
             connect again if that is meant"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(options: &TcpOptions) -> Vec<Duration> {
        let mut backoff = backoff(options);
        (1..20).map(|attempts| backoff.pause(attempts)).collect()
    }

    #[test]
    fn clients_of_one_process_connect_again_each_in_its_own_time() {
        // All of them paused alike, and came back to their broker at the same moments.
        let options = TcpOptions::default();
        assert_ne!(pauses(&options), pauses(&options));
        let seeded = TcpOptions {
            seed: Some(7),
            ..options
        };
        assert_eq!(pauses(&seeded), pauses(&seeded));
    }
}
