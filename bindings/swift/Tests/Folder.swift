// The golden data folder: what one version wrote, every other version and every language reads.

import Foundation

@testable import Headwater

let folderTests = [
    Test("the golden folder holds what its manifest says") {
        let json = try Data(contentsOf: golden.appendingPathComponent("folder.json"))
        guard let expected = try JSONSerialization.jsonObject(with: json) as? Object else {
            throw Failed(description: "folder.json is no object")
        }
        // Opening a folder writes to it.
        let folder = newPath()
        try FileManager.default.copyItem(at: golden.appendingPathComponent("folder"), to: folder)
        var options = ConnectOptions()
        options.create = false
        try await Headwater.withConnection(folder.path, options: options) { db in
            try await expectTopics(expected.objects("topics"), db)
            try await expectGroups(expected.objects("groups"), db)
        }
    }
]

private func expectTopics(_ wanted: [Object], _ db: Client) async throws {
    let topics = try await db.admin.listTopics()
    try expectEqual(wanted.map { $0.text("topic") }, topics.map(\.name))
    for (wanted, topic) in zip(wanted, topics) {
        let durability = topic.config.first { $0.name == "durability" }?.value
        try expectEqual(wanted.text("durability"), durability, topic.name)
        let partitions = wanted.objects("partitions")
        try expectEqual(partitions.count, topic.partitions.count, topic.name)
        for (wanted, partition) in zip(partitions, topic.partitions) {
            let place = "\(topic.name)/\(partition.partition)"
            try expectEqual(wanted.number("partition"), Int64(partition.partition), place)
            try expectEqual(wanted.number("log_start_offset"), partition.logStartOffset, place)
            try expectEqual(wanted.number("end_offset"), partition.highWatermark, place)
            try await expectRecords(wanted.objects("records"), db, topic.name, partition.partition)
        }
    }
}

private func expectRecords(
    _ wanted: [Object], _ db: Client, _ topic: String, _ partition: Int
) async throws {
    var options = ConsumerOptions()
    options.partitions = [partition]
    let found = try await db.withConsumer(topic, until: .end, options: options) { consumer in
        try await all(consumer.records)
    }
    try expectEqual(wanted.count, found.count, "\(topic)/\(partition)")
    for (wanted, record) in zip(wanted, found) {
        let place = "\(record)"
        try expectEqual(topic, record.topic, place)
        try expectEqual(partition, record.partition, place)
        try expectEqual(wanted.number("offset"), record.offset, place)
        // Null is the time of an append: another one for every folder made.
        if !(wanted["timestamp_ms"] is NSNull) {
            try expectEqual(wanted.number("timestamp_ms"), record.timestamp, place)
        }
        try expectEqual(wanted.bytes("key"), record.key, place)
        try expectEqual(wanted.bytes("value"), record.value, place)
        try expectEqual(wanted.headers("headers"), record.headers, place)
    }
}

private func expectGroups(_ wanted: [Object], _ db: Client) async throws {
    let groups = try await db.admin.listGroups()
    try expectEqual(wanted.map { $0.text("group") }, groups.map(\.group))
    for (wanted, group) in zip(wanted, groups) {
        let offsets = try wanted.objects("offsets").map {
            PartitionOffset(
                topic: $0.text("topic"), partition: Int(try $0.number("partition")),
                offset: try $0.number("offset"))
        }
        try expectEqual(offsets, group.offsets, group.group)
    }
}
