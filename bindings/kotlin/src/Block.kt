// Reads a receive block: many records in one piece of memory, column by column. The layout is core's (`record/block`),
// and so are the golden vectors that the test walks.
//
// Everything is checked once, when the block arrives: magic, length, every position and end, runs and topics. After that
// rows are read without checks, and only when asked for.
package headwater

import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val MAGIC = 0x31425748 // "HWB1"
private const val HEADER_BYTES = 64
private const val RUN_BYTES = 40
private const val FLAG_CONTIGUOUS = 1
private const val RUN_FLAG_APPEND_TIME = 1
private const val NAME_BYTES_MAX = 249

/** Rows of one partition, offsets ascending. */
internal class Run(
    val baseOffset: Long,
    val firstRow: Int,
    val endRow: Int,
    val partition: Int,
    val leaderEpoch: Int,
    val isAppendTime: Boolean,
    val topic: String,
)

/** A column of byte strings: which rows have one (0: all), where each ends, and where the bytes begin. */
internal class Strings(val presentAt: Int, val endsAt: Int, val bytesAt: Int)

internal class Block(private val bytes: ByteArray) {
    private val words: ByteBuffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
    private val length: Int
    private val headerLength: Int

    /** Records. */
    val size: Int
    val runs: List<Run>
    private val deltasAt: Int
    private val timestampsAt: Int
    private val keys: Strings?
    private val values: Strings
    private val headers: Strings?

    init {
        if (bytes.size < HEADER_BYTES) throw corrupt("${bytes.size} bytes, expected $HEADER_BYTES or more")
        if (words.getInt(0) != MAGIC) throw errorOf("UNSUPPORTED_VERSION", "block magic ${words.getInt(0).toUInt()} is not supported")
        length = words.getInt(8)
        if (length !in HEADER_BYTES..bytes.size) throw corrupt("it says ${length.toUInt()} bytes, ${bytes.size} are there")
        headerLength = words.getShort(4).toInt() and 0xffff
        if (headerLength !in HEADER_BYTES..length) throw corrupt("header of $headerLength bytes")
        val isContiguous = words.getShort(6).toInt() and FLAG_CONTIGUOUS != 0
        val rows = words.getInt(12)
        deltasAt = column("offset_deltas", 24, rows, 4)
        if (deltasAt == 0 && !isContiguous) throw corrupt("offset_deltas is absent")
        timestampsAt = column("timestamps", 28, rows, 8)
        if (timestampsAt == 0) throw corrupt("timestamps is absent")
        size = rows
        keys = strings("keys", 32, 36, 52)
        values = strings("values", 40, 44, 56) ?: throw corrupt("values is absent")
        headers = strings("headers", 0, 48, 60)
        runs = readRuns()
    }

    fun offset(row: Int, run: Run): Long =
        run.baseOffset + if (deltasAt == 0) (row - run.firstRow).toLong() else delta(row)

    fun timestamp(row: Int): Long = words.getLong(timestampsAt + 8 * row)

    fun key(row: Int): ByteArray? = if (keys == null) null else slice(keys, row)

    fun value(row: Int): ByteArray? = slice(values, row)

    fun headers(row: Int): List<Header> {
        if (headers == null) return emptyList()
        val end = headers.bytesAt + words.getInt(headers.endsAt + 4 * row + 4)
        var at = headers.bytesAt + words.getInt(headers.endsAt + 4 * row)
        if (at == end) return emptyList()
        val found = ArrayList<Header>()
        while (at < end) {
            if (end - at < 8) throw corrupt("a header ends within its lengths")
            val keyLength = words.getInt(at)
            val valueLength = words.getInt(at + 4)
            val left = (end - at - 8).toLong()
            if (keyLength < 0 || valueLength < -1 || keyLength.toLong() + maxOf(valueLength, 0) > left) {
                throw corrupt("a header ends behind its record")
            }
            val valueAt = at + 8 + keyLength
            at = valueAt + maxOf(valueLength, 0)
            found += Header(
                String(bytes, valueAt - keyLength, keyLength, Charsets.UTF_8),
                if (valueLength < 0) null else bytes.copyOfRange(valueAt, at),
            )
        }
        return found
    }

    private fun delta(row: Int): Long = words.getInt(deltasAt + 4 * row).toLong() and 0xffff_ffffL

    private fun slice(strings: Strings, row: Int): ByteArray? {
        if (strings.presentAt != 0 && bytes[strings.presentAt + (row shr 3)].toInt() shr (row and 7) and 1 == 0) return null
        val start = words.getInt(strings.endsAt + 4 * row)
        val end = words.getInt(strings.endsAt + 4 * row + 4)
        return bytes.copyOfRange(strings.bytesAt + start, strings.bytesAt + end)
    }

    // --- The checks. Positions are from the start of the block; a number over 2^31 shows as negative. ---

    private fun check(name: String, position: Int, count: Int, width: Int) {
        val isInside = position >= headerLength && count >= 0 && position.toLong() + count.toLong() * width <= length
        if (!isInside || position % 8 != 0) throw corrupt("$name at byte ${position.toUInt()} is not within the block")
    }

