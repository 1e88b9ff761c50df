//! Requests that are none, on a connection. What becomes of each by itself `fuzzing` tries.

use super::*;

#[tokio::test]
async fn a_request_that_cannot_be_read_ends_its_connection_behind_the_answers_before_it() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let mut stream = Client::frame(18, 0, 1, &ApiVersionsRequest::default());
    let mut broken = Client::frame(3, 9, 2, &MetadataRequest::default());
    broken.extend([1, 2, 3]);
    let length = i32::try_from(broken.len() - 4).unwrap();
    broken[..4].copy_from_slice(&length.to_be_bytes());
    stream.extend(broken);
    stream.extend(Client::frame(18, 0, 3, &ApiVersionsRequest::default()));
    client.send(&stream).await;
    assert_eq!(client.receive().await.unwrap().get_i32(), 1);
    assert!(client.receive().await.is_none());
}
