// The scenarios of `examples/scenarios`: those of the files that `test` gives as JSON. Its README says what a step means.
// What is refused is not among them: options are typed here, so that much of it cannot be written.

import Foundation

@testable import Headwater

/// What is run against, and what it gives. One line each, so that a door is added or left out by one.
private let doors: [(kind: String, gives: Set<String>)] = [
    ("mem", []),
    ("folder", ["durable"]),
    ("unix", ["durable"]),
    ("tcp", ["durable"]),
]
private let languages: Set<String> = ["rust", "python", "aio", "node", "kotlin", "swift"]

private struct All: Decodable {
    let scenarios: [Plain]
    let wrong: [Plain]
}

func scenarioTests() throws -> [Test] {
    let all = try JSONDecoder().decode(All.self, from: Data(contentsOf: URL(fileURLWithPath: environment["HEADWATER_SCENARIOS"] ?? "")))
    var tests: [Test] = []
    for scenario in all.scenarios {
        for door in doors {
            let facts = try scenario.map
            let needs = Set(try facts["needs"]?.list.map { try $0.text } ?? [])
            let isForUs = try facts["languages"]?.list.contains(.text("swift")) ?? true
            guard isForUs, needs.isSubset(of: door.gives) else { continue }
            tests.append(Test("\(try facts["name"]?.text ?? ""), \(door.kind)") { try await atDoor(door.kind, scenario) })
        }
    }
    for scenario in all.wrong {
        tests.append(
            Test("it is found that \(try scenario.map["name"] ?? .null)") {
                do { try await atDoor("mem", scenario) } catch { return }
                throw wrong("it passed")
            })
    }
    return tests
}

private func atDoor(_ door: String, _ scenario: Plain) async throws {
    var facts = try Fields(scenario)
    _ = try facts.need("name").text
    let steps = try facts.need("steps").list
    let needs = Set(try facts.take("needs")?.list.map { try $0.text } ?? [])
    let named = facts.take("languages")
    let unknown = try needs.subtracting(["durable", "broker"]).union(named?.list.map { try $0.text } ?? []).subtracting(languages)
    if !unknown.isEmpty { throw wrong("unknown: \(unknown)") }
    if (named == nil) != (facts.take("because") == nil) { throw wrong("languages and because go together") }
    try facts.end()
    switch door {
    case "mem": try await Steps("mem:").all(steps)
    case "folder": try await Steps(newPath().path).all(steps)
    case "unix": try await withBroker(["--data", newPath().path], on: "unix:\(newSocket())") { try await Steps($0).all(steps) }
    default: try await withBroker(["--data", newPath().path]) { try await Steps($0).all(steps) }
    }
}

private struct Refused: Error, CustomStringConvertible {
    let description: String
}

/// How often a handler refuses a value, and what it was given.
private actor Refusals {
    var left: [String: Plain]
    var given: [Plain] = []

    init(_ left: [String: Plain]) { self.left = left }

    func handle(_ value: String) throws {
        given.append(.text(value))
        switch left[value] {
        case .text("always")?: throw Refused(description: "\(value) is refused")
        case .number(let times)? where times > 0:
            left[value] = .number(times - 1)
            throw Refused(description: "\(value) is refused")
        default: return
        }
    }
}

/// A consumer and its loop. After an end or a failure the next record begins another.
private final class Reading {
    let consumer: Consumer
    var given: [PartitionOffset: Record] = [:]
    private var loop: Records.Iterator?

    init(_ consumer: Consumer) { self.consumer = consumer }

    func next() async throws -> Record? {
        let loop = loop ?? consumer.records.makeAsyncIterator()
        self.loop = loop
        do {
            let record = try await loop.next()
            if record == nil { self.loop = nil }
            if let record { given[PartitionOffset(topic: record.topic, partition: record.partition, offset: record.offset)] = record }
            return record
        } catch {
            self.loop = nil
            throw error
        }
    }
}

/// One scenario on its way: its handles by name, its variables.
private final class Steps {
    private let address: String
    private var db: Client!
    private var variables: [String: Plain] = [:]
    private var producers: [String: Producer] = [:]
    private var consumers: [String: Reading] = [:]

    init(_ address: String) { self.address = address }

