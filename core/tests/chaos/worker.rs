//! A process of `.ci/chaos` in Rust: produce or consume, as worker.py does.
#![expect(clippy::unwrap_used, reason = "a process that cannot go on has failed")]

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater::{Client, ConsumerOptions, Delivery, ProducerOptions, Record, connect};

const TOPIC: &str = "chaos";
const WINDOW: usize = 200;
const PAUSE: Duration = Duration::from_millis(5);

struct Worker {
    address: String,
    /// A producer's own, or the group's.
    name: String,
    file: File,
    stop: PathBuf,
}

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [role, address, name, path, stop] = &args[..] else {
        panic!("chaos produce|consume ADDRESS NAME FILE STOP");
    };
    let file = File::options().append(true).create(true).open(path);
    let mut worker = Worker {
        address: address.clone(),
        name: name.clone(),
        file: file.unwrap(),
        stop: stop.into(),
    };
    match role.as_str() {
        "produce" => worker.produce(),
        "consume" => worker.consume(),
        other => panic!("{other} is no role"),
    }
}

impl Worker {
    fn is_over(&self) -> bool {
        self.stop.exists()
    }

    fn say(&mut self, lines: &str) {
        self.file.write_all(lines.as_bytes()).unwrap();
    }

    /// A client; none once it is over.
    fn open(&self) -> Option<Client> {
        while !self.is_over() {
            match connect(&self.address).wait(None) {
                Ok(db) => return Some(db),
                Err(error) => assert!(error.is_retriable(), "{error:?}"),
            }
            sleep(Duration::from_millis(50));
        }
        None
    }

    fn produce(&mut self) {
        let options = ProducerOptions {
            request_timeout_ms: Some(5_000),
            ..ProducerOptions::default()
        };
        let mut number = 0_u64;
        while let Some(db) = self.open() {
            let producer = db.producer(options.clone()).unwrap();
            let mut pending = VecDeque::new();
            let mut is_usable = true;
            while is_usable && !self.is_over() {
                let id = format!("{}-{number}", self.name);
                number += 1;
                let key = (number % 50).to_string();
                let record = Record::new(id.as_bytes()).with_key(key.as_bytes());
                match producer.send(TOPIC, &record) {
                    Ok(delivery) => pending.push_back((id, delivery)),
                    Err(error) => is_usable = self.failed(&id, &error),
                }
                if pending.len() > WINDOW {
                    is_usable &= self.settle(&mut pending, WINDOW / 2);
                }
                sleep(PAUSE);
            }
            self.settle(&mut pending, 0);
            db.close(None).wait(None).unwrap();
        }
    }

    /// Waits for all but the last; whether the producer is of further use.
    fn settle(&mut self, pending: &mut VecDeque<(String, Delivery)>, left: usize) -> bool {
        let mut is_usable = true;
        while pending.len() > left {
            let (id, delivery) = pending.pop_front().unwrap();
            match delivery.wait(None) {
                Ok(at) => self.say(&format!("ok {id} {} {}\n", at.partition, at.offset)),
                Err(error) => is_usable &= self.failed(&id, &error),
            }
        }
        is_usable
    }

    fn failed(&mut self, id: &str, error: &headwater::Error) -> bool {
        let (outcome, code) = (error.outcome().name(), error.code().name());
        self.say(&format!("failed {id} {outcome} {code}\n"));
        !error.is_fatal()
    }

    fn consume(&mut self) {
        while let Some(db) = self.open() {
            let options = ConsumerOptions {
                group: Some(self.name.clone()),
                heartbeat_ms: Some(300),
                session_timeout_ms: Some(6_000),
                commit_interval_ms: Some(100),
                ..ConsumerOptions::default()
            };
            let consumer = db.consumer(&[TOPIC], options).unwrap();
            while !self.is_over() {
                match consumer.next_batch_wait(Some(Duration::from_millis(100))) {
                    Ok(None) => {}
                    Ok(Some(batch)) => {
                        let at = now_ms();
                        let mut lines = String::new();
                        for record in batch.records() {
                            let record = record.unwrap();
                            let id = str::from_utf8(record.value.unwrap()).unwrap();
                            let (partition, offset) = (batch.partition(), record.offset);
                            lines += &format!("did {partition} {offset} {id} {at}\n");
                        }
                        // On record before the next is asked for, and so before it counts as processed.
                        self.say(&lines);
                    }
                    Err(error) => {
                        self.say(&format!("error {} {}\n", error.code().name(), now_ms()));
                        break;
                    }
                }
            }
            // What is in hand is on record and not passed: it may come again.
            db.close(None).wait(None).unwrap();
        }
    }
}

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_millis()
}
