use super::*;
use crate::error::ErrorCode;

fn failure(topic: &str) -> DeliveryFailure {
    DeliveryFailure {
        topic: topic.into(),
        partition: 0,
        records: 2,
        error: Error::new(ErrorCode::DiskFull, "no room on the disk"),
    }
}

#[test]
fn failures_are_counted_and_some_of_their_topics_named() {
    let ledger = Ledger::default();
    for number in 0..12 {
        ledger.lost(failure(&format!("topic-{number}")), &mut Wakes::new());
    }
    let error = ledger.take_untold().into_result().unwrap_err();
    assert_eq!(error.code(), ErrorCode::DiskFull);
    assert!(
        error
            .message()
            .starts_with("24 records to topic-0, topic-1,"),
        "{error}"
    );
    assert!(
        error.message().contains("topic-9 and others not delivered"),
        "{error}"
    );
    assert!(!error.message().contains("topic-10"), "{error}");
    assert!(ledger.take_untold().into_result().is_ok());
}

#[test]
fn errors_are_kept_up_to_their_maximum_and_the_oldest_go_first() {
    let ledger = Ledger::default();
    let ticket = TicketRange {
        first_ticket: 1,
        first_index: 0,
        count: 1,
    };
    for number in 0..ERRORS_KEPT_MAX + 1 {
        let result = Err(Error::new(ErrorCode::DiskFull, number.to_string()));
        ledger.add_rows(0, &[ticket], &result, &mut Wakes::new());
    }
    assert_eq!(ledger.error(1), None);
    assert_eq!(ledger.error(2).unwrap().message(), "1");
    assert_eq!(ledger.row_bytes(), 40 * (ERRORS_KEPT_MAX + 1));
    assert_eq!(ledger.take_rows().len(), 40 * (ERRORS_KEPT_MAX + 1));
    assert_eq!(ledger.row_bytes(), 0);
}

#[test]
fn a_hook_that_is_set_late_is_called_for_the_rows_that_are_there() {
    let ledger = Ledger::default();
    let ticket = TicketRange {
        first_ticket: 1,
        first_index: 0,
        count: 1,
    };
    let result = Err(Error::new(ErrorCode::DiskFull, "full"));
    ledger.add_rows(0, &[ticket], &result, &mut Wakes::new());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    ledger.set_rows_hook(Arc::new(move || _ = counted.fetch_add(1, Ordering::SeqCst)));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    ledger.add_rows(0, &[ticket], &result, &mut Wakes::new());
    assert_eq!(
        calls.load(Ordering::SeqCst),
        1,
        "not before the rows were taken"
    );
    let _ = ledger.take_rows();
    ledger.add_rows(0, &[ticket], &result, &mut Wakes::new());
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