    func all(_ steps: [Plain]) async throws {
        let opened = try await Headwater.connect(address)
        db = opened
        // Ends what would wait for ever; then the scenario fails by what it did not get.
        let watchdog = Task {
            try await Task.sleep(for: .seconds(60))
            _ = try await opened.close(timeout: .zero)
        }
        defer { watchdog.cancel() }
        for (index, step) in steps.enumerated() {
            do {
                try await self.step(Fields(step))
            } catch {
                _ = try await db.close()
                throw wrong("step \(index + 1), \(step): \(error)")
            }
        }
        _ = try await db.close()
    }

    private func step(_ step: Fields) async throws {
        var step = step
        let wanted = try step.take("gives").map(resolved)
        let fails = try step.take("fails")?.map
        let keep = try step.take("keep")?.map ?? [:]
        let isEventual = step.isSet("eventually")
        guard let (name, fields) = step.left.first, step.left.count == 1 else { throw wrong("one step, not \(step.left.keys)") }
        var found = try await called(name, resolved(fields), fails)
        while isEventual, let wanted, differs(wanted, found) != nil {
            try await Task.sleep(for: .milliseconds(10))
            found = try await called(name, resolved(fields), fails)
        }
        for (variable, field) in keep { variables[variable] = try found.map[field.text] }
        if let wanted, let difference = differs(wanted, found) { throw wrong("\(difference); all of it: \(found)") }
    }

    private func called(_ name: String, _ fields: Plain, _ fails: [String: Plain]?) async throws -> Plain {
        let told: Plain
        do {
            let found = try await call(name, Fields(fields))
            guard fails != nil else { return found }
            throw wrong("it gave \(found) and was to fail")
        } catch let error as HeadwaterError where fails != nil {
            told = plain(error)
        } catch let error as Refused where fails != nil {
            told = .map(["handler": .text(error.description)])
        }
        var wanted = fails ?? [:]
        if let said = wanted.removeValue(forKey: "says") { wanted["message"] = .map(["says": said]) }
        if let difference = differs(.map(wanted), told) { throw wrong("\(difference); the error is \(told)") }
        return .null
    }

    /// Variables and repetitions put in.
    private func resolved(_ value: Plain) throws -> Plain {
        switch value {
        case .text(let text) where text.hasPrefix("$"):
            guard let kept = variables[String(text.dropFirst())] else { throw wrong("nothing was kept as \(text)") }
            return kept
        case .list(let list): return .list(try list.map(resolved))
        case .map(let map):
            if map.count == 2, let text = map["repeat"], let times = map["times"] {
                return .text(String(repeating: try text.text, count: Int(try times.number)))
            }
            return .map(try map.mapValues(resolved))
        default: return value
        }
    }

    private func producer(_ fields: inout Fields) throws -> Producer {
        let name = try fields.take("producer").flatMap { $0 == .null ? nil : $0 }?.text ?? "producer"
        if name == "producer", producers[name] == nil { producers[name] = try db.producer() }
        guard let found = producers[name] else { throw wrong("there is no producer `\(name)`") }
        return found
    }

    private func reading(_ fields: inout Fields) throws -> Reading {
        let name = try fields.take("consumer")?.text ?? "consumer"
        guard let found = consumers[name] else { throw wrong("there is no consumer `\(name)`") }
        return found
    }

    private func call(_ name: String, _ given: Fields) async throws -> Plain {
        var fields = given
        switch name {
        case "reconnect":
            try fields.end()
            _ = try await db.close()
            producers = [:]
            consumers = [:]
            db = try await Headwater.connect(address)
        case "create_topic":
            let topic = try fields.need("topic").text
            try await db.admin.createTopic(topic, options: topicOptions(fields))
        case "describe_topic":
            let topic = try fields.need("topic").text
            try fields.end()
            return plain(try await db.admin.describeTopic(topic))
        case "delete_records":
            let topic = try fields.need("topic").text
            let before = try fields.need("before").list.map { try $0.list.map { try $0.number } }
            try fields.end()
            let starts = try await db.admin.deleteRecords(topic, before: Dictionary(uniqueKeysWithValues: before.map { (Int($0[0]), $0[1]) }))
            return .list(starts.sorted { $0.key < $1.key }.map { .list([.number(Int64($0.key)), .number($0.value)]) })
        case "list_groups":
            try fields.end()
            return .list(try await db.admin.listGroups().map { .text($0.group) })
        case "describe_group", "delete_group":
            let group = try fields.need("group").text
            try fields.end()
            if name == "describe_group" { return plain(try await db.admin.describeGroup(group)) }
            try await db.admin.deleteGroup(group)
        case "commit_offsets":
            let (group, offsets) = (try fields.need("group").text, try toOffsets(fields.need("offsets")))
            try fields.end()
            try await db.admin.commitOffsets(group, offsets)
        case "close": return try await close(&fields)
        case "metrics":
            try fields.end()
            return .map(try db.metrics().mapValues { .number($0) })
        case "health":
            try fields.end()
            return plain(try db.health())
        case "producer", "send", "send_many", "enqueue", "flush": return try await producing(name, &fields)
        default: return try await consuming(name, &fields)
        }
        return .null
    }

