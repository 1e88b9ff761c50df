//! Every maximum, by name.
//!
//! A queue, buffer, frame, batch or loop without a line here does not exist. Bytes are bytes, counts are
//! counts, and what depends on another limit is asserted at compile time below.

/// Partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 4_096;
/// Partitions of which records are deleted by one request.
pub const DELETE_RECORDS_PARTITIONS_MAX: usize = PARTITIONS_PER_TOPIC_MAX as usize;
/// Topics of one folder.
pub const TOPICS_MAX: usize = 100_000;
/// Characters of a topic's or a group's name (Kafka's limit for topics).
pub const NAME_BYTES_MAX: usize = 249;
/// Bytes that a reader may note beside an offset that it commits (Kafka's limit).
pub const OFFSET_METADATA_BYTES_MAX: usize = 4 * KIB;
/// Groups of one folder.
pub const GROUPS_MAX: usize = 100_000;
/// Members of one group.
pub const GROUP_MEMBERS_MAX: usize = 1_000;
/// Members of all groups.
pub const MEMBERS_MAX: usize = 100_000;
/// Partitions that one member of a group names as its own in a heartbeat.
pub const GROUP_MEMBER_PARTITIONS_MAX: usize = SUBSCRIPTION_PARTITIONS_MAX;
/// Milliseconds of a member's `heartbeat_ms`.
pub const GROUP_HEARTBEAT_MS_MIN: u32 = 100;
/// Milliseconds of a member's `session_timeout_ms` and `rebalance_timeout_ms`: the range.
pub const GROUP_TIMEOUT_MS_MIN: u32 = 1_000;
/// Milliseconds of a member's `session_timeout_ms` and `rebalance_timeout_ms`: the range.
pub const GROUP_TIMEOUT_MS_MAX: u32 = 1_800_000;
/// Members of all groups that were removed, and of which it is remembered why; the oldest are forgotten.
pub const GROUP_MEMBERS_REMEMBERED_MAX: usize = 4_096;
/// Bytes of the name that a member of a classic group goes by: its instance id, or its client's, of which its id is
/// made; and of its host.
pub const CLASSIC_NAME_BYTES_MAX: usize = 200;
/// Milliseconds that a classic group that begins waits for more members, as an option.
pub const GROUP_INITIAL_DELAY_MS_MAX: u64 = 60_000;
/// Protocols that one member of a classic group names.
pub const CLASSIC_PROTOCOLS_MAX: usize = 64;
/// Bytes of what one member of a classic group says of itself, for all of its protocols.
pub const CLASSIC_MEMBER_BYTES_MAX: usize = MIB;
/// Bytes of what all members of one classic group say of themselves, and are assigned.
pub const CLASSIC_GROUP_BYTES_MAX: usize = 8 * MIB;
/// Bytes of what the members of all classic groups say of themselves, and are assigned.
pub const CLASSIC_BYTES_MAX: usize = 64 * MIB;

/// Bytes of one record batch a topic can be set to take; the default is in the options' table.
pub const BATCH_BYTES_MAX: usize = 16 * MIB;
/// Records of one batch.
pub const BATCH_RECORDS_MAX: usize = 1_000_000;
/// Bytes of one batch's records once they are decompressed; beyond it the batch is refused.
pub const UNCOMPRESSED_BYTES_MAX: usize = 64 * MIB;
/// Bytes of its buffer that a compressor keeps from one batch to the next.
pub const COMPRESSOR_BYTES_KEPT_MAX: usize = MIB;
/// Headers of one record.
pub const RECORD_HEADERS_MAX: usize = 10_000;

