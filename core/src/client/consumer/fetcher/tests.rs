//! The fetcher against a model that remembers every single record.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::client::options::Start;
use crate::protocol::out_of_range::OutOfRange;

const PARTITIONS: usize = 3;

/// What a partition's records are: every offset that is not one of the gaps.
const GAP_EVERY: i64 = 7;

fn exists(offset: i64) -> bool {
    offset % GAP_EVERY != 3
}

#[derive(Clone, Debug)]
enum Step {
    /// Give out from each of these partitions so many offsets.
    Lease(Vec<(usize, i64)>),
    Pass(u32),
    EndLease,
    TakeBack,
    Ack {
        place: usize,
        offset: i64,
    },
    AckRows(u32, u32),
    Seek {
        place: usize,
        offset: i64,
    },
    /// What was read from this offset on is lost, or all before it is deleted.
    Move {
        place: usize,
        to: i64,
    },
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec((0..PARTITIONS, 1..20_i64), 1..5).prop_map(Step::Lease),
        6 => (0..60_u32).prop_map(Step::Pass),
        1 => Just(Step::EndLease),
        1 => Just(Step::TakeBack),
        6 => (0..PARTITIONS, 0..100_i64).prop_map(|(place, offset)| Step::Ack { place, offset }),
        2 => (0..40_u32, 0..20_u32).prop_map(|(from, len)| Step::AckRows(from, from + len)),
        1 => (0..PARTITIONS, 0..50_i64).prop_map(|(place, offset)| Step::Seek { place, offset }),
        1 => (0..PARTITIONS, 0..60_i64).prop_map(|(place, to)| Step::Move { place, to }),
        2 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 1..80)
}

/// One partition, record by record.
#[derive(Clone, Debug, Default)]
struct Naive {
    delivered: i64,
    /// Given out, not passed (auto) or not acknowledged (manual).
    open: BTreeSet<i64>,
    committed: i64,
    /// The end of what was given out and is lost.
    lost_end: i64,
}

impl Naive {
    fn position(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.delivered)
    }
}

#[derive(Debug, Default)]
struct Model {
    is_manual: bool,
    partitions: Vec<Naive>,
    /// Rows of the lease: partition and offset, none for a partition that was sought since.
    rows: Vec<Option<(usize, i64)>>,
    passed: usize,
    /// What was delivered before the lease, to go back to.
    before: Vec<Option<i64>>,
}

impl Model {
    fn lease(&mut self, fetcher: &mut Fetcher, parts: &[(usize, i64)]) {
        self.end_lease();
        self.before = vec![None; PARTITIONS];
        let mut segments = Vec::new();
        for &(place, count) in parts {
            let naive = &mut self.partitions[place];
            let from = naive.delivered;
            let next_offset = from + count;
            let offsets: Vec<_> = (from..next_offset).filter(|it| exists(*it)).collect();
            self.before[place].get_or_insert(from);
            naive.open.extend(&offsets);
            naive.delivered = next_offset;
            self.rows
                .extend(offsets.iter().map(|offset| Some((place, *offset))));
            let is_dense = offsets.len() as i64 == count;
            let offsets = if is_dense && count % 2 == 0 {
                Offsets::Contiguous(from..next_offset)
            } else {
                Offsets::Sparse(offsets)
            };
            segments.push(Segment {
                place,
                offsets,
                next_offset,
                leader_epoch: 1,
            });
        }
        assert_eq!(fetcher.lease(segments) as usize, self.rows.len());
    }

    fn pass(&mut self, rows: usize) {
        let rows = rows.min(self.rows.len());
        if !self.is_manual {
            for (place, offset) in self.rows.iter().take(rows).flatten() {
                self.partitions[*place].open.remove(offset);
            }
        }
        self.passed = self.passed.max(rows);
    }

    fn end_lease(&mut self) {
        self.pass(self.rows.len());
        self.rows.clear();
        self.before = vec![None; PARTITIONS];
        self.passed = 0;
    }

    fn take_back(&mut self) {
        for (place, offset) in self.rows.drain(..).flatten() {
            self.partitions[place].open.remove(&offset);
        }
        for (naive, before) in self.partitions.iter_mut().zip(&self.before) {
            if let Some(before) = before {
                naive.delivered = *before;
            }
        }
        self.before = vec![None; PARTITIONS];
        self.passed = 0;
    }