    private func close(_ fields: inout Fields) async throws -> Plain {
        let isClient = fields.isSet("client")
        let producer = fields.left["producer"] == nil ? nil : try producer(&fields)
        let reading = isClient || producer != nil ? nil : try reading(&fields)
        try fields.end()
        if let producer { return plain(try await producer.close()) }
        if let reading { return plain(try await reading.consumer.close()) }
        return plain(try await db.close())
    }

    private func producing(_ name: String, _ fields: inout Fields) async throws -> Plain {
        if name == "producer" {
            let handle = try fields.take("as")?.text ?? "producer"
            producers[handle] = try db.producer(options: producerOptions(fields))
            return .null
        }
        let producer = try producer(&fields)
        switch name {
        case "flush":
            try fields.end()
            try await producer.flush()
            return .null
        case "send_many":
            let (topic, records) = (try fields.need("topic").text, try fields.need("records").list)
            let partition = fields.take("partition")
            try fields.end()
            var sent: [Delivery] = []
            for record in records {
                var row = if case .map = record { try Fields(record) } else { try Fields(.map(["value": record])) }
                sent.append(try await send(producer, topic, &row, partition))
            }
            var placed: [Plain] = []
            for delivery in sent { placed.append(plain(try await delivery.value)) }
            return .list(placed)
        case "send":
            let topic = try fields.need("topic").text
            return plain(try await send(producer, topic, &fields, nil).value)
        default:
            let topic = try fields.need("topic").text
            let row = try Row(&fields)
            try producer.enqueue(
                topic, row.value, key: row.key, headers: row.headers, partition: row.partition, timestamp: row.timestamp)
            return .null
        }
    }

    private func send(_ producer: Producer, _ topic: String, _ fields: inout Fields, _ partition: Plain?) async throws -> Delivery {
        let row = try Row(&fields)
        let partition = try row.partition ?? partition.map { Int(try $0.number) }
        return try await producer.send(
            topic, row.value, key: row.key, headers: row.headers, partition: partition, timestamp: row.timestamp)
    }

    private func consuming(_ name: String, _ fields: inout Fields) async throws -> Plain {
        if name == "consumer" {
            let handle = try fields.take("as")?.text ?? "consumer"
            let topics = try fields.need("topics").list.map { try $0.text }
            consumers[handle] = Reading(try db.consumer(topics, options: consumerOptions(fields)))
            return .null
        }
        let steps = ["open", "consume", "ack", "commit", "seek", "committed", "positions", "assignment", "is_finished", "process"]
        guard steps.contains(name) else { throw wrong("there is no step `\(name)`") }
        let reading = try reading(&fields)
        let consumer = reading.consumer
        switch name {
        case "consume": return try await consume(reading, &fields)
        case "ack":
            let records = try toOffsets(fields.need("records"))
            try fields.end()
            for record in records {
                guard let given = reading.given[record] else { throw wrong("\(record) was not read") }
                try consumer.ack(given)
            }
        case "commit":
            let offsets = try fields.take("offsets").map(toOffsets)
            try fields.end()
            if let offsets { try await consumer.commit(offsets) } else { try await consumer.commit() }
        case "seek":
            let (topic, partition) = (try fields.need("topic").text, Int(try fields.need("partition").number))
            let to = try fields.need("to")
            try fields.end()
            switch to {
            case .number(let offset): try consumer.seek(topic, partition: partition, to: offset)
            case .text("earliest"): try await consumer.seek(topic, partition: partition, to: .earliest)
            case .text("latest"): try await consumer.seek(topic, partition: partition, to: .latest)
            default:
                let time = try to.map["time"]?.number ?? 0
                try await consumer.seek(topic, partition: partition, to: .time(time))
            }
        case "process":
            let refusals = Refusals(try fields.need("failing").map)
            try await consumer.process(options: processOptions(fields)) { record in
                try await refusals.handle(record.valueString ?? "")
            }
            return .list(await refusals.given)
        default:
            try fields.end()
            switch name {
            case "open": try await consumer.open()
            case "committed": return plain(try await consumer.committed())
            case "positions": return plain(try consumer.positions())
            case "assignment": return plain(try consumer.assignment())
            default: return .bool(try consumer.isFinished)
            }
        }
        return .null
    }

