// Send rows: records packed into one buffer, for one call. The layout is core's (`record/block/rows.rs`).

import Foundation

private let rowHeaderBytes = 40

/// Bytes of a row.
func rowBytes(_ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?, _ headers: Data?) -> Int {
    var bytes = rowHeaderBytes
    if let key { bytes += key.count }
    if let value { bytes += value.count }
    if let headers { bytes += headers.count }
    return (bytes + 7) & ~7
}

/// Headers as they stand in a row: per header {u32 key_len, i32 value_len (-1 null), key, value}; nil for none.
func packHeaders(_ headers: [Header]) throws -> Data? {
    if headers.isEmpty { return nil }
    var packed = Data()
    for header in headers {
        let key = Data(header.key.utf8)
        guard Int32(exactly: key.count) != nil, Int32(exactly: header.value?.count ?? 0) != nil else {
            throw HeadwaterError(code: "MESSAGE_TOO_LARGE", "a header of more than 2^31 bytes")
        }
        withUnsafeBytes(of: UInt32(key.count).littleEndian) { packed.append(contentsOf: $0) }
        withUnsafeBytes(of: Int32(header.value?.count ?? -1).littleEndian) { packed.append(contentsOf: $0) }
        packed.append(key)
        if let value = header.value { packed.append(value) }
    }
    return packed
}

/// Calls `body` with the bytes of a payload, or with none.
func withBytes<R>(_ payload: (any Payload)?, _ body: (UnsafeRawBufferPointer?) throws -> R) rethrows -> R {
    guard let payload else { return try body(nil) }
    return try payload.withPayload { try body($0) }
}

/// Rows back to back. Not safe for use by two threads at once.
final class RowBuffer {
    /// What stands before a row's bytes.
    struct Row {
        var topicId: UInt32
        var partition: Int32
        var timestamp: Int64
        var ticket: Int64
        var start = 0
        var end = 0
    }

    private let memory: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(capacity: Int) {
        memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(capacity, 8), alignment: 8)
    }

    deinit { memory.deallocate() }

    var isEmpty: Bool { count == 0 }

    /// Calls `body` with the rows, as the native module reads them, from byte `start` to before `end`.
    func withRows<R>(_ start: Int = 0, _ end: Int? = nil, _ body: (Data) throws -> R) rethrows -> R {
        let rows = Data(bytesNoCopy: memory.baseAddress! + start, count: (end ?? count) - start, deallocator: .none)
        return try withExtendedLifetime(self) { try body(rows) }
    }

    /// Packs a record behind the others; false: there is no room.
    func add(_ row: Row, _ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?, _ headers: Data?) -> Bool {
        let length = rowBytes(key, value, headers)
        guard length <= memory.count - count else { return false }
        let base = memory.baseAddress! + count
        func put<T: FixedWidthInteger>(_ number: T, _ at: Int) { base.storeBytes(of: number.littleEndian, toByteOffset: at, as: T.self) }
        put(UInt32(truncatingIfNeeded: length), 0)
        put(row.topicId, 4)
        put(row.partition, 8)
        put(Int32(truncatingIfNeeded: key?.count ?? -1), 12)
        put(Int32(truncatingIfNeeded: value?.count ?? -1), 16)
        put(UInt32(truncatingIfNeeded: headers?.count ?? 0), 20)
        put(row.timestamp, 24)
        put(row.ticket, 32)
        var at = rowHeaderBytes
        func append(_ part: UnsafeRawBufferPointer?) {
            guard let part, let from = part.baseAddress else { return }
            (base + at).copyMemory(from: from, byteCount: part.count)
            at += part.count
        }
        append(key)
        append(value)
        headers?.withUnsafeBytes { append($0) }
        (base + at).initializeMemory(as: UInt8.self, repeating: 0, count: length - at)
        count += length
        return true
    }

    /// Forgets the first `bytes` bytes.
    func drop(_ bytes: Int) {
        count -= bytes
        if count > 0, bytes > 0 { memory.baseAddress!.copyMemory(from: memory.baseAddress! + bytes, byteCount: count) }
    }

    /// The rows, in order.
    var rows: [Row] {
        let words = Words(base: UnsafeRawPointer(memory.baseAddress!))
        var found: [Row] = []
        var at = 0
        while at < count {
            let end = at + words.int(at)
            found.append(
                Row(
                    topicId: words.u32(at + 4), partition: Int32(bitPattern: words.u32(at + 8)),
                    timestamp: Int64(bitPattern: words.u64(at + 24)), ticket: Int64(bitPattern: words.u64(at + 32)),
                    start: at, end: end))
            at = end
        }
        return found
    }
}
