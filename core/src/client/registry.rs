//! Everything of this process that is open, so that its end can flush and close it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::sync::Mutex;

use super::handle::{CloseReport, Shared};
use crate::completion::{self, Completion};
use crate::fork::PerFork;
use crate::limits::FORK_GENERATIONS_MAX;
use crate::world;

/// How much longer than the time it was given a client may take to say what was not delivered.
const GRACE: Duration = Duration::from_secs(1);

/// One list per fork generation: a child must not touch what a thread of its parent may have locked.
static REGISTRIES: PerFork<Mutex<Registry>> =
    PerFork::new([const { Mutex::new(Registry::new()) }; FORK_GENERATIONS_MAX]);

struct Registry {
    clients: Vec<Weak<Shared>>,
    /// Closings of clients that were dropped.
    background: Vec<completion::Shared<()>>,
}

impl Registry {
    const fn new() -> Self {
        Self {
            clients: Vec::new(),
            background: Vec::new(),
        }
    }
}

/// Flushes and closes every open client of the process. For the exit hooks of languages.
///
/// Waits at most `timeout` (none: the longest `exit_timeout_ms` of the clients; 2,000 by default), and
/// never on a thread of Headwater. Called again it finds nothing to do.
pub fn exit(timeout: Option<Duration>) -> CloseReport {
    let Some(registry) = current() else {
        return CloseReport::default();
    };
    let (clients, background) = {
        let mut registry = registry.lock();
        (
            std::mem::take(&mut registry.clients),
            std::mem::take(&mut registry.background),
        )
    };
    let mut clients: Vec<_> = clients.iter().filter_map(Weak::upgrade).collect();
    // Whoever closed a client has been told what came of it.
    clients.retain(|client| !client.has_closed());
    let longest = clients.iter().map(|client| client.exit_timeout).max();
    let timeout = timeout.or(longest).unwrap_or(Duration::from_secs(2));
    let deadline = world::now() + timeout;
    let left = || Some(deadline.saturating_duration_since(world::now()));
    let closing: Vec<_> = clients
        .iter()
        .map(|client| client.close(Some(timeout)))
        .collect();
    let mut report = CloseReport::default();
    for closing in closing {
        // Each answers by itself, soon after the deadline; the rest is for a machine that is very slow.
        match closing.wait(left().map(|left| left + GRACE)) {
            Ok(one) => report.add(one),
            Err(error) => _ = report.first_error.get_or_insert(error),
        }
    }
    for closing in background {
        if let Err(error) = closing.wait(left()) {
            report.first_error.get_or_insert(error);
        }
    }
    if report != CloseReport::default() {
        tracing::warn!(?report, "not everything was delivered at exit");
    }
    report
}

pub(super) fn remember(client: &Arc<Shared>) {
    if let Some(registry) = current() {
        let mut registry = registry.lock();
        registry.clients.retain(|client| client.strong_count() > 0);
        registry.clients.push(Arc::downgrade(client));
    }
}

/// Runs `job` on a thread of its own, for which [`exit`] waits.
pub(in crate::client) fn in_background(name: &str, job: impl FnOnce() + Send + 'static) {
    let (completion, done) = Completion::shared();
    if let Some(registry) = current() {
        let mut registry = registry.lock();
        registry
            .background
            .retain(|closing| closing.peek().is_none());
        registry.background.push(done);
    }
    let spawned = world::spawn(name, move || {
        job();
        completion.finish(Ok(()));
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "the system gives no thread to close a log on");
    }
}

fn current() -> Option<&'static Mutex<Registry>> {
    // A world of a simulation ends what it began by itself.
    REGISTRIES.get().filter(|_| !world::is_simulated())
}
