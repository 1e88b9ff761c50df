// The scenarios of `examples/scenarios`: those of the files that `test` gives as JSON. Its README says what a step means.
// What is refused is not among them: options are typed here, so that much of it cannot be written.
package headwater

import java.io.File
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assumptions.assumeTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory

/** What is run against, and what it gives. One line each, so that a door is added or left out by one. */
private val DOORS = mapOf(
    "mem" to emptySet<String>(),
    "folder" to setOf("durable"),
    "unix" to setOf("durable"),
    "tcp" to setOf("durable"),
)
private val LANGUAGES = setOf("rust", "python", "aio", "node", "kotlin", "swift")

class ScenarioTest {
    private val all = json(File(checkNotNull(System.getenv("HEADWATER_SCENARIOS")) { "HEADWATER_SCENARIOS names a file" }))

    @TestFactory
    fun scenarios(): List<DynamicTest> = all.rows("scenarios").flatMap { scenario ->
        DOORS.map { (door, gives) ->
            DynamicTest.dynamicTest("${scenario["name"]}, $door") {
                val languages = scenario["languages"] as List<*>? ?: listOf("kotlin")
                assumeTrue("kotlin" in languages) { scenario["because"].toString() }
                val missing = (scenario["needs"] as List<*>? ?: emptyList<Any>()) - gives
                assumeTrue(missing.isEmpty()) { "$door is not $missing" }
                atDoor(door, scenario)
            }
        }
    }

    @TestFactory
    fun wrong(): List<DynamicTest> = all.rows("wrong").map { scenario ->
        DynamicTest.dynamicTest("it is found that ${scenario["name"]}") {
            val found = runCatching { atDoor("mem", scenario) }.exceptionOrNull()
            if (found !is Wrong && found !is HeadwaterException) throw AssertionError("it passed, or broke the runner", found)
        }
    }

    private fun atDoor(door: String, scenario: JsonObject) = when (door) {
        "mem" -> run(scenario, "mem:")
        "folder" -> run(scenario, newPath().path)
        "unix" -> withBroker(listOf("--data", newPath().path), "unix:${newPath().path}") { runSteps(scenario, it) }
        else -> withBroker(listOf("--data", newPath().path)) { runSteps(scenario, it) }
    }

    private fun run(scenario: JsonObject, address: String) = runBlocking { runSteps(scenario, address) }

    private suspend fun runSteps(scenario: JsonObject, address: String) {
        check(Fields(scenario))
        val steps = Steps(address)
        // Ends what would wait for ever.
        withTimeout(60.seconds) { steps.all(scenario["steps"] as List<*>) }
    }

    private fun check(scenario: Fields) {
        scenario.text("name")
        scenario.list("steps")
        val needs = scenario.take("needs") as List<*>? ?: emptyList<Any>()
        val languages = scenario.take("languages") as List<*>?
        val unknown = needs - setOf("durable", "broker") + ((languages ?: emptyList<Any>()) - LANGUAGES)
        if (unknown.isNotEmpty()) throw Wrong("unknown: $unknown")
        if ((languages != null) != (scenario.take("because") != null)) throw Wrong("languages and because go together")
        scenario.end()
    }
}

private class Refused(message: String) : Exception(message)

/** A consumer and its loop: a record is passed when the next is asked for. */
private class Reading(val consumer: Consumer, private val scope: CoroutineScope) {
    val given = HashMap<PartitionOffset, Record>()
    private val wanted = Channel<Unit>()
    private val found = Channel<Result<Record?>>()
    private var loop: Job? = null

    /** The next record, null at the end. After an end or a failure another loop begins. */
    suspend fun next(): Record? {
        val loop = loop?.takeIf { it.isActive } ?: scope.launch { read() }.also { loop = it }
        wanted.send(Unit)
        val result = found.receive()
        if (result.isFailure || result.getOrNull() == null) loop.join()
        return result.getOrThrow()?.also { given[PartitionOffset(it.topic, it.partition, it.offset)] = it }
    }

