// Topics, groups and offsets: one request each.

internal import HeadwaterNative

/// Administration of a log.
public final class Admin: Sendable {
    private let native: NativeAdmin

    init(_ native: NativeAdmin) {
        self.native = native
    }

    /// Creates a topic; throws `TOPIC_ALREADY_EXISTS` unless `existOk`. What is named here wins over `options`.
    public func createTopic(
        _ name: String, partitions: Int? = nil, durability: Durability? = nil, existOk: Bool? = nil,
        options: TopicOptions = TopicOptions()
    ) async throws {
        var options = options
        options.partitions = partitions ?? options.partitions
        options.durability = durability ?? options.durability
        options.existOk = existOk ?? options.existOk
        _ = try await Hub.shared.ask { try native.createTopic(ticket: $0, name: name, options: options.native) }
    }

    /// Deletes a topic and its records.
    public func deleteTopic(_ name: String) async throws {
        _ = try await Hub.shared.ask { try native.deleteTopic(ticket: $0, name: name) }
    }

    /// Deletes the records before an offset of each partition, in all of them or in none; -1 stands for the high
    /// watermark. Gives the first offset that each partition holds then; an offset below that deletes nothing.
    public func deleteRecords(_ topic: String, before: [Int: Int64]) async throws -> [Int: Int64] {
        var offsets: [Int32: Int64] = [:]
        for (partition, offset) in before { offsets[try int32(partition, "partition")] = offset }
        let asked = offsets
        let answer = try await Hub.shared.ask { try native.deleteRecords(ticket: $0, topic: topic, before: asked) }
        guard case .starts(let starts) = answer else { throw unexpected() }
        return Dictionary(uniqueKeysWithValues: starts.map { (Int($0.key), $0.value) })
    }

    /// Changes the options that are set; the others stay as they are.
    public func alterTopic(_ name: String, options: TopicOptions) async throws {
        _ = try await Hub.shared.ask { try native.alterTopic(ticket: $0, name: name, options: options.native) }
    }

    /// Every topic, by name.
    public func listTopics() async throws -> [TopicDescription] {
        try await topics { try native.listTopics(ticket: $0) }
    }

    /// One topic: its options and how its partitions stand.
    public func describeTopic(_ name: String) async throws -> TopicDescription {
        try first(await topics { try native.describeTopic(ticket: $0, name: name) })
    }

    /// Every group, by id.
    public func listGroups() async throws -> [GroupDescription] {
        try await groups { try native.listGroups(ticket: $0) }
    }

    /// One group: its state, its members and what each holds, and its committed offsets.
    public func describeGroup(_ group: String) async throws -> GroupDetails {
        let answer = try await Hub.shared.ask { try native.describeGroup(ticket: $0, group: group) }
        guard case .group(let group) = answer else { throw unexpected() }
        return GroupDetails(group)
    }

    /// Forgets a group without members and what it has committed.
    public func deleteGroup(_ group: String) async throws {
        _ = try await Hub.shared.ask { try native.deleteGroup(ticket: $0, group: group) }
    }

    /// Offsets by their meaning, in the order asked.
    public func listOffsets(_ queries: [OffsetQuery]) async throws -> [Int64] {
        let asked = try queries.map {
            NativeQuery(topic: $0.topic, partition: try int32($0.partition, "partition"), at: $0.at.native)
        }
        let answer = try await Hub.shared.ask { try native.listOffsets(ticket: $0, queries: asked) }
        guard case .offsets(let offsets) = answer else { throw unexpected() }
        return offsets
    }

    /// Commits offsets of a group by hand, allowed while it has no member.
    public func commitOffsets(_ group: String, _ offsets: [PartitionOffset]) async throws {
        let places = try offsets.map { try $0.toNative() }
        _ = try await Hub.shared.ask { try native.commitOffsets(ticket: $0, group: group, places: places) }
    }

    private func topics(_ start: (Int64) throws -> Void) async throws -> [TopicDescription] {
        guard case .topics(let topics) = try await Hub.shared.ask(start) else { throw unexpected() }
        return topics.map(TopicDescription.init)
    }

    private func groups(_ start: (Int64) throws -> Void) async throws -> [GroupDescription] {
        guard case .groups(let groups) = try await Hub.shared.ask(start) else { throw unexpected() }
        return groups.map(GroupDescription.init)
    }

    private func first<T>(_ found: [T]) throws -> T {
        guard let first = found.first else { throw unexpected() }
        return first
    }
}
