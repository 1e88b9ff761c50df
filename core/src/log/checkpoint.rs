//! The checkpoint: the current state and the directory of sealed segments in `state.redb`, so that opening
//! reads the tail of the log and not all of it.
//!
//! Nothing in it is needed: it is written from the log, and built again when it is lost, damaged or of
//! another log. What holds: a checkpoint of an index is committed only after the log is synced up to it.
//! The database verifies no page that it reads, and may panic on a damaged one; so what it gives is
//! counted and summed up against what was written, a panic of it is an error like any other, and its
//! integrity is checked before it is written to.
//!
//! Tables: `state` (the pairs), `rows` (partition u32, last offset i64, segment u64, all big-endian: what
//! the segment holds of the partition), `segments` (the sealed segments whose rows are in `rows`, with
//! their last index),
//! `active` (what lies where in the segment that is written to, as its footer would say it), `meta` (what this
//! is a checkpoint of).

mod backend;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, Table,
    TableDefinition,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::PartitionId;
use crate::limits::CHECKPOINT_CACHE_BYTES_MAX;

use super::index::{SegmentIndex, Summary};
use super::pair::StatePair;
use super::storage::Storage;
use backend::Backend;
pub(super) use backend::Gate;

const FILE_NAME: &str = "state.redb";
const VERSION: u32 = 2;
const META_KEY: &[u8] = b"checkpoint";
const ACTIVE_KEY: &[u8] = b"index";

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
const META: Bytes = TableDefinition::new("meta");
const STATE: Bytes = TableDefinition::new("state");
const ROWS: Bytes = TableDefinition::new("rows");
const SEGMENTS: Bytes = TableDefinition::new("segments");
const ACTIVE: Bytes = TableDefinition::new("active");

/// Where in the log a checkpoint was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The last entry it covers.
    pub(super) index: u64,
    /// The term of that entry.
    pub(super) term: u32,
    /// The segment that holds it.
    pub(super) segment: u64,
    /// Where in the segment its frame stands.
    pub(super) frame: u64,
}

/// What a sealed segment holds of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirectoryRow {
    pub(super) partition: PartitionId,
    pub(super) segment: u64,
    pub(super) summary: Summary,
}

/// A sealed segment and what it holds.
#[derive(Debug)]
pub(super) struct SealedSegment {
    pub(super) segment: u64,
    /// Index of its last entry.
    pub(super) last_index: u64,
    pub(super) rows: Vec<DirectoryRow>,
}

/// What was read of a checkpoint.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) position: Position,
    pub(super) pairs: Vec<StatePair>,
    pub(super) rows: Vec<DirectoryRow>,
    /// Sealed segments of which the rows speak, with their last index.
    pub(super) segments: Vec<(u64, u64)>,
    /// What lies where up to the last entry in the segment that holds it.
    pub(super) active: Option<SegmentIndex>,
}

/// What a new checkpoint changes.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) log_uuid: [u8; 16],
    pub(super) position: Position,
    /// Whether this is all there is, and what stood there goes.
    pub(super) is_whole: bool,
    pub(super) pairs: Vec<StatePair>,
    /// Segments sealed since.
    pub(super) sealed: Vec<SealedSegment>,
    /// Segments that are gone, with what they held.
    pub(super) removed: Vec<(u64, Vec<DirectoryRow>)>,
    /// The index of the segment that holds the last entry, up to that, as a footer's payload.
    pub(super) active: Option<Vec<u8>>,
}

