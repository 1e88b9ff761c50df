//! What was asked in Kafka's protocol, over all connections since the broker started: counted a request at a time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::api::{APIS, Api};
#[cfg(feature = "http")]
use crate::listen::{RequestFigures, Spoken};

/// See the module.
pub(crate) struct Figures {
    /// In the order of the table of APIs.
    apis: [OfApi; APIS.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    file_reads: AtomicU64,
}

#[derive(Default)]
struct OfApi {
    requests: AtomicU64,
    errors: AtomicU64,
    micros: AtomicU64,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            apis: std::array::from_fn(|_| OfApi::default()),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            file_reads: AtomicU64::new(0),
        }
    }
}

impl Figures {
    /// A request of so many bytes came.
    pub(super) fn received(&self, bytes: usize) {
        add(&self.received_bytes, bytes as u64);
    }

    /// A request was answered, or ended its connection, so long after it came.
    pub(super) fn answered(&self, api: &Api, after: Duration, has_failed: bool) {
        let place = APIS.iter().position(|known| known.key == api.key);
        let Some(of_api) = place.and_then(|place| self.apis.get(place)) else {
            return;
        };
        add(&of_api.requests, 1);
        add(&of_api.errors, u64::from(has_failed));
        let micros = u64::try_from(after.as_micros());
        add(&of_api.micros, micros.unwrap_or(u64::MAX));
    }

    /// Answers of so many bytes are on their way.
    pub(super) fn sent(&self, bytes: usize) {
        add(&self.sent_bytes, bytes as u64);
    }

    /// Batches were read from files, since they were not in memory any more.
    pub(super) fn read_files(&self) {
        add(&self.file_reads, 1);
    }

    /// How often batches were read from files.
    #[cfg(any(feature = "http", test))]
    pub(super) fn file_reads(&self) -> u64 {
        now(&self.file_reads)
    }

    /// All of it.
    #[cfg(feature = "http")]
    pub(super) fn spoken(&self, connections: usize) -> Spoken {
        let requests = APIS
            .iter()
            .zip(&self.apis)
            .map(|(api, of_api)| RequestFigures {
                api: api.name,
                requests: now(&of_api.requests),
                errors: now(&of_api.errors),
                seconds: Duration::from_micros(now(&of_api.micros)).as_secs_f64(),
            });
        Spoken {
            protocol: "kafka",
            connections,
            received_bytes: now(&self.received_bytes),
            sent_bytes: now(&self.sent_bytes),
            file_reads: self.file_reads(),
            requests: requests.collect(),
        }
    }
}

fn add(to: &AtomicU64, more: u64) {
    to.fetch_add(more, Ordering::Relaxed);
}

#[cfg(any(feature = "http", test))]
fn now(of: &AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}
