// Reads a receive block: many records in one piece of memory, column by column. The layout is core's (`record/block`), and
// so are the golden vectors that the test walks.
//
// Everything is checked once, when the block arrives: magic, length, every position and end, runs and topics. After that
// rows are read without checks, and only when asked for.

import Foundation

private let magic: UInt32 = 0x3142_5748  // "HWB1"
private let headerBytes = 64
private let runBytes = 40
private let nameBytesMax = 249

/// Rows of one partition, offsets ascending.
final class Run: Sendable {
    let baseOffset: Int64
    let firstRow: Int
    let endRow: Int
    let partition: Int
    let leaderEpoch: Int32
    let isAppendTime: Bool
    let topic: String

    init(_ words: Words, at: Int, topic: String) {
        baseOffset = Int64(bitPattern: words.u64(at))
        firstRow = words.int(at + 8)
        endRow = firstRow + words.int(at + 12)
        partition = Int(Int32(bitPattern: words.u32(at + 16)))
        leaderEpoch = Int32(bitPattern: words.u32(at + 20))
        isAppendTime = words.u32(at + 32) & 1 != 0
        self.topic = topic
    }
}

/// Little-endian numbers of a piece of memory. Who reads has checked the position.
struct Words: @unchecked Sendable {
    let base: UnsafeRawPointer

    func u16(_ at: Int) -> UInt16 { UInt16(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt16.self)) }
    func u32(_ at: Int) -> UInt32 { UInt32(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt32.self)) }
    func u64(_ at: Int) -> UInt64 { UInt64(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt64.self)) }
    func int(_ at: Int) -> Int { Int(u32(at)) }
}

/// A column of byte strings: which rows have one (0: all), where each ends, and where the bytes begin.
private struct Strings {
    let presentAt: Int
    let endsAt: Int
    let bytesAt: Int
}

/// A copy of some bytes at an address that stays.
private final class Memory {
    let bytes: UnsafeMutableRawBufferPointer

    init(_ data: Data) {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: max(data.count, 8), alignment: 8)
        _ = data.withUnsafeBytes { $0.copyBytes(to: bytes) }
        self.bytes = bytes
    }

    deinit { bytes.deallocate() }
}

final class Block: @unchecked Sendable {
    private let memory: Memory
    private let words: Words
    /// Records.
    let count: Int
    let runs: [Run]
    private let deltasAt: Int
    private let timestampsAt: Int
    private let keys: Strings?
    private let values: Strings
    private let headerParts: Strings?

    init(_ bytes: Data) throws {
        let memory = Memory(bytes)
        self.memory = memory
        words = Words(base: UnsafeRawPointer(memory.bytes.baseAddress!))
        let checks = try Checks(words, found: bytes.count)
        count = checks.rows
        deltasAt = try checks.column("offset_deltas", 24, width: 4)
        timestampsAt = try checks.column("timestamps", 28, width: 8)
        if deltasAt == 0, words.u16(6) & 1 == 0 { throw corrupt("offset_deltas is absent") }
        if timestampsAt == 0 { throw corrupt("timestamps is absent") }
        keys = try checks.strings("keys", 32, 36, 52)
        headerParts = try checks.strings("headers", nil, 48, 60)
        guard let values = try checks.strings("values", 40, 44, 56) else { throw corrupt("values is absent") }
        self.values = values
        runs = try checks.runs(deltasAt: deltasAt)
    }

    func offset(_ row: Int, _ run: Run) -> Int64 {
        run.baseOffset + Int64(deltasAt == 0 ? row - run.firstRow : words.int(deltasAt + 4 * row))
    }

    func timestamp(_ row: Int) -> Int64 { Int64(bitPattern: words.u64(timestampsAt + 8 * row)) }

    func key(_ row: Int) -> UnsafeRawBufferPointer? { keys.flatMap { slice($0, row) } }

    func value(_ row: Int) -> UnsafeRawBufferPointer? { slice(values, row) }

