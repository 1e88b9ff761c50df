// Options: every one optional, none meaning core's default. Ranges and meanings stand in core's table alone
// (`core/src/client/options`); a test compares the names. Times are durations here and whole milliseconds there.
package headwater

import headwater.ffi.NativeConnectOptions
import headwater.ffi.NativeConsumerOptions
import headwater.ffi.NativeProcessOptions
import headwater.ffi.NativeProducerOptions
import headwater.ffi.NativeTopicOptions
import kotlin.time.Duration

/** How record batches are compressed. */
enum class Compression(internal val word: String) {
    None("none"), Gzip("gzip"), Snappy("snappy"), Lz4("lz4"), Zstd("zstd")
}

/** How a record without a partition of its own finds one. */
enum class Partitioner(internal val word: String) {
    /** Kafka's hash of the key; without a key one partition at a time, batch by batch. */
    Murmur2("murmur2"),
}

/** Where a consumer without a committed offset begins. */
sealed class Start(internal val word: String) {
    /** At the first record that is held. */
    data object Earliest : Start("earliest")

    /** Behind the last record. */
    data object Latest : Start("latest")

    /** At this offset, in every partition. */
    data class Offset(val offset: Long) : Start("offset:$offset")

    /** At the first record of this time or later, ms since 1970 UTC. */
    data class Time(val ms: Long) : Start("time:$ms")
}

/** Where a consumer ends. */
sealed class Until(internal val word: String) {
    /** At the high watermark that each partition had when the consumer opened. */
    data object End : Until("end")

    /** Before this offset, in every partition. */
    data class Offset(val offset: Long) : Until("offset:$offset")

    /** Before the first record of this time or later, ms since 1970 UTC. */
    data class Time(val ms: Long) : Until("time:$ms")
}

/** When a record counts as processed. */
enum class Ack(internal val word: String) {
    /** When the next one (or the next batch) is asked for. */
    Auto("auto"),

    /** When it is acknowledged. */
    Manual("manual"),
}

/** What stays in order among the handlers of `process`. */
enum class Order(internal val word: String) {
    /** Records of one key of one partition; records without a key stand alone. */
    Key("key"),

    /** Records of one partition. */
    Partition("partition"),

    /** Nothing. */
    None("none"),
}

/** How partitions are spread over the members of a group. */
enum class Assignor(internal val word: String) { Sticky("sticky"), Range("range"), RoundRobin("round_robin") }

/** Whether records of transactions that are not committed are seen. */
enum class Isolation(internal val word: String) {
    ReadCommitted("read_committed"), ReadUncommitted("read_uncommitted")
}

/** What happens to old records. */
enum class CleanupPolicy(internal val word: String) { Delete("delete"), Compact("compact"), Both("both") }

/** What happens when a folder with a limit has no room for another segment. */
enum class MaxBytesPolicy(internal val word: String) { Refuse("refuse"), DropOldest("drop_oldest") }

/** Who may have the log of a folder open: every process of this user, of which the first serves the others, or one. */
enum class Sharing(internal val word: String) { Processes("processes"), Exclusive("exclusive") }

/** Who says when a record was made: the producer, or the log when it appends. */
enum class TimestampType(internal val word: String) { CreateTime("create_time"), LogAppendTime("log_append_time") }

/** How a log is opened or reached, and how it is left. */
class ConnectOptions {
    /** Whether a missing folder is created. */
    var create: Boolean? = null

    /** Whether other processes may open the same folder; the first serves them. */
    var sharing: Sharing? = null

    /** The size at which a new segment file is begun. */
    var segmentBytes: Long? = null

    /** Bytes of the folder at most, 8 segments or more. */
    var maxBytes: Long? = null

    /** What happens when the folder has no room for another segment. */
    var maxBytesPolicy: MaxBytesPolicy? = null

    /** Recent records kept in memory. */
    var tailCacheBytes: Long? = null

    /** Threads of the runtime for sockets; one runtime a process, made at the first need. */
    var threads: Int? = null

    /** How long `close` waits unless told. */
    var closeTimeout: Duration? = null

    /** How long the end of the process waits for what is not delivered. */
    var exitTimeout: Duration? = null

    internal fun toNative() = NativeConnectOptions(
        create, sharing?.word, segmentBytes, maxBytes, maxBytesPolicy?.word, tailCacheBytes, threads?.toLong(),
        closeTimeout.toMs(), exitTimeout.toMs(),
    )
}

/** How a producer sends. */
class ProducerOptions {
    /** How safe a record is before it is acknowledged. */
    var durability: Durability? = null

    /** How long a batch waits for more records; batches form anyway while others are on their way. */
    var linger: Duration? = null

    /** The size at which a record batch is closed; a single larger record still makes one. */
    var batchBytes: Long? = null

    /** Room for records that are not acknowledged yet, all batches of the producer together. */
    var bufferBytes: Long? = null

    /** How long `send` waits for room where it blocks; here it suspends, and a timeout is the caller's. */
    var maxBlock: Duration? = null

    /** The time from `send` within which a record is acknowledged or failed. */
    var deliveryTimeout: Duration? = null

