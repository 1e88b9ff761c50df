//! Who takes its time. Time stands still and jumps to the next timer when nothing else can happen.

use headwater::limits;
use tokio::time::{Instant, sleep};

use super::*;

/// Sends the rest of a request so many bytes a second; says how many of them were taken, and when it was over.
async fn trickle(rest: &[u8], bytes_per_second: usize) -> (usize, Duration) {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    let began = Instant::now();
    let mut taken = 0;
    for some in rest.chunks(bytes_per_second) {
        if client.stream.write_all(some).await.is_err() {
            return (taken, began.elapsed());
        }
        taken += some.len();
        sleep(Duration::from_secs(1)).await;
    }
    assert!(client.receive().await.is_some());
    (taken, began.elapsed())
}

/// It was never over: any byte counted as life.
#[tokio::test(start_paused = true)]
async fn a_request_that_comes_a_byte_at_a_time_is_given_up() {
    let mut frame = Client::frame(18, 0, 1, &ApiVersionsRequest::default());
    // A name that goes on and on.
    frame.truncate(12);
    frame.extend(10_000_i16.to_be_bytes());
    frame.extend(vec![b'x'; 10_000]);
    let length = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    let (taken, elapsed) = trickle(&frame, 1).await;
    let within = Duration::from_millis(limits::KAFKA_REQUEST_TIMEOUT_MS);
    assert!(taken > 20 && elapsed < 2 * within, "{taken} in {elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn half_a_length_is_a_request_too() {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    let began = Instant::now();
    client.send(&[0, 0]).await;
    assert!(client.receive().await.is_none());
    let within = Duration::from_millis(limits::KAFKA_REQUEST_TIMEOUT_MS);
    assert!(began.elapsed() < 2 * within, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_large_request_over_a_slow_line_has_its_time() {
    let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(topic_name(&"x".repeat(30_000))));
    let request = MetadataRequest::default().with_topics(Some(vec![topic; 200]));
    let frame = Client::frame(3, 8, 1, &request);
    let speed = 2 * limits::KAFKA_REQUEST_BYTES_PER_SECOND_MIN;
    let (taken, elapsed) = trickle(&frame, speed).await;
    assert_eq!(taken, frame.len());
    assert!(elapsed > Duration::from_millis(limits::KAFKA_REQUEST_TIMEOUT_MS));
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_between_requests_is_given_up_when_it_is_idle() {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    let _: ApiVersionsResponse = client.ask(18, 0, &ApiVersionsRequest::default()).await;
    sleep(Duration::from_secs(590)).await;
    let _: ApiVersionsResponse = client.ask(18, 0, &ApiVersionsRequest::default()).await;
    assert!(client.receive().await.is_none());
}
