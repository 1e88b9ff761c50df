//! One folder, many processes: the owner of a log serves the others through a socket.
//!
//! Whoever opens a folder's log serves it; the folder's `OWNER` says where, and the token that opens it. When the
//! log is closed, who is connected is told so and answered what it had asked: then one of them opens the folder
//! and serves the rest (`client/transport/tcp/folder.rs`). Where there can be no socket the log is this process'
//! alone, which is logged. A socket that somebody removes, as a logout does with all that lies in the user's runtime
//! folder, is made again, there or elsewhere.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::local::{self, Listener, Stream};
use super::{Server, ServerOptions};
use crate::completion::Completion;
use crate::error::{Error, ErrorCode};
use crate::limits;
use crate::log::owner::{self, Access, Token};
use crate::runtime::Runtime;
use crate::service::Service;
use crate::sync::Mutex;

/// Serves the log of a folder to the other processes of this user, on `runtime`, until the last opening of the
/// log is closed. Does nothing for a log that is served already or is not to be shared.
///
/// `is_broker` says that this process comes back when it has ended, so that nobody else need take over.
///
/// Creates files: not for an event loop's thread.
pub fn share(service: &Service, runtime: &'static Runtime, is_broker: bool) {
    if !service.begin_announcing() {
        return;
    }
    let announced = match listen(service, runtime, is_broker) {
        Ok((access, sharing)) => service.announce(access, Box::new(move || sharing.end())),
        Err(error) => {
            let folder = service.name();
            tracing::warn!(folder, %error, "the folder is not shared with other processes");
            service.give_up_announcing();
            service.announce(Access::Exclusive, Box::new(|| ()))
        }
    };
    if let Err(error) = announced {
        let folder = service.name();
        tracing::warn!(folder, %error, "other processes cannot be told how to reach the log");
    }
}

/// What serves others, until it is ended.
struct Sharing {
    server: Server,
    socket: Socket,
    accepting: JoinHandle<()>,
    runtime: &'static Runtime,
}

/// Where the owner listens; nowhere once the sharing ends.
type Socket = Arc<Mutex<Option<PathBuf>>>;

/// What others come in by.
struct Reception {
    service: Service,
    server: Server,
    listener: Listener,
    socket: Socket,
    /// Whether `OWNER` says where that is.
    is_told: Arc<AtomicBool>,
    token: Token,
    is_broker: bool,
}

fn listen(
    service: &Service,
    runtime: &'static Runtime,
    is_broker: bool,
) -> io::Result<(Access, Sharing)> {
    let path = place(service)?;
    let token = Token::random()?;
    let lane = runtime.lane();
    let listener = {
        let _entered = lane.enter();
        Listener::bind_own(&path)?
    };
    let options = ServerOptions {
        token: Some(token),
        ..ServerOptions::default()
    };
    let server = Server::new(service.clone(), options);
    let reception = Reception {
        service: service.clone(),
        server: server.clone(),
        listener,
        socket: Arc::new(Mutex::new(Some(path.clone()))),
        is_told: Arc::new(AtomicBool::new(true)),
        token,
        is_broker,
    };
    let (access, socket) = (reception.access(path), Arc::clone(&reception.socket));
    let sharing = Sharing {
        server,
        socket,
        accepting: lane.spawn(accept(reception, runtime)),
        runtime,
    };
    Ok((access, sharing))
}

