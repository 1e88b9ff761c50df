// How many records a second go in and come out, each way: the log lives in this process, in a
// folder on the disk.
//
// Each way in has a topic of its own. The clock runs from the first call to the last
// acknowledgement, and from asking for a consumer until it has given its last record, whose value
// is looked at; opening and closing the log do not count.

import Foundation
import Headwater

// main FOLDER RECORDS RUNS
let arguments = CommandLine.arguments
guard arguments.count == 4, let records = Int(arguments[2]), let runs = Int(arguments[3]) else {
    fatalError("expected FOLDER RECORDS RUNS")
}
let rates = Rates(folder: URL(fileURLWithPath: arguments[1]), records: records)
print("swift: \(records) records of \(rates.value.count) bytes, durability os, median of \(runs)")
var taken: [[Duration]] = []
for _ in 0..<runs { taken.append(try await rates.run()) }
for (index, way) in ["enqueue", "send", "records", "batches"].enumerated() {
    rates.report(way, taken.map { $0[index] }.sorted())
}

struct Rates {
    let folder: URL
    let records: Int
    let value = Data(repeating: UInt8(ascii: "x"), count: 100)

    /// Every way once, in a folder made anew.
    func run() async throws -> [Duration] {
        try? FileManager.default.removeItem(at: folder)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try await Headwater.withConnection(folder.path) { db in
            for topic in ["enqueue", "send"] {
                try await db.admin.createTopic(topic, durability: .os)
            }
            let clock = ContinuousClock()
            return [
                try await clock.measure { try await enqueue(db) },
                try await clock.measure { try await send(db) },
                try await clock.measure { try await readRecords(db) },
                try await clock.measure { try await readBatches(db) },
            ]
        }
    }

    private func enqueue(_ db: Client) async throws {
        let producer = try db.producer()
        for _ in 0..<records {
            do {
                try producer.enqueue("enqueue", value)
            } catch let full as HeadwaterError where full.code == "BUFFER_FULL" {
                try await producer.ready()
                try producer.enqueue("enqueue", value)
            }
        }
        try await producer.flush()
    }

    private func send(_ db: Client) async throws {
        let producer = try db.producer()
        for _ in 0..<records { _ = try await producer.send("send", value) }
        try await producer.flush()
    }

    private func readRecords(_ db: Client) async throws {
        var bytes = 0
        try await db.withConsumer("enqueue", until: .end) { consumer in
            for try await record in consumer.records {
                bytes += record.withValue { $0?.count ?? 0 }
            }
        }
        precondition(bytes == records * value.count)
    }

    private func readBatches(_ db: Client) async throws {
        var bytes = 0
        try await db.withConsumer("enqueue", until: .end) { consumer in
            for try await batch in consumer.batches {
                for record in batch { bytes += record.withValue { $0?.count ?? 0 } }
            }
        }
        precondition(bytes == records * value.count)
    }

    func report(_ way: String, _ times: [Duration]) {
        let rates = times.map { Double(records) / ($0 / .seconds(1)) }
        let median = rates[rates.count / 2]
        let megabytes = median * Double(value.count) / 1e6
        let name = way.padding(toLength: 8, withPad: " ", startingAt: 0)
        let line = "%@ %12.0f records/s %8.1f MB/s   (%.0f to %.0f)"
        print(String(format: line, name, median, megabytes, rates[rates.count - 1], rates[0]))
    }
}
