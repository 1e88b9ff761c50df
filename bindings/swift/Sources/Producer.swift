// The producer. Records are packed here and handed to core many at a time: when the buffer is full, when somebody awaits
// one of them, and after about a millisecond. Core never waits; what it has no room for stays here, in order: rows in the
// buffer first, then the `send`s that wait. Answers come back as completion rows, one wake-up for all.

import Foundation
internal import HeadwaterNative

private let bufferBytes = 65_536
private let failuresKeptMax = 1_024
private let sendWaitersLimit = Int(sendWaitersMax())

/// Sends records to any topic. Records of one partition keep the order in which they were handed over.
public final class Producer: @unchecked Sendable {
    private struct Waiter {
        let delivery: Delivery
        let rows: RowBuffer
        let accepted = Signal<Void>()
    }

    private enum Sent {
        case taken(Delivery)
        case waits(Waiter)
    }

    private let native: NativeProducer
    private let closeTimeout: Duration
    let closing = Once<CloseReport>()
    private let answersLock = NSLock()
    private var tickets: [Int64] = []

    // All below is used under `lock`. Nothing that could run somebody else's code does: that waits in `resolved` and `after`.
    private let lock = NSLock()
    private var resolved: [(Delivery, Result<RecordMetadata, Error>)] = []
    private var after: [() -> Void] = []
    private let rows = RowBuffer(capacity: bufferBytes)
    private var waiting: [Waiter] = []
    private var handedOver: [Signal<Void>] = []
    private var deliveries: [Int64: Delivery] = [:]
    private var unread: [(Delivery, HeadwaterError)] = []
    private var read: Set<Int64> = []
    private var topics: [String: UInt32] = [:]
    private var lastTopic = ""
    private var lastTopicId: UInt32?
    private var lastTicket: Int64 = 0
    private var isFull = false
    private var isPushDue = false
    private var isRefusing = false
    private var isGivenUp = false
    private var failedRecords: Int64 = 0
    private var firstError: HeadwaterError?
    private var failureHandler: (@Sendable (DeliveryFailure) -> Void)?

    init(_ native: NativeProducer, closeTimeout: Duration) throws {
        self.native = native
        self.closeTimeout = closeTimeout
        let (completions, failures) = (Hub.shared.newTicket(), Hub.shared.newTicket())
        tickets = [completions, failures]
        Hub.shared.handle(completions) { [weak self] in self?.settle() }
        Hub.shared.handle(failures) { [weak self] in self?.reportFailures() }
        try callNative { try native.watch(completions: completions, failures: failures) }
    }

    deinit {
        for ticket in tickets { Hub.shared.forget(ticket) }
    }

    /// Sends a record. With room it returns at once; without, it suspends until there is some, first in first out, and
    /// throws `BUFFER_FULL` if 1,024 others wait already. Cancelled while it waits, the record is not sent.
    public func send(
        _ topic: String, _ value: (any Payload)?, key: (any Payload)? = nil, headers: [Header] = [], partition: Int? = nil,
        timestamp: Int64? = nil
    ) async throws -> Delivery {
        switch try start(topic, value, key, headers, partition, timestamp) {
        case .taken(let delivery): return delivery
        case .waits(let waiter):
            do {
                try await waiter.accepted.value()
            } catch {
                locked { waiting.removeAll { $0.delivery === waiter.delivery } }
                throw error
            }
            return waiter.delivery
        }
    }

    /// Sends a record and gives nothing back. Never waits: throws `BUFFER_FULL` when there is no room, and while a `send`
    /// waits. What fails later is counted and comes out of `flush`, `close` and `onFailure`.
    public func enqueue(
        _ topic: String, _ value: (any Payload)?, key: (any Payload)? = nil, headers: [Header] = [], partition: Int? = nil,
        timestamp: Int64? = nil
    ) throws {
        let packed = try packHeaders(headers)
        try withBytes(value) { value in
            try withBytes(key) { key in
                try locked {
                    let row = try accept(topic, partition, timestamp)
                    guard waiting.isEmpty, try add(row, key, value, packed, nil) else { throw full() }
                }
            }
        }
    }

    /// Suspends until there is room for one more record.
    public func ready() async throws {
        try await handOver(nil)
        _ = try await Hub.shared.ask { try native.ready(ticket: $0) }
    }

