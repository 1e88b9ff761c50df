// Quickstart: send ten records and read them back, on a folder or through a broker.
//
//     examples/swift/run                    the log lives in this process, in a temporary folder
//     examples/swift/run 127.0.0.1:9092     the same calls, to a broker

import Foundation
import Headwater

let topic = "quickstart-swift"

func quickstart(_ address: String) async throws {
    try await Headwater.withConnection(address) { db in
        try await db.admin.createTopic(topic, partitions: 2, existOk: true)

        try await db.withProducer { producer in
            var last: Delivery?
            for number in 0..<10 {
                // What `send` gives can be awaited; what nobody awaits comes out of `close`.
                last = try await producer.send(topic, "hello \(number)", key: "key-\(number % 3)")
            }
            if let at = try await last?.value {
                print("the last record is in partition \(at.partition) and safe at `\(at.durability.rawValue)`")
            }
        }

        var count = 0
        try await db.withConsumer(topic, group: "quickstart", until: .end) { consumer in
            for try await record in consumer.records {
                print(record.partition, record.offset, record.keyString ?? "", record.valueString ?? "")
                count += 1
            }
        }
        print("\(count) records read")
    }
}

if CommandLine.arguments.count > 1 {
    try await quickstart(CommandLine.arguments[1])
} else {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("headwater-quickstart-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    try await quickstart(folder.path)
}
