//! What is counted of the requests.

use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use uuid::Uuid;

use super::records::{batch, produce, topic};
use super::*;
use crate::listen::Spoken;

/// Requests, and those of them with an error, of an API.
fn of(spoken: &Spoken, api: &str) -> (u64, u64) {
    let found = spoken.requests.iter().find(|of_api| of_api.api == api);
    found.map_or((0, 0), |of_api| (of_api.requests, of_api.errors))
}

#[tokio::test]
async fn requests_are_counted_by_api_with_their_errors_their_bytes_and_how_long_they_took() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    let bad = MetadataRequestTopic::default().with_name(Some(topic_name("or/ders")));
    let request = MetadataRequest::default().with_topics(Some(vec![bad]));
    let _: MetadataResponse = client.ask(3, 12, &request).await;
    let mut sent_bytes = 0;
    for (name, acks) in [("orders", 1), ("nowhere", 1), ("orders", 0)] {
        let request = produce(9, name, id, batch(&["a"], 0)).with_acks(acks);
        client.request(0, 9, &request).await;
        sent_bytes += Client::frame(0, 9, 1, &request).len() as u64;
        if acks > 0 {
            let _: ProduceResponse = client.answer(9).await;
        }
    }
    // Answered behind those before it.
    let _: ApiVersionsResponse = client.ask(18, 0, &ApiVersionsRequest::default()).await;
    let spoken = kafka.figures()();
    assert_eq!(of(&spoken, "Metadata"), (2, 1));
    assert_eq!(of(&spoken, "Produce"), (3, 1));
    assert_eq!(of(&spoken, "ApiVersions"), (1, 0));
    assert_eq!(of(&spoken, "Fetch"), (0, 0));
    assert_eq!(spoken.requests.len(), api::APIS.len());
    assert!(spoken.requests.iter().map(|of| of.seconds).sum::<f64>() > 0.0);
    assert!(spoken.received_bytes > sent_bytes, "{spoken:?}");
    assert!(spoken.sent_bytes > 100, "{spoken:?}");
    assert_eq!((spoken.protocol, spoken.connections), ("kafka", 1));
    // What cannot be read is an error too.
    let mut broken = Client::frame(0, 9, 1, &produce(9, "", Uuid::nil(), Bytes::new()));
    let last = broken.len() - 1;
    broken[last] = 1;
    client.send(&broken).await;
    assert!(client.receive().await.is_none());
    assert_eq!(of(&kafka.figures()(), "Produce"), (4, 2));
}