    /// Suspends until everything sent so far is acknowledged or failed. Throws the first failure that nobody was told
    /// about: of `enqueue`, and of deliveries that nobody has awaited.
    public func flush() async throws {
        try await handOver(nil)
        _ = try await Hub.shared.ask { try native.flush(ticket: $0) }
        settle()
        if let error = locked({ takeFailures() }).1 { throw error }
    }

    /// Calls `handler` for failures that nobody waits for, on a thread of Headwater: it must not block.
    public func onFailure(_ handler: @escaping @Sendable (DeliveryFailure) -> Void) {
        locked { failureHandler = handler }
    }

    /// Takes no more records and returns when those it has are acknowledged or failed, at the latest after `timeout`
    /// (nil: the client's `closeTimeout`), saying what was not delivered. Closing again gives the same report, sooner if
    /// `timeout` is shorter.
    @discardableResult
    public func close(timeout: Duration? = nil) async throws -> CloseReport {
        try await closing.run(patience: timeout ?? closeTimeout, hurry: { await self.hurry() }) {
            try await self.end(timeout)
        }
    }

    // --- In: packing and handing over ---

    private func start(
        _ topic: String, _ value: (any Payload)?, _ key: (any Payload)?, _ headers: [Header], _ partition: Int?,
        _ timestamp: Int64?
    ) throws -> Sent {
        let packed = try packHeaders(headers)
        return try withBytes(value) { value in
            try withBytes(key) { key in
                try locked {
                    // Known here, so that the answer can name it.
                    var row = try accept(topic, partition, timestamp ?? Int64(Date().timeIntervalSince1970 * 1_000))
                    lastTicket += 1
                    row.ticket = lastTicket
                    let delivery = Delivery(self, topic: topic, timestamp: row.timestamp, ticket: row.ticket, lock: answersLock)
                    if waiting.isEmpty, try add(row, key, value, packed, delivery) { return .taken(delivery) }
                    if waiting.count >= sendWaitersLimit { throw full() }
                    let waiter = Waiter(delivery: delivery, rows: try rowOf(row, key, value, packed))
                    waiting.append(waiter)
                    waitForRoom()
                    return .waits(waiter)
                }
            }
        }
    }

    /// What every record goes through first. Under the lock.
    private func accept(_ topic: String, _ partition: Int?, _ timestamp: Int64?) throws -> RowBuffer.Row {
        if isRefusing { throw HeadwaterError(code: "CLOSED", "the producer is closed") }
        if let partition, partition < 0 { throw HeadwaterError.invalid("partition \(partition): it must be 0 or more") }
        if let timestamp, timestamp < 0 { throw HeadwaterError.invalid("timestamp \(timestamp): it must be 0 or more") }
        let topicId = try self.topicId(topic)
        return RowBuffer.Row(
            topicId: topicId, partition: try partition.map { try int32($0, "partition") } ?? -1, timestamp: timestamp ?? -1,
            ticket: 0)
    }

    private func topicId(_ topic: String) throws -> UInt32 {
        if let lastTopicId, topic == lastTopic { return lastTopicId }
        let topicId = try topics[topic] ?? callNative { try native.topic(name: topic) }
        topics[topic] = topicId
        (lastTopic, lastTopicId) = (topic, topicId)
        return topicId
    }

    /// Packs a record; false: there is no room. Under the lock.
    private func add(
        _ row: RowBuffer.Row, _ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?, _ headers: Data?,
        _ delivery: Delivery?
    ) throws -> Bool {
        if let delivery { deliveries[row.ticket] = delivery }
        if !rows.add(row, key, value, headers) {
            let isEmpty = pushRows()
            if !rows.add(row, key, value, headers) {
                // Larger than the buffer: a buffer of its own, used once.
                let isTaken = try isEmpty && hand(rowOf(row, key, value, headers))
                if !isTaken { deliveries[row.ticket] = nil }
                return isTaken
            }
        }
        pushSoon()
        return true
    }

    private func rowOf(
        _ row: RowBuffer.Row, _ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?, _ headers: Data?
    ) throws -> RowBuffer {
        let bytes = rowBytes(key, value, headers)
        // What crosses in one call is counted in an i32.
        guard bytes <= Int(Int32.max) else { throw HeadwaterError(code: "MESSAGE_TOO_LARGE", "a record of \(bytes) bytes") }
        let rows = RowBuffer(capacity: bytes)
        _ = rows.add(row, key, value, headers)
        return rows
    }

