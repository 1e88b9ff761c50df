//! Quickstart: send ten records and read them back, on a folder or through a broker.
//!
//!     cargo run --example quickstart                    the log lives in this process, in a temporary folder
//!     cargo run --example quickstart -- 127.0.0.1:9092  the same calls, to a broker
#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use headwater::{ConsumerOptions, ProducerOptions, Record, Result, TopicOptions, Until, connect};

fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("headwater-quickstart-{}", std::process::id()));
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| folder.display().to_string());
    let done = quickstart(&address);
    // Only there if no broker was named.
    let _ = std::fs::remove_dir_all(&folder);
    done
}

fn quickstart(address: &str) -> Result<()> {
    let db = connect(address).wait(None)?;
    let topic = TopicOptions {
        partitions: Some(2),
        exist_ok: Some(true),
        ..TopicOptions::default()
    };
    db.admin()
        .create_topic("quickstart-rust", topic)
        .wait(None)?;

    let producer = db.producer(ProducerOptions::default())?;
    for number in 0..10 {
        let (key, value) = (format!("key-{}", number % 3), format!("hello {number}"));
        let record = Record::new(value.as_bytes()).with_key(key.as_bytes());
        // What `send` gives can be waited for; what nobody waits for comes out of `close`.
        let delivery = producer.send("quickstart-rust", &record)?;
        if number == 9 {
            let at = delivery.wait(None)?;
            println!(
                "the last record is in partition {} and safe at `{}`",
                at.partition, at.durability
            );
        }
    }
    producer.close(None).wait(None)?;

    let options = ConsumerOptions {
        group: Some("quickstart".to_owned()),
        until: Some(Until::End),
        ..ConsumerOptions::default()
    };
    let consumer = db.consumer(&["quickstart-rust"], options)?;
    let mut count = 0;
    while let Some(batch) = consumer.next_batch_wait(None)? {
        for record in batch.records() {
            let record = record?;
            let text = |bytes: Option<&[u8]>| {
                String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
            };
            println!(
                "{} {} {} {}",
                batch.partition(),
                record.offset,
                text(record.key),
                text(record.value)
            );
            count += 1;
        }
    }
    consumer.close(None).wait(None)?;
    println!("{count} records read");
    db.close(None).wait(None)?;
    Ok(())
}
