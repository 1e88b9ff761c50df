//! From an address to a client.
//!
//! A folder is opened, and its log replayed, on a thread of its own that ends with it: the caller may be
//! an event loop.

use std::path::PathBuf;
use std::sync::Arc;

use super::address::{self, Address, HostPort};
use super::handle::{Client, Shared};
#[cfg(feature = "tcp")]
use super::options::Sharing;
use super::options::{ConnectOptions, FolderSizes, MaxBytesPolicy};
use super::transport::Transport;
use super::transport::in_process::InProcess;
#[cfg(feature = "tcp")]
use super::transport::tcp::{Endpoint, SharedFolder, TcpOptions, TcpTransport};
use crate::completion::{Completion, Pending};
use crate::error::{Error, ErrorCode, Result};
use crate::fork;
use crate::service::ServiceOptions;
use crate::world;

/// Opens the log at `address`: a path such as `./data`, `mem:`, or `host:port`.
///
/// Many processes may open one folder: the first has the log open and serves it to the others, unnoticed but for
/// time; when it ends, or is killed, another takes over. See `sharing` of [`ConnectOptions`].
///
/// ```
/// use headwater::{ConsumerOptions, ProducerOptions, Record, TopicOptions, Until};
///
/// let db = headwater::connect("mem:").wait(None)?;
/// db.admin().create_topic("orders", TopicOptions::default()).wait(None)?;
///
/// let producer = db.producer(ProducerOptions::default())?;
/// producer.send("orders", &Record::new(b"hello"))?.wait(None)?;
///
/// let options = ConsumerOptions { until: Some(Until::End), ..Default::default() };
/// let consumer = db.consumer(&["orders"], options)?;
/// while let Some(batch) = consumer.next_batch_wait(None)? {
///     for record in batch.records() {
///         assert_eq!(record?.value, Some(&b"hello"[..]));
///     }
/// }
/// db.close(None).wait(None)?;
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// # Errors
/// `INVALID_ADDRESS` if it is none of these; `FOLDER_LOCKED` if another process owns the folder and does not
/// share it, `OWNER_SILENT` if that process does not answer; `NOT_A_FOLDER`, `FOLDER_TOO_NEW`;
/// `NETWORK_EXCEPTION` if no broker answers; `UNSUPPORTED_FEATURE` for what is not built yet: `headwaters://`,
/// `kafka://`, and a user before the host.
pub fn connect(address: &str) -> Pending<Client> {
    connect_with(address, ConnectOptions::default())
}

/// The same with options. Options behind `?` of the address win over these, these over `HEADWATER_*`
/// variables of the environment (`HEADWATER_CLOSE_TIMEOUT_MS` and so on).
///
/// # Errors
/// As [`connect`]; `FOLDER_NOT_FOUND` with `create: Some(false)`; `INVALID_OPTION`, `UNKNOWN_OPTION`.
pub fn connect_with(address: &str, options: ConnectOptions) -> Pending<Client> {
    match plan(address, &options) {
        Ok(plan) => plan.open(),
        Err(error) => Pending::ready(Err(error)),
    }
}

/// What is to be opened.
struct Plan {
    address: Address,
    options: ConnectOptions,
    sizes: FolderSizes,
    generation: usize,
}

fn plan(address: &str, options: &ConnectOptions) -> Result<Plan> {
    let generation = fork::current()?;
    if address::names_user(address) {
        return Err(not_built(
            "authentication is",
            "leave out what stands before the `@`, which no broker asks for",
        ));
    }
    let (address, own) = address::parse(address)?;
    let options = own
        .or(options)
        .or(&from_environment(|name| std::env::var(name).ok())?);
    options.check()?;
    let sizes = options.sizes()?;
    Ok(Plan {
        address,
        options,
        sizes,
        generation,
    })
}

/// `HEADWATER_SEGMENT_BYTES` is `segment_bytes`, and so on.
fn from_environment(read: impl Fn(&str) -> Option<String>) -> Result<ConnectOptions> {
    let mut options = ConnectOptions::default();
    for row in ConnectOptions::ROWS {
        let name = format!("HEADWATER_{}", row.name.to_ascii_uppercase());
        if let Some(value) = read(&name) {
            options.set(row.name, &value).map_err(|error| {
                Error::new(error.code(), format!("{name}: {}", error.message()))
            })?;
        }
    }
    Ok(options)
}

impl Plan {
    fn open(self) -> Pending<Client> {
        match self.address.clone() {
            Address::Memory { name } => {
                let opened = InProcess::memory(&name, &self.service_options());
                Pending::ready(opened.map(|transport| self.client(Arc::new(transport))))
            }
            Address::Folder(path) => self.open_folder(path),
            Address::Tcp(hosts) => self.open_tcp(hosts),
            Address::Unix(path) => self.open_socket(path),
            Address::Tls(_) => unsupported("TLS is", "use headwater:// on a trusted network"),
            Address::Kafka { .. } => {
                unsupported("connecting to Apache Kafka is", "use a broker of Headwater")
            }
        }
    }

    fn open_folder(self, path: PathBuf) -> Pending<Client> {
        open_on_a_thread(move || {
            let opened = self.open_folder_here(path);
            opened.map(|transport| self.client(transport))
        })
    }

