// What fails, and how: one exception class, its kind says what to do about it.
package headwater

import headwater.ffi.ErrorFacts
import headwater.ffi.InternalException
import headwater.ffi.NativeException
import headwater.ffi.makeError

/** What went wrong, as the caller must react to it. A `when` over kinds needs an `else`: there may be more one day. */
enum class ErrorKind {
    /** Option, name, size, address or state of the call is wrong: fix the call. */
    InvalidArgument,

    /** Topic, partition, group or folder is not there: create it or fix the name. */
    NotFound,

    /** It is there already: ignore it, or rename. */
    AlreadyExists,

    /** The offset was deleted or is past the end: choose a start. */
    OffsetOutOfRange,

    /** Buffer, disk, quota or connection limit reached: wait, slow down, make room. */
    Full,

    /** Broker, owner or leader cannot be reached, or leaves: wait; check the address. */
    Unavailable,

    /** The folder is owned by another process that does not share it: close that one. */
    Locked,

    /** The deadline of the call passed: read the outcome, then retry or raise the limit. */
    Timeout,

    /** A newer producer, member or owner took over: the work belongs to another now. */
    Fenced,

    /** Not authenticated or not allowed. */
    Denied,

    /** Version, codec, feature or platform lacks it. */
    Unsupported,

    /** Bytes on disk or wire fail their check. */
    Corrupt,

    /** A write or sync failed and the log stopped: fix the disk, open again. */
    Storage,

    /** The handle was closed. */
    Closed,

    /** A bug of Headwater: please report it. */
    Internal,
}

/** Whether what was asked may have happened although the call failed. */
enum class Outcome {
    /** Nothing happened. */
    NotDone,

    /** A send or commit may have happened. */
    Unknown,
}

/**
 * A failure. [kind] says what to do about it, [code] what it was (the same string in every language), [outcome] whether
 * it may have happened all the same. The message is for people and may change. A cancelled coroutine ends with the
 * host's own `CancellationException`, never with this.
 */
open class HeadwaterException(
    val kind: ErrorKind,
    val code: String,
    message: String,
    val outcome: Outcome,
    /** Whether the same call may succeed later. The library has already retried until its deadline. */
    val retriable: Boolean,
    /** Whether the object that failed is of no further use. */
    val fatal: Boolean,
    cause: Throwable? = null,
) : Exception(message, cause)

internal fun ErrorFacts.toException() = HeadwaterException(
    ErrorKind.entries.find { it.name == kind } ?: ErrorKind.Internal,
    code,
    text,
    if (isUnknown) Outcome.Unknown else Outcome.NotDone,
    retriable,
    fatal,
    cause?.let(::Exception),
)

/** An error of core's table, by its code; kind, retriable and fatal are the table's. */
internal fun errorOf(code: String, message: String, outcome: Outcome = Outcome.NotDone): HeadwaterException =
    makeError(code, message, outcome == Outcome.Unknown).toException()

internal fun invalid(message: String) = errorOf("INVALID_ARGUMENT", message)

/** Runs a call of the native module; what it refuses, and a panic in it, is thrown as a [HeadwaterException]. */
internal inline fun <T> native(call: () -> T): T =
    try {
        call()
    } catch (refused: NativeException.Failed) {
        throw refused.facts.toException()
    } catch (panic: InternalException) {
        val message = "a bug in Headwater, please report it: ${panic.message}"
        throw errorOf("UNKNOWN_SERVER_ERROR", message, Outcome.Unknown)
    }