/// Payload bytes of one SET frame.
pub const SET_BYTES_MAX: usize = 16 * MIB;
/// Record batches of one `ProduceAndCommit`.
pub const SET_BATCHES_MAX: usize = 1_024;
/// Bytes of one control payload (topic command, offset commit, group change).
pub const CONTROL_BYTES_MAX: usize = MIB;
/// Bytes waiting to be appended to one log; beyond it an append is refused with `Full`.
pub const APPEND_QUEUE_BYTES_MAX: usize = 64 * MIB;
/// Bytes written by one write group.
pub const WRITE_GROUP_BYTES_MAX: usize = 8 * MIB;
/// Bytes of record batches that one server has taken in and not answered; the connections that send more are held up.
pub const SERVER_BATCH_BYTES_MAX: u32 = 16 * MIB as u32;
/// Bytes of appends that a socket's thread writes by itself.
pub const PROMPT_WRITE_BYTES_MAX: usize = MIB;
/// Jobs waiting for one log's io thread; beyond it a job is refused with `Full`, but for the turns of loops, of
/// which each has a few.
pub const IO_JOBS_MAX: usize = 1_000_000;
/// Disk acknowledgements that may wait for one log's sync; beyond it an append is refused with `Full`.
pub const SYNC_ACKS_MAX: usize = 1_000_000;
/// Bytes that the index of the segment written to may take in memory; beyond it the segment rolls.
pub const SEGMENT_INDEX_BYTES_MAX: usize = 4 * MIB;
/// Bytes of footers of sealed segments that one log keeps in memory.
pub const FOOTER_CACHE_BYTES_MAX: usize = 8 * MIB;
/// Bytes of one snapshot; a file that is longer is none.
pub const SNAPSHOT_BYTES_MAX: u64 = 1_024 * MIB as u64;
/// Bytes of the checkpoint that its database keeps in memory.
pub const CHECKPOINT_CACHE_BYTES_MAX: usize = 4 * MIB;
/// Bytes of the active segment's index that a checkpoint holds; with a longer one opening reads the segment.
pub const CHECKPOINT_INDEX_BYTES_MAX: usize = MIB;
/// Bytes of the map of keys while a partition is compacted; with more keys it takes several passes.
pub const COMPACTION_MAP_BYTES_MAX: usize = 16 * MIB;
/// Segment files that one log keeps open to read from.
pub const SEGMENT_FILES_OPEN_MAX: usize = 64;
/// Bytes of a segment: the range of the option.
pub const SEGMENT_BYTES_MIN: u64 = MIB as u64;
/// Bytes of a segment: the range of the option.
pub const SEGMENT_BYTES_MAX: u64 = 1_024 * MIB as u64;
/// Bytes of one file of a `mem:` log: room for a segment and a frame that does not fit one.
pub const MEMORY_FILE_BYTES_MAX: u64 = 2 * SEGMENT_BYTES_MAX;
/// Bytes read of a folder's OWNER file.
pub const OWNER_BYTES_MAX: u64 = 4 * KIB as u64;
/// Bytes of a folder's format file.
pub const FORMAT_BYTES_MAX: u64 = 4 * KIB as u64;
/// Batches remembered per producer and partition for idempotence (Kafka's five).
pub const PRODUCER_WINDOW_BATCHES: usize = 5;
/// Producers that one log remembers, each counted in every partition that it appended to (about 400 bytes
/// each); beyond it those that have been idle longest are forgotten early.
pub const PRODUCERS_MAX: usize = 250_000;
/// Producers forgotten by one SET.
pub const PRODUCERS_EXPIRED_PER_SET_MAX: usize = 1_000;
/// Producers forgotten by one look at them.
pub const PRODUCERS_EXPIRED_PER_SWEEP_MAX: usize = 10_000;
/// Leader epochs of one partition whose starts are known; older ones count as a part of the next.
pub const LEADER_EPOCHS_KEPT_MAX: usize = 1_024;
/// Batches that are looked through for the first record of a time. Only such count whose latest record is gone; behind
/// so many of them the next offset is the answer.
pub const TIME_BATCHES_SEARCHED_MAX: usize = 64;
/// How long a request for many offsets by time keeps the io thread before others have their turn, in ms.
pub const LISTING_TURN_MS: u64 = 2;
/// Producer ids handed out by one PRODUCER_IDS frame.
pub const PRODUCER_ID_BLOCK: i64 = 1_000;

