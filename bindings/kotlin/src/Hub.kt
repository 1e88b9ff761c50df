// Where answers arrive: one wake-up of one thread for as many as are ready.
//
// Whoever waits has a ticket. Core pushes the tickets that are answered to one queue and calls `ready` on a thread of its
// own, which only unparks the hub's thread; that one drains the queue and runs the handlers, which resume coroutines. A
// coroutine takes its answer itself, on its own thread. The hub's thread also runs what is due soon: handing over
// records that nobody awaits.
package headwater

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native
import headwater.ffi.Answer
import headwater.ffi.Ready
import headwater.ffi.exit
import headwater.ffi.hubDrain
import headwater.ffi.hubForget
import headwater.ffi.hubOpen
import headwater.ffi.hubTake
import headwater.ffi.uniffiCallbackInterfaceReady
import headwater.ffi.uniffiEnsureInitialized
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicLong
import java.util.concurrent.locks.LockSupport
import kotlin.coroutines.resume
import kotlin.time.Duration
import kotlinx.coroutines.CancellableContinuation
import kotlinx.coroutines.suspendCancellableCoroutine

internal object Hub : Ready {
    private const val SOON_NANOS = 1_000_000L

    private val lastTicket = AtomicLong()
    private val handlers = ConcurrentHashMap<Long, () -> Unit>()
    private val soon = ConcurrentLinkedQueue<Soon>()
    private val isReady = AtomicBoolean()
    private val thread: Thread

    private class Soon(val at: Long, val run: () -> Unit)

    init {
        // Kotlin compares the bindings with the library only when told to.
        uniffiEnsureInitialized()
        // Core's threads stay attached to the JVM, as daemons: they must not keep it from ending.
        val attach = CallbackThreadInitializer(true, false, "headwater")
        Native.setCallbackThreadInitializer(uniffiCallbackInterfaceReady.ready, attach)
        thread = Thread(::run, "headwater-hub").apply { isDaemon = true }
        thread.start()
        hubOpen(this)
        Runtime.getRuntime().addShutdownHook(Thread(::end, "headwater-exit"))
    }

    /** Whether this is the thread that resumes everybody: it must never wait. */
    val isCurrentThread get() = Thread.currentThread() === thread

    override fun ready() {
        isReady.set(true)
        LockSupport.unpark(thread)
    }

    fun newTicket(): Long = lastTicket.incrementAndGet()

    /** A ticket whose [handler] runs at every wake-up, on the hub's thread, until it is forgotten. */
    fun watch(handler: () -> Unit): Long = newTicket().also { handlers[it] = handler }

    /** Runs [handler] when what is asked under [ticket] is answered. */
    fun handle(ticket: Long, handler: () -> Unit) {
        handlers[ticket] = handler
    }

    /** Drops a ticket, and its answer, whether it is there or on its way. */
    fun forget(ticket: Long) {
        handlers.remove(ticket)
        hubForget(ticket)
    }

    /** A ticket that is no longer watched; what was asked under it goes on. */
    fun unwatch(ticket: Long) {
        handlers.remove(ticket)
    }

    /** Runs [job] on the hub's thread within about a millisecond. */
    fun soon(job: () -> Unit) {
        val isFirst = soon.isEmpty()
        soon.add(Soon(System.nanoTime() + SOON_NANOS, job))
        if (isFirst) LockSupport.unpark(thread)
    }

    /** Asks under a ticket and suspends until the answer is there; cancelled, the answer is dropped. */
    suspend fun ask(start: (ticket: Long) -> Unit): Answer {
        val ticket = newTicket()
        try {
            suspendCancellableCoroutine { waiting: CancellableContinuation<Unit> ->
                handlers[ticket] = {
                    handlers.remove(ticket)
                    waiting.resume(Unit)
                }
                native { start(ticket) }
            }
            return take(ticket)
        } catch (end: Throwable) {
            forget(ticket)
            throw end
        }
    }

    fun take(ticket: Long): Answer =
        native { hubTake(ticket) } ?: throw errorOf("UNKNOWN_SERVER_ERROR", "ticket $ticket has no answer yet")

    private fun run() {
        while (true) {
            if (isReady.getAndSet(false)) for (ticket in hubDrain()) guarded { handlers[ticket]?.invoke() }
            val next = soon.peek()
            val wait = if (next == null) Long.MAX_VALUE else next.at - System.nanoTime()
            if (next != null && wait <= 0) {
                soon.poll()
                guarded(next.run)
            } else if (!isReady.get()) {
                LockSupport.parkNanos(this, wait)
            }
        }
    }

    /** A handler that fails must not take the others with it. */
    private inline fun guarded(call: () -> Unit) {
        try {
            call()
        } catch (failure: Throwable) {
            thread.uncaughtExceptionHandler.uncaughtException(thread, failure)
        }
    }

    /** The end of the process: hands over what is still here, waits for it, and says what was not delivered. */
    private fun end() {
        while (true) guarded((soon.poll() ?: break).run)
        exit(null).toReport().warn("when the process ended")
    }
}

/** Whole milliseconds for core, rounded up; none and infinite are none. */
internal fun Duration?.toMs(): Long? = this?.takeIf { it.isFinite() }?.let { (it.inWholeNanoseconds + 999_999) / 1_000_000 }
