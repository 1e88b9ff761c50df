//! Kafka's protocol, fed with anything: a target for each API, and one for a connection as a whole. The bodies are
//! shared by the fuzzer (`broker/fuzz`) and by a test that runs each over some thousands of damaged requests.
//!
//! A target takes a request without its length and panics if something is wrong with what is made of it. The API key in
//! it is put right, and its version brought into the range that is spoken, or nothing behind them would be reached. What
//! is asked is a real service in memory, of which a new one is begun now and then, so that none grows for ever: what
//! is found may have needed the requests before it too.

mod seeds;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use bytes::Bytes;
use headwater::Completion;
use headwater::limits;
use headwater::protocol::request::Request as NativeRequest;
use headwater::server::Room;
use headwater::service::{Run, Service, ServiceOptions, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use super::answer::{Answer, Reply};
use super::api::{APIS, Api, Arrived};
use super::context::Context;
use super::{Kafka, Options};

/// Requests that one service is asked.
const REQUESTS_MAX: usize = 256;
/// Partitions beyond which a service is asked no more.
const PARTITIONS_MAX: usize = 10_000;
/// The shortest head of a request: key and version.
const HEAD_BYTES: usize = 4;

/// One thing to feed with bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// None: a connection.
    api: Option<&'static Api>,
}

/// Every target: the APIs in the order of their keys, and a connection.
pub fn targets() -> impl Iterator<Item = Target> {
    let apis = APIS.iter().map(|api| Target { api: Some(api) });
    apis.chain([Target { api: None }])
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    targets().find(|target| target.name() == name)
}

impl Target {
    /// The API's name in snake case, or `connection`.
    #[must_use]
    pub fn name(&self) -> String {
        let Some(api) = self.api else {
            return "connection".to_owned();
        };
        let mut name = String::new();
        for letter in api.name.chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }

    /// Inputs that are well formed, in every version: to start from.
    #[must_use]
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        match self.api {
            Some(api) => seeds::of(api),
            None => APIS.iter().filter_map(seeds::streams).collect(),
        }
    }

    /// Bytes that may be allocated at the same time for one input, the service's own included: what is decompressed of
    /// a batch, and what is gathered for an answer, have limits of their own, and the rest grows with what came.
    #[must_use]
    pub const fn allocated_bytes_max(&self) -> usize {
        let own = 64 * (1 << 20);
        let answer = 2 * limits::KAFKA_GROUPS_ANSWER_BYTES_MAX;
        let carries_batches = match self.api {
            Some(api) => api.has_batches(),
            None => true,
        };
        if carries_batches {
            // A buffer that grows is there twice for a moment.
            own + answer + 3 * limits::UNCOMPRESSED_BYTES_MAX
        } else {
            own + answer
        }
    }

    /// Panics if what is made of these bytes is wrong. Says whether they were a request.
    pub fn run(&self, bytes: &[u8]) -> bool {
        STAGE.with_borrow_mut(|stage| {
            let stage = Stage::fresh(stage);
            match self.api {
                Some(api) => stage.ask(api, bytes),
                None => stage.converse(bytes),
            }
        })
    }
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// A service with something in it, and a connection.
struct Stage {
    runtime: Runtime,
    service: Service,
    kafka: Kafka,
    context: Context,
    requests: usize,
}

