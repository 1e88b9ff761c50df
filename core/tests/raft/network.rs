//! The wires between the members: calls, until one is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};

use openraft::alias::SnapshotOf;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use super::node::Member;
use super::{Types, Vote};

/// All wires. A clone is another handle to them.
#[derive(Clone, Default)]
pub(super) struct Network {
    members: Arc<Mutex<BTreeMap<u64, Member>>>,
    /// Who reaches whom no more.
    cuts: Arc<Mutex<BTreeSet<(u64, u64)>>>,
}

impl Network {
    /// Connects a member that has come up.
    pub(super) fn connect(&self, id: u64, member: Member) {
        self.members.lock().unwrap().insert(id, member);
    }

    /// Disconnects a member that is down.
    pub(super) fn disconnect(&self, id: u64) {
        self.members.lock().unwrap().remove(&id);
    }

    /// Cuts one direction.
    pub(super) fn cut(&self, from: u64, to: u64) {
        self.cuts.lock().unwrap().insert((from, to));
    }

    /// Mends everything.
    pub(super) fn mend(&self) {
        self.cuts.lock().unwrap().clear();
    }

    /// The wires that begin at a member.
    pub(super) fn of(&self, from: u64) -> Wires {
        Wires {
            network: self.clone(),
            from,
        }
    }

    fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cuts.lock().unwrap().contains(&(from, to))
    }
}

/// The wires that begin at one member.
pub(super) struct Wires {
    network: Network,
    from: u64,
}

/// One wire.
pub(super) struct Wire {
    network: Network,
    from: u64,
    to: u64,
}

impl RaftNetworkFactory<Types> for Wires {
    type Network = Wire;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Wire {
        Wire {
            network: self.network.clone(),
            from: self.from,
            to: target,
        }
    }
}

fn unreachable(what: impl ToString) -> Unreachable<Types> {
    Unreachable::from_string(what)
}

impl Wire {
    /// Asks the member at the other end; question and answer may both be lost.
    async fn ask<T, E, F>(
        &self,
        option: &RPCOption,
        call: impl FnOnce(Member) -> F,
    ) -> Result<T, Unreachable<Types>>
    where
        E: std::fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        let member = self.network.members.lock().unwrap().get(&self.to).cloned();
        let member = member.filter(|_| !self.network.is_cut(self.from, self.to));
        let member = member.ok_or_else(|| unreachable("nobody there"))?;
        let answer = tokio::time::timeout(option.hard_ttl(), call(member)).await;
        if self.network.is_cut(self.to, self.from) {
            return Err(unreachable("no answer"));
        }
        answer.map_err(unreachable)?.map_err(unreachable)
    }
}

impl RaftNetworkV2<Types> for Wire {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let call = |member: Member| async move { member.append_entries(rpc).await };
        Ok(self.ask(&option, call).await?)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let call = |member: Member| async move { member.vote(rpc).await };
        Ok(self.ask(&option, call).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, Vec<u8>>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let call =
            |member: Member| async move { member.install_full_snapshot(vote, snapshot).await };
        Ok(self.ask(&option, call).await?)
    }
}