    func headers(_ row: Int) throws -> [Header] {
        guard let bytes = headerParts.flatMap({ slice($0, row) }), let base = bytes.baseAddress else { return [] }
        let words = Words(base: base)
        var found: [Header] = []
        var at = 0
        while at < bytes.count {
            guard bytes.count - at >= 8 else { throw corrupt("a header ends within its lengths") }
            let valueAt = at + 8 + words.int(at)
            let valueLength = Int32(bitPattern: words.u32(at + 4))
            let end = valueAt + max(Int(valueLength), 0)
            guard valueLength >= -1, end <= bytes.count else { throw corrupt("a header ends behind its record") }
            let name = String(decoding: bytes[(at + 8)..<valueAt], as: UTF8.self)
            found.append(Header(name, valueLength < 0 ? nil : Data(bytes[valueAt..<end])))
            at = end
        }
        return found
    }

    private func slice(_ strings: Strings, _ row: Int) -> UnsafeRawBufferPointer? {
        if strings.presentAt != 0, memory.bytes[strings.presentAt + (row >> 3)] >> UInt8(row & 7) & 1 == 0 { return nil }
        let start = words.int(strings.endsAt + 4 * row)
        let end = words.int(strings.endsAt + 4 * row + 4)
        return UnsafeRawBufferPointer(start: words.base + strings.bytesAt + start, count: end - start)
    }
}

/// The checks. Positions are from the start of the block.
private struct Checks {
    let words: Words
    let length: Int
    let headerLength: Int
    let rows: Int

    init(_ words: Words, found: Int) throws {
        guard found >= headerBytes else { throw corrupt("\(found) bytes, expected \(headerBytes) or more") }
        guard words.u32(0) == magic else {
            throw HeadwaterError(code: "UNSUPPORTED_VERSION", "block magic \(words.u32(0)) is not supported")
        }
        self.words = words
        length = words.int(8)
        guard (headerBytes...found).contains(length) else { throw corrupt("it says \(length) bytes, \(found) are there") }
        headerLength = Int(words.u16(4))
        guard (headerBytes...length).contains(headerLength) else { throw corrupt("header of \(headerLength) bytes") }
        rows = words.int(12)
    }

    func check(_ name: String, _ position: Int, _ bytes: Int) throws {
        guard position % 8 == 0, position >= headerLength, position + bytes <= length else {
            throw corrupt("\(name) at byte \(position) with \(bytes) bytes is not within the block")
        }
    }

    /// Where the column begins whose position stands at `field`; 0 if it is absent.
    func column(_ name: String, _ field: Int, width: Int) throws -> Int {
        let position = words.int(field)
        if position != 0 { try check(name, position, rows * width) }
        return position
    }

    func strings(_ name: String, _ presentField: Int?, _ endsField: Int, _ bytesField: Int) throws -> Strings? {
        let endsAt = words.int(endsField)
        guard endsAt != 0 else { return nil }
        try check("\(name) ends", endsAt, 4 * (rows + 1))
        guard words.int(endsAt) == 0 else { throw corrupt("end 0 of \(name) is \(words.int(endsAt)), expected 0") }
        var end = 0
        for row in 1..<(rows + 1) {
            let next = words.int(endsAt + 4 * row)
            guard next >= end else { throw corrupt("end \(row) of \(name) is \(next), expected \(end) or more") }
            end = next
        }
        let bytesAt = words.int(bytesField)
        try check(name, bytesAt, end)
        let presentAt = presentField.map(words.int) ?? 0
        if presentAt != 0 { try check("\(name) present", presentAt, (rows + 7) / 8) }
        return Strings(presentAt: presentAt, endsAt: endsAt, bytesAt: bytesAt)
    }

    func runs(deltasAt: Int) throws -> [Run] {
        let (position, count) = (words.int(20), words.int(16))
        try check("runs", position, count * runBytes)
        var expected = 0
        let runs = try (0..<count).map { index in
            let run = try run(position + index * runBytes, index)
            guard run.firstRow == expected, run.endRow > run.firstRow, run.endRow <= rows else {
                throw corrupt("run \(index) has rows \(run.firstRow) to \(run.endRow), expected from \(expected) on")
            }
            try checkOffsets(run, deltasAt)
            expected = run.endRow
            return run
        }
        guard expected == rows else { throw corrupt("runs cover \(expected) rows of \(rows)") }
        return runs
    }

