// What is told of groups and of a client's health, and what is sent with a commit.
package headwater

import headwater.ffi.NativeGroupDetails
import headwater.ffi.NativeHeader
import headwater.ffi.NativeHealth
import headwater.ffi.NativeResult
import headwater.ffi.NativeSent

/** A group, its members, and what it has committed. */
data class GroupDetails(
    val group: String,
    /**
     * `Empty`, `Stable`, `Reconciling` (partitions are moving) or `Recovering` (the broker has started, and waits for the
     * members that the group had).
     */
    val state: String,
    val generation: Int,
    val members: List<GroupMember>,
    val offsets: List<PartitionOffset>,
)

/** A member of a group. */
data class GroupMember(
    val memberId: String,
    /** The name of a static member. */
    val instanceId: String?,
    /** What it calls itself. */
    val clientName: String,
    /** Where it is, where that is known. */
    val host: String?,
    /** The generation that it was told last; 0 before the first. */
    val generation: Int,
    /** What it holds, also what it is about to let go of. */
    val partitions: List<TopicPartition>,
)

/** How a client is. */
class Health(
    /** Whether all of it can work: it has its log, and each consumer with a group is a member of it. */
    val isHealthy: Boolean,
    /** Why it cannot, in words, if it cannot. */
    val reason: String?,
    val isClosed: Boolean,
    /** What it is connected to: a folder, a name in memory, or the broker that answers. */
    val address: String,
    val isConnected: Boolean,
    /** For how long it has been connected, or not. */
    val sinceMs: Long,
    /** Why it is not connected. */
    val lastError: HeadwaterException?,
    /** The consumers that have joined a group, or are about to. */
    val members: List<MemberHealth>,
    /** Bytes of records accepted and not acknowledged yet. */
    val bufferedBytes: Long,
    val bufferedRecords: Long,
    /** How long the oldest batch of these has been waiting. */
    val oldestUnsentMs: Long?,
) {
    override fun toString() = if (isHealthy) "Health(healthy)" else "Health(not healthy: $reason)"
}

/** How a consumer is as a member of its group. */
data class MemberHealth(
    val group: String,
    /** Empty before it asked to join. */
    val memberId: String,
    /** 0 before it is a member. */
    val generation: Int,
    val state: MemberState,
    /** How many partitions it holds. */
    val partitions: Long,
    /** How long ago its last heartbeat was answered. */
    val lastHeartbeatMs: Long?,
    /** What is wrong with it, in words, if something is. */
    val reason: String?,
)

/** What has become of a consumer in its group. */
enum class MemberState(internal val word: String) {
    /** It is not a member yet, or joins again. */
    Joining("joining"),

    /** It is a member. */
    Stable("stable"),

    /** It is none any more, or must be taken for none: others may have its partitions. */
    Lost("lost"),
}

/** A record with the topic it goes to. */
class ProducerRecord(
    val topic: String,
    /** Null is a tombstone. */
    val value: ByteArray?,
    val key: ByteArray? = null,
    val headers: List<Header> = emptyList(),
    /** Null: by the key. */
    val partition: Int? = null,
    /** Ms since 1970 UTC; null: now. */
    val timestamp: Long? = null,
) {
    constructor(
        topic: String,
        value: String,
        key: String? = null,
        headers: List<Header> = emptyList(),
        partition: Int? = null,
        timestamp: Long? = null,
    ) : this(topic, value.encodeToByteArray(), key?.encodeToByteArray(), headers, partition, timestamp)
}

internal fun NativeGroupDetails.toDetails() = GroupDetails(
    group,
    state,
    generation,
    members.map { member ->
        val held = member.partitions.map { it.toPartition() }
        GroupMember(member.memberId, member.instanceId, member.clientName, member.host, member.generation, held)
    },
    offsets.map { it.toOffset() },
)

internal fun NativeHealth.toHealth() = Health(
    isHealthy,
    reason,
    isClosed,
    address,
    isConnected,
    sinceMs,
    lastError?.toException(),
    members.map { member ->
        val state = MemberState.entries.first { it.word == member.state }
        MemberHealth(
            member.group, member.memberId, member.generation, state, member.partitions, member.lastHeartbeatMs, member.reason,
        )
    },
    bufferedBytes,
    bufferedRecords,
    oldestUnsentMs,
)

internal fun ProducerRecord.toNative() =
    NativeResult(topic, partition, key, value, headers.map { NativeHeader(it.key, it.value) }, timestamp)

internal fun NativeSent.toMetadata() =
    RecordMetadata(topic, partition, offset, timestampMs, Durability.entries[(durability.toInt() - 1).coerceIn(0, 2)])
