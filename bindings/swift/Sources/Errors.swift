// What fails, and how: one error type, its kind says what to do about it.

internal import HeadwaterNative

/// A failure. `kind` says what to do about it, `code` what it was (the same string in every language), `outcome` whether
/// it may have happened all the same. The message is for people and may change. A cancelled task ends with Swift's own
/// `CancellationError`, never with this.
public struct HeadwaterError: Error, Sendable, CustomStringConvertible {
    /// What went wrong, as the caller must react to it. Not an enum: there may be more kinds one day.
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        public let name: String

        /// Option, name, size, address or state of the call is wrong: fix the call.
        public static let invalidArgument = Kind(name: "InvalidArgument")
        /// Topic, partition, group or folder is not there: create it or fix the name.
        public static let notFound = Kind(name: "NotFound")
        /// It is there already: ignore it, or rename.
        public static let alreadyExists = Kind(name: "AlreadyExists")
        /// The offset was deleted or is past the end: choose a start.
        public static let offsetOutOfRange = Kind(name: "OffsetOutOfRange")
        /// Buffer, disk, quota or connection limit reached: wait, slow down, make room.
        public static let full = Kind(name: "Full")
        /// Broker, owner or leader cannot be reached, or leaves: wait; check the address.
        public static let unavailable = Kind(name: "Unavailable")
        /// The folder is owned by another process that does not share it: close that one.
        public static let locked = Kind(name: "Locked")
        /// The deadline of the call passed: read the outcome, then retry or raise the limit.
        public static let timeout = Kind(name: "Timeout")
        /// A newer producer, member or owner took over: the work belongs to another now.
        public static let fenced = Kind(name: "Fenced")
        /// Not authenticated or not allowed.
        public static let denied = Kind(name: "Denied")
        /// Version, codec, feature or platform lacks it.
        public static let unsupported = Kind(name: "Unsupported")
        /// Bytes on disk or wire fail their check.
        public static let corrupt = Kind(name: "Corrupt")
        /// A write or sync failed and the log stopped: fix the disk, open again.
        public static let storage = Kind(name: "Storage")
        /// The handle was closed.
        public static let closed = Kind(name: "Closed")
        /// A bug of Headwater: please report it.
        public static let `internal` = Kind(name: "Internal")

        /// Those this version knows.
        public static let all: [Kind] = [
            invalidArgument, notFound, alreadyExists, offsetOutOfRange, full, unavailable, locked, timeout, fenced, denied,
            unsupported, corrupt, storage, closed, `internal`,
        ]

        public var description: String { name }
    }

    /// Whether what was asked may have happened although the call failed.
    public enum Outcome: Sendable, CaseIterable {
        /// Nothing happened.
        case notDone
        /// A send or commit may have happened.
        case unknown
    }

    public let kind: Kind
    public let code: String
    public let message: String
    public let outcome: Outcome
    /// Whether the same call may succeed later. The library has already retried until its deadline.
    public let retriable: Bool
    /// Whether the object that failed is of no further use.
    public let fatal: Bool
    /// What caused it.
    public let cause: String?

    public var description: String { "\(kind) \(code): \(message)" }
}

extension HeadwaterError {
    init(_ facts: ErrorFacts) {
        kind = Kind(name: facts.kind)
        code = facts.code
        message = facts.text
        outcome = facts.isUnknown ? .unknown : .notDone
        retriable = facts.retriable
        fatal = facts.fatal
        cause = facts.cause
    }

    /// An error of core's table, by its code; kind, retriable and fatal are the table's.
    init(code: String, _ message: String, outcome: Outcome = .notDone) {
        self.init(makeError(code: code, text: message, isUnknown: outcome == .unknown))
    }

    static func invalid(_ message: String) -> HeadwaterError { HeadwaterError(code: "INVALID_ARGUMENT", message) }
}

/// Runs a call of the native module; what it refuses, and a panic in it, is thrown as a `HeadwaterError`.
func callNative<T>(_ call: () throws -> T) throws -> T {
    do {
        return try call()
    } catch NativeError.Failed(let facts) {
        throw HeadwaterError(facts)
    } catch let error as HeadwaterError {
        throw error
    } catch {
        let message = "a bug in Headwater, please report it: \(error)"
        throw HeadwaterError(code: "UNKNOWN_SERVER_ERROR", message, outcome: .unknown)
    }
}
