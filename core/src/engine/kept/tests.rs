//! Changes added up are the state, and the state comes back from its pairs.

use proptest::prelude::*;

use super::*;
use crate::completion::Wakes;
use crate::engine::topic_config::TopicDefaults;
use crate::ids::Durability;
use crate::log::{Entry, Kind, Location, Machine};
use crate::record::{BatchBuilder, RecordRef, batch};

type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Alter(u8, i64),
    Delete(u8),
    Records(u8),
    /// The log was not closed in order.
    RaiseTerm,
    LogStart(u8, i64),
    Commit(u8, u8, i64),
    /// A commit with something noted beside the offset; -1 takes it back.
    Note(u8, u8, i64),
    Group(u8, bool),
    Ids(i64),
    /// Asks for the changes.
    Ask,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        (0..4_u8).prop_map(Step::Create),
        (0..4_u8, 1..9_i64).prop_map(|(topic, value)| Step::Alter(topic, value)),
        (0..4_u8).prop_map(Step::Delete),
        (0..4_u8).prop_map(Step::Records),
        Just(Step::RaiseTerm),
        (0..4_u8, 0..5_i64).prop_map(|(topic, offset)| Step::LogStart(topic, offset)),
        (0..3_u8, 0..4_u8, 0..9_i64).prop_map(|(group, topic, at)| Step::Commit(group, topic, at)),
        (0..3_u8, 0..4_u8, -1..9_i64).prop_map(|(group, topic, at)| Step::Note(group, topic, at)),
        (0..3_u8, any::<bool>()).prop_map(|(group, is_deleted)| Step::Group(group, is_deleted)),
        (1..9_i64).prop_map(Step::Ids),
        Just(Step::Ask),
    ];
    prop::collection::vec(one, 0..80)
}

fn new_state() -> State {
    let defaults = TopicDefaults {
        durability: Durability::Os,
        retention_ms: -1,
    };
    State::new(defaults, 1 << 20)
}

/// Applies steps as the log would; a topic's partition has the number of its index for an id.
struct Applied {
    state: State,
    index: u64,
    ids: BTreeMap<u8, u32>,
    next_producer_id: i64,
    term: i32,
}

impl Applied {
    fn apply(&self, kind: Kind, partition: u32, payload: &[u8]) {
        self.apply_version(kind, 1, partition, payload);
    }

    fn apply_version(&self, kind: Kind, version: u16, partition: u32, payload: &[u8]) {
        let entry = Entry {
            index: self.index,
            term: LeaderEpoch(self.term),
            time_ms: 0,
            kind,
            version,
            partition: PartitionId(partition),
            location: Location {
                segment: 1,
                position: 4_096,
                payload_at: 48,
                len: 1,
            },
            payload,
            tail: None,
        };
        self.state.apply(&entry, &mut Wakes::new());
    }

    fn control(&self, kind: Kind, partition: u32, payload: &impl Serialize) {
        self.apply(kind, partition, &control::encode(payload).unwrap());
    }