/// Bytes of one frame of the native protocol, length field included.
pub const FRAME_BYTES_MAX: usize = 64 * MIB;
/// Bytes of a frame's postcard header.
pub const FRAME_HEADER_BYTES_MAX: usize = MIB;
/// Bytes of a frame before the handshake is done.
pub const FRAME_BYTES_BEFORE_HELLO_MAX: usize = 64 * KIB;
/// Bytes of one response's header, which carries all that is not a record batch.
pub const RESPONSE_BYTES_MAX: usize = 16 * MIB;
/// Bytes of an error's message on the wire; what is longer is cut.
pub const WIRE_MESSAGE_BYTES_MAX: usize = 16 * KIB;
/// Record batches in one frame of a subscription.
pub const PUSH_BATCHES_MAX: usize = 1_024;
/// Bytes a subscription is asked for at a time; one batch may exceed it.
pub const PUSH_BYTES_MAX: usize = 512 * KIB;
/// Bytes a read from a socket is offered while little comes.
pub const READ_CHUNK_BYTES_MIN: usize = 8 * KIB;
/// Bytes a read from a socket is offered while much comes.
pub const READ_CHUNK_BYTES_MAX: usize = 256 * KIB;
/// Bytes waiting to be written to one connection, beyond which nothing more is read from it or pushed.
pub const CONNECTION_UNSENT_BYTES_MAX: usize = 4 * MIB;
/// Pieces handed to one vectored write.
pub const WRITE_PIECES_MAX: usize = 64;
/// Bytes a closing connection still reads and drops, so that its last words arrive.
pub const LINGER_BYTES_MAX: usize = 4 * MIB;
/// Milliseconds from accepting a connection to the end of its handshake.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// Milliseconds a closing connection is given to take its last words.
pub const LINGER_TIMEOUT_MS: u64 = 2_000;
/// Requests in flight of one client over one connection; beyond it a request is refused with `Full`.
pub const CLIENT_REQUESTS_MAX: usize = 65_536;
/// Requests in flight on one connection.
pub const CONNECTION_REQUESTS_MAX: usize = 1_024;
/// Bytes in flight on one connection.
pub const CONNECTION_BYTES_MAX: usize = 64 * MIB;
/// Connections from other processes to the owner of a folder.
pub const LOCAL_CONNECTIONS_MAX: usize = 1_024;
/// Milliseconds that a closing owner waits until the processes it served have gone.
pub const SHARING_CLOSE_MS: u64 = 1_000;
/// Milliseconds after which the owner of a folder looks whether the socket through which it is reached is still there.
pub const SHARING_LOOK_MS: u64 = 2_000;
/// Milliseconds within which the owner of a folder answers.
pub const OWNER_ANSWER_MS: u64 = 5_000;
/// Milliseconds that others wait for an owner that is just reading its log.
pub const OWNER_OPENING_MS: u64 = 120_000;
/// Milliseconds that clients of a broker's folder wait for the broker before one of them takes the folder over.
pub const BROKER_RETURN_MS: u64 = 10_000;
/// Bytes between a client and the log in its own process that it took over.
pub const LOCAL_PIPE_BYTES: usize = 256 * KIB;
/// Connections of one broker, by default.
pub const CONNECTIONS_MAX: usize = 10_000;
/// HTTP connections of one broker; they count among its connections too. Each may hold an answer.
pub const HTTP_CONNECTIONS_MAX: usize = 64;
/// Bytes of an HTTP request's head.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * KIB;
/// Headers of an HTTP request.
pub const HTTP_HEADERS_MAX: usize = 100;
/// Milliseconds until the head of an HTTP request is there, since the connection began or the answer before.
pub const HTTP_HEAD_TIMEOUT_MS: u64 = 10_000;
/// Milliseconds that the other side is given to take an HTTP answer.
pub const HTTP_WRITE_TIMEOUT_MS: u64 = 10_000;
/// Bytes of one request of Kafka's protocol, length field not counted.
pub const KAFKA_REQUEST_BYTES_MAX: usize = 64 * MIB;
/// Milliseconds from the first byte of a request of Kafka's protocol to its last, and a second more for each
/// [`KAFKA_REQUEST_BYTES_PER_SECOND_MIN`] of it.
pub const KAFKA_REQUEST_TIMEOUT_MS: u64 = 60_000;
/// Bytes a second that a request of Kafka's protocol comes at least, beyond the time that every request has.
pub const KAFKA_REQUEST_BYTES_PER_SECOND_MIN: usize = 16 * KIB;
/// Elements of all arrays of one request of Kafka's protocol.
pub const KAFKA_REQUEST_ELEMENTS_MAX: usize = 250_000;
/// Bytes of record batches in one answer to a Kafka client, however many it asks for; one batch may exceed it.
pub const KAFKA_FETCH_BYTES_MAX: usize = 4 * MIB;
/// Partitions that one request of Kafka's clients makes, over all topics that it names (Apache Kafka's limit).
pub const KAFKA_NEW_PARTITIONS_MAX: usize = 10_000;
/// Partitions of which one request of Kafka's clients commits or deletes offsets: as many as one consumer reads.
pub const KAFKA_COMMIT_PARTITIONS_MAX: usize = SUBSCRIPTION_PARTITIONS_MAX;
/// Bytes of an answer about groups to Kafka's clients, beyond which no more is looked up for it.
pub const KAFKA_GROUPS_ANSWER_BYTES_MAX: usize = 16 * MIB;
/// Requests in flight on one connection of Kafka's protocol; beyond it nothing more is read.
pub const KAFKA_CONNECTION_REQUESTS_MAX: usize = 256;
/// Bytes of the text that a Kafka client is given with an error; what is longer is cut.
pub const KAFKA_ERROR_MESSAGE_BYTES_MAX: usize = 4 * KIB;
/// Bytes of the name that a Kafka client gives its software, and of its version.
pub const KAFKA_CLIENT_NAME_BYTES_MAX: usize = 255;
/// Topics that have series of their own in `/metrics`.
pub const METRICS_TOPICS_MAX: usize = 1_000;
/// Partitions of the topics that have series of their own in `/metrics`: each is looked at for it.
pub const METRICS_PARTITIONS_MAX: u64 = 10_000;
/// Subscriptions of one connection.
pub const CONNECTION_SUBSCRIPTIONS_MAX: usize = 1_024;
/// Partitions of one subscription.
pub const SUBSCRIPTION_PARTITIONS_MAX: usize = 100_000;

