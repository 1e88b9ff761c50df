//! HTTP over streams in memory. Time stands still and jumps to the next timer when nothing else can happen, so no
//! test waits.

use headwater::server::ServerOptions;
use headwater::service::ServiceOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::task::JoinHandle;

use super::*;

fn http() -> Http {
    let service = Service::open_memory("", &ServiceOptions::default()).unwrap();
    let server = Server::new(service.clone(), ServerOptions::default());
    Http::new(service, server, Arc::default(), Vec::new())
}

fn dial(http: &Http, buffer_bytes: usize, first: &[u8]) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = duplex(buffer_bytes);
    let (http, first) = (http.clone(), first.to_vec());
    let (reader, writer) = split(far);
    let task = tokio::spawn(async move { http.serve(reader, writer, first).await });
    (near, task)
}

async fn rest(stream: &mut DuplexStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_told_so() {
    let (mut near, task) = dial(&http(), 1 << 16, b"GET /metr");
    let answer = rest(&mut near).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{answer}"
    );
    assert!(answer.contains("within 10 s"), "{answer}");
    drop(near);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_a_byte_at_a_time_has_no_more_time_than_another() {
    let (mut near, task) = dial(&http(), 1 << 16, b"GET /healthz HTTP/1.1\r\n");
    let mut sent_bytes = 0;
    while sent_bytes < 100 && near.write_all(b"x").await.is_ok() {
        sent_bytes += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(sent_bytes < 15, "{sent_bytes} bytes");
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_does_not_take_an_answer_is_given_up() {
    let http = http();
    let (near, task) = dial(&http, 64, b"GET /metrics HTTP/1.1\r\n\r\n");
    task.await.unwrap();
    assert_eq!(http.0.connection_count(), 0);
    drop(near);
}

#[tokio::test(start_paused = true)]
async fn who_takes_an_answer_too_slowly_is_given_up_too() {
    let http = http();
    let (mut near, task) = dial(&http, 64, b"GET /metrics HTTP/1.1\r\n\r\n");
    let mut taken_bytes = 0;
    let mut chunk = [0; 1];
    while near.read_exact(&mut chunk).await.is_ok() {
        taken_bytes += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(taken_bytes < 200, "{taken_bytes} bytes");
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_connection_too_many_is_told_so_and_a_place_that_is_free_again_is_taken() {
    let http = http();
    let mut open = Vec::new();
    for _ in 0..HTTP_CONNECTIONS_MAX {
        let (mut near, task) = dial(&http, 1 << 16, b"GET /healthz HTTP/1.1\r\n\r\n");
        let mut answer = [0; 15];
        near.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        open.push((near, task));
    }
    let request = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n";
    let (mut near, task) = dial(&http, 1 << 16, request);
    let answer = rest(&mut near).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("64 HTTP connections"), "{answer}");
    drop(near);
    task.await.unwrap();

    let (near, task) = open.pop().unwrap();
    drop(near);
    task.await.unwrap();
    let (mut near, _task) = dial(&http, 1 << 16, request);
    let answer = rest(&mut near).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn closing_ends_connections_that_wait_for_a_request() {
    let http = http();
    let (mut idle, task) = dial(&http, 1 << 16, b"GET /healthz HTTP/1.1\r\n\r\n");
    idle.read_exact(&mut [0; 15]).await.unwrap();
    http.close(Duration::from_secs(30)).await;
    rest(&mut idle).await;
    drop(idle);
    task.await.unwrap();
    assert_eq!(http.0.connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn any_bytes_end_in_an_answer_or_an_end() {
    let http = http();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for opening in [
        &b"GET "[..],
        b"GET /metrics HTTP/1.1\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HEAD /\xff HTTP/1.0\r\n\r\n",
    ] {
        for len in 0..40 {
            let noise = (0..len).map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.to_le_bytes()[0]
            });
            let mut first = opening.to_vec();
            first.extend(noise);
            let (near, task) = dial(&http, 1 << 16, &first);
            let (mut reader, mut writer) = split(near);
            writer.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = reader.read_to_end(&mut answer).await;
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1."),
                "{answer:?}"
            );
            drop((reader, writer));
            task.await.unwrap();
        }
    }
}