/// Why a checkpoint cannot be read or written.
#[derive(Debug, Error)]
pub(super) enum CheckpointError {
    /// The database says so.
    #[error("{0}")]
    Database(Box<redb::Error>),
    /// The database panicked.
    #[error("the database panicked")]
    Panic,
    /// It is not what was written.
    #[error("{0}")]
    Damaged(&'static str),
}

impl<E: Into<redb::Error>> From<E> for CheckpointError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

type Result<T> = std::result::Result<T, CheckpointError>;

#[derive(Default, Serialize, Deserialize)]
struct Meta {
    version: u32,
    log_uuid: [u8; 16],
    position: Option<Position>,
    pairs: Sum,
    rows: Sum,
    segments: Sum,
}

/// How many entries a table has, and the sum of their checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    count: u64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum(key, value));
    }

    /// Adds an entry of a table that should have as many as `whole` says: a damaged one may have no end.
    fn add_up_to(&mut self, whole: Self, key: &[u8], value: &[u8]) -> Result<()> {
        self.add(key, value);
        if self.count > whole.count {
            return Err(CheckpointError::Damaged("a table is longer than it was"));
        }
        Ok(())
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum(key, value));
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let low = crc32c::crc32c_append(crc32c::crc32c(key), value);
    let high = crc32c::crc32c_append(!low, value);
    u64::from(high) << 32 | u64::from(low)
}

/// The database, open for writing.
pub(super) struct Store {
    /// None after a panic of it: nothing more is to be asked of it, not even to close.
    database: Option<Database>,
    gate: Arc<Gate>,
}

impl Store {
    /// Opens the database in the log's folder, or creates it.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub(super) fn open(storage: &dyn Storage, dir: &str, gate: Arc<Gate>) -> Result<Self> {
        let path = path(dir);
        let file = match storage.create(&path) {
            Ok(file) => {
                storage.sync_dir(dir).map_err(storage_error)?;
                file
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                storage.open(&path, false).map_err(storage_error)?
            }
            Err(error) => return Err(storage_error(error)),
        };
        let backend = Backend::new(file, Arc::clone(&gate));
        // A damaged page that a commit comes upon makes it panic, and panic again as it is dropped, which
        // ends the process: so all of them are looked at first.
        let database = caught(|| {
            let mut database = builder().create_with_backend(backend)?;
            if !database.check_integrity()? {
                return Err(CheckpointError::Damaged("the database is damaged"));
            }
            Ok(database)
        })?;
        Ok(Self {
            database: Some(database),
            gate,
        })
    }

    /// What its writes go through.
    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// What it holds; `None` if it was never written to, or is of another log.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub(super) fn read(&self, log_uuid: &[u8; 16]) -> Result<Option<Checkpoint>> {
        let database = self.database.as_ref().ok_or(CheckpointError::Panic)?;
        caught(|| read(&database.begin_read()?, log_uuid))
    }

    /// Writes a checkpoint, durably and in one step.
    ///
    /// # Errors
    /// [`CheckpointError`]; then the one before is still there, or the store is of no further use.
    pub(super) fn commit(&mut self, update: &Update) -> Result<()> {
        let database = self.database.take().ok_or(CheckpointError::Panic)?;
        let database = std::mem::ManuallyDrop::new(database);
        let written = caught(|| commit(&database, update));
        // After a panic it stays as it is, and is not dropped: its lock may be broken.
        if !matches!(written, Err(CheckpointError::Panic)) {
            self.database = Some(std::mem::ManuallyDrop::into_inner(database));
        }
        written
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let database = self.database.take();
        // It writes as it closes, and may find then that it is damaged.
        drop(caught(|| {
            drop(database);
            Ok(())
        }));
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("is_usable", &self.database.is_some())
            .finish()
    }
}

/// The checkpoint in a folder, if there is one that can be used; and the store, if it had to be opened for
/// writing to find out. Writes nothing if the store was closed in order.
pub(super) fn load(
    storage: &dyn Storage,
    dir: &str,
    log_uuid: &[u8; 16],
) -> (Option<Checkpoint>, Option<Store>) {
    let path = path(dir);
    let Ok(file) = storage.open(&path, true) else {
        return (None, None);
    };
    let backend = Backend::new(file, Arc::default());
    let found = caught(|| match builder().open_read_only_with_backend(backend) {
        Ok(database) => Ok(Some(read(&database.begin_read()?, log_uuid)?)),
        // It was not closed in order.
        Err(DatabaseError::RepairAborted) => Ok(None),
        Err(error) => Err(error.into()),
    });
    let found = match found {
        Ok(Some(checkpoint)) => Ok((checkpoint, None)),
        Ok(None) => {
            let opened = Store::open(storage, dir, Arc::default());
            opened.and_then(|store| Ok((store.read(log_uuid)?, Some(store))))
        }
        Err(error) => Err(error),
    };
    found.unwrap_or_else(|error| {
        tracing::warn!(%path, %error, "the checkpoint cannot be used; it is built again");
        discard(storage, dir);
        (None, None)
    })
}

