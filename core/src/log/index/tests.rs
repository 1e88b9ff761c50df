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
