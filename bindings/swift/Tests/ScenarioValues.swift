// What scenarios compare: results as plain values, and how an expectation is held against one.

import Foundation

@testable import Headwater

/// A value of a scenario.
indirect enum Plain: Decodable, Equatable, CustomStringConvertible {
    case null
    case bool(Bool)
    case number(Int64)
    case text(String)
    case list([Plain])
    case map([String: Plain])

    init(from decoder: any Decoder) throws {
        let one = try decoder.singleValueContainer()
        if one.decodeNil() {
            self = .null
        } else if let found = try? one.decode(Bool.self) {
            self = .bool(found)
        } else if let found = try? one.decode(Int64.self) {
            self = .number(found)
        } else if let found = try? one.decode(String.self) {
            self = .text(found)
        } else if let found = try? one.decode([Plain].self) {
            self = .list(found)
        } else {
            self = .map(try one.decode([String: Plain].self))
        }
    }

    var text: String { get throws { if case .text(let found) = self { found } else { throw wrong("\(self) is no text") } } }
    var number: Int64 { get throws { if case .number(let found) = self { found } else { throw wrong("\(self) is no number") } } }
    var list: [Plain] { get throws { if case .list(let found) = self { found } else { throw wrong("\(self) is no list") } } }
    var map: [String: Plain] { get throws { if case .map(let found) = self { found } else { throw wrong("\(self) is no map") } } }

    var description: String {
        switch self {
        case .null: "null"
        case .bool(let found): "\(found)"
        case .number(let found): "\(found)"
        case .text(let found): "\"\(found)\""
        case .list(let found): "\(found)"
        case .map(let found): "\(found)"
        }
    }
}

func wrong(_ description: String) -> Failed { Failed(description: description) }

/// A map of a scenario. Taking a field out says that it is known; what is left in the end is not.
struct Fields {
    var left: [String: Plain]

    init(_ found: Plain) throws { left = try found.map }

    mutating func take(_ name: String) -> Plain? { left.removeValue(forKey: name) }

    mutating func need(_ name: String) throws -> Plain {
        guard let found = take(name) else { throw wrong("`\(name)` is missing, in \(left)") }
        return found
    }

    mutating func isSet(_ name: String) -> Bool { take(name) == .bool(true) }

    func end() throws {
        if !left.isEmpty { throw wrong("unknown: \(left.keys.sorted())") }
    }
}

/// What is otherwise than wanted, or nil. Of a map only what is named counts.
func differs(_ wanted: Plain, _ found: Plain, _ at: String = "it") -> String? {
    switch (wanted, found) {
    case (.map(let wanted), _) where wanted.count == 1 && wanted["not"] != nil:
        return differs(wanted["not"] ?? .null, found) == nil ? "\(at) is \(found)" : nil
    case (.map(let wanted), _) where wanted.count == 1 && wanted["says"] != nil:
        if case .text(let found) = found, case .text(let said)? = wanted["says"], found.contains(said) { return nil }
        return "\(at) is \(found) and does not say \(wanted)"
    case (.map(let wanted), .map(let found)):
        for (key, value) in wanted {
            guard let has = found[key] else { return "\(at) has no `\(key)`" }
            if let difference = differs(value, has, "\(at).\(key)") { return difference }
        }
        return nil
    case (.list(let wanted), .list(let found)):
        if wanted.count != found.count { return "\(at) has \(found.count) entries, not \(wanted.count)" }
        for (index, (want, has)) in zip(wanted, found).enumerated() {
            if let difference = differs(want, has, "\(at)[\(index)]") { return difference }
        }
        return nil
    case (_, .map(let record)) where record["offset"] != nil && record["value"] != nil:
        // A record that was read may be written as its value alone.
        return differs(wanted, record["value"] ?? .null, "\(at).value")
    default:
        return wanted == found ? nil : "\(at) is \(found), not \(wanted)"
    }
}

/// A key or a value as it is written: text, absent, or `{hex: ..}`.
func toBytes(_ value: Plain?) throws -> Data? {
    switch value {
    case nil, .null?: return nil
    case .text(let text)?: return Data(text.utf8)
    case .map(let map)? where map.count == 1 && map["hex"] != nil: return try hex(map["hex"]?.text)
    case .some(let other): throw wrong("\(other) is no key and no value")
    }
}

