// Pausing, the lag, static members, results with a commit, and health.

import Foundation

@testable import Headwater

private func fill(_ db: Client, _ count: Int) async throws {
    try await db.withProducer { producer in
        for number in 0..<count { try producer.enqueue("orders", "\(number)", partition: number % 2) }
    }
}

private let zero = TopicPartition(topic: "orders", partition: 0)

/// As many records as there are to come: their partitions.
private func partitions(_ count: Int, of consumer: Consumer) async throws -> [Int] {
    try await first(count, of: consumer.records).map(\.partition)
}

private func pauses(_ db: Client) async throws {
    try await fill(db, 20)
    try await db.withConsumer("orders", group: "billing") { consumer in
        try await fails(.invalidArgument, "INVALID_STATE") { try consumer.pause() }
        try await consumer.open()
        try consumer.pause([zero])
        try expectEqual([zero], consumer.paused())
        try await expectEqual(Array(repeating: 1, count: 10), partitions(10, of: consumer))
        try consumer.pause()
        try expectEqual(2, consumer.paused().count)
        try consumer.resume([zero])
        // The last of them was in hand, and comes again first.
        try await expectEqual([1] + Array(repeating: 0, count: 10), partitions(11, of: consumer))
        try consumer.resume()
        try expectEqual([], consumer.paused())
        let wrong = [zero, TopicPartition(topic: "orders", partition: 7)]
        try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") { try consumer.pause(wrong) }
        try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") { try consumer.resume(wrong) }
        try await consumer.close()
        try await fails(.closed, "CLOSED") { try consumer.pause() }
        try await fails(.closed, "CLOSED") { try consumer.resume() }
        try await fails(.closed, "CLOSED") { _ = try await consumer.lag() }
    }
}

private func asInstance() -> ConsumerOptions {
    var options = ConsumerOptions()
    options.instanceId = "one"
    return options
}

private func committed(_ db: Client) async throws -> [Int64] {
    try await db.admin.describeGroup("billing").offsets.map(\.offset)
}

let memberTests = [
    inMemory("a partition that is paused gives nothing until it is resumed", partitions: 2) { db in try await pauses(db) },
    Test("over a broker pausing is the same") {
        try await withBroker { address in
            try await Headwater.withConnection(address) { db in
                try await db.admin.createTopic("orders", partitions: 2)
                try await pauses(db)
            }
        }
    },
    inMemory("the lag is counted from what was processed", partitions: 2) { db in
        try await fill(db, 20)
        try await db.withConsumer("orders", group: "billing") { consumer in
            try await expectEqual([], consumer.lag())
            _ = try await first(4, of: consumer.records)
            try await consumer.commit()
            let lags = try await consumer.lag()
            let one = PartitionLag(topic: "orders", partition: 0, position: 3, committed: 3, highWatermark: 10, lag: 7)
            let other = PartitionLag(topic: "orders", partition: 1, position: 0, committed: nil, highWatermark: 10, lag: 10)
            try expectEqual([one, other], lags)
        }
    },
    Test("a static member keeps its place, and one whose name is taken is fenced") {
        try await withBroker { address in
            try await Headwater.withConnection(address) { db in
                try await db.admin.createTopic("orders", partitions: 2)
                let member = { try db.consumer("orders", group: "billing", options: asInstance()) }
                let gone = try member()
                try await gone.open()
                try await gone.close()
                let before = try await db.admin.describeGroup("billing")
                try expectEqual(["one"], before.members.map(\.instanceId))
                let second = try member()
                try await second.open()
                let after = try await db.admin.describeGroup("billing")
                try expectEqual(before.generation, after.generation)
                try expect(before.members[0].memberId != after.members[0].memberId)
                try expectEqual([zero, TopicPartition(topic: "orders", partition: 1)], after.members[0].partitions)
                let third = try member()
                try await third.open()
                try await fails(.fenced, "FENCED_INSTANCE_ID") { _ = try await first(1, of: second.records) }
                try await second.close()
                try await third.close()
                try await fails(.invalidArgument, "INVALID_OPTION") { _ = try db.consumer("orders", options: asInstance()) }
            }
        }
    },
    inMemory("results and the position of the record in hand are one") { db in
        try await db.admin.createTopic("bills", partitions: 2)
        try await db.withProducer { producer in
            for number in 0..<10 { try producer.enqueue("orders", "\(number)") }
        }
        try await db.withConsumer("orders", group: "billing") { consumer in
            let bill = try ProducerRecord("bills", "x", key: "k", headers: [Header("a", "1")], timestamp: 7)
            try await fails(.invalidArgument, "INVALID_STATE") { _ = try await consumer.commit(with: [bill]) }
            for try await record in consumer.records {
                let sent = try await consumer.commit(with: [bill])
                try expectEqual([record.offset], sent.map(\.offset))
                try expectEqual([7], sent.map(\.timestamp))
                try expectEqual([.os], sent.map(\.durability))
                try await expectEqual([record.offset + 1], committed(db))
                if record.offset == 4 { break }
            }
            try expectEqual([5], consumer.positions().map(\.offset))
            let large = try ProducerRecord("bills", [UInt8](repeating: 0, count: 40 << 20))
            for try await _ in consumer.records {
                try await fails(.invalidArgument, "MESSAGE_TOO_LARGE") { _ = try await consumer.commit(with: [large]) }
                break
            }
            let next = try await first(1, of: consumer.records)
            try expectEqual([5], next.map(\.offset), "what was committed is not given again")
            let unknown = try ProducerRecord("nothing", "x")
            try await fails(.notFound, "UNKNOWN_TOPIC_OR_PARTITION") { _ = try await consumer.commit(with: [unknown]) }
            try await consumer.close()
            try await fails(.closed, "CLOSED") { _ = try await consumer.commit(with: [bill]) }
        }
        try await expectEqual([5], committed(db), "nothing is committed unasked")
        let bills = try await db.withConsumer("bills", until: .end) { try await all($0.records) }
        try expectEqual(5, bills.count)
        try expectEqual([Header("a", "1")], bills[0].headers)
        try await db.withConsumer("orders", group: "billing", until: .end) { consumer in
            for try await batch in consumer.batches {
                _ = try await consumer.commit(with: try batch.map { try ProducerRecord("bills", $0.text) })
                try await expectEqual([10], committed(db), "a batch in hand is committed whole")
            }
        }
    },
    inMemory("a client is well until it is closed", partitions: 2) { db in
        let health = try db.health()
        try expect(health.isHealthy && health.isConnected && !health.isClosed)
        try expect(health.reason == nil && health.lastError == nil && health.oldestUnsentMs == nil)
        try expectEqual("mem:", health.address)
        try expectEqual([0, 0], [health.bufferedBytes, health.bufferedRecords])
        try await db.withConsumer("orders", group: "billing") { consumer in
            try await consumer.open()
            let members = try db.health().members
            try expectEqual(["billing"], members.map(\.group))
            try expectEqual([.stable], members.map(\.state))
            try expectEqual([2], members.map(\.partitions))
            try expect(members[0].generation > 0 && !members[0].memberId.isEmpty)
            try expect(members[0].lastHeartbeatMs != nil && members[0].reason == nil)
        }
        try await db.close()
        let after = try db.health()
        try expect(after.isClosed && !after.isHealthy && !after.isConnected)
        try expectEqual("the client of mem: is closed", after.reason)
    },
]
