//! What is answered to an HTTP request: which paths there are, with which methods.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::{Inner, metrics};

const TEXT: &str = "text/plain; charset=utf-8";
/// The content type is the format's name.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer to a request, whose body is not looked at.
pub(super) fn answer<B>(request: &Request<B>, broker: &Inner) -> Response<Text> {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "/metrics" | "/healthz" if !is_read => {
            let words = format!("{path} is only read: GET or HEAD\n");
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, words);
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            response
        }
        "/metrics" => text(StatusCode::OK, METRICS, metrics::of(broker)),
        "/healthz" => match broker.service.health() {
            Ok(()) => text(StatusCode::OK, TEXT, "ok\n".to_owned()),
            Err(error) => {
                let words = format!("{}\n", error.message());
                text(StatusCode::SERVICE_UNAVAILABLE, TEXT, words)
            }
        },
        _ => {
            let words = "there are /metrics and /healthz here, and Headwater's native protocol\n";
            text(StatusCode::NOT_FOUND, TEXT, words.to_owned())
        }
    }
}

/// An answer to who is not listened to any further, in full.
pub(super) fn last_words(status: StatusCode, words: &str) -> Vec<u8> {
    let length = words.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {TEXT}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{words}\n"
    )
    .into_bytes()
}

fn text(status: StatusCode, kind: &'static str, words: String) -> Response<Text> {
    let mut response = Response::new(Text(Bytes::from(words)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body that is there as a whole.
#[derive(Debug)]
pub(super) struct Text(Bytes);

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
