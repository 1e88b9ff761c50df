import Foundation

@testable import Headwater

/// A producer without room: four partitions linger, so that the buffer fills up before a batch is closed, and the hub,
/// which hears of room, is held until `release` is called.
private func full(_ db: Client, _ body: (Producer, _ taken: Int64, _ release: () -> Void) async throws -> Void) async throws {
    let isHeld = Signal<Void>()
    let release = DispatchSemaphore(value: 0)
    Hub.shared.soon {
        isHeld.finish()
        release.wait()
    }
    defer { release.signal() }
    try await isHeld.value()
    var options = ProducerOptions()
    options.bufferBytes = 262_144
    let producer = try db.producer(linger: .seconds(60), options: options)
    let value = Data(repeating: 7, count: 1_000)
    var taken = 0
    let refused = try await fails(.full, "BUFFER_FULL") {
        while true {
            try producer.enqueue("orders", value, partition: taken % 4)
            taken += 1
        }
    }
    try expect(refused.retriable)
    try await body(producer, Int64(taken)) { release.signal() }
    try await expectEqual(0, producer.close().unsentRecords)
}

private func records(_ db: Client) async throws -> Int64 {
    try await db.admin.describeTopic("orders").partitions.map(\.highWatermark).reduce(0, +)
}

/// Waits until `condition` holds; what it waits for needs no time limit to be right.
private func until(_ condition: () async throws -> Bool) async throws {
    while !(try await condition()) { try await Task.sleep(for: .milliseconds(1)) }
}

private final class Failures: @unchecked Sendable {
    private let lock = NSLock()
    private var found: [DeliveryFailure] = []

    func add(_ failure: DeliveryFailure) { lock.withLock { found.append(failure) } }
    var all: [DeliveryFailure] { lock.withLock { found } }
}

