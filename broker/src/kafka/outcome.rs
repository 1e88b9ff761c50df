//! Whether an answer says that something went wrong, with all that was asked for or with some of it: for figures.

use kafka_protocol::messages::{
    AlterConfigsResponse, ApiVersionsResponse, CreatePartitionsResponse, CreateTopicsResponse,
    DeleteGroupsResponse, DeleteRecordsResponse, DeleteTopicsResponse, DescribeClusterResponse,
    DescribeConfigsResponse, DescribeGroupsResponse, FindCoordinatorResponse, HeartbeatResponse,
    IncrementalAlterConfigsResponse, InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse,
    ListGroupsResponse, ListOffsetsResponse, MetadataResponse, OffsetCommitResponse,
    OffsetDeleteResponse, OffsetFetchResponse, OffsetForLeaderEpochResponse, SyncGroupResponse,
};

/// An answer that knows.
pub(crate) trait Outcome {
    /// Whether there is an error code in it.
    fn has_failed(&self) -> bool;
}

/// The responses, and where in them error codes stand: in fields, or in those of what lists hold.
macro_rules! outcomes {
    ($($message:ty: $($field:ident $({ $($inner:tt)* })?),*;)*) => {
        $(impl Outcome for $message {
            fn has_failed(&self) -> bool {
                false $(|| outcomes!(@ self $field $({ $($inner)* })?))*
            }
        })*
    };
    (@ $it:ident error_code) => { $it.error_code != 0 };
    (@ $it:ident $list:ident { $($field:ident $({ $($inner:tt)* })?),* }) => {
        $it.$list.iter().any(|it| false $(|| outcomes!(@ it $field $({ $($inner)* })?))*)
    };
}

outcomes! {
    AlterConfigsResponse: responses { error_code };
    ApiVersionsResponse: error_code;
    CreatePartitionsResponse: results { error_code };
    CreateTopicsResponse: topics { error_code };
    DeleteGroupsResponse: results { error_code };
    DeleteRecordsResponse: topics { partitions { error_code } };
    DeleteTopicsResponse: responses { error_code };
    DescribeClusterResponse: error_code;
    DescribeConfigsResponse: results { error_code };
    DescribeGroupsResponse: groups { error_code };
    FindCoordinatorResponse: error_code, coordinators { error_code };
    HeartbeatResponse: error_code;
    IncrementalAlterConfigsResponse: responses { error_code };
    InitProducerIdResponse: error_code;
    JoinGroupResponse: error_code;
    LeaveGroupResponse: error_code, members { error_code };
    ListGroupsResponse: error_code;
    ListOffsetsResponse: topics { partitions { error_code } };
    MetadataResponse: error_code, topics { error_code, partitions { error_code } };
    OffsetCommitResponse: topics { partitions { error_code } };
    OffsetDeleteResponse: error_code, topics { partitions { error_code } };
    OffsetFetchResponse: error_code, topics { partitions { error_code } },
        groups { error_code, topics { partitions { error_code } } };
    OffsetForLeaderEpochResponse: topics { partitions { error_code } };
    SyncGroupResponse: error_code;
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::{
        MetadataResponsePartition, MetadataResponseTopic,
    };

    use super::*;

    #[test]
    fn a_code_is_found_wherever_it_stands() {
        let metadata = |top: i16, topic: i16, partition: i16| {
            let partition = MetadataResponsePartition::default().with_error_code(partition);
            let topic = MetadataResponseTopic::default()
                .with_error_code(topic)
                .with_partitions(vec![MetadataResponsePartition::default(), partition]);
            MetadataResponse::default()
                .with_error_code(top)
                .with_topics(vec![topic])
        };
        assert!(!metadata(0, 0, 0).has_failed());
        assert!(metadata(1, 0, 0).has_failed());
        assert!(metadata(0, 3, 0).has_failed());
        assert!(metadata(0, 0, -1).has_failed());
    }
}