    private func pushSoon() {
        if isPushDue { return }
        isPushDue = true
        Hub.shared.soon {
            self.locked { self.isPushDue = false }
            self.push()
        }
    }

    /// `send`s that wait for room.
    var waitingCount: Int { locked { waiting.count } }

    /// Somebody waits for this one: it must not lie here.
    func wanted(_ delivery: Delivery) {
        locked { _ = read.insert(delivery.ticket) }
        if !delivery.isDone { push() }
    }

    /// Hands over everything, in order; false: core has no room, and what is left follows when it has.
    @discardableResult
    private func push() -> Bool {
        locked {
            guard pushRows() else { return false }
            while let waiter = waiting.first {
                deliveries[waiter.delivery.ticket] = waiter.delivery
                guard hand(waiter.rows) else { return false }
                waiting.removeFirst()
                after.append { waiter.accepted.finish() }
            }
            for caller in handedOver { after.append { caller.finish() } }
            handedOver = []
            return true
        }
    }

    private func pushRows() -> Bool { !isFull && hand(rows) }

    private func hand(_ rows: RowBuffer) -> Bool {
        if rows.isEmpty { return true }
        do {
            rows.drop(Int(try rows.withRows { rows in try callNative { try native.sendRows(rows: rows) } }))
        } catch {
            rows.drop(handEach(rows, error))
        }
        if rows.isEmpty { return true }
        waitForRoom()
        return false
    }

    /// Core takes all of a call or refuses all: a row that it refuses must not take the others with it.
    private func handEach(_ rows: RowBuffer, _ error: Error) -> Int {
        var taken = 0
        for row in rows.rows {
            do {
                if (error as? HeadwaterError)?.fatal ?? true { throw error }
                let bytes = try rows.withRows(row.start, row.end) { row in
                    try callNative { try native.sendRows(rows: row) }
                }
                if bytes == 0 { break }
            } catch {
                fail(row, error)
            }
            taken = row.end
        }
        return taken
    }

    private func waitForRoom() {
        if isFull { return }
        isFull = true
        let ticket = Hub.shared.newTicket()
        Hub.shared.handle(ticket) {
            Hub.shared.forget(ticket)
            self.locked { self.isFull = false }
            self.push()
        }
        do {
            try native.ready(ticket: ticket)
        } catch {
            // A panic: what waits is tried again with the next record.
            Hub.shared.forget(ticket)
            isFull = false
        }
    }

    /// Suspends until core has everything, at most `limit`.
    func handOver(_ limit: Duration?) async throws {
        if push() { return }
        let done = Signal<Void>()
        locked {
            if isGivenUp { after.append { done.finish() } } else { handedOver.append(done) }
        }
        // What it waited for may have happened in between.
        push()
        guard let limit else { return try await done.value() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await done.value() }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }

    /// Nobody waits any longer for room.
    func giveUp() {
        locked {
            isGivenUp = true
            for caller in handedOver { after.append { caller.finish() } }
            handedOver = []
        }
    }

    // --- Out: what became of them ---

    /// Resolves the deliveries that core has answered.
    private func settle() {
        guard let found = try? native.takeCompletions(), !found.isEmpty else { return }
        locked {
            for row in Completion.rows(found) { settle(row) }
        }
    }

    private func settle(_ row: Completion) {
        let error = row.isFailed ? errorOf(row) : nil
        for index in 0..<row.count {
            guard let delivery = deliveries.removeValue(forKey: row.firstTicket + index) else { continue }
            if let error {
                fail(delivery, error)
            } else {
                read.remove(delivery.ticket)
                let metadata = RecordMetadata(
                    topic: delivery.topic, partition: Int(row.partition), offset: row.baseOffset + index,
                    timestamp: row.appended < 0 ? delivery.timestamp : row.appended, durability: row.durability)
                resolved.append((delivery, .success(metadata)))
            }
        }
    }

    private func errorOf(_ row: Completion) -> HeadwaterError {
        if let facts = try? native.takeError(errorId: row.errorId) { return HeadwaterError(facts) }
        return HeadwaterError(code: "UNKNOWN_SERVER_ERROR", "the cause of error \(row.error) was not kept", outcome: row.outcome)
    }

    private func fail(_ delivery: Delivery, _ error: HeadwaterError) {
        if unread.count == failuresKeptMax { count(unread.removeFirst()) }
        unread.append((delivery, error))
        resolved.append((delivery, .failure(error)))
    }

