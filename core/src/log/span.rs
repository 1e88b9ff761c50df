//! The checksum of any stretch of a file, in time that does not depend on its length.
//!
//! Behind damage, every place may claim to be a frame of up to 16 MiB, and bytes made to claim so at every
//! place would take hours to check one by one. CRC-32C is linear: the checksum of a stretch follows from
//! those of the two stretches from a fixed place to its ends, once the first is shifted by its length. So
//! one pass over the file keeps a checksum every 4 KiB, and each claim costs two short reads.

use std::io;

use super::storage::StorageFile;

/// A checksum is kept every so many bytes.
const STEP_BYTES: u64 = 4_096;
/// Bytes read at once by the pass over the file.
const PASS_BYTES: u64 = 256 * STEP_BYTES;
/// CRC-32C's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What zeros do to a checksum: for each bit, what it becomes.
type Operator = [u32; 32];

/// Checksums of a file from one place on.
#[derive(Debug)]
pub(super) struct Spans {
    from: u64,
    to: u64,
    /// Of the bytes from `from` to `from` + n steps.
    checksums: Vec<u32>,
    /// What 1, 2, 4 .. zero bytes do.
    shifts: Vec<Operator>,
}

impl Spans {
    /// Reads `file` once, from `from` to `to`.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn new(file: &dyn StorageFile, from: u64, to: u64) -> io::Result<Self> {
        let mut checksums = vec![0];
        let mut checksum = 0;
        let mut buffer = Vec::new();
        let mut position = from;
        while position < to {
            let count = (to - position).min(PASS_BYTES);
            buffer.resize(count as usize, 0);
            file.read_at(&mut buffer, position)?;
            for step in buffer.chunks(STEP_BYTES as usize) {
                checksum = crc32c::crc32c_append(checksum, step);
                checksums.push(checksum);
            }
            position += count;
        }
        Ok(Self {
            from,
            to,
            checksums,
            shifts: shifts(),
        })
    }

    /// Whether these are of the file from a place up to `position` on, to `to`.
    pub(super) const fn cover(&self, position: u64, to: u64) -> bool {
        self.from <= position && self.to == to
    }

    /// `checksum` continued over the bytes of `file` from `start` to `end`, both within what was read.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn append(
        &self,
        checksum: u32,
        file: &dyn StorageFile,
        start: u64,
        end: u64,
    ) -> io::Result<u32> {
        let before = self.up_to(file, start)?;
        let whole = self.up_to(file, end)?;
        Ok(whole ^ self.shift(checksum ^ before, end.saturating_sub(start)))
    }

    /// The checksum from `from` to `position`.
    fn up_to(&self, file: &dyn StorageFile, position: u64) -> io::Result<u32> {
        let distance = position.saturating_sub(self.from);
        let steps = distance / STEP_BYTES;
        let known = self.checksums.get(steps as usize).copied();
        let known = known.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let mut rest = [0; STEP_BYTES as usize];
        let (rest, _) = rest.split_at_mut((distance % STEP_BYTES) as usize);
        file.read_at(rest, self.from + steps * STEP_BYTES)?;
        Ok(crc32c::crc32c_append(known, rest))
    }

    /// What `zeros` zero bytes make of a checksum, apart from what they are themselves.
    fn shift(&self, checksum: u32, zeros: u64) -> u32 {
        let set = self
            .shifts
            .iter()
            .enumerate()
            .filter(|(bit, _)| zeros >> bit & 1 == 1);
        set.fold(checksum, |checksum, (_, operator)| {
            apply(operator, checksum)
        })
    }
}

fn shifts() -> Vec<Operator> {
    let mut one_bit = [0; 32];
    for (bit, becomes) in one_bit.iter_mut().enumerate() {
        *becomes = if bit == 0 { POLYNOMIAL } else { 1 << (bit - 1) };
    }
    let one_byte = square(&square(&square(&one_bit)));
    std::iter::successors(Some(one_byte), |last| Some(square(last)))
        .take(u64::BITS as usize)
        .collect()
}

fn square(operator: &Operator) -> Operator {
    operator.map(|becomes| apply(operator, becomes))
}

fn apply(operator: &Operator, checksum: u32) -> u32 {
    let set = operator
        .iter()
        .enumerate()
        .filter(|(bit, _)| checksum >> bit & 1 == 1);
    set.fold(0, |sum, (_, becomes)| sum ^ becomes)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use proptest::prelude::*;

    use super::*;
    use crate::log::storage::Storage;
    use crate::log::storage::memory::MemoryStorage;

    proptest! {
        #[test]
        fn a_stretch_has_the_checksum_of_its_bytes(
            seed in any::<u32>(),
            length in 1_usize..40_000,
            from in 0_usize..5_000,
            cuts in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let bytes: Vec<u8> = (0..length as u32)
                .map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8)
                .collect();
            let from = from.min(length);
            let one = from + cuts.0.index(length - from + 1);
            let other = from + cuts.1.index(length - from + 1);
            let (start, end) = (one.min(other), one.max(other));
            let storage = MemoryStorage::new();
            let file = storage.create("f").unwrap();
            file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
            let spans = Spans::new(file.as_ref(), from as u64, length as u64).unwrap();
            let found = spans.append(seed, file.as_ref(), start as u64, end as u64).unwrap();
            prop_assert_eq!(found, crc32c::crc32c_append(seed, &bytes[start..end]));
        }
    }
}
