// Send rows: records packed into one direct buffer, for one call. The layout is core's (`record/block/rows.rs`).
package headwater

import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val ROW_BYTES = 40

/** Bytes of a row; may be more than a buffer can hold. */
internal fun rowBytes(key: ByteArray?, value: ByteArray?, headers: ByteArray?): Long {
    val parts = (key?.size ?: 0).toLong() + (value?.size ?: 0) + (headers?.size ?: 0)
    return (ROW_BYTES + parts + 7) and 7L.inv()
}

/** Headers as they stand in a row: per header {u32 key_len, i32 value_len (-1 null), key, value}; null for none. */
internal fun packHeaders(headers: List<Header>): ByteArray? {
    if (headers.isEmpty()) return null
    val keys = headers.map { it.key.encodeToByteArray() }
    val bytes = headers.foldIndexed(0L) { index, sum, header -> sum + 8 + keys[index].size + (header.value?.size ?: 0) }
    if (bytes > Int.MAX_VALUE) throw errorOf("MESSAGE_TOO_LARGE", "headers of $bytes bytes")
    val packed = ByteBuffer.allocate(bytes.toInt()).order(ByteOrder.LITTLE_ENDIAN)
    headers.forEachIndexed { index, header ->
        packed.putInt(keys[index].size).putInt(header.value?.size ?: -1).put(keys[index])
        header.value?.let(packed::put)
    }
    return packed.array()
}

/** Rows back to back. Not safe for use by two threads at once. */
internal class RowBuffer(capacity: Int) {
    private val buffer: ByteBuffer = ByteBuffer.allocateDirect(capacity).order(ByteOrder.LITTLE_ENDIAN)

    val isEmpty get() = buffer.position() == 0

    /** The rows, as the native module reads them. */
    fun bytes(from: Int = 0, to: Int = buffer.position()): ByteBuffer {
        val view = buffer.duplicate()
        view.limit(to).position(from)
        return if (from == 0) view else view.slice()
    }

    /** Packs a record behind the others; false: there is no room. */
    fun add(
        topicId: Int, partition: Int, key: ByteArray?, value: ByteArray?, headers: ByteArray?, timestamp: Long, ticket: Long,
    ): Boolean {
        val length = rowBytes(key, value, headers)
        if (length > buffer.remaining()) return false
        val end = buffer.position() + length.toInt()
        buffer.putInt(length.toInt()).putInt(topicId).putInt(partition)
            .putInt(key?.size ?: -1).putInt(value?.size ?: -1).putInt(headers?.size ?: 0)
            .putLong(timestamp).putLong(ticket)
        if (key != null) buffer.put(key)
        if (value != null) buffer.put(value)
        if (headers != null) buffer.put(headers)
        while (buffer.position() < end) buffer.put(0)
        return true
    }

    /** Forgets the first [bytes] bytes. */
    fun drop(bytes: Int) {
        if (bytes == buffer.position()) {
            buffer.clear()
        } else if (bytes > 0) {
            buffer.flip().position(bytes)
            buffer.compact()
        }
    }

    /** A row of the buffer, by where it stands. */
    class Row(val start: Int, val end: Int, val topicId: Int, val partition: Int, val ticket: Long)

    fun forEachRow(use: (Row) -> Boolean) {
        var at = 0
        while (at < buffer.position()) {
            val end = at + buffer.getInt(at)
            if (!use(Row(at, end, buffer.getInt(at + 4), buffer.getInt(at + 8), buffer.getLong(at + 32)))) return
            at = end
        }
    }
}
