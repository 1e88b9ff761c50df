import Foundation

@testable import Headwater

/// Sends all sorts of records and reads them back as they were.
private func roundTrip(_ db: Client) async throws {
    try await db.admin.createTopic("sorts", partitions: 3, durability: .os)
    let headers = [Header("trace", "ab"), Header("trace", "cd"), Header("none", nil), Header("\u{fc}n\u{ef}", "")]
    let large = Data((0..<200_000).map { UInt8(truncatingIfNeeded: $0) })
    let sent = try await db.withProducer { producer in
        [
            try await producer.send("sorts", "text", key: "k1", partition: 0, timestamp: 1_700_000_000_000).value,
            try await producer.send("sorts", [0, 255, 127] as [UInt8], key: "", headers: headers, partition: 1).value,
            try await producer.send("sorts", nil, key: Data("tombstone".utf8), partition: 2).value,
            try await producer.send("sorts", Data(), partition: 2).value,
            try await producer.send("sorts", large, partition: 0).value,
        ]
    }
    try expectEqual([0, 0, 0, 1, 1], sent.map(\.offset))
    try expectEqual([0, 1, 2, 2, 0], sent.map(\.partition))
    try expect(sent.allSatisfy { $0.topic == "sorts" && $0.durability == .os })

    let read = try await db.withConsumer("sorts", until: .end) { try await all($0.records) }
    let (zero, one, two) = (read.filter { $0.partition == 0 }, read.filter { $0.partition == 1 }, read.filter { $0.partition == 2 })
    try expectEqual([2, 1, 2], [zero.count, one.count, two.count])
    try expectEqual(["text", "k1"], [zero[0].valueString, zero[0].keyString])
    try expectEqual(1_700_000_000_000, zero[0].timestamp)
    try expectEqual([], zero[0].headers)
    try expectEqual(large, zero[1].value)
    try expectEqual(Data([0, 255, 127]), one[0].value)
    try expectEqual(Data(), one[0].key)
    try expectEqual(headers, one[0].headers)
    try expectEqual(sent[1].timestamp, one[0].timestamp)
    try expectEqual([nil, "tombstone"], [two[0].valueString, two[0].keyString])
    try expectEqual(Data(), two[1].value)
    try expectEqual(nil, two[1].key)
    try expectEqual(["sorts"], Set(read.map(\.topic)))
}

let roundTripTests = [
    inMemory("records come back as they were sent, in memory") { try await roundTrip($0) },
    Test("records come back as they were sent, through a broker") {
        try await withBroker { address in
            try await Headwater.withConnection(address) { db in
                try expectEqual(address, db.address)
                try await roundTrip(db)
            }
        }
    },
    Test("a folder written here is whole, and is read again") {
        let folder = newPath()
        try await Headwater.withConnection(folder.path) { db in
            try await roundTrip(db)
            try await db.admin.createTopic("many", partitions: 4)
            try await db.withProducer(durability: .disk) { producer in
                for number in 0..<10_000 { try producer.enqueue("many", "value \(number)", key: "key \(number % 100)") }
            }
        }
        try headwater("dump", folder.path, "--verify")
        try await Headwater.withConnection(folder.path) { db in
            let values = try await db.withConsumer("many", until: .end) { try await all($0.records) }.map(\.text)
            try expectEqual(10_000, values.count)
            try expectEqual(Set((0..<10_000).map { "value \($0)" }), Set(values))
        }
    },
    inMemory("records of a key keep their order", partitions: 4) { db in
        try await db.withProducer { producer in
            for number in 0..<5_000 { try producer.enqueue("orders", "\(number)", key: "key \(number % 7)") }
        }
        let read = try await db.withConsumer("orders", until: .end) { try await all($0.records) }
        try expectEqual(5_000, read.count)
        for (key, records) in Dictionary(grouping: read, by: { $0.keyString }) {
            let numbers = records.compactMap { Int($0.text) }
            try expectEqual(numbers.sorted(), numbers, "\(key ?? "")")
            try expectEqual(1, Set(records.map(\.partition)).count, "\(key ?? "")")
        }
    },
    Test("a process that ends without closing delivers what it enqueued") {
        let folder = newPath()
        try run(CommandLine.arguments[0], "--end-without-closing", folder.path)
        try headwater("dump", folder.path, "--verify")
        try await Headwater.withConnection(folder.path) { db in
            let read = try await db.withConsumer("left", until: .end) { try await all($0.records) }
            try expectEqual((0..<1_000).map { "\($0)" }, read.map(\.text))
        }
    },
    inMemory("administration tells what is there", partitions: 2) { db in
        try await db.withProducer { producer in
            for number in 0..<3 { _ = try await producer.send("orders", "\(number)", partition: 1, timestamp: 1_000 + Int64(number)) }
        }
        let topic = try await db.admin.describeTopic("orders")
        try expectEqual([0, 3], topic.partitions.map(\.highWatermark))
        try expectEqual("2", topic.config.first { $0.name == "partitions" }?.value)
        try await expectEqual(["orders"], db.admin.listTopics().map(\.name))
        let asked = [OffsetAt.earliest, .latest, .time(1_001)].map { OffsetQuery(topic: "orders", partition: 1, at: $0) }
        try await expectEqual([0, 3, 1], db.admin.listOffsets(asked))
        try await expectEqual([0: 0, 1: 1], db.admin.deleteRecords("orders", before: [0: -1, 1: 1]))
        try await fails(.offsetOutOfRange, "OFFSET_OUT_OF_RANGE") { _ = try await db.admin.deleteRecords("orders", before: [1: 4]) }
        let two = PartitionOffset(topic: "orders", partition: 1, offset: 2)
        try await db.admin.commitOffsets("billing", [two])
        try await expectEqual([two], db.admin.describeGroup("billing").offsets)
        try await expectEqual(["billing"], db.admin.listGroups().map(\.group))
        let next = try await db.withConsumer("orders", group: "billing", until: .end) { try await first(1, of: $0.records) }
        try expectEqual([2], next.map(\.offset))
        try await db.admin.deleteGroup("billing")
        try await fails(.notFound, "GROUP_ID_NOT_FOUND") { _ = try await db.admin.describeGroup("billing") }
        var options = TopicOptions()
        options.maxMessageBytes = 2_000_000
        try await db.admin.alterTopic("orders", options: options)
        let altered = try await db.admin.describeTopic("orders").config.first { $0.name == "max_message_bytes" }
        try expectEqual("2000000", altered?.value)
        try expectEqual(3, db.metrics()["records_sent"])
        try await db.admin.deleteTopic("orders")
        try await expectEqual([], db.admin.listTopics().map(\.name))
    },
]

/// A program that ends without closing anything.
func endWithoutClosing(_ folder: String) async throws {
    let db = try await Headwater.connect(folder)
    try await db.admin.createTopic("left")
    let producer = try db.producer()
    for number in 0..<1_000 { try producer.enqueue("left", "\(number)") }
}
