package headwater

import headwater.ffi.errorTable
import headwater.ffi.optionTable
import kotlin.test.BeforeTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

class TablesTest {
    @BeforeTest
    fun load() {
        Headwater.parse("mem:")
    }

    @Test
    fun `every code of core's table becomes an exception with its facts`() {
        val table = errorTable()
        assertTrue(table.size > 40)
        for (row in table) for (outcome in Outcome.entries) {
            val error = errorOf(row.code, "what happened", outcome)
            assertEquals(row.code, error.code)
            assertEquals(row.kind, error.kind.name, row.code)
            assertEquals(row.retriable, error.retriable, row.code)
            assertEquals(row.fatal, error.fatal, row.code)
            assertEquals(outcome, error.outcome)
            assertEquals("what happened", error.message)
        }
    }

    @Test
    fun `the kinds are those of core's table, and no others`() {
        assertEquals(errorTable().map { it.kind }.toSet(), ErrorKind.entries.map { it.name }.toSet())
    }

    @Test
    fun `the options of every group are those of core's table, and no others`() {
        val groups = mapOf(
            "connect" to ConnectOptions::class,
            "producer" to ProducerOptions::class,
            "consumer" to ConsumerOptions::class,
            "topic" to TopicOptions::class,
        )
        for ((group, type) in groups) {
            val setters = type.java.methods.filter { it.name.startsWith("set") }
            val found = setters.map { it.name.removePrefix("set").replaceFirstChar(Char::lowercase).substringBefore('-') }.toSet()
            val expected = optionTable().filter { it.group == group }.map { camel(it.name.removeSuffix("_ms").replace("_ms_", "_")) }
            assertEquals(expected.toSet().map { it.replace("BackoffMaxMs", "BackoffMax") }.toSet(), found, group)
        }
    }

    @Test
    fun `every word of an option is one that core takes`() {
        val words = mapOf(
            "durability" to Durability.entries.map { it.word },
            "compression" to Compression.entries.map { it.word },
            "partitioner" to Partitioner.entries.map { it.word },
            "ack" to Ack.entries.map { it.word },
            "assignor" to Assignor.entries.map { it.word },
            "isolation" to Isolation.entries.map { it.word },
            "cleanup_policy" to CleanupPolicy.entries.map { it.word },
            "message_timestamp_type" to TimestampType.entries.map { it.word },
        )
        for ((name, found) in words) for (row in optionTable().filter { it.name == name }) {
            assertEquals(row.range, found.joinToString(", ") { "`$it`" }, name)
        }
    }

    private fun camel(name: String) = name.split('_').let { it[0] + it.drop(1).joinToString("") { part -> part.replaceFirstChar(Char::uppercase) } }
}