/// Where the socket can lie.
fn place(service: &Service) -> io::Result<PathBuf> {
    let path = local::place(&socket_name(service))?;
    if owner::can_be_told(&path) {
        return Ok(path);
    }
    let message = format!("{} cannot be written in OWNER", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// The same for the same folder, so that what a killed owner left is replaced; another for a copy of it.
fn socket_name(service: &Service) -> String {
    let mut hasher = DefaultHasher::new();
    service.log_uuid().hash(&mut hasher);
    service.folder_key().hash(&mut hasher);
    format!("{:016x}.sock", hasher.finish())
}

async fn accept(mut reception: Reception, runtime: &'static Runtime) {
    let places = Arc::new(Semaphore::new(limits::LOCAL_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut looks = tokio::time::interval(Duration::from_millis(limits::SHARING_LOOK_MS));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            _ = looks.tick() => reception.look(),
            accepted = reception.listener.accept() => match accepted {
                Ok(stream) => {
                    let place = Arc::clone(&places).try_acquire_owned();
                    let server = reception.server.clone();
                    let serving = async move {
                        serve(&server, stream, place.is_ok()).await;
                        drop(place);
                    };
                    connections.spawn_on(serving, runtime.lane());
                }
                Err(error) => {
                    // Out of file descriptors, or one that was gone before it was accepted.
                    crate::seldom!(warn, %error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

impl Reception {
    fn access(&self, path: PathBuf) -> Access {
        Access::Socket {
            path,
            token: self.token,
            is_broker: self.is_broker,
        }
    }

    /// Listens anew if the socket is not there any more. Who is connected already does not notice.
    fn look(&mut self) {
        let socket = Arc::clone(&self.socket);
        let mut socket = socket.lock();
        let Some(known) = &*socket else { return };
        if known.symlink_metadata().is_ok() {
            if !self.is_told.load(Ordering::Relaxed) {
                self.tell(known.clone());
            }
            return;
        }
        let folder = self.service.name().to_owned();
        let bound = place(&self.service).and_then(|path| Ok((Listener::bind_own(&path)?, path)));
        match bound {
            Ok((listener, path)) => {
                let at = path.display();
                tracing::warn!(folder, socket = %at, "the folder's socket was removed and is made again");
                self.listener = listener;
                if *known != path {
                    self.tell(path.clone());
                }
                *socket = Some(path);
            }
            Err(error) => crate::seldom!(
                warn,
                folder,
                %error,
                "the folder's socket was removed and cannot be made again: other processes cannot join"
            ),
        }
    }

    /// Writes where the socket is now into `OWNER`, on a thread that may touch files. It is tried again at the next
    /// look if that fails.
    fn tell(&self, path: PathBuf) {
        let (service, access) = (self.service.clone(), self.access(path));
        let is_told = Arc::clone(&self.is_told);
        is_told.store(false, Ordering::Relaxed);
        let told = self.service.schedule(move || match service.announce_again(access) {
            Ok(()) => is_told.store(true, Ordering::Relaxed),
            Err(error) => {
                let folder = service.name();
                crate::seldom!(warn, folder, %error, "other processes cannot be told how to reach the log");
            }
        });
        if let Err(error) = told {
            crate::seldom!(warn, %error, "other processes cannot be told how to reach the log");
        }
    }
}

async fn serve(server: &Server, stream: Stream, has_place: bool) {
    let (reader, writer) = match stream.moved_here() {
        Ok(stream) => stream.into_split(),
        Err(error) => {
            crate::seldom!(warn, %error, "a connection could not be served");
            return;
        }
    };
    if has_place {
        server.serve_connection(reader, writer, &[], PEER).await;
    } else {
        let message = format!(
            "the folder's owner serves {} connections and no more; close one",
            limits::LOCAL_CONNECTIONS_MAX
        );
        let reason = Error::new(ErrorCode::QuotaExceeded, message);
        server
            .refuse_connection(reader, writer, PEER, &reason)
            .await;
    }
}

impl Sharing {
    /// Tells who is connected that the log closes, and waits until they have gone, a bounded time.
    fn end(self) {
        let Self {
            server,
            socket,
            accepting,
            runtime,
        } = self;
        // Nobody finds it any more; who is on the way to it is refused by the closing server.
        let socket = socket.lock().take();
        if let Some(Err(error)) = socket.map(std::fs::remove_file) {
            tracing::debug!(%error, "no socket to remove");
        }
        let (completion, mut closed) = Completion::pair();
        runtime.spawn(async move {
            let left = server
                .close(Duration::from_millis(limits::SHARING_CLOSE_MS))
                .await;
            accepting.abort();
            // Its connections go with it.
            let _ = accepting.await;
            completion.finish(Ok(left));
        });
        let within = Duration::from_millis(2 * limits::SHARING_CLOSE_MS);
        match closed.wait(Some(within)) {
            Ok(0) => {}
            Ok(left) => tracing::warn!(
                left,
                "processes did not take leave of the closing log in time"
            ),
            Err(error) => {
                tracing::warn!(%error, "processes that share the log could not be told that it closes")
            }
        }
    }
}

/// How logs name a connection.
const PEER: &str = "another process of this folder";

/// How long accepting pauses when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);