    fn run(&mut self, fetcher: &mut Fetcher, step: &Step) {
        match step {
            Step::Lease(parts) => self.lease(fetcher, parts),
            Step::Pass(rows) => {
                fetcher.pass(*rows);
                self.pass(*rows as usize);
            }
            Step::EndLease => {
                fetcher.end_lease();
                self.end_lease();
            }
            Step::TakeBack => {
                fetcher.take_back();
                self.take_back();
            }
            Step::Ack { place, offset } => {
                let acked = fetcher.ack("t", *place as i32, *offset);
                let naive = &mut self.partitions[*place];
                let given_out = naive.delivered.max(naive.lost_end);
                assert_eq!(acked.is_ok(), self.is_manual && *offset < given_out);
                if acked.is_ok() {
                    naive.open.remove(offset);
                }
            }
            Step::AckRows(from, to) => {
                let acked = fetcher.ack_rows(*from..*to);
                assert_eq!(
                    acked.is_ok(),
                    self.is_manual && *to as usize <= self.rows.len()
                );
                if acked.is_ok() {
                    for (place, offset) in self.rows[*from as usize..*to as usize].iter().flatten()
                    {
                        self.partitions[*place].open.remove(offset);
                    }
                }
            }
            Step::Seek { place, offset } => {
                fetcher
                    .seek("t", *place as i32, *offset, Origin::Named)
                    .unwrap();
                let naive = &mut self.partitions[*place];
                naive.open.clear();
                naive.delivered = *offset;
                naive.lost_end = 0;
                self.before[*place] = None;
                for row in &mut self.rows {
                    if row.is_some_and(|(of, _)| of == *place) {
                        *row = None;
                    }
                }
            }
            Step::Move { place, to } => self.move_to(fetcher, *place, *to),
            Step::Commit => {
                let offsets = fetcher.to_commit();
                assert_eq!(fetcher.has_to_commit(), !offsets.is_empty());
                fetcher.committed(&offsets);
                for naive in &mut self.partitions {
                    naive.committed = naive.position();
                }
            }
        }
    }

    /// As between two leases: before more is read, the one before is over.
    fn move_to(&mut self, fetcher: &mut Fetcher, place: usize, to: i64) {
        fetcher.end_lease();
        self.end_lease();
        let naive = &mut self.partitions[place];
        let is_lost = to < naive.delivered;
        let found = OutOfRange {
            topic: "t".to_owned(),
            partition: place as i32,
            offset: naive.delivered,
            last_epoch: 1,
            epoch_end_offset: is_lost.then_some(to),
            log_start_offset: if is_lost { 0 } else { to },
            high_watermark: 100,
            log_end_offset: 100,
        };
        let is_named = fetcher.partitions[place].origin == Origin::Named;
        let moved = fetcher.move_on(&found, Start::Earliest, false);
        if is_named && !is_lost {
            return assert_eq!(moved, None);
        }
        let records = naive.delivered.abs_diff(to);
        let expected = match is_lost {
            true => Moved::Back {
                lost_records: records,
                to,
            },
            false => Moved::On {
                skipped_records: records,
                to,
            },
        };
        assert_eq!(moved, Some(expected));
        naive.open.retain(|offset| *offset < to);
        naive.lost_end = naive.lost_end.max(naive.delivered);
        naive.delivered = to;
    }

    fn check(&self, fetcher: &Fetcher) {
        for (place, naive) in self.partitions.iter().enumerate() {
            let found = &fetcher.partitions[place];
            assert_eq!(found.delivered, naive.delivered, "delivered of {place}");
            let position = found.position(self.is_manual);
            // Between two records that there are, any offset says the same.
            let same = |left: i64, right: i64| !(left.min(right)..left.max(right)).any(exists);
            assert!(
                same(position, naive.position()),
                "position of {place}: {position}, expected {}",
                naive.position()
            );
            assert!(
                same(found.committed, naive.committed),
                "committed of {place}"
            );
        }
        let open: usize = self.partitions.iter().map(|naive| naive.open.len()).sum();
        if self.is_manual {
            assert_eq!(fetcher.unacked() as usize, open);
        }
    }
}

