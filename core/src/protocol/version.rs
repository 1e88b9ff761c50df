//! How a connection begins: what the first bytes say, and the agreement on a version.
//!
//! ```text
//! client: magic u8[8], then a ClientHello frame        (the versions it speaks, who it is)
//! server: magic u8[8], then a ServerHello frame        (the version chosen, who it is, its limits)
//!                      or a Goodbye frame with words   (no common version; not now)
//! ```
//!
//! The magic begins with 0x89: as the first byte of a Kafka frame's length it would be negative, and it is
//! neither ASCII (HTTP) nor 22 (TLS). Its line ends and its 0x1A show a transfer that is not binary. The
//! magic, the frame layout, the hellos' first fields and `Goodbye` are the same in every version.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode};

/// The first bytes in each direction.
pub const MAGIC: [u8; 8] = [0x89, b'H', b'W', b'N', b'\r', b'\n', 0x1A, b'\n'];

/// The versions of the native protocol that this build speaks.
///
/// | version | what is new |
/// |---|---|
/// | 1 | everything |
/// | 2 | positions with leader epochs: the frames `SubscribeAt`, `ReassignAt`, `SubscriptionOutOfRange`; the requests `DeleteRecords` and `ProduceAndCommit` |
/// | 3 | groups of many members: the requests `GroupHeartbeat` and `DescribeGroupDetails` |
pub const VERSIONS: RangeInclusive<u16> = 1..=3;

/// The first version with positions that carry leader epochs.
pub const VERSION_WITH_EPOCHS: u16 = 2;

/// The first version with groups of more than one member.
pub const VERSION_WITH_GROUPS: u16 = 3;

/// How this build names itself to the other side.
pub const SOFTWARE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The client's first frame. A client of a folder's owner puts the token of the folder's `OWNER` file behind
/// it, as bytes; whoever does not ask for one passes over it, as over all that later versions may add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// The oldest version it speaks.
    pub version_min: u16,
    /// The newest version it speaks.
    pub version_max: u16,
    /// Which client it is, for logs: `headwater-rust`.
    pub client_name: String,
    /// The version of its software.
    pub client_version: String,
}

impl ClientHello {
    /// What this build says.
    #[must_use]
    pub fn ours(client_name: &str) -> Self {
        Self {
            version_min: *VERSIONS.start(),
            version_max: *VERSIONS.end(),
            client_name: client_name.to_owned(),
            client_version: SOFTWARE_VERSION.to_owned(),
        }
    }
}

/// The server's first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHello {
    /// The version both sides speak from now on.
    pub version: u16,
    /// The version of the server's software.
    pub server_version: String,
    /// The uuid of the log it serves.
    pub log_uuid: [u8; 16],
    /// Bytes of the largest frame it takes.
    pub frame_bytes_max: u32,
    /// Requests in flight beyond which it stops reading.
    pub requests_max: u32,
    /// Bytes in flight beyond which it stops reading.
    pub bytes_max: u64,
}

/// The newest version that both sides speak.
///
/// # Errors
/// When there is none, or the client's range is empty.
pub fn negotiate(hello: &ClientHello, ours: &RangeInclusive<u16>) -> Result<u16, NegotiationError> {
    let (client_min, client_max) = (hello.version_min, hello.version_max);
    let (server_min, server_max) = (*ours.start(), *ours.end());
    if client_min > client_max {
        Err(NegotiationError::Empty {
            client_min,
            client_max,
        })
    } else if client_min > server_max {
        Err(NegotiationError::ClientTooNew {
            client_min,
            client_max,
            server_min,
            server_max,
        })
    } else if client_max < server_min {
        Err(NegotiationError::ClientTooOld {
            client_min,
            client_max,
            server_min,
            server_max,
        })
    } else {
        Ok(client_max.min(server_max))
    }
}

/// Why there is no version to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// The client speaks newer versions only.
    #[error(
        "the client speaks versions {client_min} to {client_max} of the native protocol and this \
         server {server_min} to {server_max}; upgrade the server"
    )]
    ClientTooNew {
        /// The client's oldest.
        client_min: u16,
        /// The client's newest.
        client_max: u16,
        /// The server's oldest.
        server_min: u16,
        /// The server's newest.
        server_max: u16,
    },
    /// The client speaks older versions only.
    #[error(
        "the client speaks versions {client_min} to {client_max} of the native protocol and this \
         server {server_min} to {server_max}; upgrade the client"
    )]
    ClientTooOld {
        /// The client's oldest.
        client_min: u16,
        /// The client's newest.
        client_max: u16,
        /// The server's oldest.
        server_min: u16,
        /// The server's newest.
        server_max: u16,
    },
    /// The client's range holds nothing.
    #[error("the client names versions {client_min} to {client_max}, which is no range")]
    Empty {
        /// The client's oldest.
        client_min: u16,
        /// The client's newest.
        client_max: u16,
    },
}

impl From<NegotiationError> for Error {
    fn from(error: NegotiationError) -> Self {
        Self::new(ErrorCode::UnsupportedVersion, error.to_string()).with_source(error)
    }
}

/// What the first bytes on a connection say about who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Too few bytes to tell.
    Undecided,
    /// The native protocol.
    Native,
    /// An HTTP request.
    Http,
    /// A TLS handshake.
    Tls,
    /// A request of Kafka's protocol.
    Kafka,
    /// None of these.
    Unknown,
}

impl Opening {
    /// Looks at the first bytes; never needs more than [`OPENING_BYTES`](Self::OPENING_BYTES).
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(&MAGIC) {
            return Self::Native;
        }
        if HTTP_METHODS.iter().any(|method| bytes.starts_with(method)) {
            return Self::Http;
        }
        if MAGIC.starts_with(bytes) || HTTP_METHODS.iter().any(|method| method.starts_with(bytes)) {
            return Self::Undecided;
        }
        match bytes {
            [0x16, 0x03, ..] => Self::Tls,
            [0x16] => Self::Undecided,
            _ => Self::of_kafka(bytes),
        }
    }

    /// As many bytes always decide.
    pub const OPENING_BYTES: usize = 8;

    /// A Kafka request: length i32, API key i16, API version i16, big-endian.
    fn of_kafka(bytes: &[u8]) -> Self {
        let first = bytes.first().copied().unwrap_or_default();
        if u32::from(first) > KAFKA_FRAME_BYTES_MAX >> 24 {
            return Self::Unknown;
        }
        let Some([l0, l1, l2, l3, k0, k1, v0, v1]) = bytes.first_chunk::<8>().copied() else {
            return Self::Undecided;
        };
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let api_key = u16::from_be_bytes([k0, k1]);
        let api_version = u16::from_be_bytes([v0, v1]);
        let is_kafka = (8..=KAFKA_FRAME_BYTES_MAX).contains(&length)
            && api_key <= KAFKA_API_KEY_MAX
            && api_version <= KAFKA_API_VERSION_MAX;
        if is_kafka { Self::Kafka } else { Self::Unknown }
    }
}

/// Kafka's own default for the largest request.
const KAFKA_FRAME_BYTES_MAX: u32 = 100 * 1_024 * 1_024;
const KAFKA_API_KEY_MAX: u16 = 127;
const KAFKA_API_VERSION_MAX: u16 = 31;

const HTTP_METHODS: [&[u8]; 10] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
    b"PRI * ",
];
