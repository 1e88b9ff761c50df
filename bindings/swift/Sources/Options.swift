// Options: every one optional, none meaning core's default. Ranges and meanings stand in core's table alone
// (`core/src/client/options`); a test compares the names. Times are durations here and whole milliseconds there.

internal import HeadwaterNative

/// How record batches are compressed.
public enum Compression: String, Sendable, CaseIterable { case none, gzip, snappy, lz4, zstd }

/// How a record without a partition of its own finds one.
public enum Partitioner: String, Sendable, CaseIterable {
    /// Kafka's hash of the key; without a key one partition at a time, batch by batch.
    case murmur2
}

/// Where a consumer without a committed offset begins.
public enum Start: Sendable, Hashable {
    /// At the first record that is held.
    case earliest
    /// Behind the last record.
    case latest
    /// At this offset, in every partition.
    case offset(Int64)
    /// At the first record of this time or later, ms since 1970 UTC.
    case time(Int64)

    var word: String {
        switch self {
        case .earliest: "earliest"
        case .latest: "latest"
        case .offset(let offset): "offset:\(offset)"
        case .time(let ms): "time:\(ms)"
        }
    }
}

/// Where a consumer ends.
public enum Until: Sendable, Hashable {
    /// At the high watermark that each partition had when the consumer opened.
    case end
    /// Before this offset, in every partition.
    case offset(Int64)
    /// Before the first record of this time or later, ms since 1970 UTC.
    case time(Int64)

    var word: String {
        switch self {
        case .end: "end"
        case .offset(let offset): "offset:\(offset)"
        case .time(let ms): "time:\(ms)"
        }
    }
}

/// When a record counts as processed.
public enum Ack: String, Sendable, CaseIterable {
    /// When the next one (or the next batch) is asked for.
    case auto
    /// When it is acknowledged.
    case manual
}

/// What stays in order among the handlers of `process`.
public enum Order: String, Sendable, CaseIterable {
    /// Records of one key of one partition; records without a key stand alone.
    case key
    /// Records of one partition.
    case partition
    /// Nothing.
    case none
}

/// How partitions are spread over the members of a group.
public enum Assignor: String, Sendable, CaseIterable {
    case sticky, range
    case roundRobin = "round_robin"
}

/// Whether records of transactions that are not committed are seen.
public enum Isolation: String, Sendable, CaseIterable {
    case readCommitted = "read_committed"
    case readUncommitted = "read_uncommitted"
}

/// What happens to old records.
public enum CleanupPolicy: String, Sendable, CaseIterable { case delete, compact, both }

/// What happens when a folder with a limit has no room for another segment.
public enum MaxBytesPolicy: String, Sendable, CaseIterable {
    case refuse
    case dropOldest = "drop_oldest"
}

/// Who may have the log of a folder open: every process of this user, of which the first serves the others, or one.
public enum Sharing: String, Sendable, CaseIterable { case processes, exclusive }

/// Who says when a record was made: the producer, or the log when it appends.
public enum TimestampType: String, Sendable, CaseIterable {
    case createTime = "create_time"
    case logAppendTime = "log_append_time"
}

/// How a log is opened or reached, and how it is left.
public struct ConnectOptions: Sendable {
    /// Whether a missing folder is created.
    public var create: Bool?
    /// Whether other processes may open the same folder; the first serves them.
    public var sharing: Sharing?
    /// The size at which a new segment file is begun.
    public var segmentBytes: Int64?
    /// Bytes of the folder at most, 8 segments or more.
    public var maxBytes: Int64?
    /// What happens when the folder has no room for another segment.
    public var maxBytesPolicy: MaxBytesPolicy?
    /// Recent records kept in memory.
    public var tailCacheBytes: Int64?
    /// Threads of the runtime for sockets; one runtime a process, made at the first need.
    public var threads: Int?
    /// How long `close` waits unless told.
    public var closeTimeout: Duration?
    /// How long the end of the process waits for what is not delivered.
    public var exitTimeout: Duration?

    public init() {}

    var native: NativeConnectOptions {
        NativeConnectOptions(
            create: create, sharing: sharing?.rawValue, segmentBytes: segmentBytes, maxBytes: maxBytes,
            maxBytesPolicy: maxBytesPolicy?.rawValue, tailCacheBytes: tailCacheBytes,
            threads: threads.map(Int64.init), closeTimeoutMs: closeTimeout?.ms, exitTimeoutMs: exitTimeout?.ms)
    }
}

/// How a producer sends.
public struct ProducerOptions: Sendable {
    /// How safe a record is before it is acknowledged.
    public var durability: Durability?
    /// How long a batch waits for more records; batches form anyway while others are on their way.
    public var linger: Duration?
    /// The size at which a record batch is closed; a single larger record still makes one.
    public var batchBytes: Int64?
    /// Room for records that are not acknowledged yet, all batches of the producer together.
    public var bufferBytes: Int64?
    /// How long `send` waits for room where it blocks; here it suspends, and a timeout is the caller's.
    public var maxBlock: Duration?
    /// The time from `send` within which a record is acknowledged or failed.
    public var deliveryTimeout: Duration?
    /// How long one request may take.
    public var requestTimeout: Duration?
    /// The pause before the first retry.
    public var retryBackoff: Duration?
    /// The longest pause between retries.
    public var retryBackoffMax: Duration?
    /// Batches of one partition that may be on their way at once.
    public var inFlight: Int?
    /// Whether a repeated batch is recognised, so that a retry never duplicates.
    public var idempotence: Bool?
    /// How batches are compressed.
    public var compression: Compression?
    /// How a record without a partition finds one.
    public var partitioner: Partitioner?

