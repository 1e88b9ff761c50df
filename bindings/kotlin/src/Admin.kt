// Topics, groups and offsets: one request each.
package headwater

import headwater.ffi.Answer
import headwater.ffi.NativeAdmin
import headwater.ffi.NativeQuery

/** Administration of a log. */
class Admin internal constructor(private val native: NativeAdmin) {
    /** Creates a topic; fails with `TOPIC_ALREADY_EXISTS` unless [existOk]. */
    suspend fun createTopic(
        name: String,
        partitions: Int? = null,
        durability: Durability? = null,
        existOk: Boolean? = null,
        configure: TopicOptions.() -> Unit = {},
    ) {
        val options = TopicOptions().apply {
            this.partitions = partitions
            this.durability = durability
            this.existOk = existOk
            configure()
        }
        Hub.ask { native.createTopic(it, name, options.toNative()) }
    }

    /** Deletes a topic and its records. */
    suspend fun deleteTopic(name: String) {
        Hub.ask { native.deleteTopic(it, name) }
    }

    /**
     * Deletes the records before an offset of each partition, in all of them or in none; -1 stands for the high
     * watermark. Gives the first offset that each partition holds then; an offset below that deletes nothing.
     */
    suspend fun deleteRecords(topic: String, before: Map<Int, Long>): Map<Int, Long> =
        (Hub.ask { native.deleteRecords(it, topic, before) } as Answer.Starts).starts

    /** Changes the options that are set; the others stay as they are. */
    suspend fun alterTopic(name: String, configure: TopicOptions.() -> Unit) {
        Hub.ask { native.alterTopic(it, name, TopicOptions().apply(configure).toNative()) }
    }

    /** Every topic, by name. */
    suspend fun listTopics(): List<TopicDescription> = topics { native.listTopics(it) }

    /** One topic: its options and how its partitions stand. */
    suspend fun describeTopic(name: String): TopicDescription = topics { native.describeTopic(it, name) }.first()

    /** Every group, by id. */
    suspend fun listGroups(): List<GroupDescription> = groups { native.listGroups(it) }

    /** One group: its state, its members and what each holds, and its committed offsets. */
    suspend fun describeGroup(group: String): GroupDetails =
        (Hub.ask { native.describeGroup(it, group) } as Answer.Group).group.toDetails()

    /** Forgets a group without members and what it has committed. */
    suspend fun deleteGroup(group: String) {
        Hub.ask { native.deleteGroup(it, group) }
    }

    /** Offsets by their meaning, in the order asked. */
    suspend fun listOffsets(queries: List<OffsetQuery>): List<Long> {
        val asked = queries.map { NativeQuery(it.topic, it.partition, it.at.toNative()) }
        return (Hub.ask { native.listOffsets(it, asked) } as Answer.Offsets).offsets
    }

    /** Commits offsets of a group by hand, allowed while it has no member. */
    suspend fun commitOffsets(group: String, offsets: List<PartitionOffset>) {
        Hub.ask { native.commitOffsets(it, group, offsets.map { offset -> offset.toNative() }) }
    }

    private suspend fun topics(start: (Long) -> Unit) = (Hub.ask(start) as Answer.Topics).topics.map { it.toTopic() }

    private suspend fun groups(start: (Long) -> Unit) = (Hub.ask(start) as Answer.Groups).groups.map { it.toGroup() }
}
