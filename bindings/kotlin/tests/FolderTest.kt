package headwater

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking

/** The golden data folder: what one version wrote, every other version and every language reads. */
class FolderTest {
    @Test
    fun `the golden folder holds what its manifest says`() {
        val expected = json(File(golden, "folder.json"))
        // Opening a folder writes to it.
        val folder = newPath().also { File(golden, "folder").copyRecursively(it) }
        runBlocking {
            Headwater.connect(folder.toPath()) { create = false }.use { db ->
                assertEquals(expected["topics"], db.admin.listTopics().map { topic(db, it) })
                assertEquals(expected["groups"], db.admin.listGroups().map(::group))
            }
        }
    }

    private suspend fun topic(db: Client, topic: TopicDescription) = mapOf(
        "topic" to topic.name,
        "durability" to topic.config["durability"],
        "partitions" to topic.partitions.map {
            mapOf(
                "partition" to it.partition.toLong(),
                "log_start_offset" to it.logStartOffset,
                "end_offset" to it.highWatermark,
                "records" to records(db, topic.name, it.partition),
            )
        },
    )

    private suspend fun records(db: Client, topic: String, partition: Int) =
        db.consumer(topic, until = Until.End) { partitions = listOf(partition) }.use { consumer ->
            consumer.records().map { record ->
                assertEquals(topic to partition, record.topic to record.partition)
                mapOf(
                    "offset" to record.offset,
                    // The time of an append is another one for every folder made.
                    "timestamp_ms" to record.timestamp.takeIf { topic != "appended" },
                    "key" to hexOf(record.key),
                    "value" to hexOf(record.value),
                    "headers" to record.headers.map { listOf(it.key, hexOf(it.value)) },
                )
            }.toList()
        }

    private fun group(group: GroupDescription) = mapOf(
        "group" to group.group,
        "offsets" to group.offsets.map {
            mapOf("topic" to it.topic, "partition" to it.partition.toLong(), "offset" to it.offset)
        },
    )

    @OptIn(ExperimentalStdlibApi::class)
    private fun hexOf(bytes: ByteArray?) = bytes?.toHexString()
}
