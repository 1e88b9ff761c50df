package headwater

import headwater.ffi.errorTable
import headwater.ffi.optionTable
import kotlin.test.BeforeTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.coroutines.runBlocking

class TablesTest {
    @BeforeTest
    fun load() {
        Headwater.parse("mem:")
    }

    @Test
    fun `every code of the golden table becomes an exception with its facts`() {
        val rows = table("errors.json")
        for (row in rows) for (outcome in Outcome.entries) {
            val code = row["code"] as String
            val error = errorOf(code, "what happened", outcome)
            assertEquals(code, error.code)
            assertEquals(row["kind"], error.kind.name, code)
            assertEquals(row["retriable"], error.retriable, code)
            assertEquals(row["fatal"], error.fatal, code)
            assertEquals(outcome, error.outcome)
            assertEquals("what happened", error.message)
        }
        assertEquals(rows.map { it.int("number") to it["code"] }, errorTable().map { it.number to it.code })
    }

    @Test
    fun `every golden address is read, or refused in words`() {
        for (row in table("address.json")) {
            val address = row["address"] as String
            if ("error" !in row) {
                assertEquals(row["shown"], Headwater.parse(address), address)
                continue
            }
            // Options are looked at when it is opened; none of these gets that far.
            val refused = assertFailsWith<HeadwaterException>(address) { runBlocking { Headwater.connect(address).close() } }
            assertEquals(row["error"], refused.code, address)
            assertTrue(row["says"] as String in refused.message!!, "$address: ${refused.message}")
        }
    }

    @Test
    fun `the kinds are those of core's table, and no others`() {
        assertEquals(table("errors.json").map { it["kind"] }.toSet(), ErrorKind.entries.map { it.name }.toSet())
    }

    @Test
    fun `the options of every group are those of core's table, and no others`() {
        val groups = mapOf(
            "connect" to ConnectOptions::class,
            "producer" to ProducerOptions::class,
            "consumer" to ConsumerOptions::class,
            "process" to ProcessOptions::class,
            "topic" to TopicOptions::class,
        )
        for ((group, type) in groups) {
            val setters = type.java.methods.filter { it.name.startsWith("set") }
            val found = setters.map { it.name.removePrefix("set").replaceFirstChar(Char::lowercase).substringBefore('-') }.toSet()
            val expected = table("options.json").filter { it["group"] == group }.map { camel((it["name"] as String).removeSuffix("_ms")) }
            assertEquals(expected.toSet(), found, group)
        }
    }

    @Test
    fun `every word of an option is one that core takes`() {
        val words = mapOf(
            "durability" to Durability.entries.map { it.word },
            "compression" to Compression.entries.map { it.word },
            "partitioner" to Partitioner.entries.map { it.word },
            "order" to Order.entries.map { it.word },
            "ack" to Ack.entries.map { it.word },
            "assignor" to Assignor.entries.map { it.word },
            "isolation" to Isolation.entries.map { it.word },
            "sharing" to Sharing.entries.map { it.word },
            "max_bytes_policy" to MaxBytesPolicy.entries.map { it.word },
            "cleanup_policy" to CleanupPolicy.entries.map { it.word },
            "message_timestamp_type" to TimestampType.entries.map { it.word },
        )
        for ((name, found) in words) for (row in optionTable().filter { it.name == name }) {
            assertEquals(row.range, found.joinToString(", ") { "`$it`" }, name)
        }
    }

    private fun camel(name: String) = name.split('_').let { it[0] + it.drop(1).joinToString("") { part -> part.replaceFirstChar(Char::uppercase) } }
}
