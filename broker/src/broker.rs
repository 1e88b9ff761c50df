//! A running broker: a log, and a port on which it is served.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use headwater::completion::Shared;
use headwater::runtime::{Runtime, runtime};
#[cfg(feature = "kafka")]
use headwater::server::Room;
use headwater::server::{Server, ServerOptions, share};
use headwater::service::{Service, ServiceOptions};
use headwater::sync::Mutex;
use headwater::{Completion, ErrorCode, MaxBytesPolicy, Pending, Result, ServeOptions};

use crate::config::{Config, DEFAULT_RETENTION_MS, Data};
#[cfg(feature = "http")]
use crate::http::Http;
#[cfg(feature = "kafka")]
use crate::kafka::{self, Kafka};
use crate::listen::{self, Bound, ListenAddress, Listening, Speakers};

/// A broker that is running. Other processes of its user may open its folder as if it were nobody's: they are its
/// clients then. Clones are the same broker; it runs until it is closed.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    service: Service,
    speakers: Speakers,
    runtime: &'static Runtime,
    addresses: Vec<ListenAddress>,
    listening: Mutex<Vec<Listening>>,
    close_timeout: Duration,
    closing: OnceLock<Shared<()>>,
}

impl Broker {
    /// Opens the log and listens. When the answer is there, connections are accepted.
    ///
    /// # Errors
    /// What is wrong with the options or the addresses, before anything is opened; `ADDRESS_IN_USE`;
    /// and what opening a folder can answer: `FOLDER_LOCKED`, `NOT_A_FOLDER`, `FOLDER_TOO_NEW`,
    /// `CORRUPT_SEGMENT`.
    ///
    /// ```
    /// use headwater_broker::{Broker, Config};
    ///
    /// let broker = Broker::start(Config::memory()).wait(None)?;
    /// let address = broker.addresses()[0].to_string();
    /// let db = headwater::connect(&address).wait(None)?;
    /// db.admin().create_topic("orders", Default::default()).wait(None)?;
    /// db.close(None).wait(None)?;
    /// broker.close(None).wait(None)?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    pub fn start(config: Config) -> Pending<Self> {
        in_background("headwater-start", move || Self::start_here(&config))
    }

    fn start_here(config: &Config) -> Result<Self> {
        config.check()?;
        let options = &config.options;
        let runtime = runtime(Some(threads(options)))?;
        // The port first: a port in use must not leave a folder behind.
        let lane = runtime.lane();
        let listeners = config
            .listen()
            .iter()
            .map(|address| Bound::to(address, lane))
            .collect::<Result<Vec<_>>>()?;
        let addresses = listeners
            .iter()
            .map(Bound::address)
            .collect::<Result<Vec<_>>>()?;
        let service = open(config)?;
        share(&service, runtime, true);
        let server_options = ServerOptions {
            frame_bytes_max: usize::try_from(options.max_frame_bytes()).unwrap_or(usize::MAX),
            idle_timeout: Duration::from_millis(options.idle_timeout_ms()),
            close_timeout: Duration::from_millis(options.close_timeout_ms()),
            ..ServerOptions::default()
        };
        let server = Server::new(service.clone(), server_options);
        let counts = Arc::default();
        #[cfg(feature = "kafka")]
        let kafka = {
            let room = server.room().clone();
            Kafka::new(service.clone(), kafka_options(config, &addresses, room)?)
        };
        let speakers = Speakers {
            #[cfg(feature = "http")]
            http: Http::new(
                service.clone(),
                server.clone(),
                Arc::clone(&counts),
                vec![
                    #[cfg(feature = "kafka")]
                    kafka.figures(),
                ],
            ),
            #[cfg(feature = "kafka")]
            kafka,
            server,
        };
        let places = listen::Places::new(options.max_connections(), counts);
        let listening = listeners
            .into_iter()
            .map(|listener| listen::accept(listener, speakers.clone(), &places, (lane, runtime)))
            .collect::<Result<Vec<_>>>();
        let listening = match listening {
            Ok(listening) => listening,
            Err(error) => {
                let _ = service.close();
                return Err(error);
            }
        };
        Ok(Self(Arc::new(Inner {
            service,
            speakers,
            runtime,
            addresses,
            listening: Mutex::new(listening),
            close_timeout: Duration::from_millis(options.close_timeout_ms()),
            closing: OnceLock::new(),
        })))
    }

    /// Where it listens, with the ports it really has, in the order they were given.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.0.addresses
    }

    /// How many connections of the native protocol there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.0.speakers.server.connection_count()
    }

    /// Stops accepting, answers what was asked, ends the connections (those that are not done within
    /// `timeout` are cut; none: `close_timeout_ms`) and closes the log. Every call waits for the same end.
    ///
    /// # Errors
    /// `KAFKA_STORAGE_ERROR` if the log could not be closed in order.
    pub fn close(&self, timeout: Option<Duration>) -> Pending<()> {
        let timeout = timeout.unwrap_or(self.0.close_timeout);
        let closing = self.0.closing.get_or_init(|| self.begin_close(timeout));
        closing.follow()
    }

    fn begin_close(&self, timeout: Duration) -> Shared<()> {
        let broker = self.clone();
        let (completion, closing) = Completion::shared();
        let listening = std::mem::take(&mut *self.0.listening.lock());
        for one in &listening {
            one.stop_accepting();
        }
        self.0.runtime.spawn(async move {
            broker.0.speakers.close(timeout).await;
            // What is left is cut here: its tasks end with what holds them.
            drop(listening);
            let closing = in_background("headwater-close", move || broker.0.service.close());
            completion.finish(closing.await);
        });
        closing
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.closing.get().is_some() {
            return;
        }
        // Nobody closed it; its folder is not to be locked until the process ends.
        let service = self.service.clone();
        drop(in_background("headwater-close", move || service.close()));
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("addresses", &self.0.addresses)
            .field("service", &self.0.service)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "kafka")]
