//! Many records a call.

use super::*;

#[test]
fn a_call_has_as_many_records_as_may_run_and_all_are_committed_together() {
    let db = open(1);
    send(&db, "t", &numbered(100));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let options = ProcessOptions {
        concurrency: Some(40),
        ..quick()
    };
    let calls = Mutex::new(Vec::new());
    let handled = consumer.process_batches(&options, |records| {
        let texts: Vec<_> = records.iter().map(text).collect();
        calls.lock().unwrap().push(texts);
        Ok::<_, String>(())
    });
    handled.unwrap();
    let calls = calls.into_inner().unwrap();
    let sizes: Vec<_> = calls.iter().map(Vec::len).collect();
    assert!(
        sizes.iter().all(|size| (1..=40).contains(size)),
        "{sizes:?}"
    );
    assert!(sizes.contains(&40), "{sizes:?}");
    let mut all: Vec<usize> = calls
        .concat()
        .iter()
        .map(|it| it.parse().unwrap())
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert_eq!(committed(&db, &consumer), BTreeMap::from([(0, 100)]));
}

#[test]
fn of_a_key_there_is_one_record_a_call_in_order() {
    let db = open(1);
    let keys = ["a", "b", "c"];
    let records: Vec<_> = (0..30)
        .map(|number| (Some(keys[number % 3]), number.to_string()))
        .collect();
    send(&db, "t", &records);
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let seen = Mutex::new(BTreeMap::<Vec<u8>, Vec<usize>>::new());
    let handled = consumer.process_batches(&quick(), |records| {
        let mut seen = seen.lock().unwrap();
        let mut of_this_call = std::collections::BTreeSet::new();
        for record in records {
            let key = record.key().unwrap().to_vec();
            assert!(of_this_call.insert(key.clone()), "a key twice in a call");
            seen.entry(key)
                .or_default()
                .push(text(record).parse().unwrap());
        }
        Ok::<_, String>(())
    });
    handled.unwrap();
    for (key, numbers) in seen.into_inner().unwrap() {
        assert!(numbers.is_sorted(), "{key:?}: {numbers:?}");
        assert_eq!(numbers.len(), 10);
    }
}

#[test]
fn records_of_a_call_that_fails_are_all_tried_again_and_become_dead_letters() {
    let db = open(1);
    db.admin()
        .create_topic("dead", TopicOptions::default())
        .wait(None)
        .unwrap();
    send(&db, "t", &numbered(10));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let options = ProcessOptions {
        attempts: Some(2),
        dead_letter: Some("dead".into()),
        ..quick()
    };
    let attempts = Mutex::new(BTreeMap::<i64, u32>::new());
    let handled = consumer.process_batches(&options, |records| {
        for record in records {
            *attempts.lock().unwrap().entry(record.offset()).or_default() += 1;
        }
        // All of the first call, and what comes with number 3 later.
        let is_bad = records.iter().any(|record| record.offset() == 3);
        if is_bad { Err("bad") } else { Ok(()) }
    });
    handled.unwrap();
    assert_eq!(committed(&db, &consumer), BTreeMap::from([(0, 10)]));
    let attempts = attempts.into_inner().unwrap();
    assert_eq!(attempts.len(), 10);
    assert_eq!(attempts[&3], 2, "{attempts:?}");
    let end = to_end();
    let dead = db.consumer(&["dead"], ConsumerOptions { group: None, ..end });
    let mut letters = Vec::new();
    let dead = dead.unwrap();
    while let Some(batch) = dead.next_batch_wait(None).unwrap() {
        for record in batch.records() {
            letters.push(record.unwrap().value.unwrap().to_vec());
        }
    }
    assert!(letters.contains(&b"3".to_vec()));
}

#[test]
fn without_a_dead_letter_topic_a_call_that_fails_names_a_record_and_commits_none_of_it() {
    let db = open(1);
    send(&db, "t", &numbered(5));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let options = ProcessOptions {
        attempts: Some(1),
        ..quick()
    };
    let failed = consumer.process_batches(&options, |_| Err::<(), _>("bad"));
    let Err(ProcessError::Handler { record, error }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!((record.offset(), error), (0, "bad"));
    assert_eq!(committed(&db, &consumer), BTreeMap::new());
}
