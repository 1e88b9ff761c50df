// Closing while the broker says nothing.

import Foundation

@testable import Headwater

private let long = Duration.seconds(600)

let closingTests = [
    // It waited for the first, however long that took.
    Test("closing again ends sooner if its time is shorter") {
        try await withStoppingBroker { address, stop in
            let db = try await Headwater.connect(address)
            try await db.admin.createTopic("orders")
            let (first, second) = (try db.producer(), try db.producer())
            for producer in [first, second] { _ = try await producer.send("orders", "x").value }
            stop()
            for producer in [first, second] { try producer.enqueue("orders", "y") }
            let slow = Task { try await first.close(timeout: long) }
            while !first.closing.isBegun { await Task.yield() }
            try await expectEqual(1, first.close(timeout: .milliseconds(10)).unsentRecords)
            try await expectEqual(1, slow.value.unsentRecords)
            let whole = Task { try await db.close(timeout: long) }
            while !db.isClosed { await Task.yield() }
            try await expectEqual(1, db.close(timeout: .milliseconds(10)).unsentRecords)
            try await expectEqual(1, whole.value.unsentRecords)
        }
    },
    // It had `closeTimeout`.
    Test("who is cancelled leaves within the exit timeout") {
        try await withStoppingBroker { address, stop in
            let hurried = options(closeTimeout: long, exitTimeout: .milliseconds(100))
            let isWaiting = Signal<Void>()
            let task = Task {
                try await Headwater.withConnection(address, options: hurried) { db in
                    try await db.admin.createTopic("orders")
                    try await db.withProducer { producer in
                        _ = try await producer.send("orders", "x").value
                        stop()
                        try producer.enqueue("orders", "y")
                        isWaiting.finish()
                        try await producer.flush()
                    }
                }
            }
            try await isWaiting.value()
            task.cancel()
            try await expectThrows(CancellationError.self) { try await task.value }
        }
    },
    // It said nothing.
    Test("what was not delivered comes out of the end of a scope") {
        try await withStoppingBroker { address, stop in
            let late = try await fails(.timeout, "DELIVERY_TIMED_OUT") {
                try await Headwater.withConnection(address, options: options(closeTimeout: .milliseconds(50))) { db in
                    try await db.admin.createTopic("orders")
                    try await db.withProducer { producer in
                        _ = try await producer.send("orders", "x").value
                        stop()
                        try producer.enqueue("orders", "y")
                    }
                }
            }
            try expectEqual(.unknown, late.outcome)
            try expect(late.message.contains("1 records were not delivered"), late.message)
        }
    },
    inMemory("closing ends a loop in the middle of a block, and one that begins after it fails") { db in
        try await db.withProducer { producer in
            for index in 0..<10 { try producer.enqueue("orders", "\(index)") }
        }
        let consumer = try db.consumer("orders")
        var read: [String] = []
        for try await record in consumer.records {
            read.append(record.text)
            if read.count == 3 { try await consumer.close() }
        }
        try expectEqual(["0", "1", "2"], read)
        try await fails(.closed, "CLOSED") { _ = try await all(consumer.records) }
        try await fails(.closed, "CLOSED") { _ = try await all(consumer.batches) }
    },
]

private func options(closeTimeout: Duration, exitTimeout: Duration? = nil) -> ConnectOptions {
    var options = ConnectOptions()
    options.closeTimeout = closeTimeout
    options.exitTimeout = exitTimeout
    return options
}
