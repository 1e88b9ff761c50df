package headwater

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeout

class ConsumerTest {
    private suspend fun fill(db: Client, count: Int) = db.producer().use { producer ->
        repeat(count) { producer.enqueue("orders", "$it") }
    }

    private fun Record.text() = value!!.decodeToString()

    @Test
    fun `leaving a loop does not process the record in hand`() = inMemory { db ->
        fill(db, 10)
        db.consumer("orders", group = "billing").use { consumer ->
            assertEquals(listOf("0", "1", "2"), consumer.records().take(3).map { it.text() }.toList())
            assertEquals(listOf(PartitionOffset("orders", 0, 2)), consumer.positions())
            assertEquals("2", consumer.records().first().text(), "the next loop begins with it")
            assertFailsWith<IllegalStateException> { consumer.records().collect { if (it.text() == "5") error("stop") } }
            assertEquals(5, consumer.positions().single().offset)
        }
        val committed = db.admin.describeGroup("billing").offsets
        assertEquals(listOf(PartitionOffset("orders", 0, 5)), committed)
        val rest = db.consumer("orders", group = "billing", until = Until.End).use { it.records().map { r -> r.text() }.toList() }
        assertEquals((5..9).map { "$it" }, rest)
        assertEquals(10, db.admin.describeGroup("billing").offsets.single().offset)
    }

    @Test
    fun `blocks follow each other and an end is reached`() = inMemory(partitions = 2) { db ->
        fill(db, 1_000)
        db.consumer("orders", until = Until.End) { maxBlockRecords = 64 }.use { consumer ->
            assertFalse(consumer.isFinished)
            assertEquals(1_000, consumer.records().toList().size)
            assertTrue(consumer.isFinished)
            assertEquals(emptyList(), consumer.records().toList())
            assertEquals(1_000, consumer.positions().sumOf { it.offset })
        }
    }

    @Test
    fun `batches give the same records, block by block`() = inMemory(partitions = 2) { db ->
        fill(db, 500)
        db.consumer("orders", until = Until.End) { maxBlockRecords = 100 }.use { consumer ->
            val first = consumer.records().take(10).toList().map { it.text() }
            val batches = consumer.batches().toList()
            assertEquals(91, batches.first().size, "the rest of the block that was begun, with the record in hand")
            val all = first.dropLast(1) + batches.flatten().map { it.text() }
            assertEquals((0 until 500).map { "$it" }.toSet(), all.toSet())
            assertEquals(500, all.size)
            assertFailsWith<IndexOutOfBoundsException> { batches.first()[91] }
        }
    }

    @Test
    fun `acknowledged by hand, what is committed is the first that is not`() = inMemory { db ->
        fill(db, 10)
        db.consumer("orders", group = "billing", until = Until.End, ack = Ack.Manual).use { consumer ->
            val records = consumer.records().toList()
            records.filter { it.offset !in listOf(3L, 6L) }.forEach(consumer::ack)
            consumer.commit()
            assertEquals(3, consumer.committed().single().offset)
            consumer.ack(records[3])
            consumer.commit()
            assertEquals(6, consumer.committed().single().offset)
            consumer.commit(listOf(PartitionOffset("orders", 0, 1)))
            assertEquals(1, consumer.committed().single().offset)
        }
        assertEquals(6, db.admin.describeGroup("billing").offsets.single().offset)
    }

    @Test
    fun `a batch is acknowledged at once`() = inMemory { db ->
        fill(db, 100)
        db.consumer("orders", group = "billing", until = Until.End, ack = Ack.Manual) { maxBlockRecords = 10 }.use { consumer ->
            consumer.batches().take(5).collect(consumer::ack)
        }
        assertEquals(50, db.admin.describeGroup("billing").offsets.single().offset)
    }

    @Test
    fun `acknowledging by hand needs the option`() = inMemory { db ->
        fill(db, 1)
        db.consumer("orders", group = "billing").use { consumer ->
            consumer.records().take(1).collect { fails(ErrorKind.InvalidArgument, "INVALID_STATE") { consumer.ack(it) } }
        }
    }

