// The consumer. A block of records is leased: core hands one out, this side tells how many of its rows the loop has passed
// (at most every 100 ms, and whenever somebody asks for positions), and asking for the next block passes the whole of the
// last. A row counts as passed when the loop asks for the one behind it, so leaving a loop early does not process the
// record in hand; the next loop begins with it again.
package headwater

import headwater.ffi.Answer
import headwater.ffi.NativeConsumer
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.atomic.AtomicReference
import kotlin.time.Duration
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.withContext

private const val PROGRESS_NANOS = 100_000_000L

/** The block in hand and how far the loop is in it. Only the loop moves it; others may look and may skip a run. */
private class Lease(val block: Block) {
    /** Rows the loop has passed. */
    val passed = AtomicInteger()

    /** Rows core was told of; under the consumer's report lock. */
    var reported = 0

    /** The next row to give out. */
    var next = 0

    /** The run of `next`. */
    var runIndex = 0

    /** The row at which something must be looked at: the end of the run, or where it is interrupted. */
    @Volatile private var stop = 0

    val skipped: MutableSet<Int> = ConcurrentHashMap.newKeySet()

    val run get() = block.runs[runIndex]

    /** Goes on to the next row that is to be given out; false: the block has no more. */
    fun proceed(): Boolean = next < stop || proceedToRun()

    private fun proceedToRun(): Boolean {
        while (runIndex < block.runs.size) {
            if (runIndex in skipped) next = maxOf(next, run.endRow)
            stop = run.endRow
            // A skip in between set `stop` too early to be seen here.
            if (next < run.endRow && runIndex !in skipped) return true
            if (next >= run.endRow) runIndex++
        }
        return false
    }

    /** Leaves out what is left of a run. */
    fun skip(index: Int) {
        skipped.add(index)
        stop = 0
    }

    /** The loop was left: the record in hand is given out again. */
    fun rewind() {
        next = passed.get()
        stop = 0
        runIndex = block.runs.indexOfLast { it.firstRow <= next }.coerceAtLeast(0)
    }
}

