//! A snapshot's file, fed with anything: with its length and checksum put right, too. What it holds is then
//! restored, by the sequencer's and the engine's rules.

use super::Target;
use crate::engine::State;
use crate::engine::topic_config::TopicDefaults;
use crate::ids::Durability;
use crate::log::snapshot::Snapshot;
use crate::log::{Machine, Scope, StatePair};

pub(super) const SNAPSHOT: Target = Target {
    name: "snapshot",
    run,
    seeds,
};

const LENGTH_AT: usize = 64;

fn run(bytes: &[u8]) {
    check(bytes);
    let mut repaired = bytes.to_vec();
    let length = (repaired.len() as u64).to_le_bytes();
    if let Some(field) = repaired.get_mut(LENGTH_AT..LENGTH_AT + length.len()) {
        field.copy_from_slice(&length);
    }
    if let Some((content, crc)) = repaired.split_last_chunk_mut::<4>() {
        *crc = crc32c::crc32c(content).to_le_bytes();
    }
    check(&repaired);
}

fn check(bytes: &[u8]) {
    let Some(snapshot) = Snapshot::decode(bytes) else {
        return;
    };
    let again = Snapshot::decode(&snapshot.encode()).expect("it was just encoded");
    let mut pairs = snapshot.pairs.clone();
    pairs.sort();
    assert_eq!(again.pairs, pairs, "what was decoded is encoded as another");
    let state = new_state();
    if state.restore(&snapshot.pairs).is_ok() {
        let kept = state.pairs(Scope::All);
        let other = new_state();
        other.restore(&kept).expect("a state gave them");
        let (mut kept, mut found) = (kept, other.pairs(Scope::All));
        kept.sort();
        found.sort();
        assert_eq!(found, kept, "a state does not come back from its pairs");
    }
}

fn new_state() -> State {
    let defaults = TopicDefaults {
        durability: Durability::Disk,
        retention_ms: -1,
    };
    State::new(defaults, 0)
}

fn seeds() -> Vec<Vec<u8>> {
    let pair = |key: &[u8], value: &[u8]| StatePair {
        key: key.to_vec(),
        value: Some(value.to_vec()),
    };
    let topic = [b"t", &[7; 16][..]].concat();
    let offset = [b"o\x01g", &[7; 16][..], &[0; 4]].concat();
    let pairs = vec![
        pair(b"c", &[10, 2]),
        pair(b"gg", &[4]),
        pair(&offset, &[6]),
        pair(b"p\0\0\0\x01", &[&[7; 16][..], &[0, 0, 20, 2]].concat()),
        pair(&topic, b"\x06orders\x01\x0apartitions\x011"),
    ];
    let snapshot = |pairs| Snapshot {
        log_uuid: [1; 16],
        segment: 3,
        index: 40,
        term: 2,
        pairs,
    };
    vec![snapshot(Vec::new()).encode(), snapshot(pairs).encode()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_of_the_seeds() {
        for seed in seeds() {
            let snapshot = Snapshot::decode(&seed).unwrap();
            new_state().restore(&snapshot.pairs).unwrap();
        }
    }
}