/// The same, the other way.
func fromBytes(_ bytes: Data?) -> Plain {
    guard let bytes else { return .null }
    if let text = String(validatingUTF8: bytes.map { CChar(bitPattern: $0) } + [0]), text.utf8.count == bytes.count {
        return .text(text)
    }
    return .map(["hex": .text(bytes.map { String(format: "%02x", $0) }.joined())])
}

func plain(_ record: Record) throws -> Plain {
    .map([
        "topic": .text(record.topic), "partition": .number(Int64(record.partition)), "offset": .number(record.offset),
        "timestamp": .number(record.timestamp), "key": fromBytes(record.key), "value": fromBytes(record.value),
        "headers": .list(try record.headers.map { .list([.text($0.key), fromBytes($0.value)]) }),
    ])
}

func plain(_ sent: RecordMetadata) -> Plain {
    .map([
        "topic": .text(sent.topic), "partition": .number(Int64(sent.partition)), "offset": .number(sent.offset),
        "timestamp": .number(sent.timestamp), "durability": .text(sent.durability.rawValue),
    ])
}

func plain(_ offsets: [PartitionOffset]) -> Plain {
    let sorted = offsets.sorted { ($0.topic, $0.partition) < ($1.topic, $1.partition) }
    return .list(
        sorted.map {
            .map(["topic": .text($0.topic), "partition": .number(Int64($0.partition)), "offset": .number($0.offset)])
        })
}

func plain(_ error: HeadwaterError) -> Plain {
    .map([
        "kind": .text(error.kind.name), "code": .text(error.code), "message": .text(error.message),
        "outcome": .text(error.outcome == .notDone ? "not_done" : "unknown"),
    ])
}

func plain(_ report: CloseReport) -> Plain {
    .map([
        "unsent_records": .number(report.unsentRecords), "failed_records": .number(report.failedRecords),
        "first_error": report.firstError.map { plain($0) } ?? .null,
    ])
}

func plain(_ health: Health) -> Plain {
    let number = { (found: Int64?) -> Plain in found.map { .number($0) } ?? .null }
    let text = { (found: String?) -> Plain in found.map { .text($0) } ?? .null }
    return .map([
        "is_healthy": .bool(health.isHealthy), "reason": text(health.reason), "is_closed": .bool(health.isClosed),
        "address": .text(health.address), "is_connected": .bool(health.isConnected), "since_ms": .number(health.sinceMs),
        "last_error": health.lastError.map { plain($0) } ?? .null,
        "members": .list(
            health.members.map {
                .map([
                    "group": .text($0.group), "member_id": .text($0.memberId), "generation": .number(Int64($0.generation)),
                    "state": .text($0.state.rawValue), "partitions": .number($0.partitions),
                    "last_heartbeat_ms": number($0.lastHeartbeatMs), "reason": text($0.reason),
                ])
            }),
        "buffered_bytes": .number(health.bufferedBytes), "buffered_records": .number(health.bufferedRecords),
        "oldest_unsent_ms": number(health.oldestUnsentMs),
    ])
}

func plain(_ topic: TopicDescription) -> Plain {
    .map([
        "name": .text(topic.name), "uuid": .text(topic.uuid.uuidString),
        "config": .map(Dictionary(uniqueKeysWithValues: topic.config.map { ($0.name, .text($0.value)) })),
        "notes": .list(topic.notes.map { .text($0) }),
        "partitions": .list(
            topic.partitions.map {
                .map([
                    "partition": .number(Int64($0.partition)), "log_start_offset": .number($0.logStartOffset),
                    "high_watermark": .number($0.highWatermark), "log_end_offset": .number($0.logEndOffset),
                    "leader_epoch": .number(Int64($0.leaderEpoch)), "size_bytes": .number($0.sizeBytes),
                ])
            }),
    ])
}

func plain(_ group: GroupDetails) -> Plain {
    .map([
        "group": .text(group.group), "state": .text(group.state), "generation": .number(Int64(group.generation)),
        "members": .number(Int64(group.members.count)), "offsets": plain(group.offsets),
    ])
}

func toOffsets(_ list: Plain) throws -> [PartitionOffset] {
    try list.list.map {
        let parts = try $0.list
        return PartitionOffset(topic: try parts[0].text, partition: Int(try parts[1].number), offset: try parts[2].number)
    }
}