    /// Opens the log of a folder, or reaches the process that has it open.
    #[cfg(feature = "tcp")]
    fn open_folder_here(&self, path: PathBuf) -> Result<Arc<dyn Transport>> {
        if self.options.sharing() == Sharing::Exclusive {
            return Ok(Arc::new(InProcess::folder(&path, &self.service_options())?));
        }
        let options = ServiceOptions {
            is_shared: true,
            ..self.service_options()
        };
        let folder = Arc::new(SharedFolder::new(path.clone(), options));
        let runtime = match crate::runtime::runtime(self.threads()) {
            Ok(runtime) => runtime,
            Err(error) if error.code() == ErrorCode::UnknownServerError => {
                tracing::warn!(%error, "the folder is not shared with other processes");
                return Ok(Arc::new(InProcess::folder(&path, &self.service_options())?));
            }
            Err(error) => return Err(error),
        };
        if let Some(service) = folder.open_here(runtime)? {
            return Ok(Arc::new(InProcess::new(&service)));
        }
        let options = TcpOptions {
            threads: self.threads(),
            ..TcpOptions::of_folder()
        };
        let transport = TcpTransport::connect(Endpoint::Folder(folder), options).wait(None)?;
        Ok(Arc::new(transport))
    }

    #[cfg(not(feature = "tcp"))]
    fn open_folder_here(&self, path: PathBuf) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(InProcess::folder(&path, &self.service_options())?))
    }

    #[cfg(feature = "tcp")]
    fn open_tcp(self, hosts: Vec<HostPort>) -> Pending<Client> {
        self.open_endpoint(Endpoint::Hosts(hosts))
    }

    #[cfg(feature = "tcp")]
    fn open_socket(self, path: PathBuf) -> Pending<Client> {
        self.open_endpoint(Endpoint::Socket(path))
    }

    #[cfg(feature = "tcp")]
    fn open_endpoint(self, endpoint: Endpoint) -> Pending<Client> {
        let threads = self.threads();
        let runtime = match crate::runtime::runtime(threads) {
            Ok(runtime) => runtime,
            Err(error) => return Pending::ready(Err(error)),
        };
        let options = TcpOptions {
            threads,
            ..Default::default()
        };
        let connecting = TcpTransport::connect(endpoint, options);
        let (completion, pending) = Completion::pair();
        runtime.spawn(async move {
            let connected = connecting.await;
            completion.finish(connected.map(|transport| self.client(Arc::new(transport))));
        });
        pending
    }

    #[cfg(feature = "tcp")]
    fn threads(&self) -> Option<usize> {
        let threads = self.options.threads;
        threads.and_then(|threads| usize::try_from(threads).ok())
    }

    #[cfg(not(feature = "tcp"))]
    fn open_tcp(self, _hosts: Vec<HostPort>) -> Pending<Client> {
        unsupported("TCP is", "build headwater with its feature `tcp`")
    }

    #[cfg(not(feature = "tcp"))]
    fn open_socket(self, _path: PathBuf) -> Pending<Client> {
        unsupported("sockets are", "build headwater with its feature `tcp`")
    }

    fn service_options(&self) -> ServiceOptions {
        ServiceOptions {
            create: self.options.create(),
            segment_bytes: self.sizes.segment_bytes,
            max_bytes: self.sizes.max_bytes,
            drops_oldest: self.options.max_bytes_policy() == MaxBytesPolicy::DropOldest,
            tail_cache_bytes: usize::try_from(self.options.tail_cache_bytes())
                .unwrap_or(usize::MAX),
            ..ServiceOptions::default()
        }
    }

    fn client(&self, transport: Arc<dyn Transport>) -> Client {
        let address = self.address.to_string();
        Client::open(Shared::new(
            transport,
            address,
            self.generation,
            &self.options,
        ))
    }
}

fn unsupported<T: Send + 'static>(what: &str, instead: &str) -> Pending<T> {
    Pending::ready(Err(not_built(what, instead)))
}

fn not_built(what: &str, instead: &str) -> Error {
    Error::new(
        ErrorCode::UnsupportedFeature,
        format!("{what} not built yet; {instead}"),
    )
}

/// Opens something on a thread of its own, which may read files and wait.
pub(super) fn open_on_a_thread<T: Send + 'static>(
    open: impl FnOnce() -> Result<T> + Send + 'static,
) -> Pending<T> {
    let (completion, pending) = Completion::pair();
    match world::spawn("headwater-open", move || completion.finish(open())) {
        Ok(_) => pending,
        Err(error) => Pending::ready(Err(no_thread("open a folder", error))),
    }
}

pub(super) fn no_thread(what: &str, error: std::io::Error) -> Error {
    Error::new(
        ErrorCode::QuotaExceeded,
        format!("the system gives no thread to {what}: {error}"),
    )
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_address_win_over_the_calls_and_these_over_the_environment() {
        let call = ConnectOptions {
            close_timeout_ms: Some(2),
            exit_timeout_ms: Some(3),
            ..Default::default()
        };
        let found = plan("mem:?close_timeout_ms=1", &call).unwrap().options;
        assert_eq!(
            (found.close_timeout_ms, found.exit_timeout_ms),
            (Some(1), Some(3))
        );
        let environment =
            from_environment(|name| (name == "HEADWATER_EXIT_TIMEOUT_MS").then(|| "7".to_owned()));
        assert_eq!(call.or(&environment.unwrap()).exit_timeout_ms, Some(3));
    }

    #[test]
    fn a_variable_that_is_wrong_is_named() {
        let error = from_environment(|_| Some("soon".to_owned())).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidOption);
        assert!(error.message().starts_with("HEADWATER_CREATE: "), "{error}");
    }

    #[test]
    fn what_is_not_built_yet_is_refused_in_words() {
        let with_user = "headwater://me:secret@host";
        for address in ["headwaters://host", "kafka://host:9092", with_user] {
            let error = connect(address).wait(None).unwrap_err();
            assert_eq!(error.code(), ErrorCode::UnsupportedFeature, "{address}");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }
}
