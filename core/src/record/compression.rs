//! The records of a batch compressed as one piece, in the frames that Kafka's clients write and
//! read.
//!
//! Everything behind a batch's header is one frame of `gzip`, `snappy`, `lz4` or `zstd`. What
//! comes out of a frame is bounded (`UNCOMPRESSED_BYTES_MAX`), and memory is taken as bytes come
//! out: by how many came and how many were received, never by a number in them. Each codec is a
//! feature of this crate: what is not built in is refused by name. Nothing here knows what the
//! bytes mean.

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstd;

use std::fmt;

use super::{BatchError, Codec};
use crate::limits::COMPRESSOR_BYTES_KEPT_MAX;
#[cfg(any(
    feature = "gzip",
    feature = "lz4",
    feature = "snappy",
    feature = "zstd"
))]
use crate::limits::UNCOMPRESSED_BYTES_MAX;

/// Compresses one batch after the other with one codec, and keeps its tables and its buffer.
///
/// ```
/// use headwater::record::{Batch, BatchBuilder, Codec, Compressor, RecordRef};
///
/// # #[cfg(feature = "lz4")] {
/// let mut builder = BatchBuilder::new(16 * 1024);
/// for _ in 0..100 {
///     builder.push(&RecordRef { value: Some(b"again and again"), ..Default::default() })?;
/// }
/// let mut compressor = Compressor::new(Codec::Lz4)?;
/// let bytes = builder.finish_compressed(&mut compressor, -1, -1, -1).expect("it has records");
/// assert!(bytes.len() < 1_000);
/// assert_eq!(Batch::verified(bytes.into())?.records().count(), 100);
/// # }
/// # Ok::<(), headwater::record::BatchError>(())
/// ```
pub struct Compressor {
    codec: Codec,
    encoder: Encoder,
    out: Vec<u8>,
}

/// What a codec keeps from one batch to the next.
enum Encoder {
    None,
    #[cfg(feature = "gzip")]
    Gzip(gzip::Encoder),
    #[cfg(feature = "snappy")]
    Snappy(snappy::Encoder),
    #[cfg(feature = "lz4")]
    Lz4(lz4::Encoder),
    #[cfg(feature = "zstd")]
    Zstd(zstd::Encoder),
}

impl Codec {
    /// Whether this build compresses and decompresses it.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }
}

impl Compressor {
    /// One for this codec; for [`Codec::None`] it leaves everything as it is.
    ///
    /// # Errors
    /// `UnsupportedCodec` for one that is not built in.
    pub fn new(codec: Codec) -> Result<Self, BatchError> {
        let encoder = match codec {
            Codec::None => Encoder::None,
            #[cfg(feature = "gzip")]
            Codec::Gzip => Encoder::Gzip(gzip::Encoder::default()),
            #[cfg(feature = "snappy")]
            Codec::Snappy => Encoder::Snappy(snappy::Encoder::default()),
            #[cfg(feature = "lz4")]
            Codec::Lz4 => Encoder::Lz4(lz4::Encoder::default()),
            #[cfg(feature = "zstd")]
            Codec::Zstd => Encoder::Zstd(zstd::Encoder::default()),
            #[cfg(not(all(
                feature = "gzip",
                feature = "lz4",
                feature = "snappy",
                feature = "zstd"
            )))]
            _ => return Err(BatchError::UnsupportedCodec { codec }),
        };
        Ok(Self {
            codec,
            encoder,
            out: Vec::new(),
        })
    }

    /// The codec.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The frame that holds `section`, if it is shorter.
    pub(crate) fn compress(&mut self, section: &[u8]) -> Option<&[u8]> {
        self.out.clear();
        self.out.shrink_to(COMPRESSOR_BYTES_KEPT_MAX);
        match &mut self.encoder {
            Encoder::None => {}
            #[cfg(feature = "gzip")]
            Encoder::Gzip(encoder) => encoder.compress(section, &mut self.out),
            #[cfg(feature = "snappy")]
            Encoder::Snappy(encoder) => encoder.compress(section, &mut self.out),
            #[cfg(feature = "lz4")]
            Encoder::Lz4(encoder) => encoder.compress(section, &mut self.out),
            #[cfg(feature = "zstd")]
            Encoder::Zstd(encoder) => encoder.compress(section, &mut self.out),
        }
        let frame = Some(&*self.out);
        frame.filter(|frame| !frame.is_empty() && frame.len() < section.len())
    }
}

/// What `section` holds, compressed with `codec`; a copy of it with [`Codec::None`].
///
/// # Errors
/// `UnsupportedCodec`; `Compression` for a damaged frame, or one that holds more than
/// `UNCOMPRESSED_BYTES_MAX`.
pub(crate) fn decompress(codec: Codec, section: &[u8]) -> Result<Vec<u8>, BatchError> {
    match codec {
        Codec::None => Ok(section.to_vec()),
        #[cfg(feature = "gzip")]
        Codec::Gzip => gzip::decompress(section, UNCOMPRESSED_BYTES_MAX)
            .map_err(|problem| BatchError::Compression { codec, problem }),
        #[cfg(feature = "snappy")]
        Codec::Snappy => snappy::decompress(section, UNCOMPRESSED_BYTES_MAX)
            .map_err(|problem| BatchError::Compression { codec, problem }),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => lz4::decompress(section, UNCOMPRESSED_BYTES_MAX)
            .map_err(|problem| BatchError::Compression { codec, problem }),
        #[cfg(feature = "zstd")]
        Codec::Zstd => zstd::decompress(section, UNCOMPRESSED_BYTES_MAX)
            .map_err(|problem| BatchError::Compression { codec, problem }),
        #[cfg(not(all(
            feature = "gzip",
            feature = "lz4",
            feature = "snappy",
            feature = "zstd"
        )))]
        _ => Err(BatchError::UnsupportedCodec { codec }),
    }
}

#[cfg(any(feature = "gzip", feature = "lz4", feature = "snappy"))]
/// Room for `more` bytes: twice what there was, if that is more, so that growing costs little;
/// never above `max`.
fn make_room(out: &mut Vec<u8>, more: usize, max: usize) {
    let needed = out.len() + more;
    if needed > out.capacity() {
        let wanted = (2 * out.capacity()).clamp(needed, max.max(needed));
        out.reserve_exact(wanted - out.len());
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
