//! A state that remembers the records that were applied, in order, and keeps snapshots of that in a file
//! beside the log.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use headwater::log::storage::Storage;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};

use super::store::{decode_membership, encode_membership};
use super::{LogId, Membership, StoredMembership, Types};

const FILE: &str = "snapshot";
const NEW_FILE: &str = "snapshot.new";

/// What was applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    /// The last entry.
    pub(super) last: Option<LogId>,
    membership: StoredMembership,
    /// The index of each batch, and the batch.
    pub(super) batches: Vec<(u64, Bytes)>,
}

/// Term and index, as they are kept.
type KeptId = Option<(u64, u64)>;
/// The last entry; the membership's, and the membership; the batches.
type Kept = (KeptId, KeptId, Vec<u8>, Vec<(u64, Vec<u8>)>);

fn kept_id(id: Option<LogId>) -> KeptId {
    id.map(|id| (id.leader_id.term, id.index))
}

fn log_id(kept: KeptId) -> Option<LogId> {
    kept.map(|(term, index)| LogId::new_term_index(term, index))
}

impl Applied {
    fn encode(&self) -> Vec<u8> {
        let batches = self.batches.iter();
        let kept: Kept = (
            kept_id(self.last),
            kept_id(*self.membership.log_id()),
            encode_membership(self.membership.membership()),
            batches.map(|(index, it)| (*index, it.to_vec())).collect(),
        );
        postcard::to_stdvec(&kept).unwrap()
    }

    fn decode(bytes: &[u8]) -> Result<Self, io::Error> {
        let kept: Kept = postcard::from_bytes(bytes).map_err(io::Error::other)?;
        let (last, membership_id, membership, batches) = kept;
        // No membership is no valid one.
        let membership = match membership_id {
            None => Membership::default(),
            Some(_) => decode_membership(&membership)?,
        };
        let batches = batches.into_iter();
        Ok(Self {
            last: log_id(last),
            membership: StoredMembership::new(log_id(membership_id), membership),
            batches: batches.map(|(index, it)| (index, it.into())).collect(),
        })
    }

    fn snapshot(&self) -> SnapshotOf<Types, Vec<u8>> {
        SnapshotOf::<Types, _> {
            meta: SnapshotMetaOf::<Types> {
                last_log_id: self.last,
                last_membership: self.membership.clone(),
            },
            snapshot: self.encode(),
        }
    }
}

/// The state, and where its snapshots are kept. A clone is another handle to it.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    storage: Arc<dyn Storage>,
    pub(super) applied: Arc<Mutex<Applied>>,
}

impl Machine {
    /// An empty state: openraft gives it the last snapshot, and what is committed behind it.
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            applied: Arc::default(),
        }
    }

    fn applied(&self) -> Applied {
        self.applied.lock().unwrap().clone()
    }

    /// Keeps a snapshot, durably and in one step.
    fn keep(&self, bytes: &[u8]) -> Result<(), io::Error> {
        match self.storage.unlink(NEW_FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.storage.create(NEW_FILE)?;
        file.write_at(&[IoSlice::new(bytes)], 0)?;
        file.sync()?;
        self.storage.rename(NEW_FILE, FILE)?;
        self.storage.sync_dir("")
    }

    fn kept(&self) -> Result<Option<Vec<u8>>, io::Error> {
        let file = match self.storage.open(FILE, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = vec![0; usize::try_from(file.length()?).unwrap()];
        file.read_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, Vec<u8>>, io::Error> {
        let snapshot = self.applied().snapshot();
        self.keep(&snapshot.snapshot)?;
        Ok(snapshot)
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.applied();
        Ok((applied.last, applied.membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            {
                let mut applied = self.applied.lock().unwrap();
                applied.last = Some(entry.log_id);
                match entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Normal(records) => {
                        applied.batches.push((entry.log_id.index, records.0));
                    }
                    EntryPayload::Membership(membership) => {
                        applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                    }
                }
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        // As of now: applying may go on.
        Self {
            storage: Arc::clone(&self.storage),
            applied: Arc::new(Mutex::new(self.applied())),
        }
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<Types>,
        snapshot: Vec<u8>,
    ) -> Result<(), io::Error> {
        let applied = Applied::decode(&snapshot)?;
        self.keep(&snapshot)?;
        *self.applied.lock().unwrap() = applied;
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, Vec<u8>>>, io::Error> {
        let kept = self.kept()?;
        kept.map(|bytes| Ok(Applied::decode(&bytes)?.snapshot()))
            .transpose()
    }
}
