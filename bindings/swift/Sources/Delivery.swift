// What becomes of a record that was sent.

import Foundation

/// A record on its way. Await its `value` or leave it: a failure that nobody awaits comes out of `flush` and `close`.
public final class Delivery: Sendable {
    let topic: String
    let timestamp: Int64
    let ticket: Int64
    let answer: Signal<RecordMetadata>
    private let producer: Producer

    init(_ producer: Producer, topic: String, timestamp: Int64, ticket: Int64, lock: NSLock) {
        self.producer = producer
        self.topic = topic
        self.timestamp = timestamp
        self.ticket = ticket
        answer = Signal(lock: lock)
    }

    /// Whether the record is acknowledged or failed.
    public var isDone: Bool { answer.isFinished }

    /// Where the record went; throws why it did not. Cancelled, the wait ends and the record stays on its way.
    public var value: RecordMetadata {
        get async throws {
            producer.wanted(self)
            return try await answer.value()
        }
    }
}

/// A completion row: what became of records with consecutive tickets.
struct Completion {
    static let bytes = 40

    let firstTicket: Int64
    let count: Int64
    let partition: Int32
    let baseOffset: Int64
    /// When the log appended them, -1 where the record's own time counts.
    let appended: Int64
    let level: UInt8
    let outcome: HeadwaterError.Outcome
    let error: UInt16
    let errorId: UInt32

    /// The rows that stand back to back in `found`.
    static func rows(_ found: Data) -> [Completion] {
        found.withUnsafeBytes { found in
            guard let base = found.baseAddress else { return [] }
            return (0..<(found.count / bytes)).map { Completion(Words(base: base + $0 * bytes)) }
        }
    }

    private init(_ words: Words) {
        firstTicket = Int64(bitPattern: words.u64(0))
        count = Int64(words.u32(8))
        partition = Int32(bitPattern: words.u32(12))
        baseOffset = Int64(bitPattern: words.u64(16))
        appended = Int64(bitPattern: words.u64(24))
        level = UInt8(truncatingIfNeeded: words.u16(32))
        outcome = words.u16(32) >> 8 == 2 ? .unknown : .notDone
        error = words.u16(34)
        errorId = words.u32(36)
    }

    var isFailed: Bool { error != 0 }
    var durability: Durability { level == 1 ? .os : level == 2 ? .disk : .quorum }
}
