// How many records a second go in and come out, each way: the log lives in this process, in a
// folder on the disk.
//
// Each way in has a topic of its own. The clock runs from the first call to the last
// acknowledgement, and from asking for a consumer until it has given its last record, whose value
// is looked at; opening and closing the log do not count.

import headwater.Client
import headwater.Durability
import headwater.Headwater
import headwater.HeadwaterException
import headwater.Until
import java.io.File
import kotlin.time.Duration
import kotlin.time.DurationUnit
import kotlin.time.measureTime
import kotlinx.coroutines.runBlocking

private const val VALUE_BYTES = 100
private val value = ByteArray(VALUE_BYTES) { 'x'.code.toByte() }

/** RatesKt FOLDER RECORDS RUNS */
fun main(arguments: Array<String>) = runBlocking<Unit> {
    val folder = File(arguments[0])
    val records = arguments[1].toInt()
    val runs = arguments[2].toInt()
    println("kotlin: $records records of $VALUE_BYTES bytes, durability os, median of $runs")
    val taken = LinkedHashMap<String, ArrayList<Duration>>()
    repeat(runs) {
        for ((way, time) in run(folder, records)) taken.getOrPut(way) { ArrayList() } += time
    }
    for ((way, times) in taken) report(way, records, times.sorted())
}

/** Every way once, in a folder made anew. */
private suspend fun run(folder: File, records: Int): Map<String, Duration> {
    folder.deleteRecursively()
    try {
        return Headwater.connect(folder.path).use { db ->
            for (topic in listOf("enqueue", "send")) {
                db.admin.createTopic(topic, durability = Durability.Os)
            }
            linkedMapOf(
                "enqueue" to measureTime { enqueue(db, records) },
                "send" to measureTime { send(db, records) },
                "records" to measureTime { check(records == records(db)) },
                "batches" to measureTime { check(records == batches(db)) },
            )
        }
    } finally {
        folder.deleteRecursively()
    }
}

private suspend fun enqueue(db: Client, records: Int) {
    val producer = db.producer()
    repeat(records) {
        try {
            producer.enqueue("enqueue", value)
        } catch (full: HeadwaterException) {
            if (full.code != "BUFFER_FULL") throw full
            producer.ready()
            producer.enqueue("enqueue", value)
        }
    }
    producer.flush()
}

private suspend fun send(db: Client, records: Int) {
    val producer = db.producer()
    repeat(records) { producer.send("send", value) }
    producer.flush()
}

private suspend fun records(db: Client): Int {
    var bytes = 0L
    db.consumer("enqueue", until = Until.End).use { consumer ->
        consumer.records().collect { bytes += it.value!!.size }
    }
    return (bytes / VALUE_BYTES).toInt()
}

private suspend fun batches(db: Client): Int {
    var bytes = 0L
    db.consumer("enqueue", until = Until.End).use { consumer ->
        consumer.batches().collect { batch -> for (record in batch) bytes += record.value!!.size }
    }
    return (bytes / VALUE_BYTES).toInt()
}

private fun report(way: String, records: Int, times: List<Duration>) {
    val rates = times.map { records / it.toDouble(DurationUnit.SECONDS) }
    val median = rates[rates.size / 2]
    val line = "%-8s %,12.0f records/s %8.1f MB/s   (%,.0f to %,.0f)"
    println(line.format(way, median, median * VALUE_BYTES / 1e6, rates.last(), rates.first()))
}
