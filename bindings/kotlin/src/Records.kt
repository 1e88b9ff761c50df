// What goes in and what comes back, besides the records that are read.
package headwater

import headwater.ffi.NativeGroup
import headwater.ffi.NativeLag
import headwater.ffi.NativeOffsetAt
import headwater.ffi.NativePartitionName
import headwater.ffi.NativePlace
import headwater.ffi.NativeReport
import headwater.ffi.NativeTopic

/** How safe an acknowledged record is. */
enum class Durability(internal val word: String) {
    /** With the operating system: survives the end of the process. */
    Os("os"),

    /** On the disk: survives the end of the machine. */
    Disk("disk"),

    /** On a majority of replicas. */
    Quorum("quorum"),
}

/** A header of a record. Names may repeat; their order is kept. */
class Header(val key: String, val value: ByteArray?) {
    constructor(key: String, value: String) : this(key, value.encodeToByteArray())

    override fun equals(other: Any?) = other is Header && key == other.key && value.contentEquals(other.value)

    override fun hashCode() = 31 * key.hashCode() + value.contentHashCode()

    override fun toString() = "$key=${value?.decodeToString()}"
}

/** Where a record went and how safe it is. */
data class RecordMetadata(
    val topic: String,
    val partition: Int,
    val offset: Long,
    /** The record's time, ms since 1970 UTC: the log's where the topic says so, else its own. */
    val timestamp: Long,
    val durability: Durability,
)

/** An offset in a partition of a topic. */
data class PartitionOffset(val topic: String, val partition: Int, val offset: Long)

/** A partition of a topic. */
data class TopicPartition(val topic: String, val partition: Int)

/** How far a consumer is in a partition, and how far it could be. */
data class PartitionLag(
    val topic: String,
    val partition: Int,
    /** The offset of the first record that does not count as processed. */
    val position: Long,
    /** What the group has committed; null without a group, or if nothing was committed. */
    val committed: Long?,
    /** The next offset a reader would see. */
    val highWatermark: Long,
    /** From [position] to [highWatermark], counting by offsets; 0 or more. */
    val lag: Long,
)

/** An offset by its meaning. */
sealed interface OffsetAt {
    /** The first that is held. */
    data object Earliest : OffsetAt

    /** The next that a reader would see. */
    data object Latest : OffsetAt

    /** The first of this time or later, ms since 1970 UTC. */
    data class Time(val ms: Long) : OffsetAt
}

/** Asks for one offset of one partition. */
data class OffsetQuery(val topic: String, val partition: Int, val at: OffsetAt)

/** Records that failed although nobody was waiting for them. */
class DeliveryFailure(val topic: String, val partition: Int, val records: Long, val error: HeadwaterException)

/** What closing left undone. */
class CloseReport(
    /** Records not acknowledged at the deadline: each failed with `CLOSED`, whose outcome says whether it may be in the log. */
    val unsentRecords: Long,
    /** Records that failed and that nobody was told about until now. */
    val failedRecords: Long,
    /** The first failure. */
    val firstError: HeadwaterException?,
) {
    override fun toString() = "CloseReport(unsentRecords=$unsentRecords, failedRecords=$failedRecords, firstError=$firstError)"
}

/** A topic and how its partitions stand. */
data class TopicDescription(
    val name: String,
    /** By which a topic of the same name created later differs. */
    val uuid: java.util.UUID,
    /** Every option with its value, in the table's order. */
    val config: Map<String, String>,
    /** What of it is stored but not acted on, in words. */
    val notes: List<String>,
    val partitions: List<PartitionDescription>,
)

/** How a partition stands. */
data class PartitionDescription(
    val partition: Int,
    /** The first offset held. */
    val logStartOffset: Long,
    /** The next offset a reader would see. */
    val highWatermark: Long,
    /** The next offset to be written. */
    val logEndOffset: Long,
    val leaderEpoch: Int,
    /** Bytes of its record batches. */
    val sizeBytes: Long,
)

/** A group as it is listed. */
data class GroupDescription(
    val group: String,
    /** As in [GroupDetails]. */
    val state: String,
    val generation: Int,
    /** The ids of its members. */
    val members: List<String>,
    val offsets: List<PartitionOffset>,
)

internal fun NativeReport.toReport() = CloseReport(unsentRecords, failedRecords, firstError?.toException())

internal fun NativePlace.toOffset() = PartitionOffset(topic, partition, offset)

internal fun PartitionOffset.toNative() = NativePlace(topic, partition, offset)

internal fun NativePartitionName.toPartition() = TopicPartition(topic, partition)

internal fun TopicPartition.toNative() = NativePartitionName(topic, partition)

internal fun NativeLag.toLag() = PartitionLag(topic, partition, position, committed, highWatermark, lag)

internal fun OffsetAt.toNative() = when (this) {
    OffsetAt.Earliest -> NativeOffsetAt.Earliest
    OffsetAt.Latest -> NativeOffsetAt.Latest
    is OffsetAt.Time -> NativeOffsetAt.Time(ms)
}

internal fun NativeTopic.toTopic(): TopicDescription {
    val bytes = java.nio.ByteBuffer.wrap(uuid)
    return TopicDescription(
        name,
        java.util.UUID(bytes.getLong(), bytes.getLong()),
        config.associate { it.name to it.value },
        notes,
        partitions.map {
            PartitionDescription(
                it.partition, it.logStartOffset, it.highWatermark, it.logEndOffset, it.leaderEpoch, it.sizeBytes,
            )
        },
    )
}

internal fun NativeGroup.toGroup() =
    GroupDescription(group, state, generation, members, offsets.map { it.toOffset() })
