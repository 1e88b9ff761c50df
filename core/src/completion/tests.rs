//! Completions: filled once, waited for in three ways, never lost.

use std::sync::atomic::AtomicUsize;

use super::*;

#[test]
fn a_parked_thread_gets_the_answer() {
    let (completion, mut pending) = Completion::<u32>::pair();
    let filler = std::thread::spawn(move || completion.finish(Ok(7)));
    assert_eq!(pending.wait(None), Ok(7));
    filler.join().unwrap();
    assert_eq!(
        pending.wait(None).unwrap_err().code(),
        ErrorCode::InvalidState
    );
}

#[test]
fn a_wait_that_times_out_says_unknown_and_can_be_repeated() {
    let (completion, mut pending) = Completion::<u32>::pair();
    let error = pending.wait(Some(Duration::from_millis(1))).unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::RequestTimedOut, Outcome::Unknown)
    );
    completion.finish(Ok(1));
    assert_eq!(pending.wait(None), Ok(1));
}

#[test]
fn a_dropped_completion_answers_closed() {
    let (completion, mut pending) = Completion::<u32>::pair();
    drop(completion);
    assert_eq!(pending.wait(None).unwrap_err().code(), ErrorCode::Closed);
}

#[test]
fn many_tickets_cost_one_hook_until_drained() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let queue = NotifyQueue::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let pendings: Vec<_> = (0..3)
        .map(|ticket| {
            let (completion, pending) = Completion::<u64>::pair();
            pending.notify(&queue, ticket);
            completion.finish(Ok(ticket));
            pending
        })
        .collect();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(queue.drain(), vec![0, 1, 2]);
    pendings[0].notify(&queue, 9);
    assert_eq!((calls.load(Ordering::SeqCst), queue.drain()), (2, vec![9]));
}

#[test]
fn waiting_on_a_thread_of_ours_is_refused() {
    let found = std::thread::spawn(|| {
        mark_own_thread();
        Completion::<u32>::pair().1.wait(None)
    });
    assert_eq!(
        found.join().unwrap().unwrap_err().code(),
        ErrorCode::InvalidState
    );
}

#[test]
fn waiting_until_ready_leaves_the_answer() {
    let (completion, mut pending) = Completion::<u32>::pair();
    assert_eq!(pending.wait_ready(Some(Duration::ZERO)), Ok(false));
    assert!(!pending.is_ready());
    completion.finish(Ok(7));
    assert_eq!(pending.wait_ready(None), Ok(true));
    assert!(pending.is_ready());
    assert_eq!(pending.wait(None), Ok(7));
}

#[test]
fn foreign_wake_ups_are_collected_and_not_run_by_complete() {
    let called = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&called);
    let (completion, shared) = Completion::<u32>::shared();
    shared.watch(Wake::Hook(Arc::new(move || {
        seen.store(true, Ordering::SeqCst)
    })));
    let mut wakes = Wakes::new();
    completion.complete(Ok(1), &mut wakes);
    assert!(!called.load(Ordering::SeqCst));
    wakes.run();
    assert!(called.load(Ordering::SeqCst));
    assert_eq!(shared.wait(None), Ok(1));
}
