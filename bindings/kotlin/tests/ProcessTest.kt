package headwater

import java.util.Collections
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.atomic.AtomicInteger
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertSame
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.yield

class ProcessTest {
    private suspend fun fill(db: Client, count: Int, keys: Int) = db.producer(linger = 1.seconds).use { producer ->
        repeat(count) { producer.enqueue("orders", "$it", key = "k${it % keys}") }
    }

    private fun Record.number() = value!!.decodeToString().toInt()

    private suspend fun committed(db: Client) = db.admin.describeGroup("g").offsets.sumOf { it.offset }

    @Test
    fun `records of a key are handled in order, others beside them, and all are committed`() = inMemory(partitions = 2) { db ->
        fill(db, 500, 10)
        val seen = ConcurrentHashMap<String, MutableList<Int>>()
        val failed = ConcurrentHashMap.newKeySet<Int>()
        val running = AtomicInteger()
        val most = AtomicInteger()
        db.consumer("orders", group = "g", until = Until.End).use { consumer ->
            withContext(Dispatchers.Default) {
                consumer.process({ concurrency = 4; backoff = 1.milliseconds }) { record ->
                    most.accumulateAndGet(running.incrementAndGet(), ::maxOf)
                    delay(1)
                    running.decrementAndGet()
                    if (record.number() % 7 == 0 && failed.add(record.number())) error("not yet")
                    val key = record.key!!.decodeToString()
                    seen.computeIfAbsent(key) { Collections.synchronizedList(mutableListOf()) }.add(record.number())
                }
            }
        }
        assertEquals(4, most.get())
        assertEquals(72, failed.size)
        assertEquals(500, seen.values.sumOf { it.size })
        for (numbers in seen.values) assertEquals(numbers.sorted(), numbers)
        assertEquals(500, committed(db))
    }

    @Test
    fun `without order records of one key run at once`() = inMemory { db ->
        fill(db, 3, 1)
        val all = CompletableDeferred<Unit>()
        val running = AtomicInteger()
        db.consumer("orders", until = Until.End).use { consumer ->
            consumer.process({ order = Order.None }) {
                if (running.incrementAndGet() == 3) all.complete(Unit)
                all.await()
            }
        }
    }

    @Test
    fun `what fails at every attempt becomes a dead letter with its headers`() = inMemory { db ->
        db.admin.createTopic("dead", 1)
        db.producer().use { producer ->
            producer.send("orders", "bad", key = "k")
            producer.send("orders", "good", key = "k")
        }
        db.consumer("orders", group = "g", until = Until.End).use { consumer ->
            consumer.process({ attempts = 2; backoff = 1.milliseconds; deadLetter = "dead" }) { record ->
                check(record.value!!.decodeToString() != "bad") { "it is bad" }
            }
        }
        assertEquals(2, committed(db))
        val letter = db.consumer("dead", until = Until.End).use { it.records().toList() }.single()
        assertEquals("k" to "bad", letter.key!!.decodeToString() to letter.value!!.decodeToString())
        val expected = listOf(
            "headwater.dlq.topic" to "orders",
            "headwater.dlq.partition" to "0",
            "headwater.dlq.offset" to "0",
            "headwater.dlq.attempts" to "2",
            "headwater.dlq.error" to "java.lang.IllegalStateException: it is bad",
        )
        assertEquals(expected, letter.headers.map { it.key to it.value!!.decodeToString() })
    }

    @Test
    fun `without a dead letter topic the handler's exception comes out and nothing is skipped`() = inMemory { db ->
        fill(db, 10, 1)
        val five = IllegalStateException("five")
        val seen = mutableListOf<Int>()
        db.consumer("orders", group = "g", until = Until.End).use { consumer ->
            val caught = assertFailsWith<IllegalStateException> {
                consumer.process({ attempts = 3; backoff = 1.milliseconds }) { record ->
                    seen.add(record.number())
                    if (record.number() == 5) throw five
                }
            }
            assertSame(five, caught)
            assertEquals(listOf(0, 1, 2, 3, 4, 5, 5, 5), seen)
            // Whoever reads it next begins with what failed.
            assertEquals(5, consumer.records().first().number())
        }
        assertEquals(5, committed(db))
    }

