//! What this process has open: one service for each folder, and for each name in memory.
//!
//! Each of them has a [`Place`], whose lock is held while its log is opened or closed: who opens a folder that is just
//! being closed waits for that, and nobody else does. The table of places is locked for a look, never for longer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Weak};

use super::Inner;
use crate::error::Result;
use crate::fork::PerFork;
use crate::limits::FORK_GENERATIONS_MAX;
use crate::log::lock::FolderKey;
use crate::sync::Mutex;

/// The service that is open there, if one is.
pub(super) type Place = Mutex<Weak<Inner>>;

#[derive(Default)]
struct Places {
    folders: HashMap<FolderKey, Arc<Place>>,
    memories: HashMap<String, Arc<Place>>,
}

/// A forked child begins with nothing: it has neither the logs' threads nor their locks, so it must not join what the
/// parent has open.
static PLACES: PerFork<LazyLock<Mutex<Places>>> =
    PerFork::new([const { LazyLock::new(Mutex::default) }; FORK_GENERATIONS_MAX]);

/// The place of a folder.
///
/// # Errors
/// `FORKED` in the child of too many forks.
pub(super) fn of_folder(key: &FolderKey) -> Result<Arc<Place>> {
    Ok(place(&mut PLACES.current()?.lock().folders, key))
}

/// The place of a log in memory.
///
/// # Errors
/// As [`of_folder`].
pub(super) fn of_memory(name: &str) -> Result<Arc<Place>> {
    Ok(place(&mut PLACES.current()?.lock().memories, name))
}

fn place<K, Q>(places: &mut HashMap<K, Arc<Place>>, key: &Q) -> Arc<Place>
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
{
    // Those in use are held by who opens and by what is open; they are given out under this lock alone.
    places.retain(|_, place| Arc::strong_count(place) > 1);
    let place = places.entry(key.to_owned()).or_default();
    Arc::clone(place)
}

#[cfg(test)]
mod tests {
    use super::super::{Service, ServiceOptions};
    use super::*;
    use crate::log::owner::Access;

    #[test]
    fn a_folder_that_is_being_closed_is_waited_for_by_who_opens_it_and_by_nobody_else() {
        // One lock was held while any log was closed, up to a second: whoever opened anything waited for it.
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = ServiceOptions::default();
        let service = Service::open_folder(one.path(), &options).unwrap();
        let (begun, begins) = std::sync::mpsc::channel();
        let path = other.path().to_owned();
        let while_it_closes = Box::new(move || {
            begun.send(()).unwrap();
            let options = ServiceOptions::default();
            for opened in [
                Service::open_memory("while another closes", &options),
                Service::open_folder(&path, &options),
            ] {
                opened.unwrap().close().unwrap();
            }
        });
        service
            .announce(Access::Exclusive, while_it_closes)
            .unwrap();
        let closed = service.clone();
        let closing = std::thread::spawn(move || closed.close());
        begins.recv().unwrap();
        // Else it would be held by this very process.
        let again = Service::open_folder(one.path(), &options).unwrap();
        assert!(service.is_closed());
        again.close().unwrap();
        closing.join().unwrap().unwrap();
    }

    #[test]
    fn a_place_is_kept_as_long_as_something_is_open_there() {
        let name = "a place of a test";
        let options = ServiceOptions::default();
        let service = Service::open_memory(name, &options).unwrap();
        let held = || PLACES.current().unwrap().lock().memories.contains_key(name);
        drop(of_memory("another").unwrap());
        assert!(held());
        service.close().unwrap();
        drop(service);
        drop(of_memory("another").unwrap());
        assert!(!held());
    }
}
