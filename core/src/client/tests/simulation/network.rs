//! Connections between clients and the broker, and what happens to them.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::wire::{Reader, Wire, Writer, ends};
use crate::sync::Mutex;
use crate::world::{self, simulated::World};

/// Takes a connection, as the broker does.
pub(super) type Accept = Arc<dyn Fn(Way, Reader, Writer) + Send + Sync>;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Native,
    /// The guests' own protocol.
    Guest,
}

/// See the module.
pub(super) struct Network {
    world: Arc<World>,
    latency: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    accept: Option<Accept>,
    connections: Vec<Connection>,
    /// Clients that reach nobody, and until when.
    apart: BTreeMap<usize, Instant>,
    next: u64,
}

struct Connection {
    client: usize,
    up: Weak<Wire>,
    down: Weak<Wire>,
}

impl Network {
    pub(super) fn new(world: &Arc<World>, latency: Duration) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            latency,
            state: Mutex::new(State::default()),
        })
    }

    /// Who takes connections from now on; without anybody they are refused.
    pub(super) fn set_accept(&self, accept: Option<Accept>) {
        self.state.lock().accept = accept;
    }

    pub(super) async fn dial(
        self: Arc<Self>,
        client: usize,
        way: Way,
    ) -> io::Result<(Reader, Writer)> {
        let delay = self.world.below(self.latency.as_micros() as u64 + 1);
        tokio::time::sleep(Duration::from_micros(delay)).await;
        let dialled = {
            let mut state = self.state.lock();
            let apart = state.apart.get(&client).copied();
            if apart.is_some_and(|until| until > world::now()) {
                None
            } else {
                let accept = state.accept.clone();
                let accept = accept.ok_or(io::ErrorKind::ConnectionRefused)?;
                state.next += 1;
                let name = state.next << 1;
                let up = Wire::new(&self.world, name, self.latency);
                let down = Wire::new(&self.world, name | 1, self.latency);
                state.connections.retain(|it| it.up.strong_count() > 0);
                state.connections.push(Connection {
                    client,
                    up: Arc::downgrade(&up),
                    down: Arc::downgrade(&down),
                });
                Some((accept, up, down))
            }
        };
        let Some((accept, up, down)) = dialled else {
            // Nobody answers, and the caller gives up by himself.
            return pending().await;
        };
        let ((up_reader, up_writer), (down_reader, down_writer)) = (ends(&up), ends(&down));
        accept(way, up_reader, down_writer);
        Ok((down_reader, up_writer))
    }

    /// The client's connections break: for the client, for the broker, or for both, at once or later.
    pub(super) fn cut(&self, client: usize) {
        let kind = self.world.below(3);
        for (up, down) in self.wires(Some(client)) {
            let after = |bit: u64| match kind == bit {
                true => Duration::from_millis(self.world.below(3_000)),
                false => Duration::ZERO,
            };
            up.break_after(after(0));
            down.break_after(after(1));
        }
    }

    /// The client is gone: what it sent and has not arrived does not.
    pub(super) fn kill(&self, client: usize) {
        for (up, down) in self.wires(Some(client)) {
            up.break_after(Duration::ZERO);
            down.break_after(Duration::ZERO);
        }
    }

    /// Every connection breaks: of what was on its way some still arrives at the clients.
    pub(super) fn cut_all(&self) {
        for (up, down) in self.wires(None) {
            up.break_after(Duration::ZERO);
            let is_late = self.world.below(2) == 0;
            let late = if is_late { self.world.below(200) } else { 0 };
            down.break_after(Duration::from_millis(late));
        }
    }

    /// Nothing passes between the client and the broker for so long, in one direction or in both.
    pub(super) fn part(&self, client: usize, period: Duration) {
        let kind = self.world.below(3);
        if kind != 1 {
            let until = world::now() + period;
            self.state.lock().apart.insert(client, until);
        }
        for (up, down) in self.wires(Some(client)) {
            if kind != 1 {
                up.stand_for(period);
            }
            if kind != 2 {
                down.stand_for(period);
            }
        }
    }

    /// From now on all is well.
    pub(super) fn heal(&self) {
        self.state.lock().apart.clear();
        for (up, down) in self.wires(None) {
            up.go_on();
            down.go_on();
        }
    }

    fn wires(&self, client: Option<usize>) -> Vec<(Arc<Wire>, Arc<Wire>)> {
        let state = self.state.lock();
        let wanted = state.connections.iter();
        let wanted = wanted.filter(|it| client.is_none_or(|client| client == it.client));
        wanted
            .filter_map(|it| Some((it.up.upgrade()?, it.down.upgrade()?)))
            .collect()
    }
}
