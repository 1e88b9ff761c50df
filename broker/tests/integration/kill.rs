//! kill -9 of the broker while it is produced to and consumed from, again and again, on the same folder and
//! port. Its clients live on: no record fails, each is there once, at the offset that was acknowledged, and the
//! consumer is given them in order, without a gap or a repetition. Nobody notices but by the time it takes. The
//! members of a group miss nothing either: each record is given to them where it lies, what is committed is never
//! ahead of what they have processed, and in the end it is all.
//!
//! The times are drawn from a seed, printed when the test fails; `HEADWATER_SEED` sets another one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use headwater::{
    Client, Consumer, ConsumerOptions, Delivery, ErrorKind, ProducerOptions, Record, TopicOptions,
    Until,
};

use super::harness::{Serving, verified};

const ROUNDS: u64 = 20;
const PRODUCERS: u64 = 3;
const MEMBERS: usize = 3;
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
fn clients_live_through_twenty_kills_and_notice_nothing() {
    let seed = seed();
    println!("HEADWATER_SEED={seed}");
    let mut random = Random(seed);
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let mut broker = Serving::start(&data);
    let address = broker.address.clone();
    create_topic(&connect(&address));
    let progress = Arc::new(AtomicUsize::new(0));
    let (is_over, is_sent) = (Arc::default(), Arc::default());
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|name| {
            let (address, progress) = (address.clone(), Arc::clone(&progress));
            let is_over: Arc<AtomicBool> = Arc::clone(&is_over);
            thread::spawn(move || produce(&address, &name.to_string(), &progress, &is_over))
        })
        .collect();
    let following = follow(&address, &is_sent, &progress);
    let processed = Arc::<Processed>::default();
    let members: Vec<_> = (0..MEMBERS)
        .map(|_| share(&address, &is_sent, &processed))
        .collect();
    let watching = connect(&address);
    let mut term = 0;
    for _ in 0..ROUNDS {
        // Between two kills something has to be acknowledged, then anything may happen.
        let before = progress.load(Ordering::Relaxed);
        while progress.load(Ordering::Relaxed) == before {
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(random.next() % 200_000));
        broker.kill();
        let summary = verified(&data);
        assert!(summary["term"].as_i64().unwrap() > term, "{summary}");
        term = summary["term"].as_i64().unwrap();
        broker = Serving::start_with(&data, &address, &[]);
        processed.check(&watching);
    }
    is_over.store(true, Ordering::Relaxed);
    let mut acked = Acked::new();
    for producer in producers {
        acked.extend(producer.join().unwrap());
    }
    is_sent.store(true, Ordering::Relaxed);
    // Each record went to a member, and perhaps again to another, if the first could not commit it any more.
    for member in members {
        member.join().unwrap();
    }
    processed.check(&watching);
    processed.has_all(&acked);
    watching.close(None).wait(Some(FOR_EVER)).unwrap();
    let seen = following.join().unwrap();
    assert_eq!(seen.places.len(), acked.len());
    seen.has_all(&acked);
    drop(broker);
    // And all of it once more, after the last opening.
    Seen::of(&data).has_all(&acked);
    println!("{} records acknowledged", acked.len());
}

