//! HTTP on the broker's port: `/metrics` and `/healthz`, read and never written.
//!
//! Whoever begins with an HTTP method is handed over with the bytes that said so. hyper parses what comes;
//! answers are made in memory, at once, and never wait for the log. There is a limit to everything the other side
//! can hold: how many connections, how long a head, how long until it is there, how long until an answer is taken.
//!
//! What it does not do: HTTP/2, TLS, authentication, anything that changes something.

mod answer;
mod metrics;
mod stream;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater::limits::{
    HTTP_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIMEOUT_MS, HTTP_HEADERS_MAX,
    LINGER_TIMEOUT_MS,
};
use headwater::server::Server;
use headwater::service::Service;
use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};

use crate::listen::{Counts, Spoken};
use answer::last_words;
use stream::{Clock, Stream};

/// Serves HTTP connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Http(Arc<Inner>);

/// What there is to tell about, and the connections that are told.
struct Inner {
    service: Service,
    server: Server,
    counts: Arc<Counts>,
    /// What else is spoken on the port.
    others: Vec<Other>,
    started: Instant,
    places: Semaphore,
    /// True once the broker closes. Each connection holds a receiver until its last answer.
    closing: watch::Sender<bool>,
}

/// Another protocol on the port: what was asked in it until now.
pub(crate) type Other = Box<dyn Fn() -> Spoken + Send + Sync>;

impl Inner {
    fn connection_count(&self) -> usize {
        HTTP_CONNECTIONS_MAX.saturating_sub(self.places.available_permits())
    }
}

/// A request without an end, and what it did not end with.
enum Unanswered {
    Slow,
    Malformed,
}

impl Http {
    /// HTTP about a broker that has just started.
    pub(crate) fn new(
        service: Service,
        server: Server,
        counts: Arc<Counts>,
        others: Vec<Other>,
    ) -> Self {
        Self(Arc::new(Inner {
            service,
            server,
            counts,
            others,
            started: Instant::now(),
            places: Semaphore::new(HTTP_CONNECTIONS_MAX),
            closing: watch::Sender::new(false),
        }))
    }

    /// Serves a connection until it ends. `first` was read from it already.
    pub(crate) async fn serve<R, W>(&self, reader: R, writer: W, first: Vec<u8>)
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let stream = Stream::new(first, reader, writer);
        let Ok(_place) = self.0.places.try_acquire() else {
            let words = format!("there are {HTTP_CONNECTIONS_MAX} HTTP connections already");
            return stream
                .end(&last_words(StatusCode::SERVICE_UNAVAILABLE, &words))
                .await;
        };
        let (stream, unanswered) = self.converse(stream).await;
        let words = match unanswered {
            None => Vec::new(),
            Some(Unanswered::Slow) => {
                let words = format!(
                    "the request was not there within {} s",
                    HTTP_HEAD_TIMEOUT_MS / 1_000
                );
                last_words(StatusCode::REQUEST_TIMEOUT, &words)
            }
            Some(Unanswered::Malformed) => last_words(
                StatusCode::BAD_REQUEST,
                "this is no request of HTTP/1.1; other than that the port speaks Headwater's native protocol",
            ),
        };
        stream.end(&words).await;
    }

    /// Tells a connection why it is not served.
    pub(crate) async fn refuse<R, W>(reader: R, writer: W, reason: &str)
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let stream = Stream::new(Vec::new(), reader, writer);
        stream
            .end(&last_words(StatusCode::SERVICE_UNAVAILABLE, reason))
            .await;
    }

    /// Answers requests until the connection ends, and says what of it was left without an answer.
    async fn converse<R, W>(&self, stream: Stream<R, W>) -> (Stream<R, W>, Option<Unanswered>)
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let mut closing = self.0.closing.subscribe();
        let service = service_fn(|request| {
            let response = answer::answer(&request, &self.0);
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut connection = http1::Builder::new()
            .timer(Clock)
            .header_read_timeout(Duration::from_millis(HTTP_HEAD_TIMEOUT_MS))
            .max_buf_size(HTTP_HEAD_BYTES_MAX)
            .max_headers(HTTP_HEADERS_MAX)
            // `printf .. | nc` closes its side as soon as it has asked.
            .half_close(true)
            .serve_connection(stream, service);
        let ended = tokio::select! {
            biased;
            ended = &mut connection => Some(ended),
            _ = closing.wait_for(|is_closing| *is_closing) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        let stream = connection.into_parts().io;
        let unanswered = match ended {
            Err(error) if !stream.is_answered() => {
                tracing::debug!(%error, "an HTTP connection without an answer");
                match error.is_timeout() {
                    true => Some(Unanswered::Slow),
                    false => Some(Unanswered::Malformed),
                }
            }
            _ => None,
        };
        (stream, unanswered)
    }

    /// Lets every connection answer what it was asked, and waits for it, at most `timeout` and not for long.
    pub(crate) async fn close(&self, timeout: Duration) {
        self.0.closing.send_replace(true);
        // Those left at the deadline are cut by whoever drops their tasks.
        let timeout = timeout.min(Duration::from_millis(LINGER_TIMEOUT_MS));
        let _ = tokio::time::timeout(timeout, self.0.closing.closed()).await;
    }
}
