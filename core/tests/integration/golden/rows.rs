//! Send rows and completion rows.

use headwater::record::block::{CompletionRow, SendRow, SendRows, write_send_row};
use headwater::record::{Header, PackedHeaders, pack_header};
use serde_json::json;

use super::{Folder, headers_json, hex_or_null};

#[test]
fn send_and_completion_rows_equal_the_golden_files() {
    let mut folder = Folder::new("rows");
    let bytes = send_rows();
    let rows: Vec<_> = SendRows::check(&bytes)
        .expect("well formed rows")
        .map(|row| {
            let headers = PackedHeaders::new(row.headers_packed);
            json!({
                "row_len": row.row_len,
                "topic_id": row.topic_id,
                "partition": row.partition,
                "key": hex_or_null(row.key),
                "value": hex_or_null(row.value),
                "headers": headers_json(headers.map(|header| header.expect("intact"))),
                "timestamp_ms": row.timestamp_ms,
                "ticket": row.ticket,
            })
        })
        .collect();
    let description = "host to core: rows back to back, padded with zeros to a multiple of 8";
    folder.check(
        "send",
        &bytes,
        &json!({ "description": description, "rows": rows }),
    );

    let mut bytes = Vec::new();
    COMPLETIONS
        .iter()
        .for_each(|row| row.encode_into(&mut bytes));
    let rows: Vec<_> = bytes
        .chunks(40)
        .map(|row| CompletionRow::decode(row).expect("40 bytes"))
        .map(|row| {
            json!({
                "first_ticket": row.first_ticket,
                "count": row.count,
                "partition": row.partition,
                "base_offset": row.base_offset,
                "timestamp_ms": row.timestamp_ms,
                "durability": row.durability,
                "outcome": row.outcome,
                "error": row.error,
                "error_id": row.error_id,
            })
        })
        .collect();
    let description = "core to host: 40 bytes for each run of consecutive tickets";
    folder.check(
        "completion",
        &bytes,
        &json!({ "description": description, "rows": rows }),
    );
    folder.finish();
}

fn send_rows() -> Vec<u8> {
    let mut headers = Vec::new();
    for header in [
        Header {
            key: "trace",
            value: Some(&[0xab, 0xcd]),
        },
        Header {
            key: "\u{fc}n\u{ef}",
            value: None,
        },
        Header {
            key: "",
            value: Some(b""),
        },
    ] {
        pack_header(&mut headers, &header).expect("a small header");
    }
    let plain = SendRow {
        row_len: 0,
        topic_id: 1,
        partition: -1,
        key: None,
        value: Some(b"hello"),
        headers_packed: &[],
        timestamp_ms: -1,
        ticket: 0,
    };
    let mut rows = Vec::new();
    for row in [
        plain,
        SendRow {
            key: Some(b"k1"),
            ticket: 7,
            ..plain
        },
        SendRow {
            partition: 3,
            key: Some(b""),
            value: Some(b""),
            ticket: 1 << 40,
            ..plain
        },
        SendRow {
            topic_id: u32::MAX,
            key: Some(b"tombstone"),
            value: None,
            ..plain
        },
        SendRow {
            timestamp_ms: 1_700_000_000_000,
            headers_packed: &headers,
            ..plain
        },
        SendRow {
            value: Some(b"no padding needed, 32 bytes long"),
            ..plain
        },
        SendRow {
            value: None,
            ..plain
        },
    ] {
        write_send_row(&mut rows, &row).expect("a small row");
    }
    rows
}

const COMPLETIONS: [CompletionRow; 5] = [
    done(1, 1, 0, 0, -1, 1),
    done(2, 1_000, 3, 1 << 40, -1, 2),
    done(1 << 40, 12, 4_095, 77, 1_700_000_000_000, 3),
    CompletionRow {
        base_offset: -1,
        outcome: 1,
        error: 10,
        error_id: 1,
        ..done(5, 2, -1, 0, -1, 0)
    },
    CompletionRow {
        base_offset: -1,
        outcome: 2,
        error: 7,
        error_id: 2,
        ..done(9, 1, 2, 0, -1, 0)
    },
];

const fn done(
    first_ticket: u64,
    count: u32,
    partition: i32,
    base_offset: i64,
    timestamp_ms: i64,
    durability: u8,
) -> CompletionRow {
    CompletionRow {
        first_ticket,
        count,
        partition,
        base_offset,
        timestamp_ms,
        durability,
        outcome: 0,
        error: 0,
        error_id: 0,
    }
}