let producerTests = [
    inMemory("many deliveries are awaited in any order", partitions: 3) { db in
        try await db.withProducer { producer in
            var deliveries: [Delivery] = []
            for number in 0..<3_000 { deliveries.append(try await producer.send("orders", "\(number)", key: "\(number)")) }
            var places: Set<PartitionOffset> = []
            for delivery in deliveries.shuffled() {
                let at = try await delivery.value
                places.insert(PartitionOffset(topic: at.topic, partition: at.partition, offset: at.offset))
            }
            try expectEqual(3_000, places.count)
            try expect(deliveries.allSatisfy(\.isDone))
        }
    },
    inMemory("an unknown topic fails the delivery") { db in
        try await db.withProducer { producer in
            try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") { _ = try await producer.send("nowhere", "x").value }
            try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") {
                _ = try await producer.send("orders", "x", partition: 7).value
            }
            try await expectEqual(0, producer.send("orders", "x").value.offset)
            try await producer.flush()
        }
    },
    inMemory("a record that is refused does not take its neighbours with it") { db in
        try await db.withProducer { producer in
            let deliveries = [
                try await producer.send("orders", "x", partition: 0), try await producer.send("orders", "x", partition: 9),
                try await producer.send("orders", "x", partition: 0),
            ]
            try await expectEqual(0, deliveries[0].value.offset)
            try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") { _ = try await deliveries[1].value }
            try await expectEqual(1, deliveries[2].value.offset)
        }
    },
    inMemory("failures that nobody awaits come out of flush once, and of the hook") { db in
        let producer = try db.producer()
        let failures = Failures()
        producer.onFailure { failures.add($0) }
        try producer.enqueue("nowhere", "x")
        try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") { try await producer.flush() }
        try await producer.flush()
        let dropped = try await producer.send("nowhere", "y")
        try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") { try await producer.flush() }
        try expect(dropped.isDone)
        try producer.enqueue("nowhere", "z")
        let report = try await producer.close()
        try expectEqual(1, report.failedRecords)
        try expectEqual("UNKNOWN_TOPIC_OR_PARTITION", report.firstError?.code)
        try expectEqual(2, failures.all.map(\.records).reduce(0, +))
        try expectEqual(["nowhere"], Set(failures.all.map(\.topic)))
    },
    inMemory("a record over the limit is refused in words") { db in
        try await db.withProducer { producer in
            let large = Data(count: 2_000_000)
            try await fails(.invalidArgument, "MESSAGE_TOO_LARGE") { _ = try await producer.send("orders", large).value }
            try await fails(.invalidArgument, "INVALID_ARGUMENT") { try producer.enqueue("orders", "x", partition: -2) }
            try await fails(.invalidArgument, "INVALID_TOPIC_EXCEPTION") { try await db.admin.createTopic("a/b") }
        }
    },
    inMemory("without room enqueue refuses, and send waits until there is some", partitions: 4) { db in
        try await full(db) { producer, taken, release in
            let waiting = Task { try await producer.send("orders", "waited", partition: 0) }
            try await until { producer.waitingCount == 1 }
            try await fails(.full, "BUFFER_FULL") { try producer.enqueue("orders", "x") }
            release()
            _ = try await waiting.value.value
            try await producer.ready()
            try producer.enqueue("orders", "x")
            try await producer.flush()
            try await expectEqual(taken + 2, records(db))
        }
    },
    inMemory("a send that is cancelled while it waits is not sent", partitions: 4) { db in
        try await full(db) { producer, taken, release in
            let waiting = Task { try await producer.send("orders", "never") }
            try await until { producer.waitingCount == 1 }
            waiting.cancel()
            try await expectThrows(CancellationError.self) { _ = try await waiting.value }
            release()
            try await producer.flush()
            try await expectEqual(taken, records(db))
        }
    },
    inMemory("cancelling the wait for a delivery leaves the record on its way") { db in
        try await db.withProducer(linger: .seconds(60)) { producer in
            let delivery = try await producer.send("orders", "x")
            let waiting = Task { try await delivery.value }
            waiting.cancel()
            try await expectThrows(CancellationError.self) { _ = try await waiting.value }
            try expect(!delivery.isDone)
            try await producer.flush()
            try await expectEqual(0, delivery.value.offset)
        }
    },
    inMemory("closing delivers what was sent, and what comes later is refused") { db in
        let producer = try db.producer(linger: .seconds(60))
        let delivery = try await producer.send("orders", "x")
        let report = try await producer.close()
        try expectEqual([0, 0], [report.unsentRecords, report.failedRecords])
        try await expectEqual(0, delivery.value.offset)
        try await expectEqual(0, producer.close(timeout: .zero).unsentRecords)
        try await fails(.closed, "CLOSED") { _ = try await producer.send("orders", "x") }
        let closed = try await fails(.closed, "CLOSED") { try producer.enqueue("orders", "x") }
        try expect(closed.fatal)
        try await fails(.closed, "CLOSED") { try await producer.ready() }
    },
    Test("closing the client closes its producers and delivers what they hold") {
        let folder = newPath()
        let db = try await Headwater.connect(folder)
        try await db.admin.createTopic("orders")
        let producer = try db.producer()
        for number in 0..<100 { try producer.enqueue("orders", "\(number)") }
        let report = try await db.close()
        try expectEqual(0, report.unsentRecords)
        try expect(report.firstError == nil && db.isClosed)
        try await fails(.closed, "CLOSED") { try producer.enqueue("orders", "x") }
        try await fails(.closed, "CLOSED") { _ = try db.producer() }
        try await fails(.closed, "CLOSED") { _ = try await db.admin.listTopics() }
        try await Headwater.withConnection(folder.path) { again in
            let read = try await again.withConsumer("orders", until: .end) { try await all($0.records) }
            try expectEqual(100, read.count)
        }
    },
    inMemory("what enqueue took reaches the log without flush") { db in
        try await db.withProducer { producer in
            try producer.enqueue("orders", "x")
            try await until { try await records(db) == 1 }
        }
    },
]
