//! Which records of a partition have been overwritten: those of a key that comes again later.
//!
//! A key is known by 128 bits of keyed hashes, which nobody outside can aim at. The keys seen are held within a
//! budget: where there are more, those with the larger hashes are left for another pass over the same records.
//! What a pass finds is noted by a record's place in the order, a bit each.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::limits::COMPACTION_MAP_BYTES_MAX;
use crate::record::RecordView;

/// Bytes that a key takes in the map, with what the map adds.
const KEY_BYTES: usize = 36;
/// Keys that are told apart at once.
const KEYS_MAX: usize = COMPACTION_MAP_BYTES_MAX / KEY_BYTES;

/// Which records of some are overwritten by later ones of them, by their place in the order.
#[derive(Debug, Default)]
pub(super) struct Overwritten {
    bits: Vec<u64>,
    records: usize,
}

impl Overwritten {
    /// Looks through records as often as it takes: `scan` hands them all over, in the same order each time.
    ///
    /// # Errors
    /// What `scan` fails with.
    pub(super) fn find<E>(
        scan: impl FnMut(&mut dyn FnMut(&RecordView<'_>)) -> Result<(), E>,
    ) -> Result<Self, E> {
        Self::find_with(KEYS_MAX, scan)
    }

    fn find_with<E>(
        keys_max: usize,
        mut scan: impl FnMut(&mut dyn FnMut(&RecordView<'_>)) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut found = Self::default();
        let mut keys = Keys::new(keys_max);
        loop {
            let mut place = 0;
            scan(&mut |record| {
                if let Some(earlier) = record.key.and_then(|key| keys.latest(key, place)) {
                    found.set(earlier);
                }
                place += 1;
            })?;
            found.records = place;
            if !keys.next_pass() {
                return Ok(found);
            }
        }
    }

    /// How many records there are.
    pub(super) const fn records(&self) -> usize {
        self.records
    }

    /// Whether the record at a place comes again.
    pub(super) fn contains(&self, place: usize) -> bool {
        let word = self.bits.get(place / 64).copied().unwrap_or_default();
        word & (1 << (place % 64)) != 0
    }

    fn set(&mut self, place: usize) {
        let word = place / 64;
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            *bits |= 1 << (place % 64);
        }
    }
}

/// The places of the latest records by key, of keys whose first hash is in a range.
struct Keys {
    hashers: [RandomState; 2],
    latest: HashMap<[u64; 2], usize>,
    range: (u64, u64),
    keys_max: usize,
}

impl Keys {
    fn new(keys_max: usize) -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            latest: HashMap::new(),
            range: (0, u64::MAX),
            keys_max,
        }
    }

    /// Notes a record, and says where the one before with this key was.
    fn latest(&mut self, key: &[u8], place: usize) -> Option<usize> {
        let [first, second] = &self.hashers;
        let hash = [first.hash_one(key), second.hash_one(key)];
        let (low, high) = self.range;
        if !(low..=high).contains(&hash[0]) {
            return None;
        }
        let earlier = self.latest.insert(hash, place);
        while self.latest.len() > self.keys_max && self.range.0 < self.range.1 {
            let (low, high) = self.range;
            let middle = low + (high - low) / 2;
            self.range.1 = middle;
            self.latest.retain(|hash, _| hash[0] <= middle);
        }
        earlier
    }

    /// Goes on to the keys that had no room; false if there are none.
    fn next_pass(&mut self) -> bool {
        let Some(low) = self.range.1.checked_add(1) else {
            return false;
        };
        self.latest.clear();
        self.range = (low, u64::MAX);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::record::{Batch, BatchBuilder, RecordRef};

    fn batch(keys: &[Option<u16>]) -> Batch {
        let mut builder = BatchBuilder::new(1_024);
        for key in keys {
            let key = key.map(u16::to_le_bytes);
            let record = RecordRef {
                key: key.as_ref().map(<[u8; 2]>::as_slice),
                ..RecordRef::default()
            };
            builder.push(&record).unwrap();
        }
        Batch::verified(builder.finish(-1, -1, -1).unwrap().into()).unwrap()
    }

    proptest! {
        #[test]
        fn every_record_whose_key_comes_again_is_found_and_no_other(
            keys in prop::collection::vec(prop::option::weighted(0.9, 0..60_u16), 1..300),
            keys_max in 1..50_usize,
        ) {
            let batch = batch(&keys);
            let mut passes = 0;
            let found = Overwritten::find_with(keys_max, |each| {
                passes += 1;
                batch.records().for_each(|record| each(&record.unwrap()));
                Ok::<_, Infallible>(())
            });
            let found = found.unwrap();
            for (place, key) in keys.iter().enumerate() {
                let comes_again = key.is_some() && keys[place + 1..].contains(key);
                prop_assert_eq!(found.contains(place), comes_again, "{}", place);
            }
            let mut different: Vec<_> = keys.iter().flatten().collect();
            different.sort_unstable();
            different.dedup();
            prop_assert!(different.len() <= keys_max || passes > 1);
        }
    }
}
