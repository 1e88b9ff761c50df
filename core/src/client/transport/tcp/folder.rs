//! A folder that another process may own: its log is reached through the owner, and taken over when there is none.
//!
//! Every attempt begins with the lock. Who gets it opens the log and serves it to the others; who does not reads in
//! `OWNER` how to reach the one who has it. A lock is never waited for or taken away: an owner that says nothing is
//! reported with its process id. Only when the owner was a broker the lock is left alone for a while, so that the
//! broker can be started again.
//!
//! Having taken over, a client goes on speaking the protocol, to the service in its own process: what was in flight
//! is repeated and recognised as after any lost connection.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::TcpOptions;
use super::connect::{self, Opened};
use crate::client::connect::open_on_a_thread;
use crate::client::registry;
use crate::completion::Pending;
use crate::error::{Error, ErrorCode, Result};
use crate::limits;
use crate::log::lock::read_owner;
use crate::log::owner::{Access, Owner};
use crate::runtime::{Runtime, runtime};
use crate::server::local::Stream;
use crate::server::{Server, ServerOptions, share};
use crate::service::{Found, Service, ServiceOptions};
use crate::sync::Mutex;

/// The log of a folder, wherever it is open.
pub(crate) struct SharedFolder {
    /// As it was given, for messages.
    path: PathBuf,
    /// The process may change its working folder before it takes over.
    absolute: PathBuf,
    options: ServiceOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The log, if it was taken over.
    owned: Option<Service>,
    is_closed: bool,
    /// Whether it was reached before: then the folder is not made anew if somebody has removed it.
    is_known: bool,
    /// Whether it was a broker that served it.
    is_brokers: bool,
    /// Since when that is gone.
    gone: Option<Instant>,
}

/// Where the log is open.
enum Place {
    Here(Service),
    /// Not here, but who this is may be reached.
    At(Holder),
}

/// Who holds the folder, or held it last and may come back.
struct Holder {
    /// The process that holds it, if that can be told.
    pid: Option<u32>,
    /// What is said if it cannot be reached.
    error: Error,
    /// What `OWNER` says of it.
    owner: Option<Owner>,
}

/// How one attempt to reach an owner ended.
enum Attempt {
    Reached(Opened),
    /// It may be another's, or ready, in a moment; this long it is worth waiting for.
    Again(Error, Duration),
    Failed(Error),
}

/// The first pause before looking again; it doubles.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

impl SharedFolder {
    pub(crate) fn new(path: PathBuf, options: ServiceOptions) -> Self {
        Self {
            absolute: std::path::absolute(&path).unwrap_or_else(|_| path.clone()),
            path,
            options,
            state: Mutex::default(),
        }
    }

    /// Opens the log if nobody has it open, or joins the service of this process that has.
    ///
    /// Returns none if another process has it. Reads files: not for an event loop's thread.
    ///
    /// # Errors
    /// As [`Service::open_folder`], except that it is held.
    pub(crate) fn open_here(&self, runtime: &'static Runtime) -> Result<Option<Service>> {
        match Service::find_folder(&self.path, &self.options)? {
            Found::Here(service) => {
                share(&service, runtime, false);
                Ok(Some(service))
            }
            Found::Held(_) => Ok(None),
        }
    }

