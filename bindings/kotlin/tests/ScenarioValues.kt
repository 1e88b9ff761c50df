// What scenarios compare: results as plain values, and how an expectation is held against one.
package headwater

/** What is found is not what the scenario says, or the scenario says what has no meaning. */
internal class Wrong(message: String) : AssertionError(message)

/** A map of a scenario. Taking a field out says that it is known; what is left in the end is not. */
internal class Fields(found: Any?) {
    val left = LinkedHashMap((found as? Map<*, *> ?: throw Wrong("$found is no map")).mapKeys { it.key as String })

    fun take(name: String): Any? = left.remove(name)

    fun need(name: String): Any? {
        if (name !in left) throw Wrong("`$name` is missing, in $left")
        return left.remove(name)
    }

    fun text(name: String): String = need(name) as? String ?: throw Wrong("`$name` is no text")

    fun int(name: String): Int = (need(name) as? Long ?: throw Wrong("`$name` is no whole number")).toInt()

    fun list(name: String): List<*> = need(name) as? List<*> ?: throw Wrong("`$name` is no list")

    fun end() {
        if (left.isNotEmpty()) throw Wrong("unknown: ${left.keys}")
    }
}

/** What is otherwise than wanted, or null. Of a map only what is named counts. */
internal fun differs(wanted: Any?, found: Any?, at: String = "it"): String? = when {
    wanted is Map<*, *> && wanted.keys == setOf("not") ->
        if (differs(wanted["not"], found) == null) "$at is $found" else null
    wanted is Map<*, *> && wanted.keys == setOf("says") ->
        if (found is String && wanted["says"] as String in found) null else "$at is $found and does not say ${wanted["says"]}"
    wanted is Map<*, *> && found is Map<*, *> -> wanted.firstNotNullOfOrNull { (key, value) ->
        if (key in found) differs(value, found[key], "$at.$key") else "$at has no `$key`"
    }
    wanted is List<*> && found is List<*> ->
        if (wanted.size != found.size) {
            "$at has ${found.size} entries, not ${wanted.size}"
        } else {
            wanted.indices.firstNotNullOfOrNull { differs(wanted[it], found[it], "$at[$it]") }
        }
    // A record that was read may be written as its value alone.
    found is Map<*, *> && "offset" in found && "value" in found -> differs(wanted, found["value"], "$at.value")
    wanted == found -> null
    else -> "$at is $found, not $wanted"
}

/** A key or a value as it is written: text, absent, or `{hex: ..}`. */
@OptIn(ExperimentalStdlibApi::class)
internal fun toBytes(value: Any?): ByteArray? = when {
    value == null -> null
    value is String -> value.encodeToByteArray()
    value is Map<*, *> && value.keys == setOf("hex") -> (value["hex"] as String).hexToByteArray()
    else -> throw Wrong("$value is no key and no value")
}

/** The same, the other way. */
@OptIn(ExperimentalStdlibApi::class)
internal fun fromBytes(bytes: ByteArray?): Any? {
    val text = bytes?.decodeToString() ?: return null
    return if (text.encodeToByteArray().contentEquals(bytes)) text else mapOf("hex" to bytes.toHexString())
}

internal fun toHeaders(headers: Any?): List<Header> =
    (headers as List<*>? ?: emptyList<Any>()).map { it as List<*> }.map { Header(it[0] as String, toBytes(it[1])) }

internal fun plain(record: Record) = mapOf(
    "topic" to record.topic, "partition" to record.partition.toLong(), "offset" to record.offset,
    "timestamp" to record.timestamp, "key" to fromBytes(record.key), "value" to fromBytes(record.value),
    "headers" to record.headers.map { listOf(it.key, fromBytes(it.value)) },
)

internal fun plain(sent: RecordMetadata) = mapOf(
    "topic" to sent.topic, "partition" to sent.partition.toLong(), "offset" to sent.offset,
    "timestamp" to sent.timestamp, "durability" to sent.durability.name.lowercase(),
)

internal fun plain(offsets: List<PartitionOffset>) = offsets.sortedWith(compareBy({ it.topic }, { it.partition }))
    .map { mapOf("topic" to it.topic, "partition" to it.partition.toLong(), "offset" to it.offset) }

internal fun plain(error: HeadwaterException) = mapOf(
    "kind" to error.kind.name, "code" to error.code, "message" to error.message,
    "outcome" to if (error.outcome == Outcome.NotDone) "not_done" else "unknown",
)

internal fun plain(report: CloseReport) = mapOf(
    "unsent_records" to report.unsentRecords, "failed_records" to report.failedRecords,
    "first_error" to report.firstError?.let { plain(it) },
)

internal fun plain(health: Health) = mapOf(
    "is_healthy" to health.isHealthy, "reason" to health.reason, "is_closed" to health.isClosed, "address" to health.address,
    "is_connected" to health.isConnected, "since_ms" to health.sinceMs, "last_error" to health.lastError?.let { plain(it) },
    "members" to health.members.map {
        mapOf(
            "group" to it.group, "member_id" to it.memberId, "generation" to it.generation.toLong(),
            "state" to it.state.name.lowercase(), "partitions" to it.partitions, "last_heartbeat_ms" to it.lastHeartbeatMs,
            "reason" to it.reason,
        )
    },
    "buffered_bytes" to health.bufferedBytes, "buffered_records" to health.bufferedRecords,
    "oldest_unsent_ms" to health.oldestUnsentMs,
)

internal fun plain(topic: TopicDescription) = mapOf(
    "name" to topic.name, "uuid" to topic.uuid.toString(), "config" to topic.config, "notes" to topic.notes,
    "partitions" to topic.partitions.map {
        mapOf(
            "partition" to it.partition.toLong(), "log_start_offset" to it.logStartOffset,
            "high_watermark" to it.highWatermark, "log_end_offset" to it.logEndOffset,
            "leader_epoch" to it.leaderEpoch.toLong(), "size_bytes" to it.sizeBytes,
        )
    },
)

internal fun plain(group: GroupDetails) = mapOf(
    "group" to group.group, "state" to group.state, "generation" to group.generation.toLong(),
    "members" to group.members.size.toLong(), "offsets" to plain(group.offsets),
)

internal fun toOffsets(list: List<*>) = list.map { it as List<*> }
    .map { PartitionOffset(it[0] as String, (it[1] as Long).toInt(), it[2] as Long) }

internal fun toMeaning(at: Any?): OffsetAt = when (at) {
    "earliest" -> OffsetAt.Earliest
    "latest" -> OffsetAt.Latest
    is Long -> OffsetAt.Time(at)
    is Map<*, *> -> OffsetAt.Time(at["time"] as Long)
    else -> throw Wrong("$at is no meaning of an offset")
}