#[test]
fn a_client_without_a_broker_says_so_when_a_request_has_waited_long_enough() {
    let scratch = tempfile::tempdir().unwrap();
    let mut broker = Serving::start(&scratch.path().join("data"));
    let db = connect(&broker.address);
    broker.kill();
    // It has time until then; the test has not.
    let asked = db.admin().list_topics();
    let report = db
        .close(Some(Duration::from_millis(100)))
        .wait(Some(FOR_EVER));
    assert_eq!(report.unwrap().first_error, None);
    let error = { asked }.wait(Some(FOR_EVER)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

fn connect(address: &str) -> Client {
    headwater::connect(address).wait(None).unwrap()
}

fn create_topic(db: &Client) {
    let mut options = TopicOptions {
        partitions: Some(PARTITIONS as u32),
        ..TopicOptions::default()
    };
    // `disk` differs in nothing that a kill can show, and is slower.
    options.set("durability", "os").unwrap();
    db.admin().create_topic(TOPIC, options).wait(None).unwrap();
}

/// Sends until it is over; returns what was acknowledged, which is all.
fn produce(address: &str, name: &str, progress: &AtomicUsize, is_over: &AtomicBool) -> Acked {
    let db = connect(address);
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let mut open: VecDeque<(String, Delivery)> = VecDeque::new();
    let mut acked = Acked::new();
    for counter in 0.. {
        let is_last = is_over.load(Ordering::Relaxed);
        let value = format!("{name}-{counter}");
        let record = Record {
            partition: Some(counter % PARTITIONS),
            ..Record::new(value.as_bytes())
        };
        let delivery = producer.send(TOPIC, &record).unwrap();
        open.push_back((value, delivery));
        while open.len() > OPEN_MAX || (is_last && !open.is_empty()) {
            let Some((value, delivery)) = open.pop_front() else {
                break;
            };
            let placed = delivery.wait(Some(FOR_EVER)).unwrap();
            progress.fetch_add(1, Ordering::Relaxed);
            acked.insert(value, (placed.partition, placed.offset));
        }
        if is_last {
            break;
        }
    }
    let report = producer.close(None).wait(Some(FOR_EVER)).unwrap();
    assert_eq!(
        (report.unsent_records, report.failed_records),
        (0, 0),
        "{report:?}"
    );
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    acked
}

/// Reads along until everything is acknowledged and read.
fn follow(
    address: &str,
    is_sent: &Arc<AtomicBool>,
    acknowledged: &Arc<AtomicUsize>,
) -> thread::JoinHandle<Seen> {
    let db = connect(address);
    let consumer = db.consumer(&[TOPIC], ConsumerOptions::default()).unwrap();
    consumer.open().wait(None).unwrap();
    let (is_sent, acknowledged) = (Arc::clone(is_sent), Arc::clone(acknowledged));
    thread::spawn(move || {
        let mut seen = Seen::default();
        while !is_sent.load(Ordering::Relaxed)
            || seen.places.len() < acknowledged.load(Ordering::Relaxed)
        {
            seen.read(&consumer, Some(Duration::from_millis(100)));
        }
        db.close(None).wait(Some(FOR_EVER)).unwrap();
        seen
    })
}

/// What the members of the group have processed, whichever of them: by partition and offset, the value.
#[derive(Default)]
struct Processed(Mutex<BTreeMap<(i32, i64), String>>);

impl Processed {
    /// A record was processed, perhaps not for the first time: there is one at an offset.
    fn add(&self, partition: i32, offset: i64, value: &str) {
        let mut records = self.0.lock().unwrap();
        let known = records
            .entry((partition, offset))
            .or_insert_with(|| value.to_owned());
        assert_eq!(known, value, "at offset {offset} of partition {partition}");
    }

    /// Nothing is committed before it was processed.
    fn check(&self, db: &Client) {
        let asked = db.admin().describe_group("sharing").wait(Some(FOR_EVER));
        let group = match asked {
            Ok(group) => group,
            // Before its first commit.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => panic!("{error}"),
        };
        // Asked before: what is committed was processed by then.
        let records = self.0.lock().unwrap();
        for committed in group.offsets {
            let below = (committed.partition, 0)..(committed.partition, committed.offset);
            let count = records.range(below).count();
            assert_eq!(count as i64, committed.offset, "{committed:?} is ahead");
        }
    }

    /// Looks for records that were acknowledged, each where it was said to be.
    fn has_all(&self, acked: &Acked) {
        let records = self.0.lock().unwrap();
        for (value, place) in acked {
            assert_eq!(records.get(place), Some(value), "{place:?}");
        }
        assert_eq!(records.len(), acked.len());
    }
}

/// A member of a group reads along until all is sent and the group has committed it.
fn share(
    address: &str,
    is_sent: &Arc<AtomicBool>,
    processed: &Arc<Processed>,
) -> thread::JoinHandle<()> {
    let db = connect(address);
    let options = ConsumerOptions {
        group: Some("sharing".to_owned()),
        ..ConsumerOptions::default()
    };
    let consumer = db.consumer(&[TOPIC], options).unwrap();
    let (is_sent, processed) = (Arc::clone(is_sent), Arc::clone(processed));
    thread::spawn(move || {
        loop {
            let is_last = is_sent.load(Ordering::Relaxed) && is_committed(&db);
            while let Some(batch) = consumer
                .next_batch_wait(Some(Duration::from_millis(50)))
                .unwrap()
            {
                for record in batch.records() {
                    let record = record.unwrap();
                    let value = str::from_utf8(record.value.unwrap()).unwrap();
                    processed.add(batch.partition(), record.offset, value);
                }
            }
            if is_last {
                break;
            }
        }
        let report = db.close(None).wait(Some(FOR_EVER)).unwrap();
        assert_eq!(report.first_error, None);
    })
}

/// Whether the group has committed all there is.
fn is_committed(db: &Client) -> bool {
    let topic = db
        .admin()
        .describe_topic(TOPIC)
        .wait(Some(FOR_EVER))
        .unwrap();
    let group = db
        .admin()
        .describe_group("sharing")
        .wait(Some(FOR_EVER))
        .unwrap();
    topic.partitions.iter().all(|it| {
        let mut offsets = group.offsets.iter();
        let committed = offsets.find(|offset| offset.partition == it.partition);
        committed.map_or(0, |committed| committed.offset) == it.high_watermark
    })
}

/// What was read so far, and where it lies.
#[derive(Default)]
struct Seen {
    places: HashMap<String, (i32, i64)>,
    next: [i64; PARTITIONS as usize],
}

impl Seen {
    /// What a broker opened anew has.
    fn of(data: &Path) -> Self {
        let broker = Serving::start(data);
        let db = connect(&broker.address);
        let options = ConsumerOptions {
            until: Some(Until::End),
            ..ConsumerOptions::default()
        };
        let mut seen = Self::default();
        seen.read(&db.consumer(&[TOPIC], options).unwrap(), None);
        db.close(None).wait(None).unwrap();
        seen
    }

    /// Reads until nothing comes.
    fn read(&mut self, consumer: &Consumer, timeout: Option<Duration>) {
        while let Some(batch) = consumer.next_batch_wait(timeout).unwrap() {
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
    }

    /// Looks for records that were acknowledged.
    fn has_all(&self, acked: &Acked) {
        for (value, place) in acked {
            assert_eq!(self.places.get(value), Some(place), "`{value}`");
        }
    }
}
