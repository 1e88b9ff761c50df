package headwater

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class GoldenTest {
    @Test
    fun `every golden block gives its records`() {
        for ((name, bytes, expected) in vectors("block")) {
            val found = Batch(Block(bytes), 0, emptySet())
            val records = expected.rows("records")
            assertEquals(records.size, found.size, name)
            found.zip(records).forEachIndexed { row, (record, wanted) -> assertRecord(wanted, record, "$name, row $row") }
        }
    }

    private fun assertRecord(wanted: JsonObject, record: Record, where: String) {
        assertEquals(wanted["topic"], record.topic, where)
        assertEquals(wanted.int("partition"), record.partition, where)
        assertEquals(wanted.int("leader_epoch"), record.leaderEpoch, where)
        assertEquals(wanted.long("offset"), record.offset, where)
        assertEquals(wanted.long("timestamp_ms"), record.timestamp, where)
        assertEquals(wanted["is_append_time"], record.isAppendTime, where)
        assertContentEquals(wanted.bytes("key"), record.key, where)
        assertContentEquals(wanted.bytes("value"), record.value, where)
        assertEquals(wanted.headers("headers"), record.headers, where)
    }

    @Test
    fun `every damaged block is refused with its kind`() {
        for ((name, bytes, expected) in vectors("block_refused")) {
            val refused = assertFailsWith<HeadwaterException>(name) { Block(bytes) }
            assertEquals(expected["kind"], refused.kind.name.lowercase(), "$name: ${refused.message}")
        }
    }

    @Test
    fun `a golden block that is cut anywhere is refused`() {
        for ((name, bytes) in vectors("block")) {
            for (length in bytes.indices) {
                assertFailsWith<HeadwaterException>("$name, $length bytes") { Block(bytes.copyOf(length)) }
            }
        }
    }

    @Test
    fun `a block with a changed byte is refused or read within its bounds`() {
        for ((_, bytes) in vectors("block").filter { it.second.size < 512 }) {
            for (at in bytes.indices) for (mask in listOf(0x01, 0x80, 0xff)) {
                val changed = bytes.copyOf().also { it[at] = (it[at].toInt() xor mask).toByte() }
                val block = try {
                    Block(changed)
                } catch (_: HeadwaterException) {
                    continue
                }
                for (record in Batch(block, 0, emptySet())) {
                    record.key
                    record.value
                    try {
                        record.headers
                    } catch (refused: HeadwaterException) {
                        assertEquals(ErrorKind.Corrupt, refused.kind)
                    }
                }
            }
        }
    }

    @Test
    fun `packing the golden send rows makes the same bytes`() {
        val (_, bytes, expected) = vectors("rows").first { it.first == "send" }
        val rows = RowBuffer(bytes.size)
        for (row in expected.rows("rows")) {
            val key = row.bytes("key")
            val value = row.bytes("value")
            val headers = packHeaders(row.headers("headers"))
            assertEquals(row.long("row_len"), rowBytes(key, value, headers))
            val topicId = row.long("topic_id").toInt()
            assertTrue(rows.add(topicId, row.int("partition"), key, value, headers, row.long("timestamp_ms"), row.long("ticket")))
        }
        val packed = ByteArray(bytes.size).also { rows.bytes().get(it) }
        assertContentEquals(bytes, packed)
        assertEquals(false, rows.add(1, -1, null, null, null, -1, 0), "the buffer is full")
    }

    @Test
    fun `dropping rows leaves the others`() {
        val rows = RowBuffer(1_024)
        for (ticket in 1L..3) rows.add(1, -1, null, ByteArray(ticket.toInt()) { 7 }, null, -1, ticket)
        rows.drop(rowBytes(null, ByteArray(1), null).toInt())
        val left = ArrayList<Long>()
        rows.forEachRow { left.add(it.ticket) }
        assertEquals(listOf(2L, 3L), left)
    }

    @Test
    fun `the golden completion rows are read`() {
        val (_, bytes, expected) = vectors("rows").first { it.first == "completion" }
        val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
        for (row in expected.rows("rows")) {
            val found = Completion(buffer)
            assertEquals(row.long("first_ticket"), found.firstTicket)
            assertEquals(row.long("count"), found.count)
            assertEquals(row.int("partition"), found.partition)
            assertEquals(row.long("base_offset"), found.baseOffset)
            assertEquals(row.long("timestamp_ms"), found.appended)
            assertEquals(row.int("error"), found.error)
            assertEquals(row.int("error_id"), found.errorId)
            assertEquals(row.int("error") != 0, found.isFailed)
            assertEquals(if (row.int("outcome") == 2) Outcome.Unknown else Outcome.NotDone, found.outcome)
            if (!found.isFailed) assertEquals(row.int("durability"), found.durability.ordinal + 1)
        }
        assertEquals(0, buffer.remaining())
    }
}
