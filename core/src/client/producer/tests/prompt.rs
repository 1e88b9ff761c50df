//! What is sent by the call that has it, and what gathers.

use std::time::Instant;

use super::*;

#[test]
fn over_a_connection_what_is_alone_is_sent_by_its_own_call_and_what_follows_gathers() {
    let (fake, producer) = ready();
    producer.enqueue("t", &Record::new(b"alone")).unwrap();
    assert_eq!(fake.waiting(), 1, "no job was needed");
    for value in [b"b", b"c"] {
        producer.enqueue("t", &Record::new(value)).unwrap();
    }
    assert_eq!(fake.waiting(), 1);
    fake.run_jobs();
    assert_eq!(fake.waiting(), 2);
    fake.next().unwrap().acknowledge(1);
    fake.next().unwrap().acknowledge(2);
    producer.enqueue("t", &Record::new(&[0; 20_000])).unwrap();
    assert_eq!(fake.waiting(), 0, "it is long");
    fake.run_jobs();
    fake.next().unwrap().acknowledge(4);
    let rows = rows(producer.topic("t").unwrap(), 1..4, b"x");
    assert_eq!(producer.send_rows(&rows).unwrap(), rows.len());
    fake.next().unwrap().acknowledge(5);
    assert_eq!(fake.waiting(), 0, "one batch holds all");
}

#[test]
fn where_sending_may_touch_a_file_only_who_may_wait_sends_and_only_after_a_pause() {
    let (fake, producer) = ready();
    fake.be_local();
    let record = Record::new(b"x");
    // When the batch before was begun.
    let begun = |at: Instant| producer.0.sender.desk.lock().begun = Some((at, false));
    let a_second = Duration::from_secs(1);
    let long_ago = || Instant::now().checked_sub(a_second).unwrap();
    begun(long_ago());
    producer.enqueue("t", &record).unwrap();
    assert_eq!(fake.waiting(), 0, "it never waits");
    fake.run_jobs();
    fake.next().unwrap().acknowledge(1);
    begun(long_ago());
    drop(producer.send("t", &record).unwrap());
    fake.next().unwrap().acknowledge(2);
    begun(Instant::now() + a_second);
    drop(producer.send("t", &record).unwrap());
    assert_eq!(fake.waiting(), 0, "one of a row");
    fake.run_jobs();
    fake.next().unwrap().acknowledge(3);
}