/// Removes the database. What is left if that fails is found to be of no use again.
pub(super) fn discard(storage: &dyn Storage, dir: &str) {
    let removed = storage
        .unlink(&path(dir))
        .and_then(|()| storage.sync_dir(dir));
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(dir, %error, "the checkpoint cannot be removed");
    }
}

fn path(dir: &str) -> String {
    format!("{dir}/{FILE_NAME}")
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CHECKPOINT_CACHE_BYTES_MAX);
    builder
}

fn read(transaction: &ReadTransaction, log_uuid: &[u8; 16]) -> Result<Option<Checkpoint>> {
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(meta) = meta.get(META_KEY)? else {
        return Ok(None);
    };
    let damaged = |_| CheckpointError::Damaged("its meta data");
    // Another version may say other things behind it.
    let (version, _) = postcard::take_from_bytes::<u32>(meta.value()).map_err(damaged)?;
    if version != VERSION {
        return Ok(None);
    }
    let meta: Meta = postcard::from_bytes(meta.value()).map_err(damaged)?;
    let Some(position) = meta.position else {
        return Ok(None);
    };
    if meta.log_uuid != *log_uuid {
        return Ok(None);
    }
    let (mut pairs, mut sum) = (Vec::new(), Sum::default());
    for entry in transaction.open_table(STATE)?.iter()? {
        let (key, value) = entry?;
        sum.add_up_to(meta.pairs, key.value(), value.value())?;
        pairs.push(StatePair {
            key: key.value().to_vec(),
            value: Some(value.value().to_vec()),
        });
    }
    if sum != meta.pairs {
        return Err(CheckpointError::Damaged(
            "the state is not what was written",
        ));
    }
    let (mut rows, mut sum) = (Vec::new(), Sum::default());
    for entry in transaction.open_table(ROWS)?.iter()? {
        let (key, value) = entry?;
        sum.add_up_to(meta.rows, key.value(), value.value())?;
        rows.push(decode_row(key.value(), value.value()).ok_or(DAMAGED_ROW)?);
    }
    if sum != meta.rows {
        return Err(CheckpointError::Damaged(
            "the directory is not what was written",
        ));
    }
    let (mut segments, mut sum) = (Vec::new(), Sum::default());
    for entry in transaction.open_table(SEGMENTS)?.iter()? {
        let (segment, last_index) = entry?;
        sum.add_up_to(meta.segments, segment.value(), last_index.value())?;
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes);
        let segment = number(segment.value()).map_err(|_| DAMAGED_ROW)?;
        let last_index = number(last_index.value()).map_err(|_| DAMAGED_ROW)?;
        segments.push((segment, last_index));
    }
    if sum != meta.segments {
        return Err(DAMAGED_ROW);
    }
    let active = transaction.open_table(ACTIVE)?.get(ACTIVE_KEY)?;
    Ok(Some(Checkpoint {
        position,
        pairs,
        rows,
        segments,
        // It has a checksum of its own; without it more of the log is read.
        active: active.and_then(|payload| SegmentIndex::decode(payload.value())),
    }))
}

const DAMAGED_ROW: CheckpointError = CheckpointError::Damaged("a row of the directory");

