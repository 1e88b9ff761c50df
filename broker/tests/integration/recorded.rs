//! Sessions as they are: what a client says to a broker, recorded on the way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use headwater::{Client, ConsumerOptions, ProducerOptions, Record, TopicOptions, Until};

/// What was said over one connection so far.
type Said = Arc<Mutex<Vec<u8>>>;

/// How much of a session is its handshake.
pub(crate) fn hello_bytes(recorded: &[u8]) -> usize {
    let length = recorded[8..12].try_into().unwrap();
    12 + usize::try_from(u32::from_le_bytes(length)).unwrap()
}

/// What a client says in the course of all that it can do, connection by connection.
pub(crate) fn record(address: &str) -> Vec<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = listener.local_addr().unwrap().to_string();
    let sessions: Arc<Mutex<Vec<Said>>> = Arc::default();
    let address = address.to_owned();
    let kept = Arc::clone(&sessions);
    // Ends with the process; nobody connects to it once the session is recorded.
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(&address).unwrap());
            let said = Said::default();
            kept.lock().unwrap().push(Arc::clone(&said));
            let (mut back_from, mut back_to) =
                (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut back_from, &mut back_to);
                let _ = back_to.shutdown(Shutdown::Both);
            });
            std::thread::spawn(move || forward(near, far, &said));
        }
    });
    for group in [None, Some("billing".to_owned())] {
        let db = headwater::connect(&between).wait(None).unwrap();
        use_everything(&db, group);
        db.close(None).wait(None).unwrap();
    }
    let sessions = sessions.lock().unwrap();
    sessions
        .iter()
        .map(|said| said.lock().unwrap().clone())
        .collect()
}

fn forward(mut from: TcpStream, mut to: TcpStream, said: &Said) {
    let mut chunk = [0; 64 * 1_024];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        said.lock().unwrap().extend_from_slice(&chunk[..count]);
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn use_everything(db: &Client, group: Option<String>) {
    let admin = db.admin();
    let topic = if group.is_some() { "orders" } else { "bills" };
    create(db, topic);
    let producer = db.producer(ProducerOptions::default()).unwrap();
    for number in 0..100_u32 {
        let value = number.to_string();
        producer
            .enqueue(topic, &Record::new(value.as_bytes()))
            .unwrap();
    }
    producer.flush().wait(None).unwrap();
    let options = ConsumerOptions {
        group,
        until: Some(Until::End),
        ..ConsumerOptions::default()
    };
    let consumer = db.consumer(&[topic], options).unwrap();
    while consumer.next_batch_wait(None).unwrap().is_some() {}
    consumer.close(None).wait(None).unwrap();
    admin.list_topics().wait(None).unwrap();
    admin.list_groups().wait(None).unwrap();
    admin.describe_topic(topic).wait(None).unwrap();
}

pub(crate) fn create(db: &Client, topic: &str) {
    let options = TopicOptions::default();
    db.admin().create_topic(topic, options).wait(None).unwrap();
}
