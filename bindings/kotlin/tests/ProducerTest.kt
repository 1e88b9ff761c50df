package headwater

import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.CountDownLatch
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.yield

class ProducerTest {
    @Test
    fun `many deliveries are awaited in any order`() = inMemory(partitions = 3) { db ->
        db.producer().use { producer ->
            val deliveries = List(3_000) { producer.send("orders", "$it", key = "$it") }
            val offsets = deliveries.shuffled().map { it.await() }
            assertEquals(3_000, offsets.map { it.partition to it.offset }.toSet().size)
            assertTrue(deliveries.all { it.isDone })
        }
    }

    @Test
    fun `an unknown topic fails the delivery`() = inMemory { db ->
        db.producer().use { producer ->
            fails(ErrorKind.NotFound, "UNKNOWN_TOPIC_OR_PARTITION") { producer.send("nowhere", "x").await() }
            fails(ErrorKind.NotFound, "UNKNOWN_TOPIC_OR_PARTITION") { producer.send("orders", "x", partition = 7).await() }
            assertEquals(0, producer.send("orders", "x").await().offset)
            producer.flush()
        }
    }

    @Test
    fun `a record that is refused does not take its neighbours with it`() = inMemory { db ->
        db.producer().use { producer ->
            val deliveries = listOf(0, 9, 0).map { producer.send("orders", "x", partition = it) }
            assertEquals(0, deliveries[0].await().offset)
            fails(ErrorKind.NotFound, "UNKNOWN_TOPIC_OR_PARTITION") { deliveries[1].await() }
            assertEquals(1, deliveries[2].await().offset)
        }
    }

    @Test
    fun `failures that nobody awaits come out of flush once, and of the hook`() = inMemory { db ->
        val producer = db.producer()
        val failures = CopyOnWriteArrayList<DeliveryFailure>()
        producer.onFailure { failures += it }
        producer.enqueue("nowhere", "x")
        fails(ErrorKind.NotFound, "UNKNOWN_TOPIC_OR_PARTITION") { producer.flush() }
        producer.flush()
        val dropped = producer.send("nowhere", "y")
        fails(ErrorKind.NotFound, "UNKNOWN_TOPIC_OR_PARTITION") { producer.flush() }
        assertTrue(dropped.isDone)
        producer.enqueue("nowhere", "z")
        val report = producer.close(null)
        assertEquals(1, report.failedRecords)
        assertEquals("UNKNOWN_TOPIC_OR_PARTITION", report.firstError?.code)
        assertEquals(2, failures.sumOf { it.records })
        assertEquals(setOf("nowhere"), failures.map { it.topic }.toSet())
    }

    @Test
    fun `a record over the limit is refused in words`() = inMemory { db ->
        db.producer().use { producer ->
            fails(ErrorKind.InvalidArgument, "MESSAGE_TOO_LARGE") { producer.send("orders", ByteArray(2_000_000)).await() }
            fails(ErrorKind.InvalidArgument, "INVALID_ARGUMENT") { producer.enqueue("orders", "x", partition = -2) }
            fails(ErrorKind.InvalidArgument, "INVALID_TOPIC_EXCEPTION") { db.admin.createTopic("a/b") }
        }
    }

    /**
     * A producer without room: four partitions linger, so that the buffer fills up before a batch is closed, and the hub,
     * which hears of room, is held until `release` is called.
     */
    private suspend fun full(db: Client, test: suspend (Producer, taken: Long, release: () -> Unit) -> Unit) {
        val isHeld = CountDownLatch(1)
        val release = CountDownLatch(1)
        Hub.soon {
            isHeld.countDown()
            release.await()
        }
        isHeld.await()
        try {
            val producer = db.producer(linger = 1.minutes) { bufferBytes = 262_144 }
            var taken = 0
            val full = fails(ErrorKind.Full, "BUFFER_FULL") {
                while (true) producer.enqueue("orders", ByteArray(1_000), partition = taken++ % 4)
            }
            assertTrue(full.retriable)
            test(producer, taken - 1L, release::countDown)
            assertEquals(0, producer.close(null).unsentRecords)
        } finally {
            release.countDown()
        }
    }

    private suspend fun records(db: Client) = db.admin.describeTopic("orders").partitions.sumOf { it.highWatermark }

