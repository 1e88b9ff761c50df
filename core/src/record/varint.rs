//! Zigzag varints, as Kafka's record format uses them: 1 to 5 bytes for `i32`, 1 to 10 for `i64`.
//!
//! Every number has exactly one accepted encoding: over-long forms (a last byte of zero, more bytes
//! than the type needs, bits beyond its width) are refused, so equal records have equal bytes.

use thiserror::Error;

/// The longest encoding of an `i32`, in bytes.
pub const MAX_I32_BYTES: usize = 5;
/// The longest encoding of an `i64`, in bytes.
pub const MAX_I64_BYTES: usize = 10;

/// Why bytes are not a varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VarintError {
    /// The bytes end before the varint does.
    #[error("the bytes end inside a varint")]
    Truncated,
    /// The varint has more bytes or bits than its type can hold, or ends in a zero byte.
    #[error("over-long varint")]
    Overlong,
}

/// The bytes that `value` takes, 1 to 5.
#[inline]
#[must_use]
pub const fn size_i32(value: i32) -> usize {
    size_u64(zigzag_i32(value) as u64)
}

/// The bytes that `value` takes, 1 to 10.
#[inline]
#[must_use]
pub const fn size_i64(value: i64) -> usize {
    size_u64(zigzag_i64(value))
}

/// Appends `value`.
pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_u64(out, u64::from(zigzag_i32(value)));
}

/// Appends `value`.
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, zigzag_i64(value));
}

/// The number that `bytes` begin with, and how many bytes it took.
///
/// # Errors
/// [`VarintError`] when the bytes end first or the encoding is over-long.
#[inline]
pub fn read_i32(bytes: &[u8]) -> Result<(i32, usize), VarintError> {
    let (raw, taken) = read_u64(bytes, MAX_I32_BYTES)?;
    let raw = u32::try_from(raw).map_err(|_| VarintError::Overlong)?;
    Ok((((raw >> 1) as i32) ^ -((raw & 1) as i32), taken))
}

/// The number that `bytes` begin with, and how many bytes it took.
///
/// # Errors
/// [`VarintError`] when the bytes end first or the encoding is over-long.
#[inline]
pub fn read_i64(bytes: &[u8]) -> Result<(i64, usize), VarintError> {
    let (raw, taken) = read_u64(bytes, MAX_I64_BYTES)?;
    Ok((((raw >> 1) as i64) ^ -((raw & 1) as i64), taken))
}

/// Writes `raw`, already zigzagged, at `at` and returns the position behind it.
///
/// The caller has made sure that `MAX_I64_BYTES` fit: this is the encoder's inner loop, which works
/// on a fixed array.
#[inline]
pub(super) fn write_u64<const N: usize>(out: &mut [u8; N], mut at: usize, mut raw: u64) -> usize {
    while raw >= 0x80 {
        out[at] = raw as u8 | 0x80;
        raw >>= 7;
        at += 1;
    }
    out[at] = raw as u8;
    at + 1
}

#[inline]
pub(super) const fn zigzag_i32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[inline]
pub(super) const fn zigzag_i64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Seven bits a byte, without a loop: 9/64 is close enough to 1/7 over 64 bits.
#[inline]
const fn size_u64(raw: u64) -> usize {
    let highest_bit = 63 - (raw | 1).leading_zeros() as usize;
    (highest_bit * 9 + 73) / 64
}

fn put_u64(out: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// One and two bytes are nearly all varints there are, so they have no loop.
#[inline]
fn read_u64(bytes: &[u8], bytes_max: usize) -> Result<(u64, usize), VarintError> {
    match *bytes {
        [first, ..] if first < 0x80 => Ok((u64::from(first), 1)),
        [first, second, ..] if second < 0x80 && second != 0 => {
            Ok((u64::from(first & 0x7f) | u64::from(second) << 7, 2))
        }
        _ => read_long_u64(bytes, bytes_max),
    }
}

#[inline(never)]
fn read_long_u64(bytes: &[u8], bytes_max: usize) -> Result<(u64, usize), VarintError> {
    let mut raw = 0u64;
    for (at, &byte) in bytes.iter().take(bytes_max).enumerate() {
        let shift = 7 * at as u32;
        let bits = u64::from(byte & 0x7f);
        if bits.leading_zeros() < shift {
            return Err(VarintError::Overlong);
        }
        raw |= bits << shift;
        if byte < 0x80 {
            let overlong = byte == 0 && at > 0;
            return if overlong {
                Err(VarintError::Overlong)
            } else {
                Ok((raw, at + 1))
            };
        }
    }
    if bytes.len() < bytes_max {
        Err(VarintError::Truncated)
    } else {
        Err(VarintError::Overlong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_i32_comes_back_in_the_size_announced(value: i32, behind: [u8; 3]) {
            let mut bytes = Vec::new();
            put_i32(&mut bytes, value);
            prop_assert_eq!(bytes.len(), size_i32(value));
            let len = bytes.len();
            bytes.extend_from_slice(&behind);
            prop_assert_eq!(read_i32(&bytes), Ok((value, len)));
            prop_assert_eq!(read_i64(&bytes), Ok((i64::from(value), len)));
            for cut in 0..len {
                prop_assert_eq!(read_i32(&bytes[..cut]), Err(VarintError::Truncated));
            }
        }

        #[test]
        fn any_i64_comes_back_in_the_size_announced(value: i64, shift in 0u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_i64(&mut bytes, value);
            prop_assert_eq!(bytes.len(), size_i64(value));
            prop_assert_eq!(read_i64(&bytes), Ok((value, bytes.len())));
            let mut array = [0; 16];
            let end = write_u64(&mut array, 3, zigzag_i64(value));
            prop_assert_eq!(&array[3..end], &bytes[..]);
        }

        #[test]
        fn what_is_accepted_encodes_to_the_same_bytes(bytes: [u8; 11]) {
            if let Ok((value, taken)) = read_i64(&bytes) {
                let mut again = Vec::new();
                put_i64(&mut again, value);
                prop_assert_eq!(&again[..], &bytes[..taken]);
            }
            if let Ok((value, taken)) = read_i32(&bytes) {
                let mut again = Vec::new();
                put_i32(&mut again, value);
                prop_assert_eq!(&again[..], &bytes[..taken]);
            }
        }
    }

    #[test]
    fn known_bytes_of_kafkas_own_test() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (-65, &[0x81, 0x01]),
            (8191, &[0xfe, 0x7f]),
            (-8192, &[0xff, 0x7f]),
            (8192, &[0x80, 0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut encoded = Vec::new();
            put_i32(&mut encoded, value);
            assert_eq!(encoded, bytes, "{value}");
            assert_eq!(read_i32(bytes), Ok((value, bytes.len())));
        }
        let mut encoded = Vec::new();
        put_i64(&mut encoded, i64::MIN);
        assert_eq!(
            encoded,
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]
        );
    }

    #[test]
    fn over_long_forms_are_refused() {
        for bytes in [
            &[0x80, 0x00][..],
            &[0x81, 0x80, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
            &[0xff, 0xff, 0xff, 0xff, 0x8f, 0x00],
            &[0x80, 0x80, 0x80, 0x80, 0x80],
        ] {
            assert_eq!(read_i32(bytes), Err(VarintError::Overlong), "{bytes:02x?}");
        }
        for bytes in [
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
        ] {
            assert_eq!(read_i64(bytes), Err(VarintError::Overlong), "{bytes:02x?}");
        }
        assert_eq!(read_i32(&[]), Err(VarintError::Truncated));
    }
}
