// The broker for test suites, and Kafka's own client.
package headwater

import java.io.File
import java.io.IOException
import java.time.Duration
import java.util.concurrent.TimeUnit
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNotEquals
import kotlin.test.assertTrue
import kotlinx.coroutines.runBlocking
import org.apache.kafka.clients.consumer.KafkaConsumer
import org.apache.kafka.clients.producer.KafkaProducer
import org.apache.kafka.clients.producer.ProducerRecord
import org.apache.kafka.common.serialization.StringDeserializer
import org.apache.kafka.common.serialization.StringSerializer

class BrokerTest {
    private val values = List(20) { "$it" }

    @Test
    fun `Kafka's client produces, consumes and commits`() {
        HeadwaterBroker.start().use { broker ->
            produce(broker.bootstrapServers)
            assertEquals(values, consume(broker.bootstrapServers))
            runBlocking {
                Headwater.connect(broker.address).use { db ->
                    val at = db.admin.describeGroup("billing").offsets.single()
                    assertEquals(Triple("orders", 0, 20L), Triple(at.topic, at.partition, at.offset))
                }
            }
        }
    }

    @Test
    fun `each broker is another one, and ends when it is closed`() {
        val (one, other) = HeadwaterBroker.start() to HeadwaterBroker.start()
        assertNotEquals(one.bootstrapServers, other.bootstrapServers)
        one.close()
        assertFalse(one.isRunning)
        assertTrue(other.isRunning)
        other.close()
        other.close()
    }

    @Test
    fun `an option that is none is said in words`() {
        val error = assertFailsWith<IOException> { HeadwaterBroker.start(mapOf("max_connection" to "1")) }
        assertTrue("max_connections" in error.message!!, error.message)
        HeadwaterBroker.start(mapOf("max_connections" to "10")).close()
    }

    @Test
    fun `a broker ends with the process that has left it open, also when that is killed`() {
        for (ending in listOf("return", "exit", "kill")) {
            val process = ProcessBuilder(javaCommand("headwater.LeftOpenKt", ending)).start()
            val broker = ProcessHandle.of(process.inputStream.bufferedReader().readLine().toLong()).get()
            val program = File(broker.info().command().get())
            if (ending == "kill") process.destroyForcibly()
            broker.onExit().get(60, TimeUnit.SECONDS)
            process.waitFor()
            assertFalse(program.exists(), ending)
        }
    }

    private fun produce(servers: String) {
        val serializer = StringSerializer()
        KafkaProducer(mapOf<String, Any>("bootstrap.servers" to servers), serializer, serializer).use { producer ->
            values.map { producer.send(ProducerRecord("orders", "key", it)) }.forEach { it.get() }
        }
    }

    private fun consume(servers: String): List<String> {
        val config = mapOf(
            "bootstrap.servers" to servers,
            "group.id" to "billing",
            "auto.offset.reset" to "earliest",
            "enable.auto.commit" to "false",
        )
        val deserializer = StringDeserializer()
        return KafkaConsumer(config, deserializer, deserializer).use { consumer ->
            consumer.subscribe(listOf("orders"))
            val read = mutableListOf<String>()
            while (read.size < values.size) consumer.poll(Duration.ofSeconds(1)).forEach { read += it.value() }
            consumer.commitSync()
            read
        }
    }
}