impl Stage {
    /// This one, or a new one in place of what is used up.
    fn fresh(stage: &mut Option<Self>) -> &mut Self {
        let used_up = stage.take_if(|stage| {
            let topics = stage.service.topics();
            let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
            stage.requests >= REQUESTS_MAX || partitions > PARTITIONS_MAX
        });
        if let Some(used_up) = used_up {
            let service = used_up.service.clone();
            drop(used_up);
            service.close().expect("nothing fails in memory");
        }
        let stage = stage.get_or_insert_with(Self::new);
        stage.requests += 1;
        stage
    }

    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime without sockets");
        let options = ServiceOptions {
            auto_create_topics: true,
            ..ServiceOptions::default()
        };
        let service = Service::open_memory("", &options).expect("an empty log");
        fill(&service);
        let kafka = Kafka::new(service.clone(), options_of_kafka());
        let context = kafka.context(None, "fuzz");
        // Whoever would wait for something to happen is answered at once.
        context.end();
        Self {
            runtime,
            service,
            kafka,
            context,
            requests: 0,
        }
    }

    fn ask(&self, api: &Api, bytes: &[u8]) -> bool {
        let Some(frame) = of_api(api, bytes) else {
            return false;
        };
        let asked = carry_out(&self.context, &frame);
        self.runtime.block_on(asked).is_some()
    }

    /// A connection on which these bytes come, and then no more.
    fn converse(&self, bytes: &[u8]) -> bool {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (kafka, bytes) = (self.kafka.clone(), bytes.to_vec());
        self.runtime.block_on(async move {
            let (mut reader, mut writer) = tokio::io::split(near);
            let serving = kafka.serve(tokio::io::split(far), Vec::new(), None, "fuzz");
            let writing = async {
                // Which fails when the connection has ended before.
                let _ = writer.write_all(&bytes).await;
                let _ = writer.shutdown().await;
            };
            let mut answers = Vec::new();
            let reading = reader.read_to_end(&mut answers);
            let ((), (), read) = tokio::join!(serving, writing, reading);
            read.is_ok() && !answers.is_empty()
        })
    }
}

/// What is asked about: topics with records, and a group that has committed.
fn fill(service: &Service) {
    let session = service.session();
    for name in seeds::TOPICS {
        let create = NativeRequest::CreateTopic {
            name: name.to_owned(),
            config: vec![("partitions".to_owned(), "2".to_owned())],
            exist_ok: false,
        };
        submit(&session, create, Bytes::new());
        let produce = NativeRequest::Produce {
            topic: name.to_owned(),
            partition: 0,
            durability: None,
        };
        submit(&session, produce, seeds::batch(None).into());
    }
    let commit = NativeRequest::CommitOffsets {
        group: seeds::GROUP.to_owned(),
        member: None,
        offsets: vec![headwater::protocol::request::PartitionOffset {
            topic: seeds::TOPICS[0].to_owned(),
            partition: 0,
            offset: 1,
        }],
    };
    submit(&session, commit, Bytes::new());
}

fn submit(session: &Session, request: NativeRequest, payload: Bytes) {
    let (completion, mut pending) = Completion::pair();
    session.submit(request, payload, Run::Here, completion);
    pending.wait(None).expect("what every test does");
}

fn options_of_kafka() -> Options {
    Options {
        frame_bytes_max: usize::MAX,
        idle_timeout: std::time::Duration::from_secs(600),
        close_timeout: std::time::Duration::from_secs(30),
        advertise: Some(("broker.test".to_owned(), 9092)),
        address: None,
        room: Room::default(),
    }
}

/// The same as a request of this API, in a version that is spoken.
fn of_api(api: &Api, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut frame = bytes.to_vec();
    let head = frame.first_chunk_mut::<HEAD_BYTES>()?;
    let [_, _, high, low] = *head;
    let (first, last) = api.versions().into_inner();
    let spoken = i32::from(last) - i32::from(first) + 1;
    let above = (i32::from(i16::from_be_bytes([high, low])) - i32::from(first)).rem_euclid(spoken);
    let version = first.saturating_add(above as i16);
    let ([key0, key1], [high, low]) = (api.key.to_be_bytes(), version.to_be_bytes());
    *head = [key0, key1, high, low];
    Some(frame)
}

/// Starts what these bytes ask for, and waits for the answer. None if they are no request.
pub(super) async fn carry_out(context: &Context, bytes: &[u8]) -> Option<Reply> {
    let arrived = Arrived::of(Bytes::copy_from_slice(bytes)).ok()?;
    let reply = match arrived.start(context, None).ok()? {
        Answer::Now(reply) => reply,
        Answer::Later(reply) => reply.await,
    };
    if let Reply::Unsayable(reason) = &reply {
        panic!("{}: {reason}", arrived.api.name);
    }
    Some(reply)
}
