// An open log: where producers, consumers and administration come from.
package headwater

import headwater.ffi.Answer
import headwater.ffi.NativeClient
import headwater.ffi.closeTimeoutMs
import headwater.ffi.parseAddress
import java.nio.file.Path
import java.util.Collections
import java.util.WeakHashMap
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.TimeSource
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.withContext

/** Where it begins. */
object Headwater {
    /**
     * Opens the log at [address]: a path such as `./data`, `mem:`, or `host:port`.
     *
     * Fails with `INVALID_ADDRESS` if it is none of these, `FOLDER_LOCKED` if another process owns the folder,
     * `NETWORK_EXCEPTION` if no broker answers.
     */
    suspend fun connect(address: String, configure: ConnectOptions.() -> Unit = {}): Client {
        val options = ConnectOptions().apply(configure).toNative()
        val closeTimeout = native { closeTimeoutMs(options) }.milliseconds
        val answer = Hub.ask { ticket -> headwater.ffi.connect(ticket, address, options) }
        return Client((answer as Answer.Client).client, closeTimeout)
    }

    /** Opens the log in a folder. */
    suspend fun connect(folder: Path, configure: ConnectOptions.() -> Unit = {}): Client =
        connect(folder.toAbsolutePath().toString(), configure)

    /** The address as Headwater reads it, without its options; fails with `INVALID_ADDRESS`. */
    fun parse(address: String): String {
        Hub.isCurrentThread // the library is loaded and checked with it
        return native { parseAddress(address) }
    }
}

/** An open log, in this process or behind a broker. Close it: what was sent is flushed then. */
class Client internal constructor(private val native: NativeClient, private val closeTimeout: Duration) : AutoCloseable {
    private val producers: MutableSet<Producer> = weakSet()
    private val consumers: MutableSet<Consumer> = weakSet()
    private val closing = Once<CloseReport>()
    private val exitTimeout = native { native.exitTimeoutMs() }.milliseconds

    /** What it is connected to, without options and secrets. */
    val address: String get() = native { native.address() }

    /** Topics, groups and offsets. */
    val admin: Admin by lazy { Admin(native { native.admin() }) }

    /** Whether `close` was called. */
    val isClosed: Boolean get() = closing.isBegun

    /** A producer. It is not tied to a topic. */
    fun producer(durability: Durability? = null, linger: Duration? = null, configure: ProducerOptions.() -> Unit = {}): Producer {
        val options = ProducerOptions().apply {
            this.durability = durability
            this.linger = linger
            configure()
        }
        val producer = Producer(native { native.producer(options.toNative()) }, closeTimeout, exitTimeout) { producers.remove(it) }
        producers.add(producer)
        return producer
    }

    /** A consumer of one topic. */
    fun consumer(
        topic: String,
        group: String? = null,
        start: Start? = null,
        until: Until? = null,
        ack: Ack? = null,
        configure: ConsumerOptions.() -> Unit = {},
    ): Consumer = consumer(listOf(topic), group, start, until, ack, configure)

    /** A consumer of [topics]. It opens at the first call that needs it, or by [Consumer.open]. */
    fun consumer(
        topics: List<String>,
        group: String? = null,
        start: Start? = null,
        until: Until? = null,
        ack: Ack? = null,
        configure: ConsumerOptions.() -> Unit = {},
    ): Consumer {
        val options = ConsumerOptions().apply {
            this.group = group
            this.start = start
            this.until = until
            this.ack = ack
            configure()
        }
        val native = native { native.consumer(topics, options.toNative()) }
        val consumer = Consumer(native, options.ack == Ack.Manual, exitTimeout) { consumers.remove(it) }
        consumers.add(consumer)
        return consumer
    }

    /** What the client is doing, by name; counts are since it was opened. */
    fun metrics(): Map<String, Long> = native { native.metrics() }.associate { it.name to it.value }

    /** How it is, and why it does not work if it does not: for probes. Asks nobody, never waits. */
    fun health(): Health = native { native.health() }.toHealth()

    /**
     * Closes its producers (flushing them) and consumers (committing what is processed), then the log. Returns within
     * [timeout] (none: `closeTimeout`), whatever happens, and says what was not delivered. Closing again gives the same
     * report, sooner if [timeout] is shorter.
     */
    suspend fun close(timeout: Duration?): CloseReport =
        withContext(NonCancellable) { closing.run(timeout ?: closeTimeout, ::hurry) { end(timeout) } }

    /** The same, waiting in place; throws what nobody was told about. */
    override fun close() = blocking { close(null) }

    /**
     * Runs [block] and closes, however that ends; throws what was lost by it. No thread waits. Cancelled, it closes within
     * `exitTimeout`, and what was not delivered then is said on the error output.
     */
    suspend inline fun <R> use(block: (Client) -> R): R = ending({ leave(it) }) { block(this) }

    @PublishedApi
    internal suspend fun leave(cause: Throwable?) = leaving(cause, exitTimeout, ::close)

    /** What closes already ends now. */
    private suspend fun hurry() {
        synchronized(producers) { producers.toList() }.forEach { it.giveUp() }
        Hub.ask { native.close(it, 0) }
    }

    private suspend fun end(timeout: Duration?): CloseReport {
        val began = TimeSource.Monotonic.markNow()
        val limit = timeout ?: closeTimeout
        val producers = synchronized(producers) { producers.toList() }
        val consumers = synchronized(consumers) { consumers.toList() }
        producers.forEach { it.refuse() }
        consumers.forEach { it.refuse() }
        producers.forEach { it.handOver(limit - began.elapsedNow()) }
        val left = (limit - began.elapsedNow()).coerceAtLeast(Duration.ZERO)
        val report = Hub.ask { native.close(it, left.toMs()) } as Answer.Report
        return producers.fold(report.report.toReport()) { sum, producer -> producer.finish(sum) }
    }
}

private fun <T> weakSet(): MutableSet<T> = Collections.synchronizedSet(Collections.newSetFromMap(WeakHashMap<T, Boolean>()))