    @Test
    fun `seek goes on elsewhere, in the middle of a block too`() = inMemory { db ->
        fill(db, 10)
        db.consumer("orders", until = Until.End).use { consumer ->
            val read = ArrayList<String>()
            var hasSought = false
            consumer.records().collect {
                read += it.text()
                if (it.offset == 3L && !hasSought) {
                    hasSought = true
                    consumer.seek("orders", 0, 8)
                }
            }
            assertEquals(listOf("0", "1", "2", "3", "8", "9"), read)
            consumer.seek("orders", 0, OffsetAt.Earliest)
            assertEquals("0", consumer.records().first().text())
            fails(ErrorKind.NotFound, "UNKNOWN_TOPIC_OR_PARTITION") { consumer.seek("orders", 5, 0) }
        }
    }

    @Test
    fun `start and until choose what is read`() = inMemory { db ->
        fill(db, 10)
        db.consumer("orders", start = Start.Offset(4), until = Until.Offset(6)).use { consumer ->
            assertEquals(listOf("4", "5"), consumer.records().map { it.text() }.toList())
        }
        db.consumer("orders", start = Start.Latest).use { consumer ->
            consumer.open()
            fill(db, 1)
            assertEquals(10, consumer.records().first().offset)
        }
    }

    @Test
    fun `a loop that waits is cancelled, and loses nothing`() = inMemory { db ->
        db.consumer("orders").use { consumer ->
            assertFailsWith<CancellationException> { withTimeout(20.milliseconds) { consumer.records().collect {} } }
            coroutineScope {
                val waiting = launch(Dispatchers.Default) { consumer.records().collect {} }
                waiting.cancelAndJoin()
            }
            fill(db, 3)
            assertEquals(listOf("0", "1", "2"), consumer.records().take(3).map { it.text() }.toList())
        }
    }

    @Test
    fun `a waiting loop gets a record that is sent later`() = inMemory { db ->
        db.consumer("orders").use { consumer ->
            coroutineScope {
                val waiting = async { consumer.records().first().text() }
                fill(db, 1)
                assertEquals("0", waiting.await())
            }
        }
    }

    @Test
    fun `one loop at a time reads a consumer`() = inMemory { db ->
        fill(db, 1)
        db.consumer("orders").use { consumer ->
            consumer.records().take(1).collect {
                fails(ErrorKind.InvalidArgument, "INVALID_STATE") { consumer.records().first() }
            }
        }
    }

    @Test
    fun `closing ends a loop that waits, and reading afterwards is refused`() = inMemory { db ->
        fill(db, 2)
        val consumer = db.consumer("orders", group = "billing")
        val records = coroutineScope {
            val reading = async(Dispatchers.Default) { consumer.records().toList() }
            while (consumer.positions().none { it.offset == 2L }) kotlinx.coroutines.delay(1)
            consumer.close(null)
            reading.await()
        }
        assertEquals(listOf("0", "1"), records.map { it.text() }, "records outlive their consumer")
        fails(ErrorKind.Closed, "CLOSED") { consumer.records().first() }
        fails(ErrorKind.Closed, "CLOSED") { consumer.commit() }
        consumer.close(Duration.ZERO)
        assertEquals(2, db.admin.describeGroup("billing").offsets.single().offset)
    }

    @Test
    fun `an unknown topic, a wrong option and no topic at all are said in words`() = inMemory { db ->
        val nowhere = fails(ErrorKind.NotFound, "UNKNOWN_TOPIC_OR_PARTITION") {
            db.consumer("nowhere").use { it.records().toList() }
        }
        assertTrue("nowhere" in nowhere.message!!, nowhere.message)
        fails(ErrorKind.InvalidArgument, "INVALID_OPTION") { db.consumer("orders") { maxBlockRecords = 0 } }
        fails(ErrorKind.InvalidArgument, "INVALID_ARGUMENT") { db.consumer(emptyList()) }
    }
}
