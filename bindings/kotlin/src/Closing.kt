// The end of a client, a producer or a consumer: once, by when, and what nobody was told about.
package headwater

import java.util.concurrent.atomic.AtomicBoolean
import kotlin.time.Duration
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.isActive
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull

/** Something that is done once; whoever comes later gets what the first got. */
internal class Once<T> {
    private val answer = CompletableDeferred<T>()
    private val begun = AtomicBoolean()

    val isBegun get() = begun.get()

    /** Does it. Whoever comes later waits for at most [patience], and then has it [hurry]. */
    suspend fun run(patience: Duration, hurry: suspend () -> Unit, call: suspend () -> T): T {
        if (begun.compareAndSet(false, true)) {
            try {
                answer.complete(call())
            } catch (failure: Throwable) {
                answer.completeExceptionally(failure)
            }
        } else if (!answer.isCompleted && withTimeoutOrNull(patience) { answer.await() } == null) {
            hurry()
        }
        return answer.await()
    }
}

/** Runs [block] and then [leave], however it ended. Inlined, so that both may suspend where it is called. */
@PublishedApi
internal inline fun <R> ending(leave: (Throwable?) -> Unit, block: () -> R): R {
    var cause: Throwable? = null
    try {
        return block()
    } catch (thrown: Throwable) {
        cause = thrown
        throw thrown
    } finally {
        leave(cause)
    }
}

/** Runs a close in place, and throws what nobody was told about: nobody looks at the report. */
internal fun blocking(close: suspend () -> CloseReport) {
    if (Hub.isCurrentThread) throw errorOf("INVALID_STATE", "a thread of Headwater itself must not wait; use the suspending close")
    runBlocking { close() }.lost()?.let { throw it }
}

/**
 * Ends a `use`: closes, and throws what was lost unless [cause] is thrown already. Who was cancelled wants to leave: then
 * there is no more than [exitTimeout] for it, and what was lost is said on the error output.
 */
internal suspend fun leaving(cause: Throwable?, exitTimeout: Duration, close: suspend (Duration?) -> CloseReport) {
    if (cause is CancellationException && !currentCoroutineContext().isActive) {
        try {
            return close(exitTimeout).warn("when it was closed")
        } catch (failure: HeadwaterException) {
            return cause.addSuppressed(failure)
        }
    }
    val lost = try {
        close(null).lost()
    } catch (failure: HeadwaterException) {
        failure
    }
    if (lost != null) cause?.addSuppressed(lost) ?: throw lost
}

/** What was lost by a close, as an error. */
private fun CloseReport.lost(): HeadwaterException? = when {
    firstError != null -> firstError
    unsentRecords > 0 -> errorOf("DELIVERY_TIMED_OUT", "on closing, $unsentRecords records were not delivered", Outcome.Unknown)
    else -> null
}

/** Says what was lost on the error output. */
internal fun CloseReport.warn(situation: String) {
    if (unsentRecords == 0L && failedRecords == 0L && firstError == null) return
    val first = firstError?.let { "; the first error: ${it.message}" }.orEmpty()
    System.err.println("headwater: $unsentRecords records were not delivered and $failedRecords failed $situation$first")
}
