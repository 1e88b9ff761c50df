// What goes in and what comes back, besides the records that are read.

import Foundation
internal import HeadwaterNative

/// What a key, a value or a header can be made of: bytes, or text as UTF-8.
public protocol Payload: Sendable {
    /// Calls `body` with the bytes, which are valid until it returns.
    func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R
}

extension Data: Payload {
    public func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { try withUnsafeBytes(body) }
}

extension Array: Payload where Element == UInt8 {
    public func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { try withUnsafeBytes(body) }
}

extension ArraySlice: Payload where Element == UInt8 {
    public func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { try withUnsafeBytes(body) }
}

extension String: Payload {
    public func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        var text = self
        return try text.withUTF8 { try body(UnsafeRawBufferPointer($0)) }
    }
}

extension Substring: Payload {
    public func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        var text = self
        return try text.withUTF8 { try body(UnsafeRawBufferPointer($0)) }
    }
}

/// How safe an acknowledged record is.
public enum Durability: String, Sendable, CaseIterable {
    /// With the operating system: survives the end of the process.
    case os
    /// On the disk: survives the end of the machine.
    case disk
    /// On a majority of replicas.
    case quorum
}

/// A header of a record. Names may repeat; their order is kept.
public struct Header: Sendable, Hashable {
    public let key: String
    public let value: Data?

    public init(_ key: String, _ value: (any Payload)?) {
        self.key = key
        self.value = value.map { $0.withPayload { Data($0) } }
    }
}

/// Where a record went and how safe it is.
public struct RecordMetadata: Sendable, Hashable {
    public let topic: String
    public let partition: Int
    public let offset: Int64
    /// The record's time, ms since 1970 UTC: the log's where the topic says so, else its own.
    public let timestamp: Int64
    public let durability: Durability
}

/// An offset in a partition of a topic.
public struct PartitionOffset: Sendable, Hashable {
    public let topic: String
    public let partition: Int
    public let offset: Int64

    public init(topic: String, partition: Int, offset: Int64) {
        self.topic = topic
        self.partition = partition
        self.offset = offset
    }
}

/// A partition of a topic.
public struct TopicPartition: Sendable, Hashable {
    public let topic: String
    public let partition: Int

    public init(topic: String, partition: Int) {
        self.topic = topic
        self.partition = partition
    }
}

/// How far a consumer is in a partition, and how far it could be.
public struct PartitionLag: Sendable, Hashable {
    public let topic: String
    public let partition: Int
    /// The offset of the first record that does not count as processed.
    public let position: Int64
    /// What the group has committed; nil without a group, or if nothing was committed.
    public let committed: Int64?
    /// The next offset a reader would see.
    public let highWatermark: Int64
    /// From `position` to `highWatermark`, counting by offsets; 0 or more.
    public let lag: Int64
}

/// An offset by its meaning.
public enum OffsetAt: Sendable, Hashable {
    /// The first that is held.
    case earliest
    /// The next that a reader would see.
    case latest
    /// The first of this time or later, ms since 1970 UTC.
    case time(Int64)
}

/// Asks for one offset of one partition.
public struct OffsetQuery: Sendable, Hashable {
    public let topic: String
    public let partition: Int
    public let at: OffsetAt

    public init(topic: String, partition: Int, at: OffsetAt) {
        self.topic = topic
        self.partition = partition
        self.at = at
    }
}

/// Records that failed although nobody was waiting for them.
public struct DeliveryFailure: Sendable {
    public let topic: String
    public let partition: Int
    public let records: Int64
    public let error: HeadwaterError
}

/// What closing left undone.
public struct CloseReport: Sendable {
    /// Records not acknowledged at the deadline: each failed with `CLOSED`, whose outcome says whether it may be in the log.
    public let unsentRecords: Int64
    /// Records that failed and that nobody was told about until now.
    public let failedRecords: Int64
    /// The first failure.
    public let firstError: HeadwaterError?
}

/// A topic and how its partitions stand.
public struct TopicDescription: Sendable {
    public let name: String
    /// By which a topic of the same name created later differs.
    public let uuid: UUID
    /// Every option with its value, in the table's order.
    public let config: [(name: String, value: String)]
    /// What of it is stored but not acted on, in words.
    public let notes: [String]
    public let partitions: [PartitionDescription]
}

/// How a partition stands.
public struct PartitionDescription: Sendable, Hashable {
    public let partition: Int
    /// The first offset held.
    public let logStartOffset: Int64
    /// The next offset a reader would see.
    public let highWatermark: Int64
    /// The next offset to be written.
    public let logEndOffset: Int64
    public let leaderEpoch: Int32
    /// Bytes of its record batches.
    public let sizeBytes: Int64
}

/// A group as it is listed.
public struct GroupDescription: Sendable, Hashable {
    public let group: String
    /// As in `GroupDetails`.
    public let state: String
    public let generation: Int32
    /// The ids of its members.
    public let members: [String]
    public let offsets: [PartitionOffset]
}

extension CloseReport {
    init(_ report: NativeReport) {
        unsentRecords = report.unsentRecords
        failedRecords = report.failedRecords
        firstError = report.firstError.map(HeadwaterError.init)
    }
}

extension PartitionOffset {
    init(_ place: NativePlace) {
        self.init(topic: place.topic, partition: Int(place.partition), offset: place.offset)
    }

    func toNative() throws -> NativePlace {
        NativePlace(topic: topic, partition: try int32(partition, "partition"), offset: offset)
    }
}

extension TopicPartition {
    init(_ name: NativePartitionName) {
        self.init(topic: name.topic, partition: Int(name.partition))
    }

    func toNative() throws -> NativePartitionName {
        NativePartitionName(topic: topic, partition: try int32(partition, "partition"))
    }
}

extension PartitionLag {
    init(_ lag: NativeLag) {
        self.init(
            topic: lag.topic, partition: Int(lag.partition), position: lag.position, committed: lag.committed,
            highWatermark: lag.highWatermark, lag: lag.lag)
    }
}

extension OffsetAt {
    var native: NativeOffsetAt {
        switch self {
        case .earliest: .earliest
        case .latest: .latest
        case .time(let ms): .time(ms: ms)
        }
    }
}

extension TopicDescription {
    init(_ topic: NativeTopic) {
        name = topic.name
        let bytes = Array(topic.uuid) + Array(repeating: 0, count: 16)
        uuid = bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
        config = topic.config.map { ($0.name, $0.value) }
        notes = topic.notes
        partitions = topic.partitions.map {
            PartitionDescription(
                partition: Int($0.partition), logStartOffset: $0.logStartOffset, highWatermark: $0.highWatermark,
                logEndOffset: $0.logEndOffset, leaderEpoch: $0.leaderEpoch, sizeBytes: $0.sizeBytes)
        }
    }
}

extension GroupDescription {
    init(_ group: NativeGroup) {
        self.group = group.group
        state = group.state
        generation = group.generation
        members = group.members
        offsets = group.offsets.map(PartitionOffset.init)
    }
}

/// A number as core holds it.
func int32(_ number: Int, _ name: String) throws -> Int32 {
    guard let small = Int32(exactly: number) else { throw HeadwaterError.invalid("\(name) \(number) is out of range") }
    return small
}
