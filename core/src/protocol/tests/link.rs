//! The sending half under many threads, and when its socket is slow or gone.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::completion::{Wake, Wakes};
use crate::limits;
use crate::protocol::frame::FrameKind;
use crate::protocol::link::{Flush, Link, SendError};
use crate::protocol::tests::peer::Peer;

const THREADS: u64 = 4;
const FRAMES: u64 = 2_000;

/// Every way to flush, small and large payloads, corked and not.
fn send_many(link: &Link, thread: u64) {
    let large = Bytes::from(vec![u8::try_from(thread).unwrap(); 10_000]);
    for number in 0..FRAMES {
        let payload = large.slice(..if number % 7 == 0 { 10_000 } else { 10 });
        let mut wakes = Wakes::new();
        let flush = match number % 3 {
            0 => Flush::Here,
            1 => Flush::Later(&mut wakes),
            _ => Flush::Task,
        };
        if number % 11 == 0 {
            link.cork();
        }
        link.send(number, FrameKind::Request, &thread, [&payload], flush)
            .unwrap();
        if number % 11 == 0 {
            link.uncork();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_of_many_threads_arrives_once_whole_and_in_its_threads_order() {
    let (near, far) = tokio::io::duplex(3_000);
    let link = Link::new(near, limits::FRAME_BYTES_MAX);
    let driven = Arc::clone(&link);
    let task = tokio::spawn(async move { poll_fn(|context| driven.poll_drive(context)).await });
    let threads = (0..THREADS).map(|thread| {
        let link = Arc::clone(&link);
        std::thread::spawn(move || send_many(&link, thread))
    });
    let threads = threads.collect::<Vec<_>>();
    let mut peer = Peer::new(far);
    let mut next = vec![0; THREADS as usize];
    for _ in 0..THREADS * FRAMES {
        let frame = peer.next().await.unwrap();
        let thread = frame.read_header::<u64>().unwrap();
        assert_eq!(
            frame.correlation_id, next[thread as usize],
            "of thread {thread}"
        );
        assert!(frame.payload.iter().all(|byte| u64::from(*byte) == thread));
        next[thread as usize] += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    link.finish();
    assert!(task.await.unwrap().is_ok());
    assert!(peer.next().await.is_none());
}

#[tokio::test]
async fn what_waits_for_room_is_woken_when_there_is_some_and_when_there_will_be_none() {
    for is_closed in [false, true] {
        let (near, far) = tokio::io::duplex(1_000);
        let link = Link::new(near, limits::FRAME_BYTES_MAX);
        let payload = Bytes::from(vec![0; limits::CONNECTION_UNSENT_BYTES_MAX]);
        link.send(1, FrameKind::Push, &(), [&payload], Flush::Here)
            .unwrap();
        link.send(2, FrameKind::Push, &(), [&payload], Flush::Here)
            .unwrap();
        let woken = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&woken);
        let wake = Wake::Hook(Arc::new(move || seen.store(true, Ordering::SeqCst)));
        assert!(!link.has_room() && link.is_full(|| wake));
        let driven = Arc::clone(&link);
        let task = tokio::spawn(async move { poll_fn(|context| driven.poll_drive(context)).await });
        let mut peer = Peer::new(far);
        if is_closed {
            link.close();
            assert!(task.await.unwrap().is_err());
        } else {
            peer.expect(FrameKind::Push).await;
            assert!(!woken.load(Ordering::SeqCst), "with a whole frame unsent");
            peer.expect(FrameKind::Push).await;
        }
        assert!(woken.load(Ordering::SeqCst));
        poll_fn(|context| link.poll_room(context)).await;
    }
}

#[tokio::test]
async fn the_written_position_tells_what_was_handed_over_and_is_final_once_closed() {
    let (near, far) = tokio::io::duplex(100);
    let link = Link::new(near, limits::FRAME_BYTES_MAX);
    let payload = Bytes::from(vec![0; 5_000]);
    let first = link
        .send(1, FrameKind::Push, &(), [&payload], Flush::Here)
        .unwrap();
    let second = link
        .send(2, FrameKind::Push, &(), [&payload], Flush::Here)
        .unwrap();
    assert!(first < link.written_position() && link.written_position() < second);
    link.close();
    assert_eq!(link.written_position(), 100);
    let late = link.send(3, FrameKind::Push, &(), [], Flush::Here);
    assert!(matches!(late, Err(SendError::Closed)));
    drop(far);
}

#[tokio::test]
async fn a_link_whose_other_side_is_gone_fails() {
    let (near, far) = tokio::io::duplex(100);
    let link = Link::new(near, limits::FRAME_BYTES_MAX);
    drop(far);
    link.send(1, FrameKind::Push, &(), [], Flush::Here).unwrap();
    assert!(poll_fn(|context| link.poll_drive(context)).await.is_err());
    assert!(link.send(2, FrameKind::Push, &(), [], Flush::Here).is_err());
}
