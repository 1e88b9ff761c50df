//! The table of APIs: what is spoken, in which versions, and by whom it is answered.
//!
//! ApiVersions, the dispatch, `headwater kafka-compat` and the documentation are made from it.

use std::ops::RangeInclusive;

use bytes::Bytes;
use headwater::server::Place;

use super::answer::Answer;
use super::context::Context;
use super::wire::{Malformed, Problem, Reader};
use super::{
    alter_configs, api_versions, create_partitions, create_topics, delete_groups, delete_records,
    delete_topics, describe_cluster, describe_configs, describe_groups, fetch, find_coordinator,
    heartbeat, incremental_alter_configs, init_producer_id, join_group, leave_group, list_groups,
    list_offsets, metadata, offset_commit, offset_delete, offset_fetch, offset_for_leader_epoch,
    produce, sync_group,
};

/// One API.
#[derive(Debug)]
pub(crate) struct Api {
    /// Its number on the wire.
    pub(crate) key: i16,
    /// Its name, as Kafka's documentation writes it.
    pub(crate) name: &'static str,
    first_version: i16,
    last_version: i16,
    /// The first version with compact lengths and tagged fields.
    first_flexible: i16,
    /// Whether requests that follow each other are started without waiting for the answer of the one before.
    pub(super) is_pipelined: bool,
    /// Whether they carry record batches, for which there must be room.
    has_batches: bool,
    answer: Handler,
}

/// Reads a request to its end and answers it. It never waits: it runs where the connection is read.
type Handler = fn(&Context, &mut Request<'_>) -> Result<Answer, Malformed>;

/// A request, of which the header was read.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The version that it is in, and the answer too.
    pub(crate) version: i16,
    /// Whether that is one with compact lengths and tagged fields.
    pub(crate) is_flexible: bool,
    /// What the client calls itself.
    pub(crate) client_id: Option<&'a str>,
    /// Room for its record batches, to be given back as they are appended.
    pub(crate) place: Option<Place>,
    /// What it says.
    pub(crate) fields: Reader<'a>,
}

/// Every API that is spoken, by its key.
///
/// The columns: key, name, versions, first flexible version, who answers.
pub(crate) const APIS: &[Api] = &[
    api(0, "Produce", 3..=13, 9, produce::answer).with_batches(),
    api(1, "Fetch", 4..=17, 12, fetch::answer),
    api(2, "ListOffsets", 1..=10, 6, list_offsets::answer),
    api(3, "Metadata", 0..=13, 9, metadata::answer),
    api(8, "OffsetCommit", 2..=9, 8, offset_commit::answer),
    api(9, "OffsetFetch", 1..=9, 6, offset_fetch::answer),
    api(10, "FindCoordinator", 0..=6, 3, find_coordinator::answer),
    api(11, "JoinGroup", 0..=9, 6, join_group::answer),
    api(12, "Heartbeat", 0..=4, 4, heartbeat::answer),
    api(13, "LeaveGroup", 0..=5, 4, leave_group::answer),
    api(14, "SyncGroup", 0..=5, 4, sync_group::answer),
    api(15, "DescribeGroups", 0..=6, 5, describe_groups::answer),
    api(16, "ListGroups", 0..=5, 3, list_groups::answer),
    api(18, "ApiVersions", 0..=4, 3, api_versions::answer),
    api(19, "CreateTopics", 2..=7, 5, create_topics::answer),
    api(20, "DeleteTopics", 1..=6, 4, delete_topics::answer),
    api(21, "DeleteRecords", 0..=2, 2, delete_records::answer),
    api(22, "InitProducerId", 0..=5, 2, init_producer_id::answer),
    api(
        23,
        "OffsetForLeaderEpoch",
        2..=4,
        4,
        offset_for_leader_epoch::answer,
    ),
    api(32, "DescribeConfigs", 1..=4, 4, describe_configs::answer),
    api(33, "AlterConfigs", 0..=2, 2, alter_configs::answer),
    api(37, "CreatePartitions", 0..=3, 2, create_partitions::answer),
    api(42, "DeleteGroups", 0..=2, 2, delete_groups::answer),
    api(
        44,
        "IncrementalAlterConfigs",
        0..=1,
        1,
        incremental_alter_configs::answer,
    ),
    api(47, "OffsetDelete", 0..=0, 1, offset_delete::answer),
    api(60, "DescribeCluster", 0..=2, 0, describe_cluster::answer),
];