    /** How long one request may take. */
    var requestTimeout: Duration? = null

    /** The pause before the first retry. */
    var retryBackoff: Duration? = null

    /** The longest pause between retries. */
    var retryBackoffMax: Duration? = null

    /** Batches of one partition that may be on their way at once. */
    var inFlight: Int? = null

    /** Whether a repeated batch is recognised, so that a retry never duplicates. */
    var idempotence: Boolean? = null

    /** How batches are compressed. */
    var compression: Compression? = null

    /** How a record without a partition finds one. */
    var partitioner: Partitioner? = null

    internal fun toNative() = NativeProducerOptions(
        durability?.word, linger.toMs(), batchBytes, bufferBytes, maxBlock.toMs(), deliveryTimeout.toMs(),
        requestTimeout.toMs(), retryBackoff.toMs(), retryBackoffMax.toMs(), inFlight?.toLong(), idempotence,
        compression?.word, partitioner?.word,
    )
}

/** What a consumer reads and when a record counts as processed. */
class ConsumerOptions {
    /** The consumer group, whose committed offsets say where to go on; none: all partitions, no commits. */
    var group: String? = null

    /** The name of a static member, which keeps its partitions while it is away. */
    var instanceId: String? = null

    /** The partitions to read of every topic; none: all. */
    var partitions: List<Int>? = null

    /** Where to begin without a committed offset; behind records deleted unread only `latest` goes to the end. */
    var start: Start? = null

    /** Where to end; none: it follows. */
    var until: Until? = null

    /** When a record counts as processed. */
    var ack: Ack? = null

    /** How often what is processed is committed. */
    var commitInterval: Duration? = null

    /** Records of a block at most. */
    var maxBlockRecords: Int? = null

    /** Bytes of a block at most; a single larger record still makes one. */
    var maxBlockBytes: Long? = null

    /** Bytes read ahead at most, all partitions together. */
    var readAheadBytes: Long? = null

    /** With `Ack.Manual`: records given out beyond the first that is not acknowledged. */
    var maxUnacked: Int? = null

    /** How often a member tells that it lives. */
    var heartbeat: Duration? = null

    /** How long a silent member is kept. */
    var sessionTimeout: Duration? = null

    /** How long a member may work without asking for more. */
    var processingTimeout: Duration? = null

    /** How long a member may take to give up a partition. */
    var rebalanceTimeout: Duration? = null

    /** How partitions are spread over the members of a group. */
    var assignor: Assignor? = null

    /** Whether records of transactions that are not committed are seen. */
    var isolation: Isolation? = null

    internal fun toNative() = NativeConsumerOptions(
        group, instanceId, partitions, start?.word, until?.word, ack?.word, commitInterval.toMs(), maxBlockRecords?.toLong(),
        maxBlockBytes, readAheadBytes, maxUnacked?.toLong(), heartbeat.toMs(), sessionTimeout.toMs(),
        processingTimeout.toMs(), rebalanceTimeout.toMs(), assignor?.word, isolation?.word,
    )
}

/** How `process` runs handlers. */
class ProcessOptions {
    /** Handlers that run at the same time. */
    var concurrency: Int? = null

    /** What stays in order. */
    var order: Order? = null

    /** Times a record is tried. */
    var attempts: Int? = null

    /** The pause before the second attempt; it doubles. */
    var backoff: Duration? = null

    /** The longest pause between attempts. */
    var backoffMax: Duration? = null

    /** The topic that takes what failed at every attempt; none: stop with the error. */
    var deadLetter: String? = null

    internal fun toNative() = NativeProcessOptions(
        concurrency?.toLong(), order?.word, attempts?.toLong(), backoff.toMs(), backoffMax.toMs(), deadLetter,
    )
}

/** What a topic is like. */
class TopicOptions {
    /** Its partitions. */
    var partitions: Int? = null

    /** How safe a record is before it is acknowledged, unless the producer says otherwise. */
    var durability: Durability? = null

    /** How long records are kept; `Duration.INFINITE`: without limit. */
    var retention: Duration? = null

    /** Bytes kept in each partition; -1: without limit. */
    var retentionBytes: Long? = null

    /** What happens to old records. */
    var cleanupPolicy: CleanupPolicy? = null

    /** How long the mark of a deleted key is kept. */
    var tombstoneRetention: Duration? = null

    /** The size of a record batch at most. */
    var maxMessageBytes: Long? = null

    /** Who says when a record was made. */
    var messageTimestampType: TimestampType? = null

    /** Replicas that must have a record at `quorum`. */
    var minInsyncReplicas: Int? = null

    /** Whether a topic of that name is no error. */
    var existOk: Boolean? = null

    internal fun toNative() = NativeTopicOptions(
        partitions?.toLong(), durability?.word, if (retention == Duration.INFINITE) -1L else retention.toMs(),
        retentionBytes, cleanupPolicy?.word, tombstoneRetention.toMs(), maxMessageBytes, messageTimestampType?.word,
        minInsyncReplicas?.toLong(), existOk,
    )
}
