package headwater

import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking

class RoundTripTest {
    /** Sends all sorts of records and reads them back as they were. */
    private suspend fun roundTrip(db: Client) {
        db.admin.createTopic("sorts", partitions = 3, durability = Durability.Os)
        val headers = listOf(Header("trace", "ab"), Header("trace", "cd"), Header("none", null), Header("\u00fcn\u00ef", byteArrayOf()))
        val sent = ArrayList<RecordMetadata>()
        db.producer().use { producer ->
            sent += producer.send("sorts", "text", key = "k1", partition = 0, timestamp = 1_700_000_000_000).await()
            sent += producer.send("sorts", byteArrayOf(0, -1, 127), byteArrayOf(), headers, 1).await()
            sent += producer.send("sorts", null as ByteArray?, "tombstone".encodeToByteArray(), partition = 2).await()
            sent += producer.send("sorts", ByteArray(0), partition = 2).await()
            sent += producer.send("sorts", ByteArray(200_000) { it.toByte() }, partition = 0).await()
        }
        assertEquals(listOf(0L, 0L, 0L, 1L, 1L), sent.map { it.offset })
        assertEquals(listOf(0, 1, 2, 2, 0), sent.map { it.partition })
        assertTrue(sent.all { it.topic == "sorts" && it.durability == Durability.Os })

        val read = db.consumer("sorts", until = Until.End).use { it.records().toList() }
        val (text, large) = read.filter { it.partition == 0 }
        assertEquals("text" to "k1", text.value?.decodeToString() to text.key?.decodeToString())
        assertEquals(1_700_000_000_000, text.timestamp)
        assertEquals(emptyList(), text.headers)
        assertContentEquals(ByteArray(200_000) { it.toByte() }, large.value)
        val bytes = read.first { it.partition == 1 }
        assertContentEquals(byteArrayOf(0, -1, 127), bytes.value)
        assertContentEquals(byteArrayOf(), bytes.key)
        assertEquals(headers, bytes.headers)
        assertEquals(sent[1].timestamp, bytes.timestamp)
        val (tombstone, empty) = read.filter { it.partition == 2 }
        assertEquals(null to "tombstone", tombstone.value to tombstone.key?.decodeToString())
        assertContentEquals(byteArrayOf(), empty.value)
        assertEquals(null, empty.key)
        assertEquals(listOf("sorts"), read.map { it.topic }.distinct())
    }

    @Test
    fun `records come back as they were sent, in memory`() = inMemory { roundTrip(it) }

    @Test
    fun `records come back as they were sent, through a broker`() = withBroker { address ->
        Headwater.connect(address).use { db ->
            assertEquals(address, db.address)
            roundTrip(db)
        }
    }

    @Test
    fun `a folder written here is whole, and is read again`() {
        val folder = newPath()
        runBlocking {
            Headwater.connect(folder.toPath()).use { db ->
                roundTrip(db)
                db.admin.createTopic("many", partitions = 4)
                db.producer(durability = Durability.Disk).use { producer ->
                    for (number in 0 until 10_000) producer.enqueue("many", "value $number", key = "key ${number % 100}")
                }
            }
        }
        headwater("dump", folder.path, "--verify")
        runBlocking {
            Headwater.connect(folder.path).use { db ->
                val values = db.consumer("many", until = Until.End).use { it.records().map { record -> record.value!!.decodeToString() }.toList() }
                assertEquals((0 until 10_000).map { "value $it" }.toSet(), values.toSet())
                assertEquals(10_000, values.size)
            }
        }
    }

    @Test
    fun `records of a key keep their order`() = inMemory(partitions = 4) { db ->
        db.producer().use { producer -> repeat(5_000) { producer.enqueue("orders", "$it", key = "key ${it % 7}") } }
        val read = db.consumer("orders", until = Until.End).use { it.records().toList() }
        for ((key, records) in read.groupBy { it.key!!.decodeToString() }) {
            val numbers = records.map { it.value!!.decodeToString().toInt() }
            assertEquals(numbers.sorted(), numbers, key)
            assertEquals(1, records.map { it.partition }.distinct().size, key)
        }
        assertEquals(5_000, read.size)
    }

    @Test
    fun `a process that ends without closing delivers what it enqueued`() {
        val folder = newPath()
        java("headwater.ExitKt", folder.path)
        headwater("dump", folder.path, "--verify")
        runBlocking {
            Headwater.connect(folder.path).use { db ->
                val read = db.consumer("left", until = Until.End).use { it.records().toList() }
                assertEquals((0 until 1_000).map { "$it" }, read.map { it.value!!.decodeToString() })
            }
        }
    }

    @Test
    fun `administration tells what is there`() = inMemory(partitions = 2) { db ->
        db.producer().use { producer ->
            repeat(3) { producer.send("orders", "$it", partition = 1, timestamp = 1_000L + it) }
        }
        val topic = db.admin.describeTopic("orders")
        assertEquals(listOf(0L, 3L), topic.partitions.map { it.highWatermark })
        assertEquals("2", topic.config["partitions"])
        assertEquals(listOf("orders"), db.admin.listTopics().map { it.name })
        val asked = listOf(OffsetAt.Earliest, OffsetAt.Latest, OffsetAt.Time(1_001)).map { OffsetQuery("orders", 1, it) }
        assertEquals(listOf(0L, 3L, 1L), db.admin.listOffsets(asked))
        assertEquals(mapOf(0 to 0L, 1 to 1L), db.admin.deleteRecords("orders", mapOf(0 to -1L, 1 to 1L)))
        fails(ErrorKind.OffsetOutOfRange, "OFFSET_OUT_OF_RANGE") { db.admin.deleteRecords("orders", mapOf(1 to 4L)) }
        db.admin.commitOffsets("billing", listOf(PartitionOffset("orders", 1, 2)))
        assertEquals(listOf(PartitionOffset("orders", 1, 2)), db.admin.describeGroup("billing").offsets)
        assertEquals(listOf("billing"), db.admin.listGroups().map { it.group })
        val first = db.consumer("orders", group = "billing", until = Until.End).use { it.records().first() }
        assertEquals(2, first.offset)
        db.admin.deleteGroup("billing")
        fails(ErrorKind.NotFound, "GROUP_ID_NOT_FOUND") { db.admin.describeGroup("billing") }
        db.admin.alterTopic("orders") { maxMessageBytes = 2_000_000 }
        assertEquals("2000000", db.admin.describeTopic("orders").config["max_message_bytes"])
        assertEquals(3L, db.metrics()["records_sent"])
        db.admin.deleteTopic("orders")
        assertEquals(emptyList(), db.admin.listTopics())
    }
}
