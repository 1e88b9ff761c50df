//! Rows against a plain list of them, and what they take.

use proptest::prelude::*;

use super::*;

fn any_row() -> impl Strategy<Value = Row> {
    // Small numbers, so that some are the same, and the ends of what there is.
    let offset = || {
        let ends = prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()];
        prop_oneof![0..40_i64, 0..8_000_i64, ends]
    };
    let segment = prop_oneof![0..40_u64, Just(u64::MAX), any::<u64>()];
    let numbers = (any::<u32>(), offset(), offset(), any::<u64>());
    (segment, numbers, offset(), offset()).prop_map(
        |(segment, numbers, timestamp_ms, append_ms)| {
            let (entries, first_offset, next_offset, size_bytes) = numbers;
            Row {
                segment,
                summary: Summary {
                    entries,
                    first_offset,
                    next_offset,
                    max_timestamp_ms: timestamp_ms,
                    max_append_time_ms: append_ms,
                    size_bytes,
                },
            }
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    /// Rows of any kind, and in any order.
    Insert(Row),
    /// So many rows behind all others.
    Push(u8),
    /// So many rows from this place on.
    Remove(prop::sample::Index, u8),
    /// So many rows at the front.
    RemoveFirst(u8),
    /// That of a segment which may not be there.
    RemoveSegment(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any_row().prop_map(Step::Insert),
        2 => (0..70_u8).prop_map(Step::Push),
        3 => (any::<prop::sample::Index>(), 0..3_u8).prop_map(|(at, count)| Step::Remove(at, count)),
        1 => (any::<prop::sample::Index>(), 0..40_u8).prop_map(|(at, count)| Step::Remove(at, count)),
        1 => (0..40_u8).prop_map(Step::RemoveFirst),
        1 => any::<u64>().prop_map(Step::RemoveSegment),
    ]
}

/// The same in plain, in order.
#[derive(Default)]
struct Model(Vec<Row>);

impl Model {
    /// False if there is one of that segment: a segment has one row of a partition.
    fn insert(&mut self, row: Row) -> bool {
        let is_new = self.0.iter().all(|it| it.segment != row.segment);
        if is_new {
            let offset = row.summary.first_offset;
            let at = self
                .0
                .partition_point(|it| it.summary.first_offset < offset);
            self.0.insert(at, row);
        }
        is_new
    }

    /// What would be added next.
    fn next(&self) -> Row {
        let last = self.0.last().copied().unwrap_or(START);
        let first_offset = last.summary.next_offset.max(last.summary.first_offset);
        let first_offset = first_offset.saturating_add(1);
        row(last.segment.wrapping_add(1), first_offset, 100)
    }
}

fn row(segment: u64, first_offset: i64, count: i64) -> Row {
    Row {
        segment,
        summary: Summary {
            entries: 40,
            first_offset,
            next_offset: first_offset.saturating_add(count),
            max_timestamp_ms: 1_700_000_000_000,
            max_append_time_ms: 1_700_000_000_003,
            size_bytes: 650_000,
        },
    }
}

fn apply(step: Step, rows: &mut Rows, model: &mut Model) {
    let mut remove = |at: usize, model: &mut Model| {
        if at < model.0.len() {
            rows.remove(model.0.remove(at).segment);
        }
    };
    match step {
        Step::Insert(row) => {
            if model.insert(row) {
                rows.insert(row);
            }
        }
        Step::Push(count) => {
            for _ in 0..count {
                let next = model.next();
                if model.insert(next) {
                    rows.insert(next);
                }
            }
        }
        Step::Remove(at, count) => {
            let at = at.index(model.0.len().max(1));
            (0..count).for_each(|_| remove(at, model));
        }
        Step::RemoveFirst(count) => (0..count).for_each(|_| remove(0, model)),
        Step::RemoveSegment(segment) => {
            model.0.retain(|row| row.segment != segment);
            rows.remove(segment);
        }
    }
}

fn check_invariants(rows: &Rows) {
    let counts: Vec<_> = rows.chunks.iter().map(|chunk| chunk.count).collect();
    for (chunk, count) in rows.chunks.iter().zip(&counts) {
        assert_eq!(chunk.rows().count(), *count);
        assert!((1..=CHUNK_ROWS_MAX).contains(count));
        assert_eq!(
            chunk.rows().next().map(|row| row.summary.first_offset),
            Some(chunk.first_offset)
        );
    }
    let mut pairs = counts.windows(2);
    assert!(
        pairs.all(|pair| pair[0] + pair[1] > MERGED_ROWS_MAX),
        "{counts:?}"
    );
    let mut all_but_last = rows.chunks.iter().rev().skip(1);
    assert!(all_but_last.all(|chunk| chunk.bytes.capacity() == chunk.bytes.len()));
    assert_eq!(rows.last, rows.iter().last().unwrap_or(START));
    assert!(rows.chunks.capacity() <= 2 * rows.chunks.len() + 1);
}

proptest! {
    #[test]
    fn rows_of_any_numbers_come_back_in_order_whatever_was_done(
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let (mut rows, mut model) = (Rows::default(), Model::default());
        for step in steps {
            apply(step, &mut rows, &mut model);
            check_invariants(&rows);
            prop_assert_eq!(&rows.iter().collect::<Vec<_>>(), &model.0);
        }
        prop_assert_eq!(rows.is_empty(), model.0.is_empty());
        for row in &model.0 {
            prop_assert_eq!(rows.of_segment(row.segment), Some(*row));
        }
        // No order of ends is promised here, only that the search itself ends.
        for offset in model.0.iter().map(|row| row.summary.next_offset) {
            prop_assert!(rows.starting_at(offset).count() <= model.0.len());
        }
    }

    #[test]
    fn an_offset_is_found_as_by_looking_at_every_row(
        begin in prop_oneof![Just(i64::MIN), Just(0), any::<i64>()],
        sizes in prop::collection::vec((0..4_i64, 1..2_000_i64, any::<i64>()), 1..200),
        order in any::<u64>(),
        place in any::<prop::sample::Index>(),
        nudge in -2_i64..3,
    ) {
        let (mut model, mut offset) = (Vec::new(), begin);
        for (at, (gap, count, timestamp_ms)) in (0..).zip(sizes) {
            let mut added = row(at ^ (order % 64), offset.saturating_add(gap), count);
            added.summary.max_timestamp_ms = timestamp_ms;
            // At the end of what offsets can be there is no room for more.
            if added.summary.next_offset == i64::MAX {
                break;
            }
            offset = added.summary.next_offset;
            model.push(added);
        }
        let mut rows = Rows::default();
        let mut shuffled = model.clone();
        // By numbers that have nothing to do with the offsets.
        shuffled.sort_by_key(|row| row.segment.wrapping_mul(order | 1));
        shuffled.into_iter().for_each(|row| rows.insert(row));
        check_invariants(&rows);
        let picked = model.get(place.index(model.len().max(1)));
        let offset = picked.map_or(0, |row| row.summary.first_offset.saturating_add(nudge));
        let wanted = model.iter().filter(|row| row.summary.next_offset > offset);
        let found = rows.starting_at(offset);
        prop_assert_eq!(found.collect::<Vec<_>>(), wanted.copied().collect::<Vec<_>>());
    }
}

#[test]
fn a_row_has_the_bytes_of_the_format() {
    let coded = |before: &Row, row: &Row| {
        let mut bytes = Vec::new();
        encode(&mut bytes, before, row);
        bytes
    };
    let first = row(5, 0, 400);
    assert_eq!(coded(&START, &first)[..4], [5, 80, 0xa0, 0x06]);
    // As many batches of the same size, right behind it and at the same time.
    let like_it = coded(&first, &row(6, 400, 400));
    assert_eq!(like_it, [1, 80, 0, 0, 0, 6]);
    let mut other = row(6, 400, 401);
    (other.summary.size_bytes, other.summary.entries) = (650_000 - 16_250 - 1, 39);
    other.summary.max_timestamp_ms += 100;
    let unlike_it = coded(&first, &other);
    assert_eq!(unlike_it, [1, 78, 22, 1, 0xc8, 0x01, 0xc1, 0x01]);
    // An older segment, that begins one offset later.
    assert_eq!(coded(&first, &row(4, 401, 400))[..3], [0xff, 0x01, 0x02]);
}

#[test]
fn rows_of_numbers_at_their_ends_fit_into_what_is_reserved() {
    let of = |number: i64| Row {
        segment: number as u64,
        summary: Summary {
            entries: u32::MAX,
            first_offset: number,
            next_offset: !number,
            max_timestamp_ms: number,
            max_append_time_ms: !number,
            size_bytes: number as u64,
        },
    };
    for (one, next) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, i64::MIN)] {
        let mut bytes = Vec::new();
        encode(&mut bytes, &of(one), &of(next));
        assert!(bytes.len() <= ROW_BYTES_MAX);
        assert_eq!(decode(&mut &bytes[..], &of(one)), Some(of(next)));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&mut &bytes[..cut], &of(one)), None);
        }
    }
}

#[test]
fn rows_that_go_from_the_front_leave_nothing_behind() {
    let mut rows = Rows::default();
    (0..10_000).for_each(|at| rows.insert(row(at, at as i64 * 100, 100)));
    for segment in 0..9_990 {
        rows.remove(segment);
    }
    assert_eq!(rows.iter().count(), 10);
    assert!(rows.memory_bytes() < 600, "{} bytes", rows.memory_bytes());
    (9_990..10_000).for_each(|segment| rows.remove(segment));
    assert!(rows.is_empty());
    assert_eq!(rows.memory_bytes(), 0);
}

#[test]
fn rows_put_in_from_the_end_to_the_front_take_no_more_than_twice_as_much() {
    let (mut rows, mut backwards) = (Rows::default(), Rows::default());
    let all: Vec<_> = (0..1_000).map(|at| row(at, at as i64 * 100, 100)).collect();
    all.iter().for_each(|row| rows.insert(*row));
    all.iter().rev().for_each(|row| backwards.insert(*row));
    assert!(backwards.iter().eq(rows.iter()));
    assert!(backwards.memory_bytes() <= 2 * rows.memory_bytes());
}