fn commit(database: &Database, update: &Update) -> Result<()> {
    let mut transaction = database.begin_write()?;
    // Opening after a kill then reads no more than opening after a close.
    transaction.set_quick_repair(true);
    {
        let mut meta_table = transaction.open_table(META)?;
        let stored = meta_table.get(META_KEY)?.map(|meta| meta.value().to_vec());
        let stored = stored.and_then(|meta| postcard::from_bytes::<Meta>(&meta).ok());
        let is_own = |meta: &Meta| meta.log_uuid == update.log_uuid && meta.version == VERSION;
        let mut meta = stored.filter(is_own).unwrap_or_default();
        if update.is_whole {
            for table in [STATE, ROWS, SEGMENTS, ACTIVE] {
                transaction.delete_table(table)?;
            }
            meta = Meta::default();
        }
        let mut state = Summed::new(transaction.open_table(STATE)?, &mut meta.pairs);
        for StatePair { key, value } in &update.pairs {
            state.put(key, value.as_deref())?;
        }
        let mut rows = Summed::new(transaction.open_table(ROWS)?, &mut meta.rows);
        let mut segments = Summed::new(transaction.open_table(SEGMENTS)?, &mut meta.segments);
        for sealed in &update.sealed {
            for (key, value) in sealed.rows.iter().map(encode_row) {
                rows.put(&key, Some(&value))?;
            }
            let (key, value) = (
                sealed.segment.to_be_bytes(),
                sealed.last_index.to_be_bytes(),
            );
            segments.put(&key, Some(&value))?;
        }
        for (segment, held) in &update.removed {
            for (key, _) in held.iter().map(encode_row) {
                rows.put(&key, None)?;
            }
            segments.put(&segment.to_be_bytes(), None)?;
        }
        let mut active = transaction.open_table(ACTIVE)?;
        match &update.active {
            Some(payload) => drop(active.insert(ACTIVE_KEY, payload.as_slice())?),
            None => drop(active.remove(ACTIVE_KEY)?),
        }
        meta.version = VERSION;
        meta.log_uuid = update.log_uuid;
        meta.position = Some(update.position);
        let meta = postcard::to_stdvec(&meta).map_err(|_| CheckpointError::Damaged("meta"))?;
        meta_table.insert(META_KEY, meta.as_slice())?;
    }
    Ok(transaction.commit()?)
}

/// A table that is written to, and its sum.
struct Summed<'a, 'db> {
    table: Table<'db, &'static [u8], &'static [u8]>,
    sum: &'a mut Sum,
}

impl<'a, 'db> Summed<'a, 'db> {
    fn new(table: Table<'db, &'static [u8], &'static [u8]>, sum: &'a mut Sum) -> Self {
        Self { table, sum }
    }

    /// Writes what stands under a key from now on.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let before = match value {
            Some(value) => {
                self.sum.add(key, value);
                self.table.insert(key, value)?
            }
            None => self.table.remove(key)?,
        };
        if let Some(before) = before {
            self.sum.remove(key, before.value());
        }
        Ok(())
    }
}

fn encode_row(row: &DirectoryRow) -> (Vec<u8>, Vec<u8>) {
    let summary = &row.summary;
    let key = [
        &row.partition.0.to_be_bytes()[..],
        &summary.next_offset.saturating_sub(1).to_be_bytes(),
        &row.segment.to_be_bytes(),
    ];
    // Plain numbers: postcard refuses none of them.
    (
        key.concat(),
        postcard::to_stdvec(summary).unwrap_or_default(),
    )
}

fn decode_row(key: &[u8], value: &[u8]) -> Option<DirectoryRow> {
    let (partition, rest) = key.split_first_chunk()?;
    let segment = rest.last_chunk()?;
    Some(DirectoryRow {
        partition: PartitionId(u32::from_be_bytes(*partition)),
        segment: u64::from_be_bytes(*segment),
        summary: postcard::take_from_bytes(value).ok()?.0,
    })
}

fn caught<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(CheckpointError::Panic))
}

fn storage_error(error: io::Error) -> CheckpointError {
    CheckpointError::Database(Box::new(redb::Error::Io(error)))
}
