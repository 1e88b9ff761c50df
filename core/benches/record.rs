//! Records per second of one core: encode, check, decode, and unpack into blocks; the same
//! compressed.
//!
//! `cargo bench -p headwater --bench record`. Each line is the best and the median of some rounds
//! over batches that stay in the cache, so it tells the cost of the code and not of the memory.
//! What is compressed is text like a log's, about 100 bytes a record; beside it stands how small it
//! gets.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater::record::block::{BlockBuilder, BlockView};
use headwater::record::{
    Batch, BatchBuilder, Codec, Compressor, HeadersRef, RecordRef, batch, pack_header,
};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(150);
const RECORDS: usize = 1_000;

fn main() {
    println!(
        "{:<34}{:>14}{:>14}{:>10}",
        "what", "best rec/s", "median rec/s", "ns/rec"
    );
    for case in [
        Case::new("100 B value", 100, None, false),
        Case::new("100 B value, 12 B key", 100, Some(12), false),
        Case::new("100 B value, key, header", 100, Some(12), true),
        Case::new("1 KiB value", 1_024, None, false),
    ] {
        case.run();
    }
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_supported()) {
        for records in [10, 100, RECORDS] {
            compressed(codec, records);
        }
    }
}

/// What a codec makes of batches of text, and what that costs.
fn compressed(codec: Codec, records: usize) {
    let lines: Vec<_> = (0..records).map(line).collect();
    let mut builder = BatchBuilder::new(256 * 1_024);
    let mut compressor = Compressor::new(codec).expect("it is built in");
    let mut encode = || {
        for (index, line) in lines.iter().enumerate() {
            let record = RecordRef {
                timestamp_ms: 1_700_000_000_000 + index as i64 / 8,
                value: Some(black_box(line.as_bytes())),
                ..RecordRef::default()
            };
            builder.push(&record).expect("a small record");
        }
        let bytes = builder.finish_compressed(&mut compressor, 1, 0, 0);
        bytes.expect("there are records")
    };
    let batch = Batch::verified(encode().into()).expect("intact");
    let text: usize = lines.iter().map(String::len).sum();
    println!(
        "{}, {records} records: {} bytes of {text}, {:.2} to 1",
        codec.name(),
        batch.bytes().len(),
        text as f64 / batch.bytes().len() as f64
    );
    measure_of(records, "encode with CRC", || {
        black_box(encode());
    });
    measure_of(records, "verify every record", || {
        black_box(batch::verify_records(black_box(batch.bytes())).expect("intact"));
    });
    measure_of(records, "verify CRC and decode", || {
        let batch = Batch::verified(black_box(&batch).bytes().clone()).expect("intact");
        black_box(sum(&batch));
    });
}

/// A line as a web server logs it.
fn line(number: usize) -> String {
    let random = number.wrapping_mul(2_654_435_761) % (1 << 32);
    let address = random >> 8;
    let path = ["/", "/orders", "/orders/items", "/login", "/static/app.js"][random % 5];
    let status = [200, 200, 200, 304, 404][random / 7 % 5];
    format!(
        "10.{}.{}.{} - GET {path}?id={random} HTTP/1.1 {status} {} \
         \"Mozilla/5.0 (X11; Linux x86_64)\"",
        address % 4,
        address / 4 % 256,
        address / 1_024 % 256,
        random % 20_000
    )
}

struct Case {
    name: &'static str,
    value: Vec<u8>,
    key: Option<Vec<u8>>,
    headers: Vec<u8>,
}

impl Case {
    fn new(name: &'static str, value: usize, key: Option<usize>, has_header: bool) -> Self {
        let mut headers = Vec::new();
        if has_header {
            let header = headwater::record::Header {
                key: "trace",
                value: Some(&[7; 16]),
            };
            pack_header(&mut headers, &header).expect("a small header");
        }
        Self {
            name,
            value: vec![b'v'; value],
            key: key.map(|len| vec![b'k'; len]),
            headers,
        }
    }

    fn run(&self) {
        println!("{}", self.name);
        let mut builder = BatchBuilder::new(256 * 1_024);
        measure("encode with CRC", || {
            black_box(self.encode(&mut builder));
        });

        let bytes = Bytes::from(self.encode(&mut builder));
        measure("verify (header and CRC)", || {
            black_box(batch::verify(black_box(&bytes)).expect("intact"));
        });
        measure("verify every record", || {
            black_box(batch::verify_records(black_box(&bytes)).expect("intact"));
        });
        let batch = Batch::verified(bytes).expect("intact");
        measure("decode", || {
            black_box(sum(black_box(&batch)));
        });
        measure("verify CRC and decode", || {
            let batch = Batch::verified(black_box(&batch).bytes().clone()).expect("intact");
            black_box(sum(&batch));
        });
        let mut blocks = BlockBuilder::new();
        measure("unpack into a block", || {
            black_box(unpack(&mut blocks, black_box(&batch)));
        });
        let block = unpack(&mut blocks, &batch);
        measure("check and read a block", || {
            let view = BlockView::parse(black_box(block.bytes())).expect("intact");
            let values: usize = view
                .records()
                .filter_map(|record| record.value)
                .map(<[u8]>::len)
                .sum();
            black_box(values);
        });
    }

    fn encode(&self, builder: &mut BatchBuilder) -> Vec<u8> {
        for index in 0..RECORDS {
            let record = RecordRef {
                timestamp_ms: 1_700_000_000_000 + index as i64 / 8,
                key: black_box(self.key.as_deref()),
                value: Some(black_box(&self.value)),
                headers: HeadersRef::Packed(&self.headers),
            };
            builder.push(&record).expect("a small record");
        }
        builder.finish(1, 0, 0).expect("there are records")
    }
}

fn sum(batch: &Batch) -> i64 {
    batch
        .records()
        .map(|record| record.expect("intact"))
        .map(|record| record.offset + record.value.map_or(0, |value| value.len() as i64))
        .sum()
}

fn unpack(blocks: &mut BlockBuilder, batch: &Batch) -> headwater::record::block::Block {
    blocks
        .push_batch("orders", 0, batch, 0, 1_000, 64 << 20)
        .expect("intact");
    blocks.finish()
}

fn measure(what: &str, batch_of_records: impl FnMut()) {
    measure_of(RECORDS, what, batch_of_records);
}

/// Calls `batch_of_records`, which has so many, for a while, several times.
fn measure_of(count: usize, what: &str, mut batch_of_records: impl FnMut()) {
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let mut records = 0;
            while start.elapsed() < ROUND {
                for _ in 0..16 {
                    batch_of_records();
                }
                records += 16 * count;
            }
            records as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let (best, median) = (rates[ROUNDS - 1], rates[ROUNDS / 2]);
    println!(
        "  {what:<32}{best:>14.0}{median:>14.0}{:>10.1}",
        1e9 / median
    );
}