    public init() {}

    var native: NativeProducerOptions {
        NativeProducerOptions(
            durability: durability?.rawValue, lingerMs: linger?.ms, batchBytes: batchBytes, bufferBytes: bufferBytes,
            maxBlockMs: maxBlock?.ms, deliveryTimeoutMs: deliveryTimeout?.ms, requestTimeoutMs: requestTimeout?.ms,
            retryBackoffMs: retryBackoff?.ms, retryBackoffMaxMs: retryBackoffMax?.ms, inFlight: inFlight.map(Int64.init),
            idempotence: idempotence, compression: compression?.rawValue, partitioner: partitioner?.rawValue)
    }
}

/// What a consumer reads and when a record counts as processed.
public struct ConsumerOptions: Sendable {
    /// The consumer group, whose committed offsets say where to go on; none: all partitions, no commits.
    public var group: String?
    /// The name of a static member, which keeps its partitions while it is away.
    public var instanceId: String?
    /// The partitions to read of every topic; none: all.
    public var partitions: [Int]?
    /// Where to begin without a committed offset; behind records deleted unread only `latest` goes to the end.
    public var start: Start?
    /// Where to end; none: it follows.
    public var until: Until?
    /// When a record counts as processed.
    public var ack: Ack?
    /// How often what is processed is committed.
    public var commitInterval: Duration?
    /// Records of a block at most.
    public var maxBlockRecords: Int?
    /// Bytes of a block at most; a single larger record still makes one.
    public var maxBlockBytes: Int64?
    /// Bytes read ahead at most, all partitions together.
    public var readAheadBytes: Int64?
    /// With `Ack.manual`: records given out beyond the first that is not acknowledged.
    public var maxUnacked: Int?
    /// How often a member tells that it lives.
    public var heartbeat: Duration?
    /// How long a silent member is kept.
    public var sessionTimeout: Duration?
    /// How long a member may work without asking for more.
    public var processingTimeout: Duration?
    /// How long a member may take to give up a partition.
    public var rebalanceTimeout: Duration?
    /// How partitions are spread over the members of a group.
    public var assignor: Assignor?
    /// Whether records of transactions that are not committed are seen.
    public var isolation: Isolation?

    public init() {}

    func toNative() throws -> NativeConsumerOptions {
        NativeConsumerOptions(
            group: group, instanceId: instanceId, partitions: try partitions?.map { try int32($0, "partition") }, start: start?.word,
            until: until?.word, ack: ack?.rawValue, commitIntervalMs: commitInterval?.ms,
            maxBlockRecords: maxBlockRecords.map(Int64.init), maxBlockBytes: maxBlockBytes, readAheadBytes: readAheadBytes,
            maxUnacked: maxUnacked.map(Int64.init), heartbeatMs: heartbeat?.ms, sessionTimeoutMs: sessionTimeout?.ms,
            processingTimeoutMs: processingTimeout?.ms, rebalanceTimeoutMs: rebalanceTimeout?.ms,
            assignor: assignor?.rawValue, isolation: isolation?.rawValue)
    }
}

/// How `process` runs handlers.
public struct ProcessOptions: Sendable {
    /// Handlers that run at the same time.
    public var concurrency: Int?
    /// What stays in order.
    public var order: Order?
    /// Times a record is tried.
    public var attempts: Int?
    /// The pause before the second attempt; it doubles.
    public var backoff: Duration?
    /// The longest pause between attempts.
    public var backoffMax: Duration?
    /// The topic that takes what failed at every attempt; none: stop with the error.
    public var deadLetter: String?

    public init() {}

    var native: NativeProcessOptions {
        NativeProcessOptions(
            concurrency: concurrency.map(Int64.init), order: order?.rawValue, attempts: attempts.map(Int64.init),
            backoffMs: backoff?.ms, backoffMaxMs: backoffMax?.ms, deadLetter: deadLetter)
    }
}

/// How long or how much is kept.
public enum Retention<Amount: Sendable & Hashable>: Sendable, Hashable {
    /// Without limit.
    case unlimited
    case limited(Amount)
}

/// What a topic is like.
public struct TopicOptions: Sendable {
    /// Its partitions.
    public var partitions: Int?
    /// How safe a record is before it is acknowledged, unless the producer says otherwise.
    public var durability: Durability?
    /// How long records are kept.
    public var retention: Retention<Duration>?
    /// Bytes kept in each partition.
    public var retentionBytes: Retention<Int64>?
    /// What happens to old records.
    public var cleanupPolicy: CleanupPolicy?
    /// How long the mark of a deleted key is kept.
    public var tombstoneRetention: Duration?
    /// The size of a record batch at most.
    public var maxMessageBytes: Int64?
    /// Who says when a record was made.
    public var messageTimestampType: TimestampType?
    /// Replicas that must have a record at `quorum`.
    public var minInsyncReplicas: Int?
    /// Whether a topic of that name is no error.
    public var existOk: Bool?

    public init() {}

    var native: NativeTopicOptions {
        NativeTopicOptions(
            partitions: partitions.map(Int64.init), durability: durability?.rawValue,
            retentionMs: retention.map { if case .limited(let time) = $0 { time.ms } else { -1 } },
            retentionBytes: retentionBytes.map { if case .limited(let bytes) = $0 { bytes } else { -1 } },
            cleanupPolicy: cleanupPolicy?.rawValue, tombstoneRetentionMs: tombstoneRetention?.ms,
            maxMessageBytes: maxMessageBytes, messageTimestampType: messageTimestampType?.rawValue,
            minInsyncReplicas: minInsyncReplicas.map(Int64.init), existOk: existOk)
    }
}