/// `send`s of an event-loop language that may wait for room.
pub const SEND_WAITERS_MAX: usize = 1_024;
/// Failures of which a producer keeps the whole error, for `take_error`.
pub const ERRORS_KEPT_MAX: usize = 1_024;
/// Topics that a producer tells apart; beyond it a new name is refused.
pub const PRODUCER_TOPICS_MAX: usize = 100_000;
/// Milliseconds after which a producer that is in use, or a consumer of all partitions, asks again how many partitions
/// a topic has. Kafka's clients do so after 300,000; here it is a request about one topic.
pub const METADATA_AGE_MS_MAX: u64 = 60_000;
/// Flushes and closes of one producer that may wait at once.
pub const FLUSH_WAITERS_MAX: usize = 10_000;
/// Topics that a failure of `enqueue` names in its message.
pub const FAILED_TOPICS_NAMED_MAX: usize = 10;
/// Generations of forks in which a process can still connect.
pub const FORK_GENERATIONS_MAX: usize = 64;
/// Topics of one consumer.
pub const CONSUMER_TOPICS_MAX: usize = 10_000;
/// Milliseconds that a member lets its heartbeat wait at most, whatever `heartbeat_ms` says: a request must be
/// answered before it times out.
pub const HEARTBEAT_MS_MAX: u32 = 10_000;
/// Milliseconds from a request over a connection to its answer; beyond it the request fails. A producer's
/// `request_timeout_ms` is about its own batches alone.
pub const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// Commits of one consumer that may wait at once.
pub const COMMIT_WAITERS_MAX: usize = 10_000;
/// Bytes of the text that says in a dead letter why its record failed; what is longer is cut.
pub const DEAD_LETTER_ERROR_BYTES_MAX: usize = 4 * KIB;
/// Bytes of a block that crosses to another language (a single larger record may exceed it).
pub const BLOCK_BYTES_MAX: usize = 64 * MIB;
/// Records of a block that crosses to another language.
pub const BLOCK_RECORDS_MAX: usize = 100_000;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

// Who finds no socket waits until there is one again.
const _: () = assert!(2 * SHARING_LOOK_MS < OWNER_ANSWER_MS);
const _: () = assert!(BATCH_BYTES_MAX + KIB <= FRAME_BYTES_MAX);
const _: () = assert!(PUSH_BYTES_MAX + BATCH_BYTES_MAX + FRAME_HEADER_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(PUSH_BATCHES_MAX * (NAME_BYTES_MAX + 64) < FRAME_HEADER_BYTES_MAX);
const _: () = assert!(RESPONSE_BYTES_MAX + KIB <= FRAME_BYTES_MAX);
const _: () = assert!(WIRE_MESSAGE_BYTES_MAX + KIB <= FRAME_BYTES_BEFORE_HELLO_MAX);
const _: () = assert!(UNCOMPRESSED_BYTES_MAX >= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX <= APPEND_QUEUE_BYTES_MAX);
const _: () = assert!(SET_BYTES_MAX >= BATCH_BYTES_MAX);
const _: () = assert!(PRODUCERS_EXPIRED_PER_SET_MAX * 32 <= SET_BYTES_MAX);
const _: () = assert!(MEMORY_FILE_BYTES_MAX >= SEGMENT_BYTES_MAX + BATCH_BYTES_MAX as u64);
const _: () = assert!(CLASSIC_NAME_BYTES_MAX + 37 <= NAME_BYTES_MAX);
const _: () = assert!(GROUP_MEMBERS_MAX * (NAME_BYTES_MAX + 16) + KIB <= CONTROL_BYTES_MAX);
// A heartbeat that waited as long as it may is answered well before its deadline.
const _: () = assert!(2 * (HEARTBEAT_MS_MAX as u64) < REQUEST_TIMEOUT_MS);
const _: () = assert!(BLOCK_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(FRAME_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(CONTROL_BYTES_MAX <= FRAME_HEADER_BYTES_MAX);
