//! What is wrong with bytes that ought to be a request.

/// A request that cannot be read: which field, where, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`, at byte {position}: {problem}")]
pub(crate) struct Malformed {
    /// The field that was read, as Kafka's schemas name it.
    pub(crate) field: &'static str,
    /// Bytes of the frame before it, its length field not counted.
    pub(crate) position: usize,
    pub(crate) problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{needed} bytes expected, and {left} are left")]
    TooShort { needed: usize, left: usize },
    #[error("a length of {0}, which is none")]
    Length(i64),
    #[error("null, where a value is expected")]
    Null,
    #[error("{count} elements in {left} bytes")]
    Count { count: i64, left: usize },
    #[error("more than {max} elements in one request")]
    TooMany { max: usize },
    #[error("no UTF-8")]
    Utf8,
    #[error("a varint of more than 32 bits")]
    Varint,
    #[error("{left} bytes behind the last field")]
    Trailing { left: usize },
    #[error("a frame of {bytes} bytes; {min} to {max} are expected")]
    FrameLength { bytes: i32, min: usize, max: usize },
    #[error("version {version} of API {key} ({name}), which is not spoken here")]
    Version {
        key: i16,
        name: &'static str,
        version: i16,
    },
}
