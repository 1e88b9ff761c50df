// What becomes of a record that was sent.
package headwater

import java.nio.ByteBuffer
import kotlinx.coroutines.CompletableDeferred

/** A record on its way. Await it or leave it: a failure that nobody awaits comes out of `flush` and `close`. */
class Delivery internal constructor(
    private val producer: Producer, internal val topic: String, internal val timestamp: Long, internal val ticket: Long,
) {
    internal val answer = CompletableDeferred<RecordMetadata>()

    /** Whether somebody has asked, and was or will be told. */
    @Volatile internal var isRead = false

    /** Whether the record is acknowledged or failed. */
    val isDone: Boolean get() = answer.isCompleted

    /** Where the record went; fails with why it did not. Cancelled, the wait ends and the record stays on its way. */
    suspend fun await(): RecordMetadata {
        isRead = true
        if (!answer.isCompleted) producer.push()
        return answer.await()
    }
}

/** A completion row: what became of records with consecutive tickets. */
internal class Completion(rows: ByteBuffer) {
    val firstTicket = rows.getLong()
    val count = rows.getInt().toLong() and 0xffff_ffffL
    val partition = rows.getInt()
    val baseOffset = rows.getLong()

    /** When the log appended them, -1 where the record's own time counts. */
    val appended = rows.getLong()
    private val level = rows.get().toInt()
    private val outcomeNumber = rows.get().toInt()
    val error = rows.getShort().toInt() and 0xffff
    val errorId = rows.getInt()

    val isFailed get() = error != 0
    val durability get() = Durability.entries[(level - 1).coerceIn(0, 2)]
    val outcome get() = if (outcomeNumber == 2) Outcome.Unknown else Outcome.NotDone

    companion object {
        const val BYTES = 40
    }
}