fn kafka_options(
    config: &Config,
    addresses: &[ListenAddress],
    room: Room,
) -> Result<kafka::Options> {
    let options = &config.options;
    Ok(kafka::Options {
        frame_bytes_max: usize::try_from(options.max_frame_bytes()).unwrap_or(usize::MAX),
        idle_timeout: Duration::from_millis(options.idle_timeout_ms()),
        close_timeout: Duration::from_millis(options.close_timeout_ms()),
        advertise: config.advertised()?,
        address: addresses.iter().find_map(ListenAddress::tcp),
        room,
    })
}

/// Threads of the runtime, if this broker is the first to need it.
fn threads(options: &ServeOptions) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    options
        .threads
        .map_or_else(|| cores.min(4), |threads| threads as usize)
}

fn open(config: &Config) -> Result<Service> {
    let options = &config.options;
    let sizes = options.sizes()?;
    let service_options = ServiceOptions {
        create: true,
        segment_bytes: sizes.segment_bytes,
        max_bytes: sizes.max_bytes,
        drops_oldest: options.max_bytes_policy() == MaxBytesPolicy::DropOldest,
        tail_cache_bytes: usize::try_from(options.tail_cache_bytes()).unwrap_or(usize::MAX),
        retention_ms: DEFAULT_RETENTION_MS,
        auto_create_topics: options.auto_create_topics.unwrap_or(false),
        group_initial_delay: config.group_initial_delay()?,
        is_shared: matches!(config.data, Data::Folder(_)),
    };
    match &config.data {
        Data::Folder(path) => open_folder(path, &service_options),
        Data::Memory => Service::open_memory("", &service_options),
    }
}

/// Opens the folder; one that somebody else has open only for a moment is waited for.
fn open_folder(path: &Path, options: &ServiceOptions) -> Result<Service> {
    let began = Instant::now();
    loop {
        match Service::open_folder(path, options) {
            Err(error) if error.code() == ErrorCode::FolderLocked && began.elapsed() < MOMENT => {
                std::thread::sleep(MOMENT / 20);
            }
            opened => return opened,
        }
    }
}

/// As long as a command that looks into the folder may have it.
const MOMENT: Duration = Duration::from_secs(1);

/// Does what may block on a thread of its own.
fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Pending<T> {
    let (completion, pending) = Completion::pair();
    let thread = std::thread::Builder::new().name(name.to_owned());
    // A thread that cannot be had drops the completion, which answers `Closed`.
    let _ = thread.spawn(move || completion.finish(work()));
    pending
}
