import Foundation

@testable import Headwater

private func fill(_ db: Client, _ count: Int) async throws {
    try await db.withProducer { producer in
        for number in 0..<count { try producer.enqueue("orders", "\(number)") }
    }
}

private func committed(_ db: Client) async throws -> [Int64] {
    try await db.admin.describeGroup("billing").offsets.map(\.offset)
}

private func texts(_ numbers: some Sequence<Int>) -> [String] { numbers.map { "\($0)" } }

private func blocks(of records: Int) -> ConsumerOptions {
    var options = ConsumerOptions()
    options.maxBlockRecords = records
    return options
}

let consumerTests = [
    inMemory("leaving a loop does not process the record in hand") { db in
        try await fill(db, 10)
        try await db.withConsumer("orders", group: "billing") { consumer in
            try await expectEqual(texts(0..<3), first(3, of: consumer.records).map(\.text))
            try expectEqual([2], consumer.positions().map(\.offset))
            try await expectEqual(["2"], first(1, of: consumer.records).map(\.text), "the next loop begins with it")
            try await expectThrows(Failed.self) {
                for try await record in consumer.records where record.text == "5" { throw Failed(description: "stop") }
            }
            try expectEqual([5], consumer.positions().map(\.offset))
        }
        try await expectEqual([5], committed(db))
        let rest = try await db.withConsumer("orders", group: "billing", until: .end) { try await all($0.records) }
        try expectEqual(texts(5..<10), rest.map(\.text))
        try await expectEqual([10], committed(db))
    },
    inMemory("blocks follow each other and an end is reached", partitions: 2) { db in
        try await fill(db, 1_000)
        try await db.withConsumer("orders", until: .end, options: blocks(of: 64)) { consumer in
            try expect(!consumer.isFinished)
            try await expectEqual(1_000, all(consumer.records).count)
            try expect(consumer.isFinished)
            try await expectEqual(0, all(consumer.records).count)
            try expectEqual(1_000, consumer.positions().map(\.offset).reduce(0, +))
        }
    },
    inMemory("batches give the same records, block by block", partitions: 2) { db in
        try await fill(db, 500)
        try await db.withConsumer("orders", until: .end, options: blocks(of: 100)) { consumer in
            let begun = try await first(10, of: consumer.records).map(\.text)
            let batches = try await all(consumer.batches)
            try expectEqual(91, batches[0].count, "the rest of the block that was begun, with the record in hand")
            let found = begun.dropLast() + batches.joined().map(\.text)
            try expectEqual(500, found.count)
            try expectEqual(Set(texts(0..<500)), Set(found))
        }
    },
    inMemory("acknowledged by hand, what is committed is the first that is not") { db in
        try await fill(db, 10)
        try await db.withConsumer("orders", group: "billing", until: .end, ack: .manual) { consumer in
            let records = try await all(consumer.records)
            for record in records where record.offset != 3 && record.offset != 6 { try consumer.ack(record) }
            try await consumer.commit()
            try await expectEqual([3], consumer.committed().map(\.offset))
            try consumer.ack(records[3])
            try await consumer.commit()
            try await expectEqual([6], consumer.committed().map(\.offset))
            try await consumer.commit([PartitionOffset(topic: "orders", partition: 0, offset: 1)])
            try await expectEqual([1], consumer.committed().map(\.offset))
        }
        try await expectEqual([6], committed(db))
    },
    inMemory("a batch is acknowledged at once") { db in
        try await fill(db, 100)
        try await db.withConsumer("orders", group: "billing", until: .end, ack: .manual, options: blocks(of: 10)) { consumer in
            for batch in try await first(5, of: consumer.batches) { try consumer.ack(batch) }
        }
        try await expectEqual([50], committed(db))
    },
    inMemory("acknowledging by hand needs the option") { db in
        try await fill(db, 1)
        try await db.withConsumer("orders", group: "billing") { consumer in
            let record = try await first(1, of: consumer.records)[0]
            try await fails(.invalidArgument, "INVALID_STATE") { try consumer.ack(record) }
        }
    },
    inMemory("seek goes on elsewhere, in the middle of a block too") { db in
        try await fill(db, 10)
        try await db.withConsumer("orders", until: .end) { consumer in
            var read: [String] = []
            for try await record in consumer.records {
                read.append(record.text)
                if record.offset == 3 { try consumer.seek("orders", partition: 0, to: 8) }
            }
            try expectEqual(texts([0, 1, 2, 3, 8, 9]), read)
            try await consumer.seek("orders", partition: 0, to: .earliest)
            try await expectEqual(["0"], first(1, of: consumer.records).map(\.text))
            try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") { try consumer.seek("orders", partition: 5, to: 0) }
        }
    },
    inMemory("start and until choose what is read") { db in
        try await fill(db, 10)
        try await db.withConsumer("orders", start: .offset(4), until: .offset(6)) { consumer in
            try await expectEqual(texts(4..<6), all(consumer.records).map(\.text))
        }
        try await db.withConsumer("orders", start: .latest) { consumer in
            try await consumer.open()
            try await fill(db, 1)
            try await expectEqual([10], first(1, of: consumer.records).map(\.offset))
        }
    },
    inMemory("a loop that waits is cancelled, and loses nothing") { db in
        try await db.withConsumer("orders") { consumer in
            for _ in 0..<3 {
                let waiting = Task { try await all(consumer.records).count }
                try await Task.sleep(for: .milliseconds(2))
                waiting.cancel()
                try await expectThrows(CancellationError.self) { _ = try await waiting.value }
            }
            try await fill(db, 3)
            try await expectEqual(texts(0..<3), first(3, of: consumer.records).map(\.text))
        }
    },
    inMemory("a waiting loop gets a record that is sent later") { db in
        try await db.withConsumer("orders") { consumer in
            let waiting = Task { try await first(1, of: consumer.records).map(\.text) }
            try await fill(db, 1)
            try await expectEqual(["0"], waiting.value)
        }
    },
    inMemory("one loop at a time reads a consumer") { db in
        try await fill(db, 2)
        try await db.withConsumer("orders") { consumer in
            for try await _ in consumer.records {
                try await fails(.invalidArgument, "INVALID_STATE") { _ = try await first(1, of: consumer.records) }
                break
            }
        }
    },
    inMemory("closing ends a loop that waits, and reading afterwards is refused") { db in
        try await fill(db, 2)
        let consumer = try db.consumer("orders", group: "billing")
        let reading = Task { try await all(consumer.records) }
        while try consumer.positions().map(\.offset) != [2] { try await Task.sleep(for: .milliseconds(1)) }
        try await consumer.close()
        try await expectEqual(texts(0..<2), reading.value.map(\.text), "records outlive their consumer")
        try await fails(.closed, "CLOSED") { _ = try await first(1, of: consumer.records) }
        try await fails(.closed, "CLOSED") { try await consumer.commit() }
        try await consumer.close(timeout: .zero)
        try await expectEqual([2], committed(db))
    },
    inMemory("an unknown topic, a wrong option and no topic at all are said in words") { db in
        let nowhere = try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") {
            _ = try await db.withConsumer("nowhere") { try await all($0.records) }
        }
        try expect(nowhere.message.contains("nowhere"), nowhere.message)
        try await fails(.invalidArgument, "INVALID_OPTION") { _ = try db.consumer("orders", options: blocks(of: 0)) }
        try await fails(.invalidArgument, "INVALID_ARGUMENT") { _ = try db.consumer([]) }
    },
]
