// The loop of `process`: as many handlers at the same time as core gives records for. Order, retries, dead letters and
// commits are core's; here a handler is run, and core hears how it ended.
package headwater

import headwater.ffi.Answer
import headwater.ffi.NativeProcessor
import java.util.concurrent.atomic.AtomicReference
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.isActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** What handlers are called with: each record by itself, or all that may run. */
internal sealed interface Handler {
    class OfRecord(val handle: suspend (Record) -> Unit) : Handler

    class OfBatch(val handle: suspend (Batch) -> Unit) : Handler
}

internal class Processing(private val processor: NativeProcessor, private val handler: Handler) {
    /** What ended it. */
    private val failure = AtomicReference<Exception?>()

    suspend fun run() {
        try {
            // Its end is that of the handlers: what runs counts.
            coroutineScope {
                while (true) {
                    val taken = take() ?: break
                    val block = Block(taken.block)
                    when (handler) {
                        is Handler.OfRecord -> for (run in block.runs) for (row in run.firstRow until run.endRow) {
                            launch { handle(taken.firstTicket + row, 1) { handler.handle(Record(block, row, run)) } }
                        }
                        is Handler.OfBatch -> {
                            val batch = Batch(block, 0, emptySet())
                            launch { handle(taken.firstTicket, batch.size) { handler.handle(batch) } }
                        }
                    }
                }
            }
        } finally {
            withContext(NonCancellable) { Hub.ask { processor.close(it) } }
        }
        failure.get()?.let { throw it }
    }

    private suspend fun take() = try {
        (Hub.ask { processor.take(it) } as Answer.Taken).taken
    } catch (error: HeadwaterException) {
        failure.compareAndSet(null, error)
        null
    }

    /** Runs what is to be done with [count] records, the first of which has this ticket. */
    private suspend inline fun handle(ticket: Long, count: Int, call: () -> Unit) {
        try {
            call()
        } catch (error: Exception) {
            // Cancelled from outside it has not failed; it is read again.
            if (!currentCoroutineContext().isActive) throw error
            if (native { processor.finishBatch(ticket, count.toUInt(), error.toString()) }) failure.set(error)
            return
        }
        native { processor.finishBatch(ticket, count.toUInt(), null) }
    }
}
