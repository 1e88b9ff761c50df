//! Results that are sent with a commit, as JavaScript gives them.

use headwater::Pending;
use headwater::client::{Consumer, Record, RecordMetadata};
use headwater::record::Header;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

/// A record to send; what it is made of is checked in JavaScript.
#[napi(object)]
pub struct ResultOf {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Buffer>,
    /// The value.
    pub value: Option<Buffer>,
    /// The headers, in their order.
    pub headers: Vec<HeaderOf>,
    /// In ms since 1970.
    pub timestamp_ms: Option<i64>,
}

/// A header.
#[napi(object)]
pub struct HeaderOf {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<Buffer>,
}

/// Hands the results to core, which copies them.
pub(crate) fn commit_with(
    consumer: &Consumer,
    rows: u32,
    results: &[ResultOf],
) -> Pending<Vec<RecordMetadata>> {
    let headers: Vec<Vec<_>> = results
        .iter()
        .map(|result| result.headers.iter().map(header).collect())
        .collect();
    let records = results.iter().zip(&headers).map(|(result, headers)| {
        let record = Record {
            partition: result.partition,
            key: result.key.as_deref(),
            value: result.value.as_deref(),
            headers,
            timestamp_ms: result.timestamp_ms,
        };
        (result.topic.as_str(), record)
    });
    consumer.commit_rows_with(rows, &records.collect::<Vec<_>>())
}

fn header(header: &HeaderOf) -> Header<'_> {
    Header {
        key: &header.name,
        value: header.value.as_deref(),
    }
}
