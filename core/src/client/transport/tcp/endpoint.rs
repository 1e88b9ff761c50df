//! Where a connection goes: a broker's hosts, a socket of this machine, or whoever owns a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::TcpOptions;
use super::connect::{self, Opened, share_of};
use super::connection::in_words;
use super::folder::SharedFolder;
use crate::client::HostPort;
use crate::error::{Error, ErrorCode, Result};
use crate::log::owner::Token;
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
                let stream = match timeout(share_of(deadline, 1), Stream::connect(path)).await {
                    Ok(connected) => connected.map_err(|error| unreachable(path, &error))?,
                    Err(_) => return Err(silent(&description, options.connect_timeout)),
                };
                speak(stream, None, description, options, deadline).await
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

/// Shakes hands over a socket of this machine.
pub(super) async fn speak(
    stream: Stream,
    token: Option<Token>,
    description: String,
    options: &TcpOptions,
    deadline: Instant,
) -> Result<Opened> {
    let (reader, writer) = stream.into_split();
    let left = share_of(deadline, 1);
    let spoken = connect::shake(reader, writer, description.clone(), options, token);
    let spoken = timeout(left, spoken).await;
    spoken.unwrap_or_else(|_| Err(silent(&description, left)))
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

fn silent(description: &str, within: Duration) -> Error {
    Error::new(
        ErrorCode::NetworkException,
        format!(
            "{description} accepts connections but says nothing (within {} ms)",
            within.as_millis()
        ),
    )
}
