//! The index of a whole log, without files.

use super::*;

const PARTITION: PartitionId = PartitionId(5);

fn entry(offset: i64, time_ms: i64) -> IndexEntry {
    IndexEntry {
        base_offset: offset,
        next_offset: offset + 10,
        max_timestamp_ms: time_ms,
        position: 4_096 + offset as u64 * 8,
        payload_at: 48,
        len: 70,
    }
}

/// Three sealed segments and one that is written to, of two batches each.
fn sample() -> Index {
    let index = Index::new(1, SegmentIndex::new(1), 1_000_000);
    for segment in 1..=4_u64 {
        let offset = (segment as i64 - 1) * 20;
        index.extend(|active| {
            for offset in [offset, offset + 10] {
                active.push(PARTITION, &entry(offset, 100 - offset), offset);
                active.note(segment, 0);
            }
        });
        if segment < 4 {
            index.roll(segment + 1, segment + 1);
        }
    }
    index
}

fn wanted(offset: i64) -> Wanted {
    Wanted {
        partition: PARTITION,
        offset,
        end_offset: i64::MAX,
        max_bytes: usize::MAX,
    }
}

#[test]
fn a_question_leads_to_the_segment_that_holds_the_offset() {
    let index = sample();
    for offset in 0..80 {
        let segment = match index.find(wanted(offset)) {
            Answer::Found(found) => found.unwrap().segment,
            Answer::LookIn(Place::Here(segment, _) | Place::Footer(segment)) => segment,
        };
        assert_eq!(segment as i64, offset / 20 + 1);
    }
    let behind = index.find(wanted(80));
    assert!(matches!(behind, Answer::Found(None)));
}

#[test]
fn a_segment_is_looked_up_in_memory_until_it_has_a_footer() {
    let index = sample();
    let place = || match index.find(wanted(0)) {
        Answer::LookIn(place) => place,
        answer => panic!("{answer:?}"),
    };
    assert!(matches!(place(), Place::Here(1, _)));
    index.set_footed(1);
    assert!(matches!(place(), Place::Footer(1)));
    assert!(index.cached(1).is_some());
}

#[test]
fn a_time_leads_past_segments_that_do_not_have_it() {
    let index = sample();
    // Times fall from 100: from offset 30 on nothing is later than 70, which stands in segment 2.
    let answer = index.find_time(PARTITION, 70, 30);
    assert!(matches!(answer, Answer::LookIn(Place::Here(2, _))));
    let answer = index.find_time(PARTITION, 70, 40);
    assert!(matches!(answer, Answer::Found(None)));
    let answer = index.find_time(PARTITION, 30, 70);
    assert!(matches!(answer, Answer::Found(Some((4, found))) if found.base_offset == 70));
}

#[test]
fn bytes_of_a_partition_are_counted_by_segments() {
    let index = sample();
    let bytes: Vec<_> = [0, 19, 20, 60, 79, 80]
        .map(|offset| index.size_bytes(PARTITION, offset))
        .to_vec();
    assert_eq!(bytes, [560, 560, 420, 140, 140, 0]);
    assert_eq!(index.size_bytes(PartitionId(6), 0), 0);
}

#[test]
fn footers_kept_in_memory_stay_within_their_budget() {
    let one = sample().resident(1).unwrap();
    let index = Index::new(1, SegmentIndex::new(1), 3 * one.memory_bytes());
    for segment in 1..=9 {
        index.keep(segment, &one);
        index.keep(segment, &one);
        assert!(index.cached_bytes() <= 3 * one.memory_bytes());
        // The first is used again and again, so it stays.
        assert!(index.cached(1).is_some());
    }
    let kept: Vec<_> = (1..=9).filter(|at| index.cached(*at).is_some()).collect();
    assert_eq!(kept, [1, 8, 9]);
}

