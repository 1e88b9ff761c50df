//! A broker that is started, closed and lost, and what it is asked and answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::disk::Disk;
use super::guests::{Guests, Port};
use super::history::History;
use super::network::{Network, Way};
use super::parts::Parts;
use super::results;
use super::side;
use super::wire::{Reader, Writer};
use crate::completion::{Completion, Wakes};
use crate::error::{Error, Result};
use crate::log::storage::Storage;
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::protocol::request::{OffsetAt, OffsetQuery, PartitionOffset, Request, SubscribeAt};
use crate::protocol::response::Response;
use crate::server::{Door, Feed, Server, ServerOptions};
use crate::service::{Run, Service, ServiceOptions};
use crate::sync::Mutex;
use crate::world::{self, simulated::World};

/// How the broker is lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// The process ends; what it wrote stays.
    Process,
    /// The power goes.
    Power(CrashMode),
}

/// See the module.
pub(super) struct Broker {
    world: Arc<World>,
    network: Arc<Network>,
    history: Arc<History>,
    sync_us: u64,
    running: Option<Running>,
    files: FaultyStorage,
    guests: Option<Arc<dyn Guests>>,
    /// What is played besides, whose groups are looked at too.
    pub(super) parts: Parts,
}

struct Running {
    service: Service,
    server: Server,
    port: Option<Arc<dyn Port>>,
    tasks: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    /// Set when what it answers reaches nobody any more.
    is_gone: Arc<Signal>,
}

impl Broker {
    pub(super) fn new(
        world: &Arc<World>,
        network: &Arc<Network>,
        history: &Arc<History>,
        sync_us: u64,
        guests: Option<Arc<dyn Guests>>,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            network: Arc::clone(network),
            history: Arc::clone(history),
            sync_us,
            running: None,
            files: FaultyStorage::new(),
            guests,
            parts: Parts::default(),
        }
    }

    /// Its disk as it is now.
    pub(super) const fn files(&self) -> &FaultyStorage {
        &self.files
    }

    pub(super) const fn guests(&self) -> Option<&Arc<dyn Guests>> {
        self.guests.as_ref()
    }

    pub(super) async fn start(&mut self) {
        let disk = Disk::new(&self.world, self.files.clone(), self.sync_us);
        let (completion, pending) = Completion::pair();
        let opening = world::spawn("open", move || {
            let storage: Arc<dyn Storage> = Arc::new(disk);
            let options = ServiceOptions {
                segment_bytes: 1 << 20,
                ..ServiceOptions::default()
            };
            completion.finish(Service::open_storage(
                "sim".to_owned(),
                storage,
                None,
                &options,
            ));
        });
        drop(opening.expect("a thread"));
        let service = match pending.await {
            Ok(service) => service,
            Err(error) => {
                return self
                    .history
                    .fail(format!("the broker does not open: {error}"));
            }
        };
        let (door, history) = (service.clone(), Arc::clone(&self.history));
        let is_gone = Arc::new(Signal::default());
        let (world, gone) = (Arc::clone(&self.world), Arc::clone(&is_gone));
        let open = move || {
            let spy: Arc<dyn Door> = Arc::new(Spy {
                door: Arc::new(door.remote_session()),
                history: Arc::clone(&history),
                world: Arc::clone(&world),
                is_gone: Arc::clone(&gone),
            });
            spy
        };
        let server = Server::with_door(open, ServerOptions::default());
        let tasks = Arc::new(Mutex::new(Vec::<tokio::task::AbortHandle>::new()));
        let port = self.guests.as_ref().map(|guests| guests.open(&service));
        let (served, kept) = (server.clone(), Arc::clone(&tasks));
        let guests_port = port.clone();
        let runtime = tokio::runtime::Handle::current();
        self.network.set_accept(Some(Arc::new(
            move |way, reader: Reader, writer: Writer| {
                let (served, port) = (served.clone(), guests_port.clone());
                let task = runtime.spawn(async move {
                    match (way, port) {
                        (Way::Guest, Some(port)) => port.serve(reader, writer).await,
                        _ => served.serve_connection(reader, writer, b"", "sim").await,
                    }
                });
                let mut kept = kept.lock();
                kept.retain(|task| !task.is_finished());
                kept.push(task.abort_handle());
            },
        )));
        self.world.note("broker: open");
        self.running = Some(Running {
            service,
            server,
            port,
            tasks,
            is_gone,
        });
        self.look();
        self.look_at_results();
    }

    /// It is gone from one moment to the next.
    pub(super) fn lose(&mut self, loss: Loss) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.world.note(format!("broker: lost, {loss:?}"));
        running.is_gone.set();
        self.network.set_accept(None);
        self.network.cut_all();
        let left = match loss {
            Loss::Process => self.files.fork(),
            Loss::Power(mode) => {
                self.history.lose();
                self.files.crash_image(mode)
            }
        };
        self.files.power_off_at(self.files.now());
        self.files = left;
        for task in running.tasks.lock().iter() {
            task.abort();
        }
    }

    /// It is closed in order.
    pub(super) async fn close(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.network.set_accept(None);
        let within = Duration::from_secs(5);
        let left = match &running.port {
            Some(port) => tokio::join!(running.server.close(within), port.close(within)).0,
            None => running.server.close(within).await,
        };
        self.world
            .note(format!("broker: closes, {left} connections left"));
        for task in running.tasks.lock().iter() {
            task.abort();
        }
        let (completion, pending) = Completion::pair();
        let service = running.service.clone();
        let closing = world::spawn("close", move || completion.finish(service.close()));
        drop(closing.expect("a thread"));
        if let Err(error) = pending.await {
            self.world.note(format!("broker: closed with {error}"));
        }
        self.network.cut_all();
        running.is_gone.set();
        // Whatever could still write is not to: another opens the folder.
        let left = self.files.fork();
        self.files.power_off_at(self.files.now());
        self.files = left;
    }

    /// Whether it takes appends.
    pub(super) fn is_well(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.service.health().is_ok())
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Looks at what is committed.
    pub(super) fn look(&self) {
        self.look_at(super::GROUP);
        let other = self.guests.as_ref().map(|guests| guests.group());
        if let Some(other) = other.filter(|other| *other != super::GROUP) {
            self.look_at(other);
        }
        self.parts.groups().for_each(|group| self.look_at(group));
    }

    fn look_at(&self, name: &'static str) {
        if let Some(offsets) = self.committed(name) {
            self.history.commits(name, &offsets);
        }
    }

    /// What a group has committed.
    fn committed(&self, name: &'static str) -> Option<Vec<PartitionOffset>> {
        let group = Request::DescribeGroup {
            group: name.to_owned(),
        };
        match self.asked(group)? {
            Ok(Response::Group(group)) => Some(group.offsets),
            // A group of which nothing is known has committed nothing.
            _ => Some(Vec::new()),
        }
    }

    /// What is answered at once.
    fn asked(&self, request: Request) -> Option<Result<Response>> {
        let running = self.running.as_ref()?;
        let (completion, mut pending) = Completion::pair();
        let session = running.service.remote_session();
        session.submit(request, Bytes::new(), Run::Io, completion);
        pending.try_take()
    }

    /// Whether after an open there are the results that belong to what is committed.
    fn look_at_results(&self) {
        let Some(billing) = self.parts.billing else {
            return;
        };
        let queries = (0..billing.partitions).map(|partition| OffsetQuery {
            topic: results::BILLS.to_owned(),
            partition,
            at: OffsetAt::Latest,
        });
        let listing = Request::ListOffsets {
            queries: queries.collect(),
        };
        // Before it is made the topic has no offsets.
        if let Some(Ok(Response::Offsets(ends))) = self.asked(listing)
            && let Some(committed) = self.committed(results::GROUP)
        {
            self.history.opened_with(&committed, ends.iter().sum());
        }
    }
}