    /** Where the column of [count] numbers begins whose position stands at [field]; 0 if it is absent. */
    private fun column(name: String, field: Int, count: Int, width: Int): Int {
        val position = words.getInt(field)
        if (position != 0) check(name, position, count, width)
        return position
    }

    private fun strings(name: String, presentField: Int, endsField: Int, bytesField: Int): Strings? {
        val endsAt = words.getInt(endsField)
        if (endsAt == 0) return null
        if (size == Int.MAX_VALUE) throw corrupt("$size records")
        check("$name ends", endsAt, size + 1, 4)
        var end = 0
        for (row in 0..size) {
            val next = words.getInt(endsAt + 4 * row)
            if (next < end || (row == 0 && next != 0)) throw corrupt("end $row of $name is ${next.toUInt()}, expected $end or more")
            end = next
        }
        val bytesAt = words.getInt(bytesField)
        check(name, bytesAt, end, 1)
        val presentAt = if (presentField == 0) 0 else words.getInt(presentField)
        if (presentAt != 0) check("$name present", presentAt, (size + 7) / 8, 1)
        return Strings(presentAt, endsAt, bytesAt)
    }

    private fun readRuns(): List<Run> {
        val position = words.getInt(20)
        val count = words.getInt(16)
        check("runs", position, count, RUN_BYTES)
        var expected = 0
        val runs = List(count) { index ->
            val run = readRun(position + index * RUN_BYTES, index)
            if (run.firstRow != expected || run.endRow <= run.firstRow || run.endRow > size) {
                throw corrupt("run $index has rows ${run.firstRow} to ${run.endRow}, expected from $expected on")
            }
            checkOffsets(run)
            expected = run.endRow
            run
        }
        if (expected != size) throw corrupt("runs cover $expected rows of $size")
        return runs
    }

    private fun readRun(at: Int, index: Int): Run {
        val topicAt = words.getInt(at + 24)
        val topicBytes = words.getInt(at + 28)
        if (topicAt < 0 || topicBytes !in 0..NAME_BYTES_MAX || topicAt.toLong() + topicBytes > length) {
            throw corrupt("topic of run $index is not a name within the block")
        }
        val firstRow = words.getInt(at + 8)
        return Run(
            words.getLong(at),
            firstRow,
            firstRow + words.getInt(at + 12),
            words.getInt(at + 16),
            words.getInt(at + 20),
            words.getInt(at + 32) and RUN_FLAG_APPEND_TIME != 0,
            String(bytes, topicAt, topicBytes, Charsets.UTF_8),
        )
    }

    private fun checkOffsets(run: Run) {
        if (deltasAt != 0) {
            for (row in run.firstRow + 1 until run.endRow) {
                if (delta(row) <= delta(row - 1)) throw corrupt("offset of row $row does not follow on the one before")
            }
        }
        if (offset(run.endRow - 1, run) < run.baseOffset) throw corrupt("offsets of a run go beyond 2^63")
    }
}

private fun corrupt(message: String) = errorOf("CORRUPT_FRAME", "block: $message")

/** A record that was read. Key, value and headers are taken out of the block it came in when asked for. */
class Record internal constructor(internal val block: Block, internal val row: Int, private val run: Run) {
    private var cachedKey: ByteArray? = null
    private var cachedValue: ByteArray? = null

    val topic: String get() = run.topic
    val partition: Int get() = run.partition
    val offset: Long get() = block.offset(row, run)

    /** Ms since 1970 UTC. */
    val timestamp: Long get() = block.timestamp(row)

    /** Whether the timestamp is that of the append, not the producer's. */
    val isAppendTime: Boolean get() = run.isAppendTime

    /** The epoch of the leader that appended it, -1 if unknown. */
    val leaderEpoch: Int get() = run.leaderEpoch

    /** The key, copied at the first use. */
    val key: ByteArray? get() = cachedKey ?: block.key(row).also { cachedKey = it }

    /** The value, copied at the first use; null is a tombstone. */
    val value: ByteArray? get() = cachedValue ?: block.value(row).also { cachedValue = it }

    val headers: List<Header> get() = block.headers(row)

    override fun toString() = "Record($topic/$partition@$offset)"
}

/** Records that arrived together. */
class Batch internal constructor(internal val block: Block, firstRow: Int, skipped: Set<Int>) : AbstractList<Record>() {
    private class Part(val run: Run, val firstRow: Int, val firstIndex: Int)

    private val parts = ArrayList<Part>()
    override val size: Int

    /** The rows, if none is left out between the first and the end of the block. */
    internal val rows: IntRange?

    init {
        var count = 0
        block.runs.forEachIndexed { index, run ->
            val first = maxOf(run.firstRow, firstRow)
            if (first < run.endRow && index !in skipped) {
                parts += Part(run, first, count)
                count += run.endRow - first
            }
        }
        size = count
        rows = if (count == block.size - firstRow) firstRow until block.size else null
    }

    override fun get(index: Int): Record {
        if (index !in 0 until size) throw IndexOutOfBoundsException("$index of $size")
        var low = 0
        var high = parts.size - 1
        while (low < high) {
            val middle = (low + high + 1) / 2
            if (parts[middle].firstIndex <= index) low = middle else high = middle - 1
        }
        val part = parts[low]
        return Record(block, part.firstRow + index - part.firstIndex, part.run)
    }
}
