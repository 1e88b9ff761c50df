import Foundation

@testable import Headwater

let environment = ProcessInfo.processInfo.environment
let golden = URL(fileURLWithPath: environment["HEADWATER_GOLDEN"] ?? "core/tests/golden")

typealias Object = [String: Any]

/// The vectors of a folder: name, bytes, description.
func vectors(_ folder: String) throws -> [(name: String, bytes: Data, json: Object)] {
    let folder = golden.appendingPathComponent(folder)
    let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
    let found = try files.filter { $0.pathExtension == "bin" }.sorted { $0.path < $1.path }.map { file in
        let json = try Data(contentsOf: file.deletingPathExtension().appendingPathExtension("json"))
        let name = file.deletingPathExtension().lastPathComponent
        guard let object = try JSONSerialization.jsonObject(with: json) as? Object else { throw Failed(description: name) }
        return (name, try Data(contentsOf: file), object)
    }
    try expect(!found.isEmpty, "no vectors in \(folder.path)")
    return found
}

/// A golden file that is a list.
func table(_ name: String) throws -> [Object] {
    let json = try Data(contentsOf: golden.appendingPathComponent(name))
    guard let rows = try JSONSerialization.jsonObject(with: json) as? [Object] else { throw Failed(description: "no list") }
    return rows
}

extension [String: Any] {
    func number(_ name: String) throws -> Int64 {
        guard let number = self[name] as? NSNumber else { throw Failed(description: "\(name) is no number") }
        return number.int64Value
    }

    func text(_ name: String) -> String { self[name] as? String ?? "" }
    func bytes(_ name: String) throws -> Data? { try hex(self[name]) }
    func objects(_ name: String) -> [Object] { self[name] as? [Object] ?? [] }

    func headers(_ name: String) throws -> [Header] {
        try (self[name] as? [[Any]] ?? []).map { Header($0[0] as? String ?? "", try hex($0[1])) }
    }
}

func hex(_ value: Any?) throws -> Data? {
    guard let text = value as? String else { return nil }
    var bytes = Data()
    var rest = Substring(text)
    while !rest.isEmpty {
        guard let byte = UInt8(rest.prefix(2), radix: 16) else { throw Failed(description: "\(text) is not hexadecimal") }
        bytes.append(byte)
        rest = rest.dropFirst(2)
    }
    return bytes
}

let goldenTests = [
    Test("every golden block gives its records") {
        for (name, bytes, json) in try vectors("block") {
            let batch = Batch(try Block(bytes))
            let records = json.objects("records")
            try expectEqual(records.count, batch.count, name)
            for (record, wanted) in zip(batch, records) {
                let place = "\(name), row \(record.row)"
                try expectEqual(wanted.text("topic"), record.topic, place)
                try expectEqual(wanted.number("partition"), Int64(record.partition), place)
                try expectEqual(wanted.number("leader_epoch"), Int64(record.leaderEpoch), place)
                try expectEqual(wanted.number("offset"), record.offset, place)
                try expectEqual(wanted.number("timestamp_ms"), record.timestamp, place)
                try expectEqual(wanted["is_append_time"] as? Bool, record.isAppendTime, place)
                try expectEqual(wanted.bytes("key"), record.key, place)
                try expectEqual(wanted.bytes("value"), record.value, place)
                try expectEqual(wanted.headers("headers"), record.headers, place)
            }
        }
    },
    Test("every damaged block is refused with its kind") {
        for (name, bytes, json) in try vectors("block_refused") {
            let refused = try await expectThrows(HeadwaterError.self, name) { _ = try Block(bytes) }
            try expectEqual(json.text("kind"), refused.kind.name.lowercased(), "\(name): \(refused)")
        }
    },
    Test("a golden block that is cut anywhere is refused") {
        for (name, bytes, _) in try vectors("block") {
            for length in 0..<bytes.count {
                try await expectThrows(HeadwaterError.self, "\(name), \(length) bytes") { _ = try Block(bytes.prefix(length)) }
            }
        }
    },
    Test("a block with a changed byte is refused or read within its bounds") {
        for (_, bytes, _) in try vectors("block") where bytes.count < 512 {
            for at in bytes.indices {
                for mask: UInt8 in [0x01, 0x80, 0xff] {
                    var changed = bytes
                    changed[at] ^= mask
                    guard let block = try? Block(changed) else { continue }
                    for record in Batch(block) {
                        _ = (record.key, record.value)
                        do { _ = try record.headers } catch { try expectEqual(.corrupt, (error as? HeadwaterError)?.kind) }
                    }
                }
            }
        }
    },
    Test("packing the golden send rows makes the same bytes") {
        guard let (_, bytes, json) = try vectors("rows").first(where: { $0.name == "send" }) else {
            throw Failed(description: "no send rows")
        }
        let rows = RowBuffer(capacity: bytes.count)
        for row in json.objects("rows") {
            let headers = try packHeaders(try row.headers("headers"))
            let packed = RowBuffer.Row(
                topicId: UInt32(try row.number("topic_id")), partition: Int32(try row.number("partition")),
                timestamp: try row.number("timestamp_ms"), ticket: try row.number("ticket"))
            try withBytes(try row.bytes("key")) { key in
                try withBytes(try row.bytes("value")) { value in
                    try expectEqual(Int(row.number("row_len")), rowBytes(key, value, headers))
                    try expect(rows.add(packed, key, value, headers))
                }
            }
        }
        try expectEqual(bytes, rows.withRows { Data(Array($0)) })
        let more = RowBuffer.Row(topicId: 1, partition: -1, timestamp: -1, ticket: 0)
        try expect(!rows.add(more, nil, nil, nil), "the buffer is full")
    },
    Test("dropping rows leaves the others") {
        let rows = RowBuffer(capacity: 1_024)
        for ticket in Int64(1)...3 {
            let row = RowBuffer.Row(topicId: 1, partition: -1, timestamp: -1, ticket: ticket)
            [UInt8](repeating: 7, count: Int(ticket)).withPayload { _ = rows.add(row, nil, $0, nil) }
        }
        rows.drop(48)
        try expectEqual([2, 3], rows.rows.map(\.ticket))
    },
    Test("the golden completion rows are read") {
        guard let (_, bytes, json) = try vectors("rows").first(where: { $0.name == "completion" }) else {
            throw Failed(description: "no completion rows")
        }
        let rows = Completion.rows(bytes)
        try expectEqual(json.objects("rows").count, rows.count)
        for (found, row) in zip(rows, json.objects("rows")) {
            try expectEqual(row.number("first_ticket"), found.firstTicket)
            try expectEqual(row.number("count"), found.count)
            try expectEqual(row.number("partition"), Int64(found.partition))
            try expectEqual(row.number("base_offset"), found.baseOffset)
            try expectEqual(row.number("timestamp_ms"), found.appended)
            try expectEqual(row.number("error"), Int64(found.error))
            try expectEqual(row.number("error_id"), Int64(found.errorId))
            try expectEqual(row.number("error") != 0, found.isFailed)
            try expectEqual(row.number("outcome") == 2 ? .unknown : .notDone, found.outcome)
            if !found.isFailed { try expectEqual(try row.number("durability"), Int64(found.level)) }
        }
    },
]
