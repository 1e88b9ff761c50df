//! Random appends, syncs, closes, kills and power cuts against a plain vector.

use proptest::prelude::*;

use super::sets::{bases, commit, set};
use super::*;
use crate::log::storage::faulty::CrashMode;

const PARTITIONS: u32 = 3;

/// One thing to do with a log.
#[derive(Clone, Debug)]
enum Step {
    Append {
        partition: u32,
        size: usize,
        count: usize,
        is_disk: bool,
    },
    /// Two batches of one partition and one of the next, with a commit.
    Set {
        partition: u32,
        size: usize,
        is_disk: bool,
    },
    Sync,
    /// Close cleanly and open again.
    Close,
    /// The process dies, the machine goes on.
    Kill,
    /// The machine dies.
    Cut(CrashMode),
}

fn step() -> impl Strategy<Value = Step> {
    let append = (0..PARTITIONS, 0..9_000_usize, 1..4_usize, any::<bool>()).prop_map(
        |(partition, size, count, is_disk)| Step::Append {
            partition,
            size,
            count,
            is_disk,
        },
    );
    let set =
        (0..PARTITIONS, 0..3_000_usize, any::<bool>()).prop_map(|(partition, size, is_disk)| {
            Step::Set {
                partition,
                size,
                is_disk,
            }
        });
    let mode = prop_oneof![
        Just(CrashMode::OnlySynced),
        Just(CrashMode::AllWritten),
        any::<u64>().prop_map(CrashMode::SubsetOfSectors),
        (0..3_000_usize).prop_map(CrashMode::TornLastWrite),
    ];
    prop_oneof![
        9 => append,
        3 => set,
        1 => Just(Step::Sync),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        2 => mode.prop_map(Step::Cut),
    ]
}

struct Model {
    storage: FaultyStorage,
    open: Open,
    /// Every entry's payload, in order.
    entries: Vec<Vec<u8>>,
    /// How many of them no power cut may take.
    promised: usize,
    term: i32,
    /// Whether something was appended since the last open or close.
    is_clean: bool,
}

impl Model {
    fn new() -> Self {
        let storage = FaultyStorage::new();
        let open = reopen(&storage);
        let mut model = Self {
            storage,
            open,
            entries: Vec::new(),
            promised: 0,
            term: 1,
            is_clean: false,
        };
        for partition in 0..PARTITIONS {
            model.open.append(partition_open(partition).disk()).unwrap();
        }
        model.note();
        model.promised = 3;
        model
    }

    /// Takes over what was applied since.
    fn note(&mut self) {
        let seen = self.open.memory.payloads();
        let last = seen.last().map_or(0, |(index, _)| *index);
        assert_eq!(last, self.open.log.written());
        let seen: Vec<_> = seen.into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(seen[..self.entries.len()], self.entries);
        self.entries = seen;
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append {
                partition,
                size,
                count,
                is_disk,
            } => {
                let value = vec![size as u8; size];
                let values: Vec<&[u8]> = (0..count).map(|_| &value[..]).collect();
                let request = records(partition, &values);
                let offset = self.open.log.next_offset(PartitionId(partition)).unwrap();
                let request = if is_disk { request.disk() } else { request };
                let appended = self.open.append(request).unwrap();
                assert_eq!(appended.base_offset, offset);
                self.is_clean = false;
                self.note();
                if is_disk {
                    self.promised = self.entries.len();
                }
            }
            Step::Set {
                partition,
                size,
                is_disk,
            } => {
                let other = (partition + 1) % PARTITIONS;
                let value = vec![size as u8; size];
                let batch = |partition| records(partition, &[&value, b"end"]);
                let next = |id| self.open.log.next_offset(PartitionId(id)).unwrap();
                let (first, second) = (next(partition), next(other));
                let parts = vec![
                    batch(partition),
                    batch(other),
                    commit("g"),
                    batch(partition),
                ];
                let request = set(parts);
                let request = if is_disk { request.disk() } else { request };
                let appended = self.open.append(request).unwrap();
                assert_eq!(bases(&appended), [first, second, first + 2]);
                self.is_clean = false;
                self.note();
                if is_disk {
                    self.promised = self.entries.len();
                }
            }
            Step::Sync => {
                self.open.sync().unwrap();
                self.promised = self.entries.len();
            }
            Step::Close => {
                self.open.log.close().unwrap();
                self.promised = self.entries.len();
                self.is_clean = true;
                self.reopen(self.entries.len());
            }
            Step::Kill => self.reopen(self.entries.len()),
            Step::Cut(mode) => {
                self.storage = self.storage.crash_image(mode);
                let all = mode == CrashMode::AllWritten;
                self.reopen(if all {
                    self.entries.len()
                } else {
                    self.promised
                });
            }
        }
    }

    /// Opens again; at least `least` entries have to be there.
    fn reopen(&mut self, least: usize) {
        self.open = reopen(&self.storage);
        let found = self.open.memory.payloads();
        assert!(found.len() >= least, "{} of {least}", found.len());
        self.entries.truncate(found.len());
        self.note();
        let term = self.open.log.term().0;
        assert_eq!(
            term,
            if self.is_clean {
                self.term
            } else {
                self.term + 1
            }
        );
        self.term = term;
        // What was served again is durable.
        self.promised = self.entries.len();
    }
}

fn reopen(storage: &FaultyStorage) -> Open {
    try_open_with(Arc::new(storage.clone()), options(20_000)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_vector_that_survives(steps in proptest::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
        }
    }
}