    private suspend fun read() {
        wanted.receive()
        try {
            consumer.records().collect {
                found.send(Result.success(it))
                wanted.receive()
            }
        } catch (error: Throwable) {
            found.send(Result.failure(error))
            return
        }
        found.send(Result.success(null))
    }
}

/** One scenario on its way: its handles by name, its variables. */
private class Steps(private val address: String) {
    private lateinit var db: Client
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val variables = HashMap<String, Any?>()
    private val producers = HashMap<String, Producer>()
    private val consumers = HashMap<String, Reading>()

    suspend fun all(steps: List<*>) {
        db = Headwater.connect(address)
        try {
            steps.forEachIndexed { index, step ->
                try {
                    step(Fields(step))
                } catch (wrong: Wrong) {
                    throw Wrong("step ${index + 1}, $step: ${wrong.message}")
                }
            }
        } finally {
            scope.cancel()
            db.close(null)
        }
    }

    private suspend fun step(step: Fields) {
        val isCompared = "gives" in step.left
        val wanted = resolved(step.take("gives"))
        val fails = step.take("fails") as Map<*, *>?
        val keep = step.take("keep") as Map<*, *>? ?: emptyMap<Any, Any>()
        val isEventual = step.take("eventually") == true
        val (name, fields) = step.left.entries.singleOrNull() ?: throw Wrong("one step, not ${step.left.keys}")
        var found = called(name, resolved(fields), fails)
        while (isEventual && differs(wanted, found) != null) {
            delay(10)
            found = called(name, resolved(fields), fails)
        }
        keep.forEach { (variable, field) -> variables[variable as String] = (found as Map<*, *>)[field] }
        if (isCompared) differs(wanted, found)?.let { throw Wrong("$it; all of it: $found") }
    }

    private suspend fun called(name: String, fields: Any?, fails: Map<*, *>?): Any? {
        val told = try {
            val found = call(name, Fields(fields)).let { if (it == Unit) null else it }
            if (fails == null) return found
            throw Wrong("it gave $found and was to fail")
        } catch (error: HeadwaterException) {
            if (fails == null) throw error
            plain(error)
        } catch (error: Refused) {
            if (fails == null) throw Wrong(error.toString())
            mapOf("handler" to error.message)
        }
        val wanted = fails.entries.associate { (key, value) ->
            if (key == "says") "message" to mapOf("says" to value) else key to value
        }
        differs(wanted, told)?.let { throw Wrong("$it; the error is $told") }
        return null
    }

    /** Variables and repetitions put in. */
    private fun resolved(value: Any?): Any? = when {
        value is String && value.startsWith("$") -> value.drop(1).let {
            if (it in variables) variables[it] else throw Wrong("nothing was kept as $it")
        }
        value is List<*> -> value.map { resolved(it) }
        value is Map<*, *> && value.keys == setOf("repeat", "times") ->
            (value["repeat"] as String).repeat((value["times"] as Long).toInt())
        value is Map<*, *> -> value.mapValues { resolved(it.value) }
        else -> value
    }

    private fun producer(name: String): Producer {
        if (name == "producer") return producers.getOrPut(name) { db.producer() }
        return producers[name] ?: throw Wrong("there is no producer `$name`")
    }

    private fun reading(fields: Fields): Reading {
        val name = fields.take("consumer") as String? ?: "consumer"
        return consumers[name] ?: throw Wrong("there is no consumer `$name`")
    }

