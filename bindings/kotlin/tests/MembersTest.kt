package headwater

import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNotEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch

/** Pausing, the lag, static members, results with a commit, and health. */
class MembersTest {
    private suspend fun fill(db: Client, count: Int) = db.producer().use { producer ->
        repeat(count) { producer.enqueue("orders", "$it", partition = it % 2) }
    }

    /** So many records, however long they take, and whatever else comes in a moment: the partitions. */
    private suspend fun read(consumer: Consumer, count: Int): List<Int> = coroutineScope {
        val found = mutableListOf<Int>()
        val isThere = CompletableDeferred<Unit>()
        val reading = launch {
            consumer.batches().collect { batch ->
                batch.forEach { found.add(it.partition) }
                if (found.size >= count) isThere.complete(Unit)
            }
        }
        isThere.await()
        delay(50)
        reading.cancelAndJoin()
        found
    }

    private val first = TopicPartition("orders", 0)

    private suspend fun pauses(db: Client) {
        fill(db, 20)
        db.consumer("orders", group = "billing").use { consumer ->
            fails(ErrorKind.InvalidArgument, "INVALID_STATE") { consumer.pause() }
            consumer.open()
            consumer.pause(listOf(first))
            assertEquals(listOf(first), consumer.paused())
            assertEquals(List(10) { 1 }, read(consumer, 10))
            consumer.pause()
            assertEquals(2, consumer.paused().size)
            consumer.resume(setOf(first))
            assertEquals(List(10) { 0 }, read(consumer, 10))
            consumer.resume()
            assertEquals(emptyList(), consumer.paused())
            for (call in listOf(consumer::pause, consumer::resume)) {
                fails(ErrorKind.NotFound, "UNKNOWN_TOPIC_OR_PARTITION") { call(listOf(first, TopicPartition("orders", 7))) }
            }
            consumer.close(null)
            fails(ErrorKind.Closed, "CLOSED") { consumer.pause() }
            fails(ErrorKind.Closed, "CLOSED") { consumer.resume() }
            fails(ErrorKind.Closed, "CLOSED") { consumer.lag() }
        }
    }

    @Test
    fun `a partition that is paused gives nothing until it is resumed`() = inMemory(partitions = 2) { pauses(it) }

    @Test
    fun `over a broker pausing is the same`() = withBroker { address ->
        Headwater.connect(address).use { db ->
            db.admin.createTopic("orders", partitions = 2)
            pauses(db)
        }
    }

    @Test
    fun `the lag is counted from what was processed`() = inMemory(partitions = 2) { db ->
        fill(db, 20)
        db.consumer("orders", group = "billing").use { consumer ->
            assertEquals(emptyList(), consumer.lag())
            assertEquals(4, consumer.records().take(4).toList().size)
            consumer.commit()
            val (one, other) = consumer.lag()
            assertEquals(PartitionLag("orders", 0, 3, 3, 10, 7), one)
            assertEquals(PartitionLag("orders", 1, 0, null, 10, 10), other)
        }
    }

    @Test
    fun `a static member keeps its place, and one whose name is taken is fenced`() = withBroker { address ->
        Headwater.connect(address).use { db ->
            db.admin.createTopic("orders", partitions = 2)
            fun member() = db.consumer("orders", group = "billing") { instanceId = "one" }
            member().use { it.open() }
            val before = db.admin.describeGroup("billing")
            assertEquals("one", before.members.single().instanceId)
            member().use { second ->
                second.open()
                val after = db.admin.describeGroup("billing")
                assertEquals(before.generation, after.generation)
                assertNotEquals(before.members.single().memberId, after.members.single().memberId)
                assertEquals(listOf(first, TopicPartition("orders", 1)), after.members.single().partitions)
                member().use { third ->
                    third.open()
                    fails(ErrorKind.Fenced, "FENCED_INSTANCE_ID") { second.records().first() }
                }
                second.close(null)
            }
            fails(ErrorKind.InvalidArgument, "INVALID_OPTION") { db.consumer("orders") { instanceId = "one" } }
        }
    }

    @Test
    fun `results and the position of the record in hand are one`() = inMemory(partitions = 1) { db ->
        db.admin.createTopic("bills", partitions = 2)
        db.producer().use { producer -> repeat(10) { producer.enqueue("orders", "$it") } }
        suspend fun committed() = db.admin.describeGroup("billing").offsets.single().offset
        db.consumer("orders", group = "billing").use { consumer ->
            val bill = ProducerRecord("bills", "x", key = "k", headers = listOf(Header("a", "1")), timestamp = 7)
            fails(ErrorKind.InvalidArgument, "INVALID_STATE") { consumer.commitWith(listOf(bill)) }
            consumer.records().take(5).collect { record ->
                val sent = consumer.commitWith(listOf(bill)).single()
                assertEquals(listOf("bills", record.offset, 7L, Durability.Os), listOf(sent.topic, sent.offset, sent.timestamp, sent.durability))
                assertEquals(record.offset + 1, committed())
            }
            assertEquals(5, consumer.positions().single().offset)
            val large = ProducerRecord("bills", ByteArray(40 shl 20))
            consumer.records().take(1).collect {
                fails(ErrorKind.InvalidArgument, "MESSAGE_TOO_LARGE") { consumer.commitWith(listOf(large)) }
            }
            assertEquals(5, consumer.records().first().offset, "what was committed is not given again")
            fails(ErrorKind.NotFound, "UNKNOWN_TOPIC_OR_PARTITION") { consumer.commitWith(listOf(ProducerRecord("nothing", "x"))) }
            consumer.close(null)
            fails(ErrorKind.Closed, "CLOSED") { consumer.commitWith(listOf(bill)) }
        }
        assertEquals(5, committed(), "nothing is committed unasked")
        val bills = db.consumer("bills", until = Until.End).use { it.records().toList() }
        assertEquals(5, bills.size)
        assertEquals("k" to listOf(Header("a", "1")), bills[0].key!!.decodeToString() to bills[0].headers)
        db.consumer("orders", group = "billing", until = Until.End).use { consumer ->
            consumer.batches().collect { batch ->
                consumer.commitWith(batch.map { ProducerRecord("bills", it.value) })
                assertEquals(10, committed(), "a batch in hand is committed whole")
            }
        }
    }

    @Test
    fun `a client is well until it is closed`() = inMemory(partitions = 2) { db ->
        val health = db.health()
        assertTrue(health.isHealthy && health.isConnected && !health.isClosed)
        assertNull(health.reason)
        assertNull(health.lastError)
        assertEquals("mem:", health.address)
        assertEquals(listOf(0L, 0L, null), listOf(health.bufferedBytes, health.bufferedRecords, health.oldestUnsentMs))
        db.consumer("orders", group = "billing").use { consumer ->
            consumer.open()
            val member = db.health().members.single()
            assertEquals(listOf("billing", MemberState.Stable, 2L, null), listOf(member.group, member.state, member.partitions, member.reason))
            assertTrue(member.generation > 0 && member.memberId.isNotEmpty())
            assertNotNull(member.lastHeartbeatMs)
        }
        db.close(null)
        val after = db.health()
        assertFalse(after.isHealthy || after.isConnected)
        assertTrue(after.isClosed)
        assertContains(after.reason!!, "is closed")
        assertContains("$after", "is closed")
    }
}
