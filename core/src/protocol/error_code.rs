//! The table of error codes: number, name, kind, and what it means.
//!
//! Numbers and names are Kafka's where Kafka has one (protocol guide, "Error Codes"), ours from 1,000 on.
//! They cross the wire, files of completion rows and every language, so a number is never reused and a
//! name never changes. This module is plain data: it knows no request and no engine.

use crate::error::ErrorKind;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $kind:ident;)*) => {
        /// A code: the fine-grained, stable name of a failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant = $number,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, UPPER_SNAKE: the same string in every language.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kind this code belongs to.
            #[must_use]
            pub const fn kind(self) -> ErrorKind {
                match self { $(Self::$variant => ErrorKind::$kind,)* }
            }

            /// The code with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

error_codes! {
    /// The offset asked for is not held: deleted, or past the end.
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", OffsetOutOfRange;
    /// A record batch failed its check.
    CorruptMessage = 2, "CORRUPT_MESSAGE", Corrupt;
    /// The topic or the partition does not exist.
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", NotFound;
    /// This node does not lead the partition.
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", Unavailable;
    /// The request's deadline passed.
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", Timeout;
    /// A record or batch is larger than its limit.
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", InvalidArgument;
    /// What is to be noted beside a committed offset is too long.
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", InvalidArgument;
    /// The connection failed or could not be made.
    NetworkException = 13, "NETWORK_EXCEPTION", Unavailable;
    /// The group waits for the members that it had before the broker started.
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", Unavailable;
    /// The topic name is not allowed.
    InvalidTopic = 17, "INVALID_TOPIC_EXCEPTION", InvalidArgument;
    /// The generation is not the group's current one.
    IllegalGeneration = 22, "ILLEGAL_GENERATION", Fenced;
    /// The group has members of another protocol.
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", InvalidArgument;
    /// The group id is empty or not allowed.
    InvalidGroupId = 24, "INVALID_GROUP_ID", InvalidArgument;
    /// The group does not know this member.
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", Fenced;
    /// A session timeout is out of range.
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", InvalidArgument;
    /// The group is being rebalanced: join it again.
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", Unavailable;
    /// The topic may not be used by this principal.
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", Denied;
    /// The other side speaks no version we speak.
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", Unsupported;
    /// A topic of that name exists.
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", AlreadyExists;
    /// The number of partitions is out of range.
    InvalidPartitions = 37, "INVALID_PARTITIONS", InvalidArgument;
    /// A topic option has no such value.
    InvalidConfig = 40, "INVALID_CONFIG", InvalidArgument;
    /// The request contradicts itself or the protocol.
    InvalidRequest = 42, "INVALID_REQUEST", InvalidArgument;
    /// A producer's sequence skipped.
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", Fenced;
    /// A newer producer of the same id took over.
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", Fenced;
    /// A write or a sync failed: the log has stopped.
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", Storage;
    /// Wrong credentials.
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", Denied;
    /// The log does not know this producer id.
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", Fenced;
    /// The group still has a member.
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", InvalidArgument;
    /// There is no such group.
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", NotFound;
    /// The codec is not built in.
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", Unsupported;
    /// The group has as many members as it may have.
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", Full;
    /// Another instance with this name took over.
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", Fenced;
    /// A member of the group reads the topic.
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", InvalidArgument;
    /// A record breaks a rule of its topic.
    InvalidRecord = 87, "INVALID_RECORD", InvalidArgument;
    /// The address is neither a path, nor host:port, nor a known scheme.
    InvalidAddress = 1000, "INVALID_ADDRESS", InvalidArgument;
    /// No option of that name.
    UnknownOption = 1001, "UNKNOWN_OPTION", InvalidArgument;
    /// An option's value is out of range or of the wrong form.
    InvalidOption = 1002, "INVALID_OPTION", InvalidArgument;
    /// An argument other than an option is wrong.
    InvalidArgument = 1003, "INVALID_ARGUMENT", InvalidArgument;
    /// The call is not possible in this state of the object, or on this thread.
    InvalidState = 1004, "INVALID_STATE", InvalidArgument;
    /// The path is not a folder.
    NotAFolder = 1005, "NOT_A_FOLDER", InvalidArgument;
    /// The address to listen on is taken.
    AddressInUse = 1006, "ADDRESS_IN_USE", AlreadyExists;
    /// The producer's buffer has no room.
    BufferFull = 1010, "BUFFER_FULL", Full;
    /// The disk has no room.
    DiskFull = 1011, "DISK_FULL", Full;
    /// A quota or a connection limit is reached.
    QuotaExceeded = 1012, "QUOTA_EXCEEDED", Full;
    /// The broker serves another log than the one that was connected to.
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", Fenced;
    /// The folder's owner does not answer.
    OwnerSilent = 1020, "OWNER_SILENT", Unavailable;
    /// The broker is closing.
    BrokerClosing = 1021, "BROKER_CLOSING", Unavailable;
    /// Another process owns the folder.
    FolderLocked = 1022, "FOLDER_LOCKED", Locked;
    /// The delivery deadline passed before the record was acknowledged.
    DeliveryTimedOut = 1030, "DELIVERY_TIMED_OUT", Timeout;
    /// The host worked on what it had read for longer than its group waits.
    ProcessingTimedOut = 1031, "PROCESSING_TIMED_OUT", Timeout;
    /// The folder does not exist, or holds no log.
    FolderNotFound = 1040, "FOLDER_NOT_FOUND", NotFound;
    /// The folder was written by a newer version.
    FolderTooNew = 1041, "FOLDER_TOO_NEW", Unsupported;
    /// The feature is not there yet, or not on this platform.
    UnsupportedFeature = 1042, "UNSUPPORTED_FEATURE", Unsupported;
    /// Bytes of a segment fail their check.
    CorruptSegment = 1050, "CORRUPT_SEGMENT", Corrupt;
    /// Bytes of a frame or block from a peer fail their check.
    CorruptFrame = 1051, "CORRUPT_FRAME", Corrupt;
    /// A folder's format file is damaged or lost.
    CorruptFolder = 1052, "CORRUPT_FOLDER", Corrupt;
    /// The position is beyond what survived a crash.
    LogTruncated = 1060, "LOG_TRUNCATED", OffsetOutOfRange;
    /// The handle was closed.
    Closed = 1070, "CLOSED", Closed;
    /// The process forked; the handle belongs to the parent.
    Forked = 1071, "FORKED", Closed;
    /// A bug of ours: please report it.
    UnknownServerError = 65535, "UNKNOWN_SERVER_ERROR", Internal;
}
