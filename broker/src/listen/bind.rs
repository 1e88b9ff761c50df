//! Where a broker listens: ports, and sockets of this machine.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use headwater::server::local;
use headwater::{Error, ErrorCode, Result};
use tokio::runtime::Handle;

/// How an address that is a socket begins.
const UNIX: &str = "unix:";

/// Where a broker listens, as a client may name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A port.
    Tcp(SocketAddr),
    /// A socket of this machine, which only the user who runs the broker may use.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The port's address, if it is one.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// The socket's path, if an address names one.
pub(crate) fn socket_path(address: &str) -> Option<&Path> {
    address.strip_prefix(UNIX).map(Path::new)
}

/// What is listened on; connections wait in the system's queue until they are accepted.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(TcpListener),
    Unix(SocketFile, local::Listener),
}

/// A socket's name in its folder, removed when it is not listened on any more.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, "no socket to remove");
        }
    }
}

impl Bound {
    /// Listens on `host:port` or `unix:PATH`.
    ///
    /// # Errors
    /// `ADDRESS_IN_USE`, `INVALID_ADDRESS`.
    pub(crate) fn to(address: &str, lane: &Handle) -> Result<Self> {
        let Some(path) = socket_path(address) else {
            let bound = TcpListener::bind(address).map(Self::Tcp);
            return bound.map_err(|error| refused(address, error));
        };
        let _entered = lane.enter();
        let bound = local::Listener::bind(path);
        let bound = bound.map(|listener| Self::Unix(SocketFile(path.to_owned()), listener));
        bound.map_err(|error| refused(address, error))
    }

    /// Where it really listens.
    pub(crate) fn address(&self) -> Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map(ListenAddress::Tcp)
                .map_err(|error| {
                    Error::new(
                        ErrorCode::InvalidAddress,
                        format!("a listener without an address: {error}"),
                    )
                }),
            Self::Unix(SocketFile(path), _) => Ok(ListenAddress::Unix(path.clone())),
        }
    }
}

fn refused(address: &str, error: io::Error) -> Error {
    let (code, what) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            ErrorCode::AddressInUse,
            "is in use; is a broker running there already?".to_owned(),
        ),
        _ => (
            ErrorCode::InvalidAddress,
            format!("cannot be listened on: {error}"),
        ),
    };
    Error::new(code, format!("{address} {what}")).with_source(error)
}
