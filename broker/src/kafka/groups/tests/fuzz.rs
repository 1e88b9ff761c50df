//! Requests with bytes changed, cut and grown: each is answered, or refused as malformed.

use super::super::super::api::{APIS, Arrived};
use super::super::super::context::Node;
use super::*;

/// The APIs of groups.
const KEYS: [i16; 10] = [8, 9, 11, 12, 13, 14, 15, 16, 42, 47];

/// Starts whatever these bytes ask for.
fn check(context: &Context, frame: Vec<u8>) {
    if let Ok(arrived) = Arrived::of(frame.into()) {
        // Dropped at once: what it waits for comes to nobody.
        let _ = arrived.start(context);
    }
}

/// Proper requests of one API in every version, without their lengths.
fn seeds(key: i16) -> Vec<Vec<u8>> {
    let api = APIS.iter().find(|api| api.key == key).unwrap();
    let frames = api.versions().map(|version| {
        let frame = match key {
            8 => Client::frame(key, version, 1, &commit(version, "g", "", -1)),
            9 => Client::frame(key, version, 1, &fetch(version)),
            11 => Client::frame(key, version, 1, &join(version, "g", "")),
            12 => Client::frame(key, version, 1, &beat("g", "m", 1)),
            13 => Client::frame(key, version, 1, &leave(version, "g", "m")),
            14 => Client::frame(key, version, 1, &sync(version, "g", "m", 1)),
            15 => {
                let request = DescribeGroupsRequest::default().with_groups(vec![group_id("g")]);
                Client::frame(key, version, 1, &request)
            }
            16 => Client::frame(key, version, 1, &ListGroupsRequest::default()),
            42 => {
                let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id("g")]);
                Client::frame(key, version, 1, &request)
            }
            _ => {
                let partition = OffsetDeleteRequestPartition::default();
                let topic = OffsetDeleteRequestTopic::default()
                    .with_name(topic_name("orders"))
                    .with_partitions(vec![partition]);
                let request = OffsetDeleteRequest::default()
                    .with_group_id(group_id("g"))
                    .with_topics(vec![topic]);
                Client::frame(key, version, 1, &request)
            }
        };
        frame[4..].to_vec()
    });
    frames.collect()
}

fn fetch(version: i16) -> OffsetFetchRequest {
    if version >= 8 {
        let group = OffsetFetchRequestGroup::default().with_group_id(group_id("g"));
        return OffsetFetchRequest::default().with_groups(vec![group]);
    }
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name("orders"))
        .with_partition_indexes(vec![0, 1]);
    OffsetFetchRequest::default()
        .with_group_id(group_id("g"))
        .with_topics(Some(vec![topic]))
}

/// One after the other of a sequence that looks like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, below: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let found = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(found).unwrap() % below
    }

    /// The same bytes with some changed, behind the key and the version.
    fn damage(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = 4 + self.below(bytes.len() - 4);
            match self.below(4) {
                0 => bytes.truncate(at.max(5)),
                1 => bytes.insert(at, [0, 1, 0x7F, 0x80, 0xFF][self.below(5)]),
                2 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][self.below(5)],
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
        bytes
    }
}

#[tokio::test]
async fn damaged_requests_are_answered_or_refused() {
    let kafka = kafka(true);
    let node = Node {
        host: "broker.test".to_owned(),
        port: 9092,
    };
    let mut chance = Chance(7);
    for key in KEYS {
        for seed in seeds(key) {
            let session = kafka.0.service.remote_session();
            let context = Context::new(session, text("cluster"), node.clone(), "test");
            // As it is it is understood.
            let arrived = Arrived::of(seed.clone().into()).unwrap();
            assert!(arrived.start(&context).is_ok(), "{key}");
            for _ in 0..500 {
                check(&context, chance.damage(&seed));
            }
        }
    }
}
