import Foundation

@testable import Headwater

private func fill(_ db: Client, _ count: Int, keys: Int) async throws {
    try await db.withProducer(linger: .seconds(1)) { producer in
        for number in 0..<count { try producer.enqueue("orders", "\(number)", key: "k\(number % keys)") }
    }
}

private func committed(_ db: Client) async throws -> Int64 {
    try await db.admin.describeGroup("g").offsets.map(\.offset).reduce(0, +)
}

private func options(_ change: (inout ProcessOptions) -> Void) -> ProcessOptions {
    var options = ProcessOptions()
    options.backoff = .milliseconds(1)
    change(&options)
    return options
}

/// What handlers saw.
private final class Seen: @unchecked Sendable {
    private let lock = NSLock()
    private var numbersByKey: [String: [Int]] = [:]
    private var numbers: [Int] = []
    private var running = 0
    private var mostRunning = 0

    var byKey: [String: [Int]] { lock.withLock { numbersByKey } }
    var all: [Int] { lock.withLock { numbers } }
    var most: Int { lock.withLock { mostRunning } }

    func begin() {
        lock.withLock {
            running += 1
            mostRunning = max(mostRunning, running)
        }
    }

    func end() { lock.withLock { running -= 1 } }

    /// Counts an attempt; which it is.
    func attempt(_ number: Int) -> Int {
        lock.withLock {
            numbers.append(number)
            return numbers.filter { $0 == number }.count
        }
    }

    func done(_ record: Record) { lock.withLock { numbersByKey[record.keyString ?? "", default: []].append(record.number) } }
}

extension Record {
    fileprivate var number: Int { Int(text) ?? -1 }
}

