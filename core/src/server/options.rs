//! What a server allows one connection.

use std::time::Duration;

use crate::limits;
use crate::log::owner::Token;

/// Limits of a connection. The defaults are those of the options' table.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Bytes of the largest frame taken, 1 MiB..=256 MiB; 64 KiB before the handshake. Default 64 MiB.
    pub frame_bytes_max: usize,
    /// Requests in flight beyond which nothing more is read. Default 1,024.
    pub requests_max: usize,
    /// Bytes of requests in flight beyond which nothing more is read. Default 64 MiB.
    pub bytes_max: usize,
    /// Subscriptions of one connection. Default 1,024.
    pub subscriptions_max: usize,
    /// From accepting to the end of the handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// A connection that is silent so long, with nothing in flight, is closed. Default 600 s.
    pub idle_timeout: Duration,
    /// How long a closing connection waits for what is in flight. Default 30 s.
    pub close_timeout: Duration,
    /// What a client must present in its hello. Default none.
    pub token: Option<Token>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            requests_max: limits::CONNECTION_REQUESTS_MAX,
            bytes_max: limits::CONNECTION_BYTES_MAX,
            subscriptions_max: limits::CONNECTION_SUBSCRIPTIONS_MAX,
            handshake_timeout: Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS),
            idle_timeout: Duration::from_secs(600),
            close_timeout: Duration::from_secs(30),
            token: None,
        }
    }
}