    fn step(&mut self, step: &Step) {
        self.index += 1;
        match *step {
            Step::Create(topic) if !self.ids.contains_key(&topic) => self.create(topic),
            Step::Alter(topic, value) => {
                let config = vec![("retention_ms".to_owned(), value.to_string())];
                let uuid = self.uuid(topic);
                self.control(Kind::TopicAlter, 0, &control::TopicAlter { uuid, config });
            }
            Step::Delete(topic) => {
                let uuid = self.uuid(topic);
                self.control(Kind::TopicDelete, 0, &control::TopicDelete { uuid });
                self.ids.remove(&topic);
            }
            Step::Records(topic) => self.records(topic),
            Step::RaiseTerm => self.term += 1,
            Step::LogStart(topic, offset) => {
                let id = self.ids.get(&topic).copied().unwrap_or_default();
                self.control(Kind::LogStart, id, &control::LogStart { offset });
            }
            Step::Commit(group, topic, offset) if self.ids.contains_key(&topic) => {
                let offset = control::CommittedOffset {
                    topic: self.uuid(topic),
                    partition: 0,
                    offset,
                };
                let commit = control::OffsetCommit {
                    group: format!("g{group}"),
                    generation: 1,
                    offsets: vec![offset],
                };
                self.control(Kind::OffsetCommit, 0, &commit);
            }
            Step::Note(group, topic, offset) if self.ids.contains_key(&topic) => {
                let noted = control::CommittedOffset {
                    topic: self.uuid(topic),
                    partition: 0,
                    offset,
                };
                let commit = control::OffsetCommit {
                    group: format!("g{group}"),
                    generation: 1,
                    offsets: vec![noted],
                };
                let details = vec![CommitDetails {
                    leader_epoch: i32::from(group) - 1,
                    metadata: "x".repeat(usize::from(topic)),
                }];
                let detailed = control::DetailedOffsetCommit { commit, details };
                let payload = control::encode(&detailed).unwrap();
                let version = control::OFFSET_COMMIT_VERSION;
                self.apply_version(Kind::OffsetCommit, version, 0, &payload);
            }
            Step::Group(group, is_deleted) => {
                let change = control::Group {
                    group: format!("g{group}"),
                    generation: i32::from(group),
                    members: (0..group).map(|member| format!("m{member}")).collect(),
                    is_deleted,
                };
                self.control(Kind::Group, 0, &change);
            }
            Step::Ids(count) => {
                let first = self.next_producer_id;
                self.next_producer_id += count;
                let ids = control::ProducerIds { first, count };
                self.control(Kind::ProducerIds, 0, &ids);
            }
            Step::Create(_) | Step::Commit(..) | Step::Note(..) | Step::Ask => {}
        }
    }

    /// A topic created again has another uuid.
    fn uuid(&self, topic: u8) -> TopicUuid {
        let id = self.ids.get(&topic).copied().unwrap_or_default();
        let mut uuid = [topic; 16];
        uuid[..4].copy_from_slice(&id.to_le_bytes());
        uuid
    }

    fn create(&mut self, topic: u8) {
        let id = self.state.topics.read().next_partition();
        self.ids.insert(topic, id);
        let create = control::TopicCreate {
            uuid: self.uuid(topic),
            name: format!("t{topic}"),
            config: vec![("partitions".to_owned(), "1".to_owned())],
        };
        self.control(Kind::TopicCreate, 0, &create);
        let open = control::PartitionOpen {
            topic: self.uuid(topic),
            partition: 0,
            start_offset: 0,
        };
        self.control(Kind::PartitionOpen, id, &open);
    }

    fn records(&self, topic: u8) {
        let id = self.ids.get(&topic).copied().unwrap_or_default();
        let mut builder = BatchBuilder::new(100);
        builder.push(&RecordRef::default()).unwrap();
        let mut bytes = builder.finish(-1, -1, -1).unwrap();
        let topics = self.state.topics.read();
        let partition = topics.partition(PartitionId(id));
        let end = partition.map_or(0, |partition| partition.status().end_offset);
        drop(topics);
        batch::stamp(&mut bytes, end, self.term);
        self.apply(Kind::Records, id, &bytes);
    }
}

fn all(state: &State) -> Kept {
    let pairs = state.pairs(Scope::All).into_iter();
    pairs.map(|pair| (pair.key, pair.value.unwrap())).collect()
}

fn update(kept: &mut Kept, state: &State) {
    for StatePair { key, value } in state.pairs(Scope::Changed) {
        match value {
            Some(value) => drop(kept.insert(key, value)),
            None => drop(kept.remove(&key)),
        }
    }
}

fn applied(steps: &[Step], mut asked: impl FnMut(&State)) -> State {
    let mut applied = Applied {
        state: new_state(),
        index: 0,
        ids: BTreeMap::new(),
        next_producer_id: 0,
        term: 1,
    };
    for step in steps {
        applied.step(step);
        if matches!(step, Step::Ask) {
            asked(&applied.state);
        }
    }
    applied.state
}