const fn api(
    key: i16,
    name: &'static str,
    versions: RangeInclusive<i16>,
    first_flexible: i16,
    answer: Handler,
) -> Api {
    Api {
        key,
        name,
        first_version: *versions.start(),
        last_version: *versions.end(),
        first_flexible,
        is_pipelined: false,
        has_batches: false,
        answer,
    }
}

impl Api {
    /// The same, where record batches are carried: requests that follow each other are started as soon as there is
    /// room for them, without waiting for the answers before.
    const fn with_batches(mut self) -> Self {
        self.is_pipelined = true;
        self.has_batches = true;
        self
    }

    /// The versions that are spoken.
    pub(crate) const fn versions(&self) -> RangeInclusive<i16> {
        self.first_version..=self.last_version
    }

    /// Whether its requests carry record batches.
    #[cfg(any(test, feature = "testing"))]
    pub(super) const fn has_batches(&self) -> bool {
        self.has_batches
    }

    const fn is_flexible(&self, version: i16) -> bool {
        version >= self.first_flexible
    }

    /// Whether an answer's header has tagged fields. That of ApiVersions never has: whoever asks does not know
    /// yet what is spoken here.
    const fn has_flexible_header(&self, version: i16) -> bool {
        self.is_flexible(version) && self.key != api_versions::KEY
    }
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Arrived {
    frame: Bytes,
    pub(super) api: &'static Api,
    version: i16,
    pub(super) correlation_id: i32,
}

/// API key, version and correlation id.
const HEAD_BYTES: usize = 8;

impl Arrived {
    /// Looks at the head of a frame.
    ///
    /// # Errors
    /// When there is none, or it names an API or a version that is not spoken. (Of ApiVersions every version is
    /// answered.)
    pub(super) fn of(frame: Bytes) -> Result<Self, Malformed> {
        let mut head = Reader::new(&frame, false);
        let key = head.i16("request_api_key")?;
        let version = head.i16("request_api_version")?;
        let correlation_id = head.i32("correlation_id")?;
        let known = APIS.iter().find(|api| api.key == key);
        let spoken =
            known.filter(|api| key == api_versions::KEY || api.versions().contains(&version));
        let Some(api) = spoken else {
            let name = known.map_or("unknown", |api| api.name);
            return Err(Malformed {
                field: "request_api_key",
                position: 0,
                problem: Problem::Version { key, name, version },
            });
        };
        Ok(Self {
            frame,
            api,
            version,
            correlation_id,
        })
    }

    /// How many bytes it is, its length field counted.
    pub(super) fn bytes(&self) -> usize {
        self.frame.len() + size_of::<i32>()
    }

    /// For how many bytes there must be room before it is started, if it carries record batches.
    pub(super) fn batch_bytes(&self) -> Option<usize> {
        self.api.has_batches.then_some(self.frame.len())
    }

    /// Starts what it asks for; `place` is the room for its record batches.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn start(
        &self,
        context: &Context,
        place: Option<Place>,
    ) -> Result<Answer, Malformed> {
        if !self.api.versions().contains(&self.version) {
            return Ok(api_versions::unsupported());
        }
        let mut fields = Reader::new(&self.frame, false);
        fields.skip("header", HEAD_BYTES)?;
        // In every version of the header the client's id is a string of the classic form.
        let client_id = fields.nullable_string("client_id")?;
        fields.set_flexible(self.api.is_flexible(self.version));
        fields.tags()?;
        let mut request = Request {
            version: self.version,
            is_flexible: self.api.is_flexible(self.version),
            client_id,
            place,
            fields,
        };
        (self.api.answer)(context, &mut request)
    }

    /// Whether the header of its answer has tagged fields.
    pub(super) fn has_flexible_header(&self) -> bool {
        self.api.has_flexible_header(self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_its_keys_and_its_ranges_hold_something() {
        assert!(APIS.windows(2).all(|two| two[0].key < two[1].key));
        assert!(APIS.iter().all(|api| !api.versions().is_empty()));
    }
}
