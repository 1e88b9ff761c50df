//! A way to a broker over the streams of a simulated network.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::connect::{self, Opened};
use super::connection::in_words;
use super::line::Connector;
use super::{TcpOptions, TcpTransport};
use crate::client::transport::Transport;
use crate::error::{Error, ErrorCode, Result};

/// Connects by `dial`, now and whenever the connection is lost.
///
/// # Errors
/// What the first attempt came to.
pub(in crate::client) async fn connect<R, W, F>(
    dial: impl Fn() -> F + Send + Sync + 'static,
    options: TcpOptions,
) -> Result<Arc<dyn Transport>>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + 'static,
    F: Future<Output = io::Result<(R, W)>> + Send + 'static,
{
    let chosen = options.clone();
    let connector: Connector = Box::new(move || {
        let (dialled, options) = (dial(), chosen.clone());
        Box::pin(async move {
            let within = options.connect_timeout;
            let opened = timeout(within, open(dialled, &options)).await;
            opened.unwrap_or_else(|_| Err(unreached("no answer in time")))
        })
    });
    let opened = connector().await?;
    Ok(Arc::new(TcpTransport::over(opened, connector, &options)))
}

async fn open<R, W>(
    dialled: impl Future<Output = io::Result<(R, W)>>,
    options: &TcpOptions,
) -> Result<Opened>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + 'static,
{
    let (reader, writer) = dialled
        .await
        .map_err(|error| unreached(&in_words(&error)))?;
    connect::shake(reader, writer, "broker:9092".to_owned(), options, None).await
}

fn unreached(why: &str) -> Error {
    let message = format!("cannot reach a broker at broker:9092 ({why})");
    Error::new(ErrorCode::NetworkException, message)
}
