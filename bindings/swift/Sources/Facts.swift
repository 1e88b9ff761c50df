// What is told of groups and of a client's health, and what is sent with a commit.

import Foundation
internal import HeadwaterNative

/// A group, its members, and what it has committed.
public struct GroupDetails: Sendable, Hashable {
    public let group: String
    /// `Empty`, `Stable`, `Reconciling` (partitions are moving) or `Recovering` (the broker has started, and waits for the
    /// members that the group had).
    public let state: String
    public let generation: Int32
    public let members: [GroupMember]
    public let offsets: [PartitionOffset]
}

/// A member of a group.
public struct GroupMember: Sendable, Hashable {
    public let memberId: String
    /// The name of a static member.
    public let instanceId: String?
    /// What it calls itself.
    public let clientName: String
    /// Where it is, where that is known.
    public let host: String?
    /// The generation that it was told last; 0 before the first.
    public let generation: Int32
    /// What it holds, also what it is about to let go of.
    public let partitions: [TopicPartition]
}

/// How a client is.
public struct Health: Sendable {
    /// Whether all of it can work: it has its log, and each consumer with a group is a member of it.
    public let isHealthy: Bool
    /// Why it cannot, in words, if it cannot.
    public let reason: String?
    public let isClosed: Bool
    /// What it is connected to: a folder, a name in memory, or the broker that answers.
    public let address: String
    public let isConnected: Bool
    /// For how long it has been connected, or not.
    public let sinceMs: Int64
    /// Why it is not connected.
    public let lastError: HeadwaterError?
    /// The consumers that have joined a group, or are about to.
    public let members: [MemberHealth]
    /// Bytes of records accepted and not acknowledged yet.
    public let bufferedBytes: Int64
    public let bufferedRecords: Int64
    /// How long the oldest batch of these has been waiting.
    public let oldestUnsentMs: Int64?
}

/// How a consumer is as a member of its group.
public struct MemberHealth: Sendable, Hashable {
    public let group: String
    /// Empty before it asked to join.
    public let memberId: String
    /// 0 before it is a member.
    public let generation: Int32
    public let state: MemberState
    /// How many partitions it holds.
    public let partitions: Int64
    /// How long ago its last heartbeat was answered.
    public let lastHeartbeatMs: Int64?
    /// What is wrong with it, in words, if something is.
    public let reason: String?
}

/// What has become of a consumer in its group.
public enum MemberState: String, Sendable, CaseIterable {
    /// It is not a member yet, or joins again.
    case joining
    /// It is a member.
    case stable
    /// It is none any more, or must be taken for none: others may have its partitions.
    case lost
}

/// A record with the topic it goes to.
public struct ProducerRecord: Sendable {
    public let topic: String
    let native: NativeResult

    /// Without a value it is a tombstone; without a partition its key chooses; `timestamp` is ms since 1970 UTC, nil: now.
    public init(
        _ topic: String, _ value: (any Payload)?, key: (any Payload)? = nil, headers: [Header] = [], partition: Int? = nil,
        timestamp: Int64? = nil
    ) throws {
        self.topic = topic
        let bytes = { (payload: any Payload) in payload.withPayload { Data($0) } }
        native = NativeResult(
            topic: topic, partition: try partition.map { try int32($0, "partition") }, key: key.map(bytes),
            value: value.map(bytes), headers: headers.map { NativeHeader(key: $0.key, value: $0.value) },
            timestampMs: timestamp)
    }
}

extension GroupDetails {
    init(_ group: NativeGroupDetails) {
        self.group = group.group
        state = group.state
        generation = group.generation
        members = group.members.map {
            GroupMember(
                memberId: $0.memberId, instanceId: $0.instanceId, clientName: $0.clientName, host: $0.host,
                generation: $0.generation, partitions: $0.partitions.map(TopicPartition.init))
        }
        offsets = group.offsets.map(PartitionOffset.init)
    }
}

extension Health {
    init(_ health: NativeHealth) {
        isHealthy = health.isHealthy
        reason = health.reason
        isClosed = health.isClosed
        address = health.address
        isConnected = health.isConnected
        sinceMs = health.sinceMs
        lastError = health.lastError.map(HeadwaterError.init)
        members = health.members.map {
            MemberHealth(
                group: $0.group, memberId: $0.memberId, generation: $0.generation,
                state: MemberState(rawValue: $0.state) ?? .lost, partitions: $0.partitions,
                lastHeartbeatMs: $0.lastHeartbeatMs, reason: $0.reason)
        }
        bufferedBytes = health.bufferedBytes
        bufferedRecords = health.bufferedRecords
        oldestUnsentMs = health.oldestUnsentMs
    }
}

extension RecordMetadata {
    init(_ sent: NativeSent) {
        self.init(
            topic: sent.topic, partition: Int(sent.partition), offset: sent.offset, timestamp: sent.timestampMs,
            durability: sent.durability == 1 ? .os : sent.durability == 2 ? .disk : .quorum)
    }
}
