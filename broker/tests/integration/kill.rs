//! kill -9 of the broker while it is produced to, again and again, on the same folder: every record that
//! was acknowledged is there, at its offset, once; and no call of a client hangs.
//!
//! The times are drawn from a seed, printed when the test fails; `HEADWATER_SEED` sets another one.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use headwater::{
    Client, ConsumerOptions, Delivery, Error, ErrorKind, Outcome, ProducerOptions, Record,
    TopicOptions, Until,
};

use super::harness::{Serving, verified};

const ROUNDS: u64 = 20;
const PRODUCERS: u64 = 3;
const PARTITIONS: i32 = 2;
const TOPIC: &str = "orders";
/// Deliveries that a producer leaves open before it waits for the oldest.
const OPEN_MAX: usize = 500;
/// Far beyond any time limit of a client: who waits so long would wait for ever.
const FOR_EVER: Duration = Duration::from_secs(300);

/// Where an acknowledged record lies, by its value.
type Acked = HashMap<String, (i32, i64)>;

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn seed() -> u64 {
    let seed = std::env::var("HEADWATER_SEED").ok();
    seed.map_or(7, |seed| seed.parse().unwrap())
}

#[test]
fn what_was_acknowledged_survives_twenty_kills() {
    let seed = seed();
    println!("HEADWATER_SEED={seed}");
    let mut random = Random(seed);
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let (mut all, mut seen) = (Acked::new(), Seen::default());
    let mut term = 0;
    for round in 0..ROUNDS {
        let mut broker = Serving::start(&data);
        let db = connect(&broker);
        create_topic(&db);
        let progress = Arc::new(AtomicUsize::new(0));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (address, progress) = (broker.address.clone(), Arc::clone(&progress));
                let name = format!("{round}-{producer}");
                thread::spawn(move || produce(&address, &name, &progress))
            })
            .collect();
        // First something has to be acknowledged, then anything may happen.
        while progress.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(random.next() % 200_000));
        broker.kill();
        let mut acked = Acked::new();
        for producer in producers {
            acked.extend(producer.join().unwrap());
        }
        let lost = db.admin().list_topics().wait(Some(FOR_EVER)).unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Unavailable, "{lost}");
        db.close(None).wait(Some(FOR_EVER)).unwrap();
        let summary = verified(&data);
        assert!(summary["term"].as_i64().unwrap() > term, "{summary}");
        term = summary["term"].as_i64().unwrap();
        seen.check(&data, &acked);
        all.extend(acked);
    }
    // And all of it at the end, after the last opening.
    Seen::default().check(&data, &all);
    println!(
        "{} records acknowledged, {} found",
        all.len(),
        seen.places.len()
    );
}

fn connect(broker: &Serving) -> Client {
    headwater::connect(&broker.address).wait(None).unwrap()
}

fn create_topic(db: &Client) {
    let mut options = TopicOptions {
        partitions: Some(PARTITIONS as u32),
        exist_ok: Some(true),
        ..TopicOptions::default()
    };
    // `disk` differs in nothing that a kill can show, and is slower.
    options.set("durability", "os").unwrap();
    db.admin().create_topic(TOPIC, options).wait(None).unwrap();
}

/// Sends until the broker is gone; returns what was acknowledged.
fn produce(address: &str, name: &str, progress: &AtomicUsize) -> Acked {
    let db = match headwater::connect(address).wait(None) {
        Ok(db) => db,
        // The kill was faster.
        Err(error) => {
            check_lost(&error);
            return Acked::new();
        }
    };
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let mut open: VecDeque<(String, Delivery)> = VecDeque::new();
    let mut acked = Acked::new();
    let mut is_gone = false;
    for counter in 0.. {
        let value = format!("{name}-{counter}");
        let record = Record {
            partition: Some(counter % PARTITIONS),
            ..Record::new(value.as_bytes())
        };
        match producer.send(TOPIC, &record) {
            Ok(delivery) => open.push_back((value, delivery)),
            Err(error) => {
                check_lost(&error);
                is_gone = true;
            }
        }
        while open.len() > OPEN_MAX || (is_gone && !open.is_empty()) {
            let Some((value, delivery)) = open.pop_front() else {
                break;
            };
            match delivery.wait(Some(FOR_EVER)) {
                Ok(placed) => {
                    progress.fetch_add(1, Ordering::Relaxed);
                    acked.insert(value, (placed.partition, placed.offset));
                }
                Err(error) => {
                    check_lost(&error);
                    is_gone = true;
                }
            }
        }
        if is_gone {
            break;
        }
    }
    let report = producer.close(None).wait(Some(FOR_EVER)).unwrap();
    assert_eq!(report.unsent_records, 0, "{report:?}");
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    acked
}

/// What may be told of a record whose broker was killed.
fn check_lost(error: &Error) {
    let is_lost = error.kind() == ErrorKind::Unavailable || error.outcome() == Outcome::Unknown;
    assert!(is_lost, "{error:?}");
}

/// What was read so far, and where it lies.
#[derive(Default)]
struct Seen {
    places: HashMap<String, (i32, i64)>,
    next: [i64; PARTITIONS as usize],
}

impl Seen {
    /// Opens the folder anew, reads on, and looks for records that were acknowledged.
    fn check(&mut self, data: &Path, acked: &Acked) {
        let broker = Serving::start(data);
        let db = connect(&broker);
        let options = ConsumerOptions {
            until: Some(Until::End),
            ..ConsumerOptions::default()
        };
        let consumer = db.consumer(&[TOPIC], options).unwrap();
        consumer.open().wait(None).unwrap();
        for (partition, next) in (0..).zip(self.next) {
            consumer.seek(TOPIC, partition, next).unwrap();
        }
        while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
            for record in batch.records() {
                let record = record.unwrap();
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                let next = &mut self.next[batch.partition() as usize];
                assert_eq!(record.offset, *next);
                *next += 1;
                let place = (batch.partition(), record.offset);
                let before = self.places.insert(value, place);
                assert_eq!(before, None, "twice, again at {place:?}");
            }
        }
        for (value, place) in acked {
            assert_eq!(self.places.get(value), Some(place), "`{value}`");
        }
        db.close(None).wait(None).unwrap();
    }
}

#[test]
fn a_consumer_of_a_broker_that_is_killed_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let mut broker = Serving::start(&scratch.path().join("data"));
    let db = connect(&broker);
    create_topic(&db);
    let consumer = db.consumer(&[TOPIC], ConsumerOptions::default()).unwrap();
    consumer.open().wait(None).unwrap();
    let said = Arc::new(Mutex::new(None));
    let saying = Arc::clone(&said);
    let reading = thread::spawn(move || {
        let read = consumer.next_batch_wait(Some(FOR_EVER));
        *saying.lock().unwrap() = Some(read.map(|_| ()));
        consumer.close(None).wait(Some(FOR_EVER))
    });
    broker.kill();
    reading.join().unwrap().unwrap();
    let error = said.lock().unwrap().take().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