/// Tells the history what passes.
struct Spy {
    door: Arc<dyn Door>,
    history: Arc<History>,
    world: Arc<World>,
    is_gone: Arc<Signal>,
}

impl Door for Spy {
    fn log_uuid(&self) -> [u8; 16] {
        self.door.log_uuid()
    }

    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        let history = Arc::clone(&self.history);
        let asked = history.ask(&request, &payload);
        let is_beside = side::is_beside(&request);
        let told = request.clone();
        let (world, is_gone) = (Arc::clone(&self.world), Arc::clone(&self.is_gone));
        let completion = Completion::call(move |result: Result<Response>, wakes: &mut Wakes| {
            if !is_gone.is_set() {
                if let Some(words) = in_words(&told, &result) {
                    world.note(words);
                }
                if !is_beside {
                    history.answer(&told, &asked, &result);
                }
            }
            completion.complete(result, wakes);
        });
        self.door.submit(request, payload, completion);
    }

    fn subscribe(&self, subscribe: &SubscribeAt) -> Result<Box<dyn Feed>> {
        self.door.subscribe(subscribe)
    }

    fn schedule(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Error> {
        self.door.schedule(job)
    }
}

/// What a group is told.
fn in_words(request: &Request, result: &Result<Response>) -> Option<String> {
    match (request, result) {
        (Request::GroupHeartbeat(said), Ok(Response::GroupHeartbeat(answer))) => {
            let held = answer.assignment.iter().map(|it| it.partition);
            Some(format!(
                "group: {:.4} of {} is told {} {:?}",
                said.member_id,
                said.generation,
                answer.generation,
                held.collect::<Vec<_>>()
            ))
        }
        (Request::GroupHeartbeat(said), Err(error)) => Some(format!(
            "group: {:.4} of {} is told {:?}",
            said.member_id,
            said.generation,
            error.code()
        )),
        (
            Request::CommitOffsets {
                member, offsets, ..
            }
            | Request::ProduceAndCommit {
                member, offsets, ..
            },
            result,
        ) => {
            let member = member.as_ref()?;
            let offsets = offsets.iter().map(|it| (it.partition, it.offset));
            Some(format!(
                "group: {:.4} of {} commits {:?}: {:?}",
                member.id,
                member.generation,
                offsets.collect::<Vec<_>>(),
                result.as_ref().map_err(Error::code).map(drop)
            ))
        }
        _ => None,
    }
}

/// Whether something is to stop, and how many have.
#[derive(Debug, Default)]
pub struct Signal(AtomicBool, AtomicU64);

impl Signal {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// One more is done.
    pub fn count(&self) {
        self.1.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn counted(&self) -> u64 {
        self.1.load(Ordering::Acquire)
    }
}
