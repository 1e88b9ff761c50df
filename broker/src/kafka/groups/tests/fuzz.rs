//! Requests with bytes changed, cut and grown: each is answered, or refused as malformed.

use headwater::fuzzing::Mutator;

use super::*;
use crate::kafka::api::APIS;
use crate::kafka::tests::damaged::{carry_out, context};

/// The APIs of groups.
const KEYS: [i16; 10] = [8, 9, 11, 12, 13, 14, 15, 16, 42, 47];

/// For each request so many damaged ones.
const INPUTS: usize = 600;

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

#[tokio::test]
async fn damaged_requests_are_answered_or_refused() {
    let kafka = kafka(true);
    let context = context(&kafka);
    for key in KEYS {
        let seeds = seeds(key);
        for seed in &seeds {
            // As it is it is understood; longer or cut it is not.
            assert!(carry_out(&context, seed).await.is_some(), "{seed:02x?}");
            let longer = [&seed[..], &[0]].concat();
            assert!(carry_out(&context, &longer).await.is_none(), "{seed:02x?}");
        }
        let mut mutator = Mutator::new(u64::try_from(key).unwrap());
        let mut answered = 0;
        for _ in 0..INPUTS {
            let input = mutator.input(&seeds);
            answered += usize::from(carry_out(&context, &input).await.is_some());
        }
        assert!((1..INPUTS).contains(&answered), "{key}: {answered}");
    }
}