    @Test
    fun `cancelled it cancels the handlers, and their records are read again`() = inMemory { db ->
        fill(db, 3, 3)
        db.consumer("orders", group = "g", until = Until.End).use { consumer ->
            val entered = CompletableDeferred<Unit>()
            coroutineScope {
                val processing = launch {
                    consumer.process {
                        entered.complete(Unit)
                        awaitCancellation()
                    }
                }
                entered.await()
                processing.cancelAndJoin()
            }
            assertEquals(3, consumer.records().toList().size)
        }
    }

    @Test
    fun `a timeout within a handler is a failure like any other`() = inMemory { db ->
        fill(db, 1, 1)
        val attempts = AtomicInteger()
        db.consumer("orders", group = "g", until = Until.End).use { consumer ->
            consumer.process({ backoff = 1.milliseconds }) {
                if (attempts.incrementAndGet() < 3) withTimeout(1) { awaitCancellation() }
            }
        }
        assertEquals(3, attempts.get())
        assertEquals(1, committed(db))
    }

    @Test
    fun `closing the consumer ends it once the handlers have ended`() = inMemory { db ->
        fill(db, 1, 1)
        val consumer = db.consumer("orders")
        var isHandled = false
        consumer.process {
            consumer.close(null)
            yield()
            isHandled = true
        }
        assertTrue(isHandled)
        fails(ErrorKind.Closed, "CLOSED") { consumer.process {} }
    }

    @Test
    fun `nobody else reads meanwhile`() = inMemory { db ->
        fill(db, 1, 1)
        db.consumer("orders", until = Until.End).use { consumer ->
            consumer.process {
                fails(ErrorKind.InvalidArgument, "INVALID_STATE") { consumer.records().first() }
                fails(ErrorKind.InvalidArgument, "INVALID_STATE") { consumer.process {} }
            }
        }
    }

    @Test
    fun `the record in hand of a loop that was left is processed, and a handler may seek`() = inMemory { db ->
        fill(db, 4, 1)
        db.consumer("orders", group = "g", until = Until.End).use { consumer ->
            assertEquals(1, consumer.records().first { it.number() == 1 }.number())
            val seen = mutableListOf<Int>()
            consumer.process { record ->
                seen.add(record.number())
                if (seen.size == 2) consumer.seek("orders", 0, 1)
            }
            assertEquals(listOf(1, 2, 1, 2, 3), seen)
        }
        assertEquals(4, committed(db))
    }

    @Test
    fun `wrong options are refused`() = inMemory { db ->
        db.consumer("orders").use { consumer ->
            fails(ErrorKind.InvalidArgument, "INVALID_OPTION") { consumer.process({ concurrency = 0 }) {} }
            fails(ErrorKind.InvalidArgument, "INVALID_OPTION") { consumer.process({ deadLetter = "orders" }) {} }
        }
    }

    @Test
    fun `a batch is many records a call that end together`() = inMemory(partitions = 2) { db ->
        db.producer(linger = 1.seconds).use { producer -> repeat(100) { producer.enqueue("orders", "$it") } }
        val sizes = Collections.synchronizedList(mutableListOf<Int>())
        val numbers = Collections.synchronizedList(mutableListOf<Int>())
        db.consumer("orders", group = "g", until = Until.End).use { consumer ->
            consumer.processBatches({ concurrency = 40 }) { batch ->
                sizes.add(batch.size)
                batch.forEach { numbers.add(it.number()) }
            }
        }
        assertTrue(sizes.max() > 1 && sizes.all { it <= 40 }, "$sizes")
        assertEquals((0 until 100).toList(), numbers.sorted())
        assertEquals(100, committed(db))
    }

    @Test
    fun `a batch that fails is tried again, and its exception comes out`() = inMemory { db ->
        fill(db, 10, 10)
        val calls = AtomicInteger()
        db.consumer("orders", group = "g", until = Until.End).use { consumer ->
            val failure = assertFailsWith<IllegalStateException> {
                consumer.processBatches({ attempts = 2; backoff = 1.milliseconds }) {
                    calls.incrementAndGet()
                    error("bad")
                }
            }
            assertEquals("bad", failure.message)
        }
        assertTrue(calls.get() >= 2)
        assertEquals(0, committed(db))
    }
}