    private func run(_ at: Int, _ index: Int) throws -> Run {
        let (topicAt, topicBytes) = (words.int(at + 24), words.int(at + 28))
        guard topicBytes <= nameBytesMax, topicAt + topicBytes <= length else {
            throw corrupt("topic of run \(index) is not a name within the block")
        }
        let topic = UnsafeRawBufferPointer(start: words.base + topicAt, count: topicBytes)
        return Run(words, at: at, topic: String(decoding: topic, as: UTF8.self))
    }

    private func checkOffsets(_ run: Run, _ deltasAt: Int) throws {
        var last = run.endRow - 1 - run.firstRow
        if deltasAt != 0 {
            for row in (run.firstRow + 1)..<max(run.endRow, run.firstRow + 1) {
                guard words.u32(deltasAt + 4 * row) > words.u32(deltasAt + 4 * row - 4) else {
                    throw corrupt("offset of row \(row) does not follow on the one before")
                }
            }
            last = words.int(deltasAt + 4 * (run.endRow - 1))
        }
        guard !run.baseOffset.addingReportingOverflow(Int64(last)).overflow else {
            throw corrupt("offsets of a run go beyond 2^63")
        }
    }
}

private func corrupt(_ message: String) -> HeadwaterError { HeadwaterError(code: "CORRUPT_FRAME", "block: \(message)") }

/// A record that was read. Key, value and headers are taken out of the block it came in when asked for.
public struct Record: Sendable, CustomStringConvertible {
    let block: Block
    let row: Int
    let run: Run

    public var topic: String { run.topic }
    public var partition: Int { run.partition }
    public var offset: Int64 { block.offset(row, run) }

    /// Ms since 1970 UTC.
    public var timestamp: Int64 { block.timestamp(row) }

    /// Whether the timestamp is that of the append, not the producer's.
    public var isAppendTime: Bool { run.isAppendTime }

    /// The epoch of the leader that appended it, -1 if unknown.
    public var leaderEpoch: Int32 { run.leaderEpoch }

    /// The key, copied.
    public var key: Data? { block.key(row).map { Data($0) } }

    /// The value, copied; nil is a tombstone.
    public var value: Data? { block.value(row).map { Data($0) } }

    /// The key as text.
    public var keyString: String? { block.key(row).map { String(decoding: $0, as: UTF8.self) } }

    /// The value as text.
    public var valueString: String? { block.value(row).map { String(decoding: $0, as: UTF8.self) } }

    /// The headers, in order.
    public var headers: [Header] { get throws { try block.headers(row) } }

    /// Calls `body` with the value where it lies, valid until it returns; nil is a tombstone.
    public func withValue<R>(_ body: (UnsafeRawBufferPointer?) throws -> R) rethrows -> R {
        try withExtendedLifetime(block) { try body(block.value(row)) }
    }

    /// Calls `body` with the key where it lies, valid until it returns.
    public func withKey<R>(_ body: (UnsafeRawBufferPointer?) throws -> R) rethrows -> R {
        try withExtendedLifetime(block) { try body(block.key(row)) }
    }

    public var description: String { "Record(\(topic)/\(partition)@\(offset))" }
}

/// Records that arrived together.
public struct Batch: Sendable, RandomAccessCollection {
    private struct Part {
        let run: Run
        let firstRow: Int
        let firstIndex: Int
    }

    let block: Block
    private var parts: [Part] = []
    public private(set) var endIndex = 0
    public var startIndex: Int { 0 }
    /// The rows, if none is left out between the first and the end of the block.
    let rows: Range<Int>?

    init(_ block: Block, from firstRow: Int = 0, skipped: Set<Int> = []) {
        self.block = block
        for (index, run) in block.runs.enumerated() where !skipped.contains(index) {
            let first = Swift.max(run.firstRow, firstRow)
            guard first < run.endRow else { continue }
            parts.append(Part(run: run, firstRow: first, firstIndex: endIndex))
            endIndex += run.endRow - first
        }
        rows = endIndex == block.count - firstRow ? firstRow..<block.count : nil
    }

    public subscript(index: Int) -> Record {
        precondition(indices.contains(index), "\(index) of \(endIndex)")
        var (low, high) = (0, parts.count - 1)
        while low < high {
            let middle = (low + high + 1) / 2
            if parts[middle].firstIndex <= index { low = middle } else { high = middle - 1 }
        }
        let part = parts[low]
        return Record(block: block, row: part.firstRow + index - part.firstIndex, run: part.run)
    }
}
