//! Random appends, cleanings, compactions, kills and power cuts against a plain vector for each partition.

use proptest::prelude::*;

use super::cleaning::below;
use super::compacting::{Said, keyed};
use super::moving::Moving;
use super::*;
use crate::log::storage::faulty::CrashMode;
use crate::log::{CleaningRule, Compaction};
use crate::record::Batch;

/// One thing to do with a log that is cleaned.
#[derive(Clone, Debug)]
enum Step {
    /// Keys, and whether each has a value; how large the batches for the other partitions are.
    Append {
        keys: Vec<(u8, bool)>,
        sizes: [usize; 2],
        is_disk: bool,
    },
    Sync,
    /// Of each partition so many more records are dead; and tombstones are kept so long.
    Clean {
        dead: [i64; 3],
        retention_ms: i64,
    },
    Kill,
    Close,
    Cut(CrashMode),
}

fn step() -> impl Strategy<Value = Step> {
    let keys = proptest::collection::vec((0..12_u8, prop::bool::weighted(0.8)), 1..5);
    let append = (keys, [0..3_000_usize, 0..300], prop::bool::weighted(0.3));
    let append = append.prop_map(|(keys, sizes, is_disk)| Step::Append {
        keys,
        sizes,
        is_disk,
    });
    let clean = (
        [0..2_i64, 0..20, 0..2],
        prop_oneof![Just(0), Just(i64::MAX)],
    );
    let mode = prop_oneof![
        Just(CrashMode::OnlySynced),
        Just(CrashMode::AllWritten),
        any::<u64>().prop_map(CrashMode::SubsetOfSectors),
    ];
    prop_oneof![
        20 => append,
        4 => Just(Step::Sync),
        4 => clean.prop_map(|(dead, retention_ms)| Step::Clean { dead, retention_ms }),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
        1 => mode.prop_map(Step::Cut),
    ]
}

/// A plain vector for each partition, and what a log has to hold of them.
struct Model {
    open: Moving,
    said: [Said; 3],
    starts: [i64; 3],
    /// The ends that no power cut takes.
    promised: [i64; 3],
}

impl Model {
    fn new() -> Self {
        let open = Moving::new();
        (0..3).for_each(|partition| open.append(partition_open(partition).disk()));
        Self {
            open,
            said: [const { Said::new() }; 3],
            starts: [0; 3],
            promised: [0; 3],
        }
    }

    fn end(&self, partition: usize) -> i64 {
        self.said[partition]
            .last_key_value()
            .map_or(0, |(last, _)| last + 1)
    }

    fn ends(&self) -> [i64; 3] {
        [self.end(0), self.end(1), self.end(2)]
    }

    fn append(&mut self, partition: usize, records: &[(Vec<u8>, Option<Vec<u8>>)], is_disk: bool) {
        let borrowed: Vec<_> = records
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
            .collect();
        let request = keyed(partition as u32, &borrowed);
        self.open
            .append(if is_disk { request.disk() } else { request });
        for record in records {
            let end = self.end(partition);
            self.said[partition].insert(end, record.clone());
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append {
                keys,
                sizes,
                is_disk,
            } => {
                let number = self.end(0).to_le_bytes();
                let records: Vec<_> = keys
                    .iter()
                    .map(|(key, has_value)| (vec![*key], has_value.then(|| number.repeat(40))))
                    .collect();
                self.append(0, &records, false);
                for (at, size) in (1..).zip(sizes) {
                    let number = self.end(at).to_le_bytes();
                    let value = number.repeat(1 + size / 8);
                    self.append(at, &[(vec![7], Some(value))], is_disk && at == 2);
                }
                if is_disk {
                    self.promised = self.ends();
                }
            }
            Step::Sync => {
                self.open.sync();
                self.promised = self.ends();
            }
            Step::Clean { dead, retention_ms } => self.clean(dead, retention_ms),
            Step::Kill => self.open = Moving::on(&self.open.storage).unwrap(),
            Step::Close => {
                self.open.log.close().unwrap();
                self.promised = self.ends();
                self.open = Moving::on(&self.open.storage).unwrap();
            }
            Step::Cut(mode) => {
                let image = self.open.storage.crash_image(mode);
                self.open = Moving::on(&image).unwrap();
                for at in 0..3 {
                    let end = self.open.log.next_offset(PartitionId(at as u32)).unwrap();
                    let (promised, written) = (self.promised[at], self.end(at));
                    let is_all = mode == CrashMode::AllWritten;
                    assert!(end >= if is_all { written } else { promised } && end <= written);
                    self.said[at].retain(|offset, _| *offset < end);
                }
                self.promised = self.ends();
            }
        }
        self.check();
    }

    /// What was decided is in the log, and so synced.
    fn clean(&mut self, dead: [i64; 3], retention_ms: i64) {
        self.open.sync();
        self.promised = self.ends();
        for (at, dead) in dead.into_iter().enumerate() {
            self.starts[at] = (self.starts[at] + dead).min(self.end(at));
        }
        let starts = self.starts;
        self.open.clean_all(&|id| {
            let compaction = Compaction {
                tombstone_retention_ms: retention_ms,
            };
            Some(CleaningRule {
                compaction: (id == PartitionId(0)).then_some(compaction),
                ..below(starts[id.0 as usize])
            })
        });
    }

    fn check(&self) {
        for at in 0..3 {
            let start = self.starts[at];
            let mut found = Said::new();
            for stored in self.open.batches(at as u32, start) {
                let batch = Batch::verified(stored.bytes).unwrap();
                for record in batch.records().map(|record| record.unwrap()) {
                    let key = record.key.unwrap_or_default().to_vec();
                    let said = (key, record.value.map(<[u8]>::to_vec));
                    assert!(
                        found
                            .last_key_value()
                            .is_none_or(|(last, _)| *last < record.offset)
                    );
                    assert_eq!(self.said[at].get(&record.offset), Some(&said), "{at}");
                    found.insert(record.offset, said);
                }
            }
            // What a key led to is what it leads to: a tombstone that went took what it spoke of along.
            let last_of = |said: &Said, key: &[u8]| -> Option<Vec<u8>> {
                let mut of_key = said.range(start..).rev().filter(|(_, (it, _))| it == key);
                of_key.next().and_then(|(_, (_, value))| value.clone())
            };
            for (key, _) in found.values() {
                assert_eq!(last_of(&found, key), last_of(&self.said[at], key), "{at}");
            }
            for (offset, (key, value)) in self.said[at].range(start..) {
                let mut later = self.said[at].range(offset + 1..);
                let is_last = !later.any(|(_, (later, _))| later == key);
                let may_be_gone = at == 0 && !(is_last && value.is_some());
                assert!(may_be_gone || found.contains_key(offset), "{at}: {offset}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_log_that_is_cleaned_is_a_vector_without_what_is_dead(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
        }
    }
}
