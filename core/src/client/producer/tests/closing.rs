//! Closing a producer, and the client that it is of.

use super::*;
use crate::testing::lines::Collector;

#[test]
fn a_shorter_close_ends_one_that_has_more_time() {
    // The report of an interrupted close was waited for until its own deadline.
    let long = Some(Duration::from_secs(3_600));
    let short = Some(Duration::from_millis(5));
    let patience = Some(Duration::from_secs(60));
    let (fake, producer) = ready();
    producer.enqueue("t", &Record::new(b"second")).unwrap();
    let _unanswered = fake.next();
    let mut first = producer.close(long);
    let report = producer.close(short).wait(patience).unwrap();
    assert_eq!(report.unsent_records, 1);
    assert_eq!(first.try_take(), Some(Ok(report)));

    let (fake, producer) = ready();
    producer.enqueue("t", &Record::new(b"second")).unwrap();
    let _unanswered = fake.next();
    let client = Arc::clone(&producer.0.client);
    let first = client.close(long);
    let report = client.close(short).wait(patience).unwrap();
    assert_eq!(first.peek(), Some(Ok(report)));
}

#[test]
fn a_line_about_a_producer_says_whose_it_is() {
    // Nobody could tell which of several producers had lost its records.
    let collector = Collector::default();
    let _collecting = tracing::subscriber::set_default(collector.clone());
    let (fake, producer) = ready();
    producer.enqueue("t", &Record::new(b"second")).unwrap();
    fake.run_jobs();
    drop(producer);
    fake.next().unwrap().fail(stopped());
    let lines = collector.take();
    let dropped = lines
        .iter()
        .find(|line| line.contains("was dropped with records"));
    let dropped = dropped.expect("it was told");
    assert!(
        dropped.starts_with("producer address=fake producer_id=1 "),
        "{dropped}"
    );
}

/// A client whose close came to nothing in time said that nothing was lost.
#[test]
fn what_would_be_lost_is_told_before_its_close_is_over() {
    let (fake, producer) = ready();
    for _ in 0..3 {
        producer.enqueue("t", &Record::new(b"more")).unwrap();
    }
    let _unanswered = fake.next();
    let remembered = producer.remembered();
    assert_eq!(remembered.told().unsent_records, 3);
    let report = producer.close(Some(Duration::ZERO)).wait(None).unwrap();
    assert_eq!(report.unsent_records, 3);
    assert_eq!(remembered.told(), report);
}
