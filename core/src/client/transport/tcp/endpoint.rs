//! Where a connection goes: a broker's hosts, a socket of this machine, or whoever owns a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::TcpOptions;
use super::connect::{self, Opened};
use super::connection::in_words;
use super::folder::SharedFolder;
use crate::client::HostPort;
use crate::error::{Error, ErrorCode, Result};
use crate::server::local::Stream;

/// Where the next connection goes.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    /// To the first of these brokers that answers.
    Hosts(Vec<HostPort>),
    /// To who listens on this socket.
    Socket(PathBuf),
    /// To the log of a folder, wherever it is open.
    Folder(Arc<SharedFolder>),
}

impl Endpoint {
    /// Connects and shakes hands.
    pub(super) async fn connect(&self, options: &TcpOptions) -> Result<Opened> {
        match self {
            Self::Hosts(hosts) => connect::connect(hosts, options).await,
            Self::Socket(path) => {
                let description = format!("unix:{}", path.display());
                let deadline = Instant::now() + options.connect_timeout;
                let connecting = timeout(options.connect_timeout, Stream::connect(path));
                let stream = match connecting.await {
                    Ok(connected) => connected.map_err(|error| unreachable(path, &error))?,
                    Err(_) => return Err(connect::silent(&description, options.connect_timeout)),
                };
                let halves = stream.into_split();
                connect::shake_by(halves, description, options, None, deadline).await
            }
            Self::Folder(folder) => folder.connect(options).await,
        }
    }

    /// What ends with the transport.
    ///
    /// # Errors
    /// When a log that this process took over could not be closed in order.
    pub(super) fn close(&self) -> Result<()> {
        match self {
            Self::Hosts(_) | Self::Socket(_) => Ok(()),
            Self::Folder(folder) => folder.close(),
        }
    }
}

fn unreachable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        ErrorCode::NetworkException,
        format!(
            "cannot reach a broker at unix:{} ({})",
            path.display(),
            in_words(error)
        ),
    )
}
