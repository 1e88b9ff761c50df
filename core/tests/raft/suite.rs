//! openraft's suite for storages of logs, over the log on a disk and on faulty storage.

use std::sync::Arc;

use headwater::log::storage::Storage;
use headwater::log::storage::disk::DiskStorage;
use headwater::log::storage::faulty::FaultyStorage;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::Types;
use super::machine::Machine;
use super::store::Store;

/// A few entries fill a segment.
const SEGMENT_BYTES: u64 = 4_096 + 500;

fn store(storage: impl Storage + 'static) -> (Store, Machine) {
    let storage = Arc::new(storage);
    let store = Store::open(Arc::clone(&storage) as Arc<dyn Storage>, SEGMENT_BYTES).unwrap();
    (store, Machine::new(storage))
}

struct Disk;

impl StoreBuilder<Types, Store, Machine, TempDir> for Disk {
    async fn build(&self) -> Result<(TempDir, Store, Machine), StorageError<Types>> {
        let folder = tempfile::tempdir().unwrap();
        let (store, machine) = store(DiskStorage::open(folder.path(), true).unwrap());
        Ok((folder, store, machine))
    }
}

struct Faulty;

impl StoreBuilder<Types, Store, Machine> for Faulty {
    async fn build(&self) -> Result<((), Store, Machine), StorageError<Types>> {
        let (store, machine) = store(FaultyStorage::new());
        Ok(((), store, machine))
    }
}

#[tokio::test(start_paused = true)]
async fn the_suite_passes_on_a_disk() {
    Suite::test_all(Disk).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_suite_passes_on_faulty_storage() {
    Suite::test_all(Faulty).await.unwrap();
}