proptest! {
    #[test]
    fn changes_added_up_are_the_state(steps in steps()) {
        let mut kept = Kept::new();
        let state = applied(&steps, |state| {
            update(&mut kept, state);
            assert_eq!(kept, all(state), "in between");
        });
        update(&mut kept, &state);
        prop_assert_eq!(kept, all(&state));
    }

    #[test]
    fn state_comes_back_from_its_pairs(steps in steps()) {
        let state = applied(&steps, |_| {});
        let again = new_state();
        again.restore(&state.pairs(Scope::All)).unwrap();
        prop_assert_eq!(all(&again), all(&state));
        let topics = state.topics.read();
        let topics_again = again.topics.read();
        for (one, other) in topics.iter().zip(topics_again.iter()) {
            prop_assert_eq!(&one.name, &other.name);
            prop_assert_eq!(&one.config, &other.config);
            prop_assert_eq!(one.partitions.len(), other.partitions.len());
            for (one, other) in one.partitions.iter().zip(other.partitions.iter()) {
                prop_assert_eq!(one.status(), other.status());
                prop_assert_eq!(one.epochs(), other.epochs());
            }
        }
        let (groups, groups_again) = (state.groups.lock(), again.groups.lock());
        for ((_, one), (_, other)) in groups.iter().zip(groups_again.iter()) {
            prop_assert_eq!(&one.members, &other.members);
            prop_assert_eq!(&one.offsets, &other.offsets);
        }
    }
}

#[test]
fn pairs_that_are_no_state_change_nothing() {
    let state = applied(&[Step::Create(1), Step::Records(1)], |_| {});
    let before = all(&state);
    let pair = |key: &[u8], value: &[u8]| StatePair {
        key: key.to_vec(),
        value: Some(value.to_vec()),
    };
    for bad in [
        pair(b"", b""),
        pair(b"x", b""),
        pair(b"t", b""),
        pair(b"p\0\0\0\x01", &[1]),
        pair(b"o\x05ab", b"\0"),
        pair(b"g\xff", b"\0"),
        pair(b"cc", b"\0\0"),
    ] {
        assert!(state.restore(&[bad]).is_err());
        assert_eq!(all(&state), before);
    }
}

#[test]
fn a_partition_kept_before_epochs_were_is_taken_for_one_epoch() {
    #[derive(Serialize)]
    struct Before {
        topic: TopicUuid,
        number: i32,
        log_start_offset: i64,
        end_offset: i64,
        leader_epoch: i32,
    }
    let (topic, number) = ([1; 16], 0);
    let kept = |log_start_offset, end_offset| Before {
        topic,
        number,
        log_start_offset,
        end_offset,
        leader_epoch: 3,
    };
    let state = new_state();
    let pairs = [(1, kept(4, 9)), (2, kept(9, 9))]
        .map(|(id, kept)| StatePair::new(key(PARTITION, &u32::to_be_bytes(id)), Some(kept)));
    state.restore(&pairs).unwrap();
    let topics = state.topics.read();
    let partition = |id| topics.partition(PartitionId(id)).unwrap();
    assert_eq!(partition(1).status().end_offset, 9);
    let ends = [2, 3, 4].map(|epoch| partition(1).end_of_epoch(LeaderEpoch(epoch)));
    assert_eq!(ends, [4, 9, 9]);
    assert_eq!(partition(2).epochs(), Epochs::default());
}

#[test]
fn a_group_kept_before_members_were_has_none() {
    #[derive(Serialize)]
    struct Before {
        generation: i32,
    }
    let state = new_state();
    let pair = StatePair::new(key(GROUP, b"g"), Some(Before { generation: 7 }));
    state.restore(&[pair]).unwrap();
    let groups = state.groups.lock();
    let group = groups.get("g").unwrap();
    assert_eq!((group.generation, group.members.len()), (7, 0));
}

#[test]
fn an_offset_beside_which_nothing_is_noted_is_kept_as_it_always_was() {
    #[derive(Serialize)]
    struct Before {
        offset: i64,
    }
    let place = offset_key("g", &[1; 16], 2);
    let before = StatePair::new(place, Some(Before { offset: 300 }));
    let state = new_state();
    state.restore(std::slice::from_ref(&before)).unwrap();
    let groups = state.groups.lock();
    let committed = &groups.get("g").unwrap().offsets[&([1; 16], 2)];
    assert_eq!((committed.offset, &committed.details), (300, &None));
    drop(groups);
    assert!(state.pairs(Scope::All).contains(&before));
}