    private func fail(_ row: RowBuffer.Row, _ error: Error) {
        let error = error as? HeadwaterError ?? HeadwaterError(code: "UNKNOWN_SERVER_ERROR", "\(error)", outcome: .unknown)
        if let delivery = deliveries.removeValue(forKey: row.ticket) { return fail(delivery, error) }
        failedRecords += 1
        firstError = firstError ?? error
        let topic = topics.first { $0.value == row.topicId }?.key ?? ""
        announce(DeliveryFailure(topic: topic, partition: Int(row.partition), records: 1, error: error))
    }

    private func count(_ failed: (Delivery, HeadwaterError)) {
        if read.remove(failed.0.ticket) != nil { return }
        failedRecords += 1
        firstError = firstError ?? failed.1
    }

    private func announce(_ failure: DeliveryFailure) {
        if let failureHandler { after.append { failureHandler(failure) } }
    }

    private func reportFailures() {
        guard let failures = try? native.takeFailures() else { return }
        locked {
            for failure in failures {
                announce(
                    DeliveryFailure(
                        topic: failure.topic, partition: Int(failure.partition), records: failure.records,
                        error: HeadwaterError(failure.error)))
            }
        }
    }

    /// How many records failed here that nobody was told about, and the first failure.
    private func takeFailures() -> (Int64, HeadwaterError?) {
        for failed in unread { count(failed) }
        unread = []
        defer { (failedRecords, firstError) = (0, nil) }
        return (failedRecords, firstError)
    }

    // --- The end ---

    /// From now on nothing more is taken.
    func refuse() { locked { isRefusing = true } }

    /// What closes already ends now.
    private func hurry() async {
        giveUp()
        _ = try? await Hub.shared.ask { try native.close(ticket: $0, timeoutMs: 0) }
    }

    private func end(_ timeout: Duration?) async throws -> CloseReport {
        let deadline = ContinuousClock.now + (timeout ?? closeTimeout)
        refuse()
        try await handOver(timeout ?? closeTimeout)
        let left = max(deadline - .now, .zero)
        guard case .report(let report) = try await Hub.shared.ask({ try native.close(ticket: $0, timeoutMs: left.ms) }) else {
            throw HeadwaterError(code: "UNKNOWN_SERVER_ERROR", "not a report")
        }
        return finish(CloseReport(report))
    }

    /// Core has closed it: ends what nobody else will end, and adds what was left here to the report.
    func finish(_ report: CloseReport) -> CloseReport {
        settle()
        reportFailures()
        for ticket in tickets { Hub.shared.forget(ticket) }
        return locked {
            let left = ([rows] + waiting.map(\.rows)).flatMap(\.rows)
            let unsent = HeadwaterError(code: "CLOSED", "the producer was closed before it could send the record")
            for row in left {
                if let delivery = deliveries.removeValue(forKey: row.ticket) { fail(delivery, unsent) }
            }
            for waiter in waiting {
                resolved.append((waiter.delivery, .failure(unsent)))
                after.append { waiter.accepted.finish() }
            }
            waiting = []
            let unknown = HeadwaterError(code: "CLOSED", "the producer was closed before the answer came", outcome: .unknown)
            for delivery in deliveries.values { fail(delivery, unknown) }
            deliveries = [:]
            for caller in handedOver { after.append { caller.finish() } }
            handedOver = []
            rows.drop(rows.count)
            let (failed, error) = takeFailures()
            return CloseReport(
                unsentRecords: report.unsentRecords + Int64(left.count), failedRecords: report.failedRecords + failed,
                firstError: report.firstError ?? error)
        }
    }

    private func full() -> HeadwaterError {
        HeadwaterError(code: "BUFFER_FULL", "the buffer of the producer has no room; `ready()` before the next record waits for it")
    }

    /// Runs `call` under the lock, and what it put off for later without it.
    private func locked<R>(_ call: () throws -> R) rethrows -> R {
        lock.lock()
        defer {
            let (answers, actions) = (resolved, after)
            if !answers.isEmpty { resolved = [] }
            if !actions.isEmpty { after = [] }
            lock.unlock()
            for (delivery, answer) in answers { delivery.answer.finish(answer) }
            for action in actions { action() }
        }
        return try call()
    }
}
