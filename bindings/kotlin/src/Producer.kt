// The producer. Records are packed here and handed to core many at a time: when the buffer is full, when somebody awaits
// one of them, and after about a millisecond. Core never waits; what it has no room for stays here, in order: rows in the
// buffer first, then the `send`s that wait. Answers come back as completion rows, one wake-up for all.
package headwater

import headwater.ffi.Answer
import headwater.ffi.NativeProducer
import headwater.ffi.sendWaitersMax
import java.lang.ref.WeakReference
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.time.Duration
import kotlin.time.TimeSource
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull

private const val BUFFER_BYTES = 65_536
private const val FAILURES_KEPT_MAX = 1_024

/** Sends records to any topic. Records of one partition keep the order in which they were handed over. */
class Producer internal constructor(
    private val native: NativeProducer,
    private val closeTimeout: Duration,
    private val exitTimeout: Duration,
    private val onClosed: (Producer) -> Unit,
) : AutoCloseable {
    private class Waiter(val delivery: Delivery, val rows: RowBuffer) {
        val accepted = CompletableDeferred<Unit>()
    }

    // All below is used under `lock`. Nothing that could run somebody else's code does: that goes to `after`.
    private val lock = Any()
    private var after: ArrayList<() -> Unit>? = null
    private val rows = RowBuffer(BUFFER_BYTES)
    private val waiting = ArrayDeque<Waiter>()
    private val handedOver = ArrayList<CompletableDeferred<Unit>>()
    private val deliveries = HashMap<Long, Delivery>()
    private val failedDeliveries = ArrayDeque<Pair<Delivery, HeadwaterException>>()
    private val topics = HashMap<String, Int>()
    private val topicNames = HashMap<Int, String>()
    private var lastTopic: String? = null
    private var lastTopicId = 0
    private var lastTicket = 0L
    private var isFull = false
    private var isPushDue = false
    private var isRefusing = false
    private var isGivenUp = false
    private var failedRecords = 0L
    private var firstError: HeadwaterException? = null

    @Volatile private var failureHandler: ((DeliveryFailure) -> Unit)? = null
    private val closing = Once<CloseReport>()
    private val tickets: List<Long>

    init {
        val weak = WeakReference(this)
        tickets = listOf(Hub.watch { weak.get()?.settle() }, Hub.watch { weak.get()?.reportFailures() })
        native { native.watch(tickets[0], tickets[1]) }
    }

    /**
     * Sends a record. With room it returns at once; without, it suspends until there is some, first in first out, and
     * fails with `BUFFER_FULL` if 1,024 others wait already. Cancelled while it waits, the record is not sent.
     */
    suspend fun send(
        topic: String,
        value: ByteArray?,
        key: ByteArray? = null,
        headers: List<Header> = emptyList(),
        partition: Int? = null,
        timestamp: Long? = null,
    ): Delivery {
        val packed = packHeaders(headers)
        val waiter = locked {
            val topicId = accept(topic, partition, timestamp)
            val delivery = Delivery(this, topic, timestamp ?: System.currentTimeMillis(), ++lastTicket)
            val isTaken = waiting.isEmpty() && add(topicId, partition ?: -1, key, value, packed, delivery.timestamp, delivery)
            if (isTaken) return delivery
            if (waiting.size >= WAITING_MAX) throw full()
            val row = rowOf(topicId, partition ?: -1, key, value, packed, delivery.timestamp, delivery.ticket)
            Waiter(delivery, row).also {
                waiting.add(it)
                waitForRoom()
            }
        }
        try {
            waiter.accepted.await()
        } catch (cancelled: CancellationException) {
            locked { waiting.remove(waiter) }
            throw cancelled
        }
        return waiter.delivery
    }

    /** Sends a record of texts, as UTF-8. */
    suspend fun send(
        topic: String,
        value: String,
        key: String? = null,
        headers: List<Header> = emptyList(),
        partition: Int? = null,
        timestamp: Long? = null,
    ): Delivery = send(topic, value.encodeToByteArray(), key?.encodeToByteArray(), headers, partition, timestamp)

    /**
     * Sends a record and gives nothing back. Never waits: fails with `BUFFER_FULL` when there is no room, and while a
     * `send` waits. What fails later is counted and comes out of [flush], [close] and [onFailure].
     */
    fun enqueue(
        topic: String,
        value: ByteArray?,
        key: ByteArray? = null,
        headers: List<Header> = emptyList(),
        partition: Int? = null,
        timestamp: Long? = null,
    ) {
        val packed = packHeaders(headers)
        locked {
            val topicId = accept(topic, partition, timestamp)
            val isTaken = waiting.isEmpty() && add(topicId, partition ?: -1, key, value, packed, timestamp ?: -1, null)
            if (!isTaken) throw full()
        }
    }

    /** The same for a record of texts, as UTF-8. */
    fun enqueue(
        topic: String,
        value: String,
        key: String? = null,
        headers: List<Header> = emptyList(),
        partition: Int? = null,
        timestamp: Long? = null,
    ) = enqueue(topic, value.encodeToByteArray(), key?.encodeToByteArray(), headers, partition, timestamp)

    /** Suspends until there is room for one more record. */
    suspend fun ready() {
        handOver(Duration.INFINITE)
        Hub.ask { native.ready(it) }
    }

    /**
     * Suspends until everything sent so far is acknowledged or failed. Fails with the first failure that nobody was told
     * about: of `enqueue`, and of deliveries that nobody has awaited.
     */
    suspend fun flush() {
        handOver(Duration.INFINITE)
        Hub.ask { native.flush(it) }
        settle()
        locked { takeFailures() }.second?.let { throw it }
    }

    /** Calls [handler] for failures that nobody waits for, on a thread of Headwater: it must not block. */
    fun onFailure(handler: (DeliveryFailure) -> Unit) {
        failureHandler = handler
    }

    /**
     * Takes no more records and returns when those it has are acknowledged or failed, at the latest after [timeout]
     * (none: the client's `closeTimeout`), saying what was not delivered. Closing again gives the same report, sooner if
     * [timeout] is shorter.
     */
    suspend fun close(timeout: Duration?): CloseReport =
        withContext(NonCancellable) { closing.run(timeout ?: closeTimeout, ::hurry) { end(timeout) } }

    /** The same, waiting in place; throws what nobody was told about. */
    override fun close() = blocking { close(null) }

    /** Runs [block] and closes, as [Client.use]. */
    suspend inline fun <R> use(block: (Producer) -> R): R = ending({ leave(it) }) { block(this) }

    @PublishedApi
    internal suspend fun leave(cause: Throwable?) = leaving(cause, exitTimeout, ::close)

    // --- In: packing and handing over ---

    /** What every record goes through first; its topic's number. Under the lock. */
    private fun accept(topic: String, partition: Int?, timestamp: Long?): Int {
        if (isRefusing) throw errorOf("CLOSED", "the producer is closed")
        if (partition != null && partition < 0) throw invalid("partition $partition: it must be 0 or more")
        if (timestamp != null && timestamp < 0) throw invalid("timestamp $timestamp: it must be 0 or more")
        if (topic === lastTopic) return lastTopicId
        lastTopicId = topics.getOrPut(topic) { native { native.topic(topic) }.toInt().also { topicNames[it] = topic } }
        lastTopic = topic
        return lastTopicId
    }

    /** Packs a record; false: there is no room. Under the lock. */
    private fun add(
        topicId: Int, partition: Int, key: ByteArray?, value: ByteArray?, headers: ByteArray?, timestamp: Long, delivery: Delivery?,
    ): Boolean {
        val ticket = delivery?.ticket ?: 0
        if (delivery != null) deliveries[ticket] = delivery
        if (!rows.add(topicId, partition, key, value, headers, timestamp, ticket)) {
            val isEmpty = pushRows()
            if (!rows.add(topicId, partition, key, value, headers, timestamp, ticket)) {
                // Larger than the buffer: a buffer of its own, used once.
                val isTaken = isEmpty && hand(rowOf(topicId, partition, key, value, headers, timestamp, ticket))
                if (!isTaken) deliveries.remove(ticket)
                return isTaken
            }
        }
        pushSoon()
        return true
    }

    private fun rowOf(
        topicId: Int, partition: Int, key: ByteArray?, value: ByteArray?, headers: ByteArray?, timestamp: Long, ticket: Long,
    ): RowBuffer {
        val bytes = rowBytes(key, value, headers)
        if (bytes > Int.MAX_VALUE) throw errorOf("MESSAGE_TOO_LARGE", "a record of $bytes bytes")
        return RowBuffer(bytes.toInt()).apply { add(topicId, partition, key, value, headers, timestamp, ticket) }
    }

    private fun pushSoon() {
        if (isPushDue) return
        isPushDue = true
        Hub.soon {
            synchronized(lock) { isPushDue = false }
            push()
        }
    }

    /** Hands over everything, in order; false: core has no room, and what is left follows when it has. */
    internal fun push(): Boolean = locked {
        if (!pushRows()) return@locked false
        while (waiting.isNotEmpty()) {
            val waiter = waiting.first()
            deliveries[waiter.delivery.ticket] = waiter.delivery
            if (!hand(waiter.rows)) return@locked false
            waiting.removeFirst()
            later { waiter.accepted.complete(Unit) }
        }
        for (caller in handedOver) later { caller.complete(Unit) }
        handedOver.clear()
        true
    }

    private fun pushRows(): Boolean = !isFull && hand(rows)

    private fun hand(rows: RowBuffer): Boolean {
        if (rows.isEmpty) return true
        val taken = try {
            native { native.sendRows(rows.bytes()) }.toInt()
        } catch (refused: HeadwaterException) {
            handEach(rows, refused)
        }
        rows.drop(taken)
        if (rows.isEmpty) return true
        waitForRoom()
        return false
    }

    /** Core takes all of a call or refuses all: a row that it refuses must not take the others with it. */
    private fun handEach(rows: RowBuffer, error: HeadwaterException): Int {
        var taken = 0
        rows.forEachRow { row ->
            try {
                if (error.fatal) throw error
                if (native { native.sendRows(rows.bytes(row.start, row.end)) } == 0L) return@forEachRow false
            } catch (refused: HeadwaterException) {
                fail(row, refused)
            }
            taken = row.end
            true
        }
        return taken
    }

    private fun waitForRoom() {
        if (isFull) return
        isFull = true
        val ticket = Hub.newTicket()
        Hub.handle(ticket) {
            Hub.forget(ticket)
            synchronized(lock) { isFull = false }
            push()
        }
        native { native.ready(ticket) }
    }

    /** Suspends until core has everything, at most [limit]. */
    internal suspend fun handOver(limit: Duration) {
        if (push()) return
        val done = CompletableDeferred<Unit>()
        locked {
            if (isGivenUp) return
            handedOver.add(done)
        }
        // What it waited for may have happened in between.
        push()
        if (limit.isInfinite()) done.await() else withTimeoutOrNull(limit) { done.await() }
    }

    /** Nobody waits any longer for room. */
    internal fun giveUp() = locked {
        isGivenUp = true
        for (caller in handedOver) later { caller.complete(Unit) }
        handedOver.clear()
    }

    // --- Out: what became of them ---

    /** Resolves the deliveries that core has answered. */
    private fun settle() {
        val found = ByteBuffer.wrap(native { native.takeCompletions() }).order(ByteOrder.LITTLE_ENDIAN)
        if (found.hasRemaining()) locked { while (found.remaining() >= Completion.BYTES) settle(Completion(found)) }
    }

    private fun settle(row: Completion) {
        val error = if (row.isFailed) errorOf(row) else null
        for (index in 0 until row.count) {
            val delivery = deliveries.remove(row.firstTicket + index) ?: continue
            if (error != null) {
                fail(delivery, error)
            } else {
                val timestamp = if (row.appended < 0) delivery.timestamp else row.appended
                val metadata = RecordMetadata(delivery.topic, row.partition, row.baseOffset + index, timestamp, row.durability)
                later { delivery.answer.complete(metadata) }
            }
        }
    }

    private fun errorOf(row: Completion): HeadwaterException =
        native { native.takeError(row.errorId.toUInt()) }?.toException()
            ?: errorOf("UNKNOWN_SERVER_ERROR", "the cause of error ${row.error} was not kept", row.outcome)

    private fun fail(delivery: Delivery, error: HeadwaterException) {
        if (failedDeliveries.size == FAILURES_KEPT_MAX) count(failedDeliveries.removeFirst())
        failedDeliveries.add(delivery to error)
        later { delivery.answer.completeExceptionally(error) }
    }

    private fun fail(row: RowBuffer.Row, error: HeadwaterException) {
        val delivery = deliveries.remove(row.ticket)
        if (delivery != null) return fail(delivery, error)
        failedRecords++
        firstError = firstError ?: error
        announce(DeliveryFailure(topicNames[row.topicId] ?: "", row.partition, 1, error))
    }

    private fun count(failed: Pair<Delivery, HeadwaterException>) {
        if (failed.first.isRead) return
        failedRecords++
        firstError = firstError ?: failed.second
    }

    private fun announce(failure: DeliveryFailure) {
        failureHandler?.let { handler -> later { handler(failure) } }
    }

    private fun reportFailures() {
        val failures = native { native.takeFailures() }
        locked { for (it in failures) announce(DeliveryFailure(it.topic, it.partition, it.records, it.error.toException())) }
    }

    /** How many records failed here that nobody was told about, and the first failure. */
    private fun takeFailures(): Pair<Long, HeadwaterException?> {
        failedDeliveries.forEach(::count)
        failedDeliveries.clear()
        return (failedRecords to firstError).also {
            failedRecords = 0
            firstError = null
        }
    }

    // --- The end ---

    /** From now on nothing more is taken. */
    internal fun refuse() = synchronized(lock) { isRefusing = true }

    /** What closes already ends now. */
    private suspend fun hurry() {
        giveUp()
        Hub.ask { native.close(it, 0) }
    }

    private suspend fun end(timeout: Duration?): CloseReport {
        val began = TimeSource.Monotonic.markNow()
        val limit = timeout ?: closeTimeout
        refuse()
        handOver(limit)
        val left = (limit - began.elapsedNow()).coerceAtLeast(Duration.ZERO)
        val report = Hub.ask { native.close(it, left.toMs()) } as Answer.Report
        return finish(report.report.toReport())
    }

    /** Core has closed it: ends what nobody else will end, and adds what was left here to the report. */
    internal fun finish(report: CloseReport): CloseReport {
        settle()
        reportFailures()
        tickets.forEach(Hub::forget)
        onClosed(this)
        return locked {
            var left = 0L
            for (rows in listOf(rows) + waiting.map { it.rows }) {
                rows.forEachRow { row ->
                    left++
                    deliveries.remove(row.ticket)?.let { fail(it, closed("the producer was closed before it could send the record")) }
                    true
                }
            }
            for (waiter in waiting) later { waiter.accepted.complete(Unit) }
            waiting.clear()
            for (delivery in deliveries.values) fail(delivery, closed("the producer was closed before the answer came", Outcome.Unknown))
            deliveries.clear()
            for (caller in handedOver) later { caller.complete(Unit) }
            val (failed, error) = takeFailures()
            CloseReport(report.unsentRecords + left, report.failedRecords + failed, report.firstError ?: error)
        }
    }

    private fun closed(message: String, outcome: Outcome = Outcome.NotDone) = errorOf("CLOSED", message, outcome)

    private fun full() = errorOf("BUFFER_FULL", "the buffer of the producer has no room; `ready()` before the next record waits for it")

    // --- The lock ---

    private fun later(action: () -> Unit) {
        (after ?: ArrayList<() -> Unit>().also { after = it }).add(action)
    }

    /** Runs [call] under the lock, and what it put off for later without it. */
    private inline fun <T> locked(call: () -> T): T {
        var due: List<() -> Unit>? = null
        try {
            synchronized(lock) {
                try {
                    return call()
                } finally {
                    due = after
                    after = null
                }
            }
        } finally {
            due?.forEach { it() }
        }
    }

    private companion object {
        val WAITING_MAX = sendWaitersMax()
    }
}
