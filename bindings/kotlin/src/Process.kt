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

internal class Processing(private val processor: NativeProcessor, private val handler: suspend (Record) -> Unit) {
    /** What ended it. */
    private val failure = AtomicReference<Exception?>()

    suspend fun run() {
        try {
            // Its end is that of the handlers: what runs counts.
            coroutineScope {
                while (true) {
                    val taken = take() ?: break
                    val block = Block(taken.block)
                    for (run in block.runs) for (row in run.firstRow until run.endRow) {
                        launch { handle(Record(block, row, run), taken.firstTicket + row) }
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

    private suspend fun handle(record: Record, ticket: Long) {
        try {
            handler(record)
        } catch (error: Exception) {
            // Cancelled from outside it has not failed; it is read again.
            if (!currentCoroutineContext().isActive) throw error
            if (native { processor.finish(ticket, error.toString()) }) failure.set(error)
            return
        }
        native { processor.finish(ticket, null) }
    }
}