/// The index of a log of 64 MiB segments, written at 10 MiB a second in batches of 16 records of 1 KiB.
fn index_of(segments: u64, partitions: u32) -> Index {
    let index = Index::new(segments, SegmentIndex::new(segments), 0);
    let batches = 4_096 / partitions;
    // Hardly two segments are alike, and none has a round number.
    let vary = |segment: u64, partition: u32, by: u64| {
        let mixed = (segment * 31 + u64::from(partition) * 17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) % by
    };
    let mut next_offsets = vec![0_i64; partitions as usize];
    for segment in 0..segments {
        let mut summaries = Vec::new();
        for (partition, next_offset) in (1_u32..).zip(&mut next_offsets) {
            let entries = batches - vary(segment, partition, u64::from(batches / 4)) as u32;
            let first_offset = *next_offset;
            *next_offset += i64::from(entries) * 16;
            let time_ms = 1_790_000_000_000 + segment as i64 * 6_400;
            let max_timestamp_ms = time_ms - vary(segment, partition, 300) as i64;
            let summary = Summary {
                entries,
                first_offset,
                next_offset: *next_offset,
                max_timestamp_ms,
                max_append_time_ms: max_timestamp_ms + vary(segment, partition, 9) as i64,
                size_bytes: u64::from(entries) * 16_384 + vary(segment, partition, 5_000),
            };
            summaries.push((PartitionId(partition), summary));
        }
        let first_index = segment * 4_096 + 1;
        let held =
            SegmentIndex::of_summaries(first_index, first_index + 4_095, summaries.into_iter());
        index.add_sealed(Adding {
            segment,
            index: Arc::new(held),
            is_footed: true,
            is_cold: false,
        });
    }
    index
}

#[test]
fn a_row_of_300_segments_and_100_partitions_takes_less_than_16_bytes_of_memory() {
    let index = index_of(300, 100);
    assert_eq!(index.rows_of(299).len(), 100);
    assert_eq!(index.summaries_of(PartitionId(100)).len(), 300);
    let bytes = index.view.read().directory_bytes();
    assert!(bytes < 30_000 * 16, "{bytes} bytes");
}

#[test]
fn of_300_segments_of_one_partition_less_than_30_kib_are_kept() {
    let bytes = index_of(300, 1).view.read().directory_bytes();
    assert!(bytes < 30 * 1_024, "{bytes} bytes");
}

/// A cold segment, or one of the log, that holds ten offsets of each of these partitions.
fn adding(segment: u64, is_cold: bool, held: &[(u32, i64)]) -> Adding {
    let mut index = SegmentIndex::new(segment);
    for (partition, offset) in held {
        index.push(PartitionId(*partition), &entry(*offset, 0), 0);
    }
    Adding {
        segment,
        index: Arc::new(index),
        is_footed: true,
        is_cold,
    }
}

fn holders(index: &Index, partition: u32, offsets: &[i64]) -> Vec<Option<u64>> {
    let offsets = offsets.iter();
    offsets
        .map(|offset| index.holder_of(PartitionId(partition), *offset))
        .collect()
}

#[test]
fn segments_that_take_the_place_of_others_stand_where_their_offsets_are() {
    let index = Index::new(9, SegmentIndex::new(9), 0);
    for segment in 1..=4_u64 {
        let offset = segment as i64 * 10;
        index.add_sealed(adding(segment, false, &[(5, offset), (6, offset)]));
    }
    let cold = [
        adding(8, true, &[(5, 10), (6, 20)]),
        adding(7, true, &[(5, 20)]),
    ];
    index.replace(&[1, 2], cold.into());
    assert_eq!(index.sealed(true), [7, 8]);
    assert_eq!(index.sealed(false), [3, 4]);
    assert_eq!(
        index.front().map(|(segment, rows)| (segment, rows.len())),
        Some((3, 2))
    );
    let found = holders(&index, 5, &[0, 19, 20, 30, 49, 50]);
    assert_eq!(found, [Some(8), Some(8), Some(7), Some(3), Some(4), None]);
    assert_eq!(
        holders(&index, 6, &[0, 29, 30]),
        [Some(8), Some(8), Some(3)]
    );
    // Segment 7 stands between 8 and 3 in partition 5 alone.
    let together = index.together_with(&BTreeSet::from([8, 3]));
    assert_eq!(together, BTreeSet::from([3, 7, 8]));
    let rows = index.rows_of(8);
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (row.partition.0, row.summary.first_offset))
        .collect();
    assert_eq!(rows, [(5, 10), (6, 20)]);
    index.remove(8);
    index.remove(3);
    assert_eq!(holders(&index, 6, &[0, 50]), [Some(4), None]);
    assert!(index.rows_of(8).is_empty());
}
