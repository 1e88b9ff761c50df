// Closing while the broker says nothing.
package headwater

import java.io.ByteArrayOutputStream
import java.io.PrintStream
import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertSame
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch

class ClosingTest {
    /** It waited for the first, however long that took. */
    @Test
    fun `closing again ends sooner if its time is shorter`() = withStoppingBroker { address, stop ->
        val db = Headwater.connect(address)
        db.admin.createTopic("orders")
        val (first, second) = db.producer() to db.producer()
        first.send("orders", "x").await()
        second.send("orders", "x").await()
        stop()
        first.enqueue("orders", "y")
        second.enqueue("orders", "y")
        coroutineScope {
            val long = async(start = CoroutineStart.UNDISPATCHED) { first.close(10.minutes) }
            val report = first.close(10.milliseconds)
            assertEquals(1, report.unsentRecords)
            assertSame(report, long.await())
            val whole = async(start = CoroutineStart.UNDISPATCHED) { db.close(10.minutes) }
            assertEquals(1, db.close(10.milliseconds).unsentRecords)
            assertEquals(1, whole.await().unsentRecords)
        }
    }

    /** It had `closeTimeout`, and a thread waited for it. */
    @Test
    fun `who is cancelled leaves within the exit timeout, and what was lost is said`() = withStoppingBroker { address, stop ->
        val isWaiting = CompletableDeferred<Unit>()
        val said = errorOutput {
            coroutineScope {
                val job = launch {
                    Headwater.connect(address) { closeTimeout = 10.minutes; exitTimeout = 100.milliseconds }.use { db ->
                        db.admin.createTopic("orders")
                        db.producer().use { producer ->
                            producer.send("orders", "x").await()
                            stop()
                            producer.enqueue("orders", "y")
                            isWaiting.complete(Unit)
                            producer.flush()
                        }
                    }
                }
                isWaiting.await()
                job.cancelAndJoin()
            }
        }
        assertContains(said, "1 records were not delivered and 0 failed when it was closed")
    }

    /** It said nothing. */
    @Test
    fun `what was not delivered comes out of use`() = withStoppingBroker { address, stop ->
        val late = assertFailsWith<HeadwaterException> {
            Headwater.connect(address) { closeTimeout = 50.milliseconds }.use { db ->
                db.admin.createTopic("orders")
                db.producer().use { producer ->
                    producer.send("orders", "x").await()
                    stop()
                    producer.enqueue("orders", "y")
                }
            }
        }
        assertEquals("DELIVERY_TIMED_OUT" to Outcome.Unknown, late.code to late.outcome, late.message)
        assertContains(late.message!!, "1 records were not delivered")
    }

    @Test
    fun `an exception of the block wins over what was lost`() = inMemory { db ->
        val mine = assertFailsWith<IllegalStateException> {
            db.producer().use { producer ->
                producer.enqueue("nowhere", "x")
                error("mine")
            }
        }
        assertEquals("UNKNOWN_TOPIC_OR_PARTITION", (mine.suppressed.single() as HeadwaterException).code)
    }

    @Test
    fun `closing ends a loop in the middle of a block, and one that begins after it fails`() = inMemory { db ->
        db.producer().use { producer -> repeat(10) { producer.enqueue("orders", "$it") } }
        val consumer = db.consumer("orders")
        val read = ArrayList<String>()
        consumer.records().collect {
            read.add(it.value!!.decodeToString())
            if (read.size == 3) consumer.close(null)
        }
        assertEquals(listOf("0", "1", "2"), read)
        fails(ErrorKind.Closed, "CLOSED") { consumer.records().toList() }
        fails(ErrorKind.Closed, "CLOSED") { consumer.batches().toList() }
    }

    /** What is printed on the error output meanwhile. */
    private suspend fun errorOutput(call: suspend () -> Unit): String {
        val before = System.err
        val said = ByteArrayOutputStream()
        System.setErr(PrintStream(said, true))
        try {
            call()
        } finally {
            System.setErr(before)
        }
        return said.toString()
    }
}