    private suspend fun call(name: String, fields: Fields): Any? = when (name) {
        "reconnect" -> {
            fields.end()
            db.close(null)
            producers.clear()
            consumers.clear()
            db = Headwater.connect(address)
        }
        "close" -> close(fields)
        "metrics" -> db.metrics().also { fields.end() }
        "health" -> plain(db.health()).also { fields.end() }
        "create_topic" -> fields.text("topic").let { topic -> db.admin.createTopic(topic) { set(fields) } }
        "describe_topic" -> plain(db.admin.describeTopic(fields.text("topic").also { fields.end() }))
        "delete_records" -> {
            val (topic, before) = fields.text("topic") to fields.list("before").map { it as List<*> }
            fields.end()
            val starts = db.admin.deleteRecords(topic, before.associate { (it[0] as Long).toInt() to it[1] as Long })
            starts.toSortedMap().map { listOf(it.key.toLong(), it.value) }
        }
        "list_groups" -> db.admin.listGroups().map { it.group }.also { fields.end() }
        "describe_group" -> plain(db.admin.describeGroup(fields.text("group").also { fields.end() }))
        "delete_group" -> db.admin.deleteGroup(fields.text("group").also { fields.end() })
        "commit_offsets" -> {
            val (group, offsets) = fields.text("group") to toOffsets(fields.list("offsets"))
            fields.end()
            db.admin.commitOffsets(group, offsets)
        }
        "producer" -> {
            val handle = fields.take("as") as String? ?: "producer"
            producers[handle] = db.producer { set(fields) }
        }
        "flush" -> producer(fields.take("producer") as String? ?: "producer").also { fields.end() }.flush()
        "send" -> plain(send(fields).await())
        "send_many" -> sendMany(fields)
        "enqueue" -> enqueue(fields)
        else -> consumerCall(name, fields)
    }

    private suspend fun close(fields: Fields): Any {
        val isClient = fields.take("client") == true
        val producer = (fields.take("producer") as String?)?.let { producer(it) }
        val reading = if (isClient || producer != null) null else reading(fields)
        fields.end()
        return plain(reading?.consumer?.close(null) ?: producer?.close(null) ?: db.close(null))
    }

    private suspend fun send(fields: Fields, partition: Any? = null): Delivery {
        val producer = producer(fields.take("producer") as String? ?: "producer")
        val (topic, value) = fields.text("topic") to toBytes(fields.need("value"))
        val (key, headers) = toBytes(fields.take("key")) to toHeaders(fields.take("headers"))
        val own = (fields.take("partition") ?: partition) as Long?
        val timestamp = fields.take("timestamp") as Long?
        fields.end()
        return producer.send(topic, value, key, headers, own?.toInt(), timestamp)
    }

    private suspend fun sendMany(fields: Fields): Any {
        val (topic, records) = fields.text("topic") to fields.list("records")
        val (partition, producer) = fields.take("partition") to fields.take("producer")
        fields.end()
        val sent = records.map { if (it is Map<*, *>) it else mapOf("value" to it) }
            .map { send(Fields(it + mapOf("topic" to topic, "producer" to producer)), partition) }
        return sent.map { plain(it.await()) }
    }

    private fun enqueue(fields: Fields) {
        val producer = producer(fields.take("producer") as String? ?: "producer")
        val (topic, value) = fields.text("topic") to toBytes(fields.need("value"))
        val (key, headers) = toBytes(fields.take("key")) to toHeaders(fields.take("headers"))
        val (partition, timestamp) = fields.take("partition") as Long? to fields.take("timestamp") as Long?
        fields.end()
        producer.enqueue(topic, value, key, headers, partition?.toInt(), timestamp)
    }

    private suspend fun consumerCall(name: String, fields: Fields): Any? {
        if (name == "consumer") {
            val handle = fields.take("as") as String? ?: "consumer"
            val topics = fields.list("topics").map { it as String }
            consumers[handle] = Reading(db.consumer(topics) { set(fields) }, scope)
            return null
        }
        if (name !in CONSUMER_STEPS) throw Wrong("there is no step `$name`")
        val reading = reading(fields)
        val consumer = reading.consumer
        return when (name) {
            "open" -> consumer.also { fields.end() }.open()
            "consume" -> consume(reading, fields)
            "ack" -> toOffsets(fields.list("records")).also { fields.end() }.forEach { consumer.ack(reading.given.getValue(it)) }
            "commit" -> {
                val offsets = (fields.take("offsets") as List<*>?)?.let { toOffsets(it) }
                fields.end()
                if (offsets == null) consumer.commit() else consumer.commit(offsets)
            }
            "seek" -> {
                val (topic, partition) = fields.text("topic") to fields.int("partition")
                val to = fields.need("to")
                fields.end()
                if (to is Long) consumer.seek(topic, partition, to) else consumer.seek(topic, partition, toMeaning(to))
            }
            "committed" -> plain(consumer.also { fields.end() }.committed())
            "positions" -> plain(consumer.also { fields.end() }.positions())
            "assignment" -> plain(consumer.also { fields.end() }.assignment())
            "is_finished" -> consumer.also { fields.end() }.isFinished
            else -> process(consumer, fields)
        }
    }