    @Test
    fun `without room enqueue refuses, and send waits until there is some`() = inMemory(partitions = 4) { db ->
        full(db) { producer, taken, release ->
            coroutineScope {
                val waiting = List(3) {
                    async(start = CoroutineStart.UNDISPATCHED) { producer.send("orders", "waited", partition = 0) }
                }
                fails(ErrorKind.Full, "BUFFER_FULL") { producer.enqueue("orders", "x") }
                assertTrue(waiting.none { it.isCompleted })
                release()
                val offsets = waiting.map { it.await().await().offset }
                assertEquals(offsets.sorted(), offsets)
            }
            producer.ready()
            producer.enqueue("orders", "x")
            producer.flush()
            assertEquals(taken + 4, records(db))
        }
    }

    @Test
    fun `a send that is cancelled while it waits is not sent`() = inMemory(partitions = 4) { db ->
        full(db) { producer, taken, release ->
            coroutineScope {
                val waiting = async(start = CoroutineStart.UNDISPATCHED) { producer.send("orders", "never") }
                waiting.cancelAndJoin()
                assertTrue(waiting.isCancelled)
            }
            release()
            producer.flush()
            assertEquals(taken, records(db))
        }
    }

    @Test
    fun `as many sends wait as the limit says, and no more`() = inMemory(partitions = 4) { db ->
        full(db) { producer, taken, release ->
            coroutineScope {
                val limit = headwater.ffi.sendWaitersMax()
                val waiting = List(limit) { async(start = CoroutineStart.UNDISPATCHED) { producer.send("orders", "$it") } }
                fails(ErrorKind.Full, "BUFFER_FULL") { producer.send("orders", "one too many") }
                release()
                waiting.forEach { it.await().await() }
                assertEquals(taken + limit, records(db))
            }
        }
    }

    @Test
    fun `cancelling the wait for a delivery leaves the record on its way`() = inMemory { db ->
        db.producer(linger = 1.minutes).use { producer ->
            val delivery = producer.send("orders", "x")
            coroutineScope {
                val waiting = launch { delivery.await() }
                yield()
                waiting.cancelAndJoin()
                assertTrue(waiting.isCancelled)
            }
            assertFalse(delivery.isDone)
            producer.flush()
            assertEquals(0, delivery.await().offset)
        }
    }

    @Test
    fun `closing delivers what was sent, and what comes later is refused`() = inMemory { db ->
        val producer = db.producer(linger = 1.minutes)
        val delivery = producer.send("orders", "x")
        val report = producer.close(null)
        assertEquals(0L to 0L, report.unsentRecords to report.failedRecords)
        assertEquals(0, delivery.await().offset)
        assertEquals(report, producer.close(Duration.ZERO))
        fails(ErrorKind.Closed, "CLOSED") { producer.send("orders", "x") }
        assertTrue(fails(ErrorKind.Closed, "CLOSED") { producer.enqueue("orders", "x") }.fatal)
        fails(ErrorKind.Closed, "CLOSED") { producer.ready() }
        producer.close()
    }

    @Test
    fun `closing the client closes its producers and delivers what they hold`() {
        val folder = newPath()
        kotlinx.coroutines.runBlocking {
            val db = Headwater.connect(folder.path)
            db.admin.createTopic("orders")
            val producer = db.producer()
            repeat(100) { producer.enqueue("orders", "$it") }
            val report = db.close(null)
            assertEquals(0L to null, report.unsentRecords to report.firstError)
            assertTrue(db.isClosed)
            fails(ErrorKind.Closed, "CLOSED") { producer.enqueue("orders", "x") }
            fails(ErrorKind.Closed, "CLOSED") { db.producer() }
            fails(ErrorKind.Closed, "CLOSED") { db.admin.listTopics() }
            Headwater.connect(folder.path).use { again ->
                val read = again.consumer("orders", until = Until.End).use { it.records().toList() }
                assertEquals(100, read.size)
            }
        }
    }

    @Test
    fun `what enqueue took reaches the log without flush`() = inMemory { db ->
        db.producer().use { producer ->
            producer.enqueue("orders", "x")
            while (db.admin.describeTopic("orders").partitions.single().highWatermark == 0L) delay(1)
        }
    }
}