    private func consume(_ reading: Reading, _ fields: inout Fields) async throws -> Plain {
        let count = try fields.take("count")?.number
        let isSorted = fields.isSet("sorted")
        try fields.end()
        var records: [Record] = []
        while count.map({ records.count < $0 }) ?? true, let record = try await reading.next() { records.append(record) }
        if isSorted { records.sort { ($0.topic, $0.partition, $0.offset) < ($1.topic, $1.partition, $1.offset) } }
        return .list(try records.map(plain))
    }
}

/// A record to be sent.
private struct Row {
    let key: Data?
    let value: Data?
    let headers: [Header]
    let partition: Int?
    let timestamp: Int64?

    init(_ fields: inout Fields) throws {
        value = try toBytes(fields.need("value"))
        key = try toBytes(fields.take("key"))
        headers = try (fields.take("headers")?.list ?? []).map {
            let pair = try $0.list
            return Header(try pair[0].text, try toBytes(pair[1]))
        }
        partition = try fields.take("partition").map { Int(try $0.number) }
        timestamp = try fields.take("timestamp")?.number
        try fields.end()
    }
}

// The options that the scenarios run here set; another is a fault.

private func word<T: RawRepresentable>(_ value: Plain) throws -> T where T.RawValue == String {
    guard let found = T(rawValue: try value.text) else { throw wrong("there is no \(value)") }
    return found
}

/// `offset:5` and `time:5`, apart; a word alone has no number.
private func place(_ value: Plain) throws -> (String, Int64) {
    let parts = try value.text.split(separator: ":")
    return (String(parts[0]), parts.count > 1 ? Int64(parts[1]) ?? -1 : -1)
}

private func topicOptions(_ fields: Fields) throws -> TopicOptions {
    var options = TopicOptions()
    for (name, value) in fields.left {
        switch name {
        case "partitions": options.partitions = Int(try value.number)
        case "durability": options.durability = try word(value)
        case "max_message_bytes": options.maxMessageBytes = try value.number
        case "message_timestamp_type": options.messageTimestampType = try word(value)
        default: throw wrong("there is no option `\(name)` here")
        }
    }
    return options
}

private func producerOptions(_ fields: Fields) throws -> ProducerOptions {
    var options = ProducerOptions()
    for (name, value) in fields.left {
        switch name {
        case "compression": options.compression = try word(value)
        case "durability": options.durability = try word(value)
        case "linger_ms": options.linger = .milliseconds(try value.number)
        default: throw wrong("there is no option `\(name)` here")
        }
    }
    return options
}

private func consumerOptions(_ fields: Fields) throws -> ConsumerOptions {
    var options = ConsumerOptions()
    for (name, value) in fields.left {
        switch name {
        case "group": options.group = try value.text
        case "partitions": options.partitions = try value.list.map { Int(try $0.number) }
        case "ack": options.ack = try word(value)
        case "commit_interval_ms": options.commitInterval = .milliseconds(try value.number)
        case "max_block_records": options.maxBlockRecords = Int(try value.number)
        case "start":
            let (what, at) = try place(value)
            options.start = what == "offset" ? .offset(at) : what == "time" ? .time(at) : .latest
        case "until":
            let (what, at) = try place(value)
            options.until = what == "offset" ? .offset(at) : what == "time" ? .time(at) : .end
        default: throw wrong("there is no option `\(name)` here")
        }
    }
    return options
}

private func processOptions(_ fields: Fields) throws -> ProcessOptions {
    var options = ProcessOptions()
    for (name, value) in fields.left {
        switch name {
        case "order": options.order = try word(value)
        case "attempts": options.attempts = Int(try value.number)
        case "backoff_ms": options.backoff = .milliseconds(try value.number)
        case "dead_letter": options.deadLetter = try value.text
        default: throw wrong("there is no option `\(name)` here")
        }
    }
    return options
}