    /// Connects to whoever has the log open, which may come to be this process.
    ///
    /// # Errors
    /// `FOLDER_LOCKED` if the owner does not share; `OWNER_SILENT` if it does not answer; and what opening the
    /// folder may answer.
    pub(super) async fn connect(self: &Arc<Self>, options: &TcpOptions) -> Result<Opened> {
        let began = Instant::now();
        let mut pause = PAUSE;
        loop {
            let attempt = match self.look_in_background().await? {
                Place::Here(service) => {
                    self.note(false);
                    return self.pipe(&service, options).await;
                }
                Place::At(holder) => self.reach(holder, options, began).await,
            };
            match attempt {
                Attempt::Reached(opened) => return Ok(opened),
                Attempt::Failed(error) => return Err(error),
                Attempt::Again(error, within) if began.elapsed() >= within => return Err(error),
                Attempt::Again(..) => sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Closes the log if it was taken over; it is not opened again.
    pub(super) fn close(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.is_closed = true;
        let owned = state.owned.take();
        drop(state);
        owned.map_or(Ok(()), |service| service.close())
    }

    /// Looks on a thread of its own, which may read files and wait.
    fn look_in_background(self: &Arc<Self>) -> Pending<Place> {
        let folder = Arc::clone(self);
        open_on_a_thread(move || folder.look(runtime(None)?))
    }

    /// Where the log is open; opens it here if it is nowhere.
    fn look(&self, runtime: &'static Runtime) -> Result<Place> {
        let owned = self.state.lock().owned.clone();
        if let Some(service) = owned.filter(|service| !service.is_closed()) {
            return Ok(Place::Here(service));
        }
        if self.awaits_broker() {
            return Ok(Place::At(Holder {
                pid: None,
                error: self.broker_has_ended(),
                owner: read_owner(&self.absolute),
            }));
        }
        let mut options = self.options.clone();
        options.create &= !self.state.lock().is_known;
        match Service::find_folder(&self.absolute, &options)? {
            Found::Here(service) => self.take_over(service, runtime),
            Found::Held(error) => {
                let pid = error.held_by();
                // What a killed owner has left says nothing of who holds the lock now.
                let owner = read_owner(&self.absolute).filter(|owner| Some(owner.pid) == pid);
                let error = error.into();
                Ok(Place::At(Holder { pid, error, owner }))
            }
        }
    }

    /// Whether the broker that served it may come back: it would find its folder taken.
    fn awaits_broker(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_brokers {
            return false;
        }
        let gone = *state.gone.get_or_insert_with(Instant::now);
        gone.elapsed() < Duration::from_millis(limits::BROKER_RETURN_MS)
    }

    /// It was reached, and by whom.
    fn note(&self, is_brokers: bool) {
        let mut state = self.state.lock();
        (state.is_known, state.is_brokers, state.gone) = (true, is_brokers, None);
    }

    fn take_over(&self, service: Service, runtime: &'static Runtime) -> Result<Place> {
        // First: what ends the sharing is run by the close.
        share(&service, runtime, false);
        let mut state = self.state.lock();
        if state.is_closed {
            drop(state);
            service.close()?;
            let message = format!("the client of {} is closed", self.path.display());
            return Err(Error::new(ErrorCode::Closed, message));
        }
        state.owned = Some(service.clone());
        drop(state);
        tracing::info!(folder = %self.path.display(), "this process has the log open now");
        Ok(Place::Here(service))
    }

    /// A connection to the log in this process.
    async fn pipe(&self, service: &Service, options: &TcpOptions) -> Result<Opened> {
        let (near, far) = tokio::io::duplex(limits::LOCAL_PIPE_BYTES);
        let server = Server::new(service.clone(), ServerOptions::default());
        tokio::spawn(async move {
            let (reader, writer) = tokio::io::split(far);
            let peer = "this process";
            server.serve_connection(reader, writer, &[], peer).await;
        });
        let (reader, writer) = tokio::io::split(near);
        let description = self.path.display().to_string();
        connect::shake(reader, writer, description, options, None).await
    }

    async fn reach(&self, holder: Holder, options: &TcpOptions, began: Instant) -> Attempt {
        let Holder { pid, error, owner } = holder;
        let answer_within = Duration::from_millis(limits::OWNER_ANSWER_MS);
        let is_this_process = pid == Some(std::process::id());
        let (path, token, is_broker) = match owner.map(|owner| owner.access) {
            Some(Access::Socket {
                path,
                token,
                is_broker,
            }) => (path, token, is_broker),
            Some(Access::Opening) => {
                let within = Duration::from_millis(limits::OWNER_OPENING_MS);
                return Attempt::Again(self.silent(pid, "is still opening its log", began), within);
            }
            // Being closed here, or held by one that has not yet said how it is reached.
            None => return Attempt::Again(error, answer_within),
            Some(Access::Exclusive) if is_this_process => {
                return Attempt::Again(error, answer_within);
            }
            Some(Access::Exclusive) => return Attempt::Failed(error),
        };
        let stream = match Stream::connect(&path).await {
            Ok(stream) => stream,
            Err(_) if pid.is_none() => return Attempt::Again(error, answer_within),
            Err(error) => {
                let reason = format!("cannot be reached at {} ({error})", path.display());
                return Attempt::Again(self.silent(pid, &reason, began), answer_within);
            }
        };
        let description = self.description(pid);
        let deadline = Instant::now() + answer_within;
        let halves = stream.into_split();
        let spoken = connect::shake_by(halves, description, options, Some(token), deadline).await;
        match spoken {
            Ok(opened) => {
                self.note(is_broker);
                Attempt::Reached(opened)
            }
            Err(error) if error.code() == ErrorCode::UnsupportedVersion => Attempt::Failed(error),
            Err(_) if Instant::now() >= deadline => {
                Attempt::Failed(self.silent(pid, "does not answer", began))
            }
            // It is just closing, or another has taken over.
            Err(error) => Attempt::Again(error, answer_within),
        }
    }

    fn description(&self, pid: Option<u32>) -> String {
        let path = self.path.display();
        match pid {
            Some(pid) => format!("{path}, through process {pid}"),
            None => format!("{path}, through another process"),
        }
    }

    fn broker_has_ended(&self) -> Error {
        Error::new(
            ErrorCode::OwnerSilent,
            format!(
                "the broker of the folder {} has ended; it is waited for {} ms, then the folder is opened here",
                self.path.display(),
                limits::BROKER_RETURN_MS
            ),
        )
    }

    fn silent(&self, pid: Option<u32>, what: &str, began: Instant) -> Error {
        let owner = pid.map_or_else(
            || "another process".to_owned(),
            |pid| format!("process {pid}"),
        );
        Error::new(
            ErrorCode::OwnerSilent,
            format!(
                "the folder {} is open in {owner}, which {what} (after {} ms); a lock is never taken away: end \
                 that process if it hangs",
                self.path.display(),
                began.elapsed().as_millis()
            ),
        )
    }
}

impl Drop for SharedFolder {
    fn drop(&mut self) {
        // A connection that did not come to be, or a transport that nobody closed.
        let owned = self.state.lock().owned.take();
        let Some(service) = owned else { return };
        registry::in_background("headwater-close", move || {
            if let Err(error) = service.close() {
                tracing::warn!(%error, "a log that was taken over could not be closed");
            }
        });
    }
}

impl fmt::Debug for SharedFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("SharedFolder")
            .field("path", &self.path)
            .field("is_owned", &state.owned.is_some())
            .finish_non_exhaustive()
    }
}