/** Reads topics. One loop at a time: a second one while the first runs fails with `INVALID_STATE`. */
class Consumer internal constructor(
    private val native: NativeConsumer,
    private val isManual: Boolean,
    private val exitTimeout: Duration,
    private val onClosed: (Consumer) -> Unit,
) : AutoCloseable {
    /** A block that was asked for. A loop that was cancelled leaves it behind, for the next. */
    private class Fetch(val ticket: Long, val ready: CompletableDeferred<Unit> = CompletableDeferred())

    @Volatile private var lease: Lease? = null
    private var fetch: Fetch? = null
    private val reader = AtomicReference<Any?>()
    private val reportLock = Any()
    private var reportedAt = System.nanoTime()
    private val ackLock = Any()
    private var ackLease: Lease? = null
    private var ackRows = IntRange.EMPTY
    private val closing = Once<CloseReport>()
    @Volatile private var isRefusing = false

    /** Finds the topics, joins the group, and fixes where reading starts and ends; a loop does it if it was not done. */
    suspend fun open() {
        Hub.ask { native.open(it) }
    }

    /**
     * The records, one by one; it ends at `until`, or never. A record counts as processed when the collector returns and
     * the next one is asked for: collecting that ends early (`first`, `take`, an exception, cancellation) does not process
     * the record in hand. If you hand records to other coroutines (`buffer`, `launch`), use `Ack.Manual`.
     *
     * Closing the consumer, from wherever, ends the loop that runs; one that begins after that fails with `CLOSED`.
     */
    fun records(): Flow<Record> = flow {
        reading {
            while (true) {
                val lease = proceed() ?: break
                val row = lease.next++
                emit(Record(lease.block, row, lease.run))
                lease.passed.lazySet(row + 1)
                if (System.nanoTime() - reportedAt >= PROGRESS_NANOS) report()
            }
        }
    }

    /** The records, block by block: a batch counts as processed when the next one is asked for. */
    fun batches(): Flow<Batch> = flow {
        reading {
            while (true) {
                val lease = proceed() ?: break
                val first = lease.next
                lease.next = lease.block.size
                lease.runIndex = lease.block.runs.size
                emit(Batch(lease.block, first, lease.skipped))
                lease.passed.lazySet(lease.block.size)
            }
        }
    }

    /**
     * Calls [handler] for every record, in up to `concurrency` coroutines at the same time.
     *
     * Records of one key of one partition are handled one after the other (`order`). A record whose handler throws is
     * tried again after a pause, up to `attempts` times, and holds back only its key. After that it goes to the topic
     * `deadLetter`, or without one its exception comes out of here, once the other handlers have ended. Only what is
     * processed is committed; a record may be handled more than once.
     *
     * Returns when `until` is reached or the consumer is closed; cancelled, it cancels the handlers. What was not
     * processed is read again by whoever reads this consumer next.
     */
    suspend fun process(configure: ProcessOptions.() -> Unit = {}, handler: suspend (Record) -> Unit) =
        process(configure, Handler.OfRecord(handler))

    /**
     * Calls [handler] for many records at once: as many as may run, at most `concurrency`. They end together: if it throws,
     * each of them is tried again, or has failed. All else is as with [process].
     */
    suspend fun processBatches(configure: ProcessOptions.() -> Unit = {}, handler: suspend (Batch) -> Unit) =
        process(configure, Handler.OfBatch(handler))

    private suspend fun process(configure: ProcessOptions.() -> Unit, handler: Handler) {
        val options = ProcessOptions().apply(configure).toNative()
        reading {
            // What a loop has not passed is read again, and so is what it has left behind on its way.
            report()
            lease = null
            fetch?.let { Hub.forget(it.ticket) }
            fetch = null
            Processing(native { native.processor(options) }, handler).run()
        }
    }

    /** Acknowledges one record, in any order (`Ack.Manual`). What is committed is the first offset that is not. */
    fun ack(record: Record) {
        checkManual()
        val lease = lease
        if (lease == null || lease.block !== record.block) {
            return native { native.ack(record.topic, record.partition, record.offset) }
        }
        synchronized(ackLock) {
            // Neighbours go together: one call for many records.
            val isNeighbour = ackLease === lease && record.row == ackRows.last + 1 && !ackRows.isEmpty()
            if (!isNeighbour) {
                pushAcks()
                Hub.soon(::pushAcks)
            }
            ackLease = lease
            ackRows = (if (isNeighbour) ackRows.first else record.row)..record.row
        }
    }

    /** Acknowledges every record of a batch (`Ack.Manual`). */
    fun ack(batch: Batch) {
        checkManual()
        val rows = batch.rows
        if (rows == null || lease?.block !== batch.block) return batch.forEach(::ack)
        pushAcks()
        native { native.ackRows(rows.first.toUInt(), (rows.last + 1).toUInt()) }
    }

    /** Commits what is processed. */
    suspend fun commit() {
        report()
        Hub.ask { native.commit(it) }
    }

    /** Commits these offsets, each that of the next record to read. */
    suspend fun commit(offsets: List<PartitionOffset>) {
        Hub.ask { native.commitOffsets(it, offsets.map { offset -> offset.toNative() }) }
    }

    /**
     * Sends records and commits what was given out, as one append: both happen, or neither does. For reading one topic and
     * writing what comes of it to another: after a crash nothing is missing and nothing is there twice. Every record given
     * out so far counts as processed, also the one or the batch in hand; from the first call on nothing is committed
     * unasked. Needs a `group` and `Ack.Auto`. Returns where the results went, in order.
     */
    suspend fun commitWith(results: List<ProducerRecord>): List<RecordMetadata> {
        val inHand = lease
        val rows = inHand?.next ?: 0
        val answer = Hub.ask { native.commitWith(it, rows.toUInt(), results.map { result -> result.toNative() }) }
        // What the loop had in hand is committed now, and not given out again; had it failed, it would be.
        inHand?.passed?.accumulateAndGet(rows, ::maxOf)
        return (answer as Answer.Sent).sent.map { it.toMetadata() }
    }

    /** What the group has committed for the partitions of this consumer. */
    suspend fun committed(): List<PartitionOffset> =
        (Hub.ask { native.committed(it) } as Answer.Places).places.map { it.toOffset() }

    /** Goes on reading a partition at [offset]. */
    fun seek(topic: String, partition: Int, offset: Long) {
        report()
        native { native.seek(topic, partition, offset) }
        forget(topic, partition)
    }

    /** Goes on reading a partition at an offset by its meaning. */
    suspend fun seek(topic: String, partition: Int, at: OffsetAt) {
        report()
        Hub.ask { native.seekTo(it, topic, partition, at.toNative()) }
        forget(topic, partition)
    }

    /** For each partition the offset of the first record that does not count as processed. */
    fun positions(): List<PartitionOffset> {
        report()
        return native { native.positions() }.map { it.toOffset() }
    }

    /** The partitions that it reads, each with the offset of the next record to be given out. */
    fun assignment(): List<PartitionOffset> = native { native.assignment() }.map { it.toOffset() }

    /** How far it is in each assigned partition, and how far it could be. One request. */
    suspend fun lag(): List<PartitionLag> {
        report()
        return (Hub.ask { native.lag(it) } as Answer.Lags).lags.map { it.toLag() }
    }

    /**
     * Gives out nothing more of these partitions (none: of all that are assigned) until they are resumed. The rest of the
     * block in hand is still given; heartbeats and commits go on. A partition that goes to another member is paused no
     * more, one that is assigned later is not paused.
     */
    fun pause(partitions: Collection<TopicPartition>? = null): Unit =
        native { native.pause(partitions?.map { it.toNative() }) }

    /** Goes on giving out these partitions (none: all that are assigned). */
    fun resume(partitions: Collection<TopicPartition>? = null): Unit =
        native { native.resume(partitions?.map { it.toNative() }) }

    /** The partitions that are paused. */
    fun paused(): List<TopicPartition> = native { native.paused() }.map { it.toPartition() }

    /** Whether nothing more will come: `until` is reached in every partition, or it was closed. */
    val isFinished: Boolean get() = native { native.isFinished() }

    /**
     * Commits what is processed, leaves the group, and returns within [timeout] (none: the client's `closeTimeout`),
     * whatever happens. Records that were given out stay valid. Closing again gives the same report, sooner if [timeout]
     * is shorter.
     */
    suspend fun close(timeout: Duration?): CloseReport =
        withContext(NonCancellable) { closing.run(Duration.ZERO, { hurry(timeout) }) { end(timeout) } }

    /** The same, waiting in place; throws what nobody was told about. */
    override fun close() = blocking { close(null) }

    /** Runs [block] and closes, as [Client.use]. The record in hand is not processed if it ends early. */
    suspend inline fun <R> use(block: (Consumer) -> R): R = ending({ leave(it) }) { block(this) }

    @PublishedApi
    internal suspend fun leave(cause: Throwable?) = leaving(cause, exitTimeout, ::close)

    /** From now on nothing more is given out. */
    internal fun refuse() {
        report()
        isRefusing = true
    }

    /** Core ends the close that is on its way, if this one would end sooner. */
    private suspend fun hurry(timeout: Duration?) {
        Hub.ask { native.close(it, timeout.toMs()) }
    }

    private suspend fun end(timeout: Duration?): CloseReport {
        refuse()
        val report = Hub.ask { native.close(it, timeout.toMs()) } as Answer.Report
        onClosed(this)
        return report.report.toReport()
    }

    /** One loop. */
    private suspend inline fun reading(loop: () -> Unit) {
        val me = Any()
        if (!reader.compareAndSet(null, me)) {
            throw errorOf("INVALID_STATE", "another loop reads this consumer; one at a time can")
        }
        try {
            if (isRefusing) throw errorOf("CLOSED", "the consumer is closed")
            native { native.beginLoop() }
            loop()
        } finally {
            lease?.let {
                // Acknowledged by hand, a record that was given out is the caller's.
                if (isManual) it.passed.set(it.next) else it.rewind()
            }
            reader.set(null)
            if (!isRefusing) report()
        }
    }

    /** The lease with a row to give out, waiting for a block if need be; null: there will be none. */
    private suspend fun proceed(): Lease? {
        while (true) {
            if (isRefusing) return null
            lease?.let { if (it.proceed()) return it }
            if (!nextBlock()) return null
        }
    }

    /** Passes the block in hand and waits for the next; false: there will be none. */
    private suspend fun nextBlock(): Boolean {
        val fetch = fetch ?: request().also { fetch = it }
        fetch.ready.await()
        this.fetch = null
        val block = (Hub.take(fetch.ticket) as Answer.Block).block ?: return false
        lease = Lease(Block(block))
        reportedAt = System.nanoTime()
        return true
    }

    private fun request(): Fetch {
        pushAcks()
        lease = null
        val fetch = Fetch(Hub.newTicket())
        Hub.handle(fetch.ticket) {
            Hub.unwatch(fetch.ticket)
            fetch.ready.complete(Unit)
        }
        native { native.nextBlock(fetch.ticket, null) }
        return fetch
    }

    /** Tells core how far the loop is; core may want the rest of a run left out. */
    private fun report(): Unit = synchronized(reportLock) {
        pushAcks()
        reportedAt = System.nanoTime()
        val lease = lease ?: return
        val passed = lease.passed.get()
        if (passed == lease.reported) return
        lease.reported = passed
        val run = native { native.progress(passed.toUInt()) }
        if (run >= 0) lease.skip(run.toInt())
    }

    private fun pushAcks(): Unit = synchronized(ackLock) {
        val rows = ackRows
        val from = ackLease
        ackRows = IntRange.EMPTY
        if (rows.isEmpty() || from == null) return
        if (from === lease) return native { native.ackRows(rows.first.toUInt(), (rows.last + 1).toUInt()) }
        // The loop went on to another block in between.
        for (run in from.block.runs) {
            for (row in maxOf(run.firstRow, rows.first)..minOf(run.endRow - 1, rows.last)) {
                native { native.ack(run.topic, run.partition, from.block.offset(row, run)) }
            }
        }
    }

    private fun checkManual() {
        if (!isManual) throw errorOf("INVALID_STATE", "records are acknowledged by hand with `Ack.Manual` only")
    }

    /** The rows of a partition that are in hand are no longer wanted. */
    private fun forget(topic: String, partition: Int) {
        val lease = lease ?: return
        lease.block.runs.forEachIndexed { index, run ->
            if (run.topic == topic && run.partition == partition) lease.skip(index)
        }
    }
}
