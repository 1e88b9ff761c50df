// Quickstart: send ten records and read them back, on a folder or through a broker.
//
//     examples/kotlin/run                    the log lives in this process, in a temporary folder
//     examples/kotlin/run 127.0.0.1:9092     the same calls, to a broker

import headwater.Headwater
import headwater.Until
import java.nio.file.Files
import kotlinx.coroutines.runBlocking

const val TOPIC = "quickstart-kotlin"

suspend fun quickstart(address: String) {
    Headwater.connect(address).use { db ->
        db.admin.createTopic(TOPIC, partitions = 2, existOk = true)

        db.producer().use { producer ->
            // What `send` gives can be awaited; what nobody awaits comes out of `close`.
            val deliveries = List(10) { number -> producer.send(TOPIC, "hello $number", key = "key-${number % 3}") }
            val at = deliveries.last().await()
            println("the last record is in partition ${at.partition} and safe at `${at.durability.name.lowercase()}`")
        }

        var count = 0
        db.consumer(TOPIC, group = "quickstart", until = Until.End).use { consumer ->
            consumer.records().collect { record ->
                println("${record.partition} ${record.offset} ${record.key?.decodeToString()} ${record.value?.decodeToString()}")
                count++
            }
        }
        println("$count records read")
    }
}

fun main(args: Array<String>) = runBlocking {
    if (args.isNotEmpty()) return@runBlocking quickstart(args[0])
    val folder = Files.createTempDirectory("headwater-quickstart-")
    try {
        quickstart(folder.toString())
    } finally {
        folder.toFile().deleteRecursively()
    }
    Unit
}
