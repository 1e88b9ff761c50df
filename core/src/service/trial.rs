//! What tests of the service begin with.

use std::sync::Arc;

use bytes::Bytes;

use super::{Run, Service, ServiceOptions, Session};
use crate::completion::Completion;
use crate::error::Result;
use crate::log::storage::faulty::FaultyStorage;
use crate::protocol::request::Request;
use crate::protocol::response::Response;

/// A service on this storage.
pub(super) fn open(storage: &Arc<FaultyStorage>) -> Service {
    let (options, shared) = (ServiceOptions::default(), Arc::clone(storage));
    Service::open_storage("test".to_owned(), shared, None, &options).unwrap()
}

/// Asks, and waits for the answer.
pub(super) fn ask(session: &Session, request: Request) -> Result<Response> {
    let (completion, mut pending) = Completion::pair();
    session.submit(request, Bytes::new(), Run::Here, completion);
    pending.wait(None)
}

/// A service with the topic `orders` of three partitions, and a session of a client elsewhere.
pub(super) fn with_topic(storage: &Arc<FaultyStorage>) -> (Service, Session) {
    let service = open(storage);
    let session = service.remote_session();
    let create = Request::CreateTopic {
        name: "orders".to_owned(),
        config: vec![("partitions".to_owned(), "3".to_owned())],
        exist_ok: true,
    };
    ask(&session, create).unwrap();
    (service, session)
}
