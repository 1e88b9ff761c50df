//! How large a folder and its segments may be: two options that depend on each other.

use super::OptionRow;
use crate::error::{Error, ErrorCode, Result};

/// Bytes of a segment where there is no limit.
const SEGMENT_BYTES: u64 = 64 << 20;
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Segments that a limit has room for at least, and those it is divided into where the size of one is not set.
const SEGMENTS_MIN: u64 = 8;
const SEGMENTS: u64 = 16;

/// What `segment_bytes` and `max_bytes` come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderSizes {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of the folder at most.
    pub max_bytes: Option<u64>,
}

impl FolderSizes {
    pub(super) fn new(
        rows: &[OptionRow],
        segment_bytes: Option<u64>,
        max_bytes: Option<u64>,
    ) -> Result<Self> {
        let Some(most) = max_bytes else {
            return Ok(Self {
                segment_bytes: segment_bytes.unwrap_or(SEGMENT_BYTES),
                max_bytes,
            });
        };
        let by_limit = (most / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES);
        let segment_bytes = segment_bytes.unwrap_or(by_limit);
        if most / SEGMENTS_MIN < segment_bytes {
            let group = rows.first().map_or("connect", |row| row.group);
            return Err(Error::new(
                ErrorCode::InvalidOption,
                format!(
                    "{group} option `max_bytes` is `{most}`; with `segment_bytes` of {segment_bytes} it must \
                     be {} or more, {SEGMENTS_MIN} segments",
                    segment_bytes.saturating_mul(SEGMENTS_MIN)
                ),
            ));
        }
        Ok(Self {
            segment_bytes,
            max_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConnectOptions, ServeOptions};
    use super::*;

    fn sizes(segment_bytes: Option<u64>, max_bytes: Option<u64>) -> Result<(u64, Option<u64>)> {
        let options = ConnectOptions {
            segment_bytes,
            max_bytes,
            ..Default::default()
        };
        let sizes = options.sizes()?;
        Ok((sizes.segment_bytes, sizes.max_bytes))
    }

    #[test]
    fn a_segment_is_a_sixteenth_of_the_limit_unless_it_is_set() {
        const MIB: u64 = 1 << 20;
        assert_eq!(sizes(None, None), Ok((64 * MIB, None)));
        assert_eq!(sizes(Some(7 * MIB), None), Ok((7 * MIB, None)));
        for (limit, segment) in [(8, 1), (16, 1), (320, 20), (1_024, 64), (1 << 30, 64)] {
            let limit = limit * MIB;
            assert_eq!(sizes(None, Some(limit)), Ok((segment * MIB, Some(limit))));
        }
        assert_eq!(
            sizes(Some(2 * MIB), Some(16 * MIB)),
            Ok((2 * MIB, Some(16 * MIB)))
        );
    }

    #[test]
    fn a_limit_below_eight_segments_is_refused_with_what_it_must_be() {
        let options = ServeOptions {
            segment_bytes: Some(4 << 20),
            max_bytes: Some((32 << 20) - 1),
            ..Default::default()
        };
        let error = options.sizes().unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidOption);
        assert_eq!(
            error.message(),
            "serve option `max_bytes` is `33554431`; with `segment_bytes` of 4194304 it must be 33554432 or \
             more, 8 segments"
        );
    }
}