fn assigned(until: Option<i64>) -> Vec<Assigned> {
    (0..PARTITIONS as i32)
        .map(|partition| Assigned {
            topic: "t".into(),
            partition,
            start: 0,
            origin: Origin::Found,
            committed: None,
            until,
            grant: 0,
        })
        .collect()
}

proptest! {
    #[test]
    fn positions_are_those_of_a_model_that_remembers_every_record(
        is_manual in any::<bool>(),
        steps in steps(),
    ) {
        let mut fetcher = Fetcher::new(assigned(None), is_manual);
        let mut model = Model {
            is_manual,
            partitions: vec![Naive::default(); PARTITIONS],
            before: vec![None; PARTITIONS],
            ..Model::default()
        };
        for step in &steps {
            model.run(&mut fetcher, step);
            model.check(&fetcher);
        }
    }
}

#[test]
fn nothing_is_committed_before_something_is_processed() {
    let mut start = assigned(None);
    start[1].committed = Some(5);
    start[1].start = 5;
    let mut fetcher = Fetcher::new(start, false);
    assert!(!fetcher.has_to_commit());
    let offsets = Offsets::Contiguous(5..8);
    fetcher.lease(vec![Segment {
        place: 1,
        offsets,
        next_offset: 8,
        leader_epoch: 1,
    }]);
    assert!(!fetcher.has_to_commit());
    fetcher.pass(1);
    let found: Vec<_> = fetcher
        .to_commit()
        .iter()
        .map(|it| (it.partition, it.offset))
        .collect();
    assert_eq!(found, [(1, 6)]);
}

#[test]
fn batches_without_records_are_passed_when_the_host_is_beyond_them() {
    let mut fetcher = Fetcher::new(assigned(None), false);
    let empty = |next_offset| Segment {
        place: 0,
        offsets: Offsets::Contiguous(next_offset..next_offset),
        next_offset,
        leader_epoch: 1,
    };
    let two = Segment {
        place: 0,
        offsets: Offsets::Contiguous(3..5),
        next_offset: 5,
        leader_epoch: 1,
    };
    fetcher.lease(vec![empty(3), two, empty(9)]);
    let position = |fetcher: &Fetcher| fetcher.positions().first().map(|it| it.offset);
    assert_eq!(position(&fetcher), Some(3));
    fetcher.pass(1);
    assert_eq!(position(&fetcher), Some(4));
    fetcher.pass(2);
    assert_eq!(position(&fetcher), Some(9));
}

#[test]
fn it_is_finished_when_every_partition_is_at_its_end() {
    let mut fetcher = Fetcher::new(assigned(Some(2)), false);
    assert!(!fetcher.is_finished());
    assert!(!Fetcher::default().is_finished());
    for place in 0..PARTITIONS {
        assert_eq!(fetcher.unfinished().len(), PARTITIONS - place);
        let offsets = Offsets::Contiguous(0..2);
        fetcher.lease(vec![Segment {
            place,
            offsets,
            next_offset: 2,
            leader_epoch: 1,
        }]);
    }
    assert!(fetcher.is_finished());
    assert!(Fetcher::new(assigned(Some(0)), false).is_finished());
}

/// Who went back at a truncation was not told of the next one before it had read something new.
#[test]
fn who_goes_back_knows_of_which_epoch_is_what_is_before() {
    for (log_start_offset, to, last_epoch) in [(0, 4, 3), (6, 6, -1)] {
        let mut fetcher = Fetcher::new(assigned(None), false);
        let state = &mut fetcher.partitions[1];
        (state.delivered, state.origin) = (10, Origin::Read(3));
        let found = OutOfRange {
            topic: "t".to_owned(),
            partition: 1,
            offset: 10,
            last_epoch: 3,
            epoch_end_offset: Some(4),
            log_start_offset,
            high_watermark: 100,
            log_end_offset: 100,
        };
        let moved = fetcher.move_on(&found, Start::Earliest, false);
        let lost_records = 6;
        assert_eq!(moved, Some(Moved::Back { lost_records, to }));
        let position = fetcher.unfinished().swap_remove(1);
        assert_eq!((position.offset, position.last_epoch), (to, last_epoch));
    }
}