    private suspend fun consume(reading: Reading, fields: Fields): Any {
        val count = fields.take("count") as Long?
        val isSorted = fields.take("sorted") == true
        fields.end()
        val records = ArrayList<Record>()
        while (records.size.toLong() != count) records += reading.next() ?: break
        if (isSorted) records.sortWith(compareBy({ it.topic }, { it.partition }, { it.offset }))
        return records.map { plain(it) }
    }

    private suspend fun process(consumer: Consumer, fields: Fields): Any {
        val left = HashMap((fields.need("failing") as Map<*, *>))
        val given = ArrayList<String>()
        consumer.process({ set(fields) }) { record ->
            val value = record.value!!.decodeToString()
            synchronized(given) {
                given += value
                val times = left[value]
                if (times == "always" || (times as Long? ?: 0) > 0) {
                    if (times is Long) left[value] = times - 1
                    throw Refused("$value is refused")
                }
            }
        }
        return given
    }
}

private val CONSUMER_STEPS = setOf(
    "open", "consume", "ack", "commit", "seek", "committed", "positions", "assignment", "is_finished", "process",
)

// The options that the scenarios run here set; another is a fault.

private fun Fields.each(set: (String, Any?) -> Unit) = left.forEach { (name, value) -> set(name, value) }

private fun unknown(name: String): Nothing = throw Wrong("there is no option `$name` here")

private inline fun <reified T : Enum<T>> word(value: Any?): T =
    enumValues<T>().find { it.name.equals((value as String).replace("_", ""), ignoreCase = true) } ?: throw Wrong("`$value`?")

private fun place(value: Any?): Pair<String, Long> =
    (value as String).split(":").let { it[0] to (it.getOrNull(1)?.toLong() ?: -1) }

private fun TopicOptions.set(fields: Fields) = fields.each { name, value ->
    when (name) {
        "partitions" -> partitions = (value as Long).toInt()
        "durability" -> durability = word<Durability>(value)
        "max_message_bytes" -> maxMessageBytes = value as Long
        "message_timestamp_type" -> messageTimestampType = word<TimestampType>(value)
        "cleanup_policy" -> cleanupPolicy = word<CleanupPolicy>(value)
        else -> unknown(name)
    }
}

private fun ProducerOptions.set(fields: Fields) = fields.each { name, value ->
    when (name) {
        "compression" -> compression = word<Compression>(value)
        "durability" -> durability = word<Durability>(value)
        "linger_ms" -> linger = (value as Long).milliseconds
        else -> unknown(name)
    }
}

private fun ConsumerOptions.set(fields: Fields) = fields.each { name, value ->
    when (name) {
        "group" -> group = value as String
        "partitions" -> partitions = (value as List<*>).map { (it as Long).toInt() }
        "ack" -> ack = word<Ack>(value)
        "commit_interval_ms" -> commitInterval = (value as Long).milliseconds
        "max_block_records" -> maxBlockRecords = (value as Long).toInt()
        "start" -> start = place(value).let { (what, at) ->
            if (what == "offset") Start.Offset(at) else if (what == "time") Start.Time(at) else Start.Latest
        }
        "until" -> until = place(value).let { (what, at) ->
            if (what == "offset") Until.Offset(at) else if (what == "time") Until.Time(at) else Until.End
        }
        else -> unknown(name)
    }
}

private fun ProcessOptions.set(fields: Fields) = fields.each { name, value ->
    when (name) {
        "order" -> order = word<Order>(value)
        "attempts" -> attempts = (value as Long).toInt()
        "backoff_ms" -> backoff = (value as Long).milliseconds
        "dead_letter" -> deadLetter = value as String
        else -> unknown(name)
    }
}