let processTests = [
    inMemory("records of a key are handled in order, others beside them, and all are committed", partitions: 2) { db in
        try await fill(db, 500, keys: 10)
        let seen = Seen()
        try await db.withConsumer("orders", group: "g", until: .end) { consumer in
            try await consumer.process(options: options { $0.concurrency = 4 }) { record in
                seen.begin()
                try await Task.sleep(for: .milliseconds(1))
                seen.end()
                if seen.attempt(record.number) == 1, record.number % 7 == 0 { throw Failed(description: "not yet") }
                seen.done(record)
            }
        }
        let byKey = seen.byKey
        try expectEqual(500, byKey.values.map(\.count).reduce(0, +))
        for numbers in byKey.values { try expectEqual(numbers.sorted(), numbers) }
        try expectEqual(4, seen.most)
        try await expectEqual(500, committed(db))
    },
    inMemory("what fails at every attempt becomes a dead letter with its headers") { db in
        try await db.admin.createTopic("dead")
        try await db.withProducer { producer in
            _ = try await producer.send("orders", "bad", key: "k")
            _ = try await producer.send("orders", "good", key: "k")
        }
        let dead = options {
            $0.attempts = 2
            $0.deadLetter = "dead"
        }
        try await db.withConsumer("orders", group: "g", until: .end) { consumer in
            try await consumer.process(options: dead) { record in
                if record.text == "bad" { throw Failed(description: "it is bad") }
            }
        }
        try await expectEqual(2, committed(db))
        let letters = try await db.withConsumer("dead", until: .end) { try await all($0.records) }
        try expectEqual(["k"], letters.map(\.keyString))
        try expectEqual(["bad"], letters.map(\.text))
        let expected = [
            "headwater.dlq.topic=orders", "headwater.dlq.partition=0", "headwater.dlq.offset=0",
            "headwater.dlq.attempts=2", "headwater.dlq.error=it is bad",
        ]
        try expectEqual(expected, letters[0].headers.map { "\($0.key)=\(String(decoding: $0.value ?? Data(), as: UTF8.self))" })
    },
    inMemory("without a dead letter topic the handler's error comes out and nothing is skipped") { db in
        try await fill(db, 10, keys: 1)
        let seen = Seen()
        try await db.withConsumer("orders", group: "g", until: .end) { consumer in
            let error = try await expectThrows(Failed.self) {
                try await consumer.process(options: options { $0.attempts = 3 }) { record in
                    _ = seen.attempt(record.number)
                    if record.number == 5 { throw Failed(description: "five") }
                }
            }
            try expectEqual("five", error.description)
            try expectEqual([0, 1, 2, 3, 4, 5, 5, 5], seen.all)
            // Whoever reads it next begins with what failed.
            try await expectEqual(["5"], first(1, of: consumer.records).map(\.text))
        }
        try await expectEqual(5, committed(db))
    },
    inMemory("cancelled it cancels the handlers, and their records are read again") { db in
        try await fill(db, 3, keys: 3)
        try await db.withConsumer("orders", group: "g", until: .end) { consumer in
            let entered = Signal<Void>()
            let processing = Task {
                try await consumer.process { _ in
                    entered.finish()
                    try await Task.sleep(for: .seconds(3_600))
                }
            }
            try await entered.value()
            processing.cancel()
            try await expectThrows(CancellationError.self) { try await processing.value }
            try await expectEqual(3, all(consumer.records).count)
        }
    },
    inMemory("closing the consumer ends it once the handlers have ended") { db in
        try await fill(db, 1, keys: 1)
        let consumer = try db.consumer("orders")
        let seen = Seen()
        try await consumer.process { record in
            try await consumer.close()
            await Task.yield()
            seen.done(record)
        }
        try expectEqual([0], seen.byKey["k0"])
        try await fails(.closed, "CLOSED") { try await consumer.process { _ in } }
    },
    inMemory("nobody else reads meanwhile") { db in
        try await fill(db, 1, keys: 1)
        try await db.withConsumer("orders", until: .end) { consumer in
            try await consumer.process(options: options { $0.attempts = 1 }) { _ in
                try await fails(.invalidArgument, "INVALID_STATE") { _ = try await first(1, of: consumer.records) }
                try await fails(.invalidArgument, "INVALID_STATE") { try await consumer.process { _ in } }
            }
        }
    },
    inMemory("the record in hand of a loop that was left is processed, and a handler may seek") { db in
        try await fill(db, 4, keys: 1)
        let seen = Seen()
        try await db.withConsumer("orders", group: "g", until: .end) { consumer in
            try await expectEqual(["0", "1"], first(2, of: consumer.records).map(\.text))
            try await consumer.process { record in
                _ = seen.attempt(record.number)
                if seen.all.count == 2 { try consumer.seek("orders", partition: 0, to: 1) }
            }
        }
        try expectEqual([1, 2, 1, 2, 3], seen.all)
        try await expectEqual(4, committed(db))
    },
    inMemory("wrong options are refused") { db in
        try await db.withConsumer("orders") { consumer in
            try await fails(.invalidArgument, "INVALID_OPTION") {
                try await consumer.process(options: options { $0.concurrency = 0 }) { _ in }
            }
            try await fails(.invalidArgument, "INVALID_OPTION") {
                try await consumer.process(options: options { $0.deadLetter = "orders" }) { _ in }
            }
        }
    },
    inMemory("a batch is many records a call that end together", partitions: 2) { db in
        try await fill(db, 100, keys: 100)
        let (sizes, seen) = (Seen(), Seen())
        try await db.withConsumer("orders", group: "g", until: .end) { consumer in
            try await consumer.processBatches(options: options { $0.concurrency = 40 }) { batch in
                _ = sizes.attempt(batch.count)
                for record in batch { _ = seen.attempt(Int(record.text) ?? -1) }
            }
        }
        try expect(sizes.all.max() ?? 0 > 1 && sizes.all.allSatisfy { $0 <= 40 }, "\(sizes.all)")
        try expectEqual(Array(0..<100), seen.all.sorted())
        try await expectEqual(100, committed(db))
    },
    inMemory("a batch that fails is tried again, and its error comes out") { db in
        try await fill(db, 10, keys: 10)
        let calls = Seen()
        try await db.withConsumer("orders", group: "g", until: .end) { consumer in
            _ = try await expectThrows(Failed.self) {
                try await consumer.processBatches(options: options { $0.attempts = 2 }) { batch in
                    _ = calls.attempt(batch.count)
                    throw Failed(description: "bad")
                }
            }
        }
        try expect(calls.all.count >= 2)
        try await expectEqual(0, committed(db))
    },
]
