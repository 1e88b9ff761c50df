// The consumer. A block of records is leased: core hands one out, this side tells how many of its rows the loop has passed
// (at most every 100 ms, and whenever somebody asks for positions), and asking for the next block passes the whole of the
// last. A row counts as passed when the loop asks for the one behind it, so leaving a loop early does not process the
// record in hand; the next loop begins with it again.

import Foundation
internal import HeadwaterNative

private let progressNanoseconds: UInt64 = 100_000_000

/// The block in hand and how far the loop is in it.
private final class Lease {
    let block: Block
    /// Rows the loop has passed.
    var passed = 0
    /// Rows core was told of.
    var reported = 0
    /// The next row to give out, and its run.
    var next = 0
    var runIndex = 0
    var skipped: Set<Int> = []

    init(_ block: Block) {
        self.block = block
    }

    /// Goes on to the next row that is to be given out; nil: the block has no more.
    func proceed() -> Run? {
        while runIndex < block.runs.count {
            let run = block.runs[runIndex]
            if !skipped.isEmpty, skipped.contains(runIndex) { next = max(next, run.endRow) }
            if next < run.endRow { return run }
            runIndex += 1
        }
        return nil
    }

    /// The loop was left: the record in hand is given out again.
    func rewind() {
        next = passed
        runIndex = block.runs.lastIndex { $0.firstRow <= next } ?? 0
    }
}

/// Reads topics. One loop at a time: a second one while the first runs throws `INVALID_STATE`.
public final class Consumer: @unchecked Sendable {
    /// A block that was asked for. A loop that was cancelled leaves it behind, for the next.
    private struct Fetch {
        let ticket: Int64
        let ready = Signal<Void>()
    }

    private enum Step<Element> {
        case give(Element)
        case fetch(Fetch)
        /// It was closed.
        case end
    }

    private let native: NativeConsumer
    private let isManual: Bool
    private let closing = Once<CloseReport>()

    // All below is used under `lock`; no call to core that resumes somebody runs host code under it.
    private let lock = NSRecursiveLock()
    private var lease: Lease?
    private var fetch: Fetch?
    private var reader: ObjectIdentifier?
    private var reportedAt: UInt64 = 0
    private var acked: (lease: Lease, rows: Range<Int>)?
    private var isRefusing = false

    init(_ native: NativeConsumer, isManual: Bool) {
        self.native = native
        self.isManual = isManual
    }

    /// Finds the topics, joins the group, and fixes where reading starts and ends; a loop does it if it was not done.
    public func open() async throws {
        _ = try await Hub.shared.ask { try native.open(ticket: $0) }
    }

    /// The records, one by one; it ends at `until`, or never. A record counts as processed when the loop asks for the next
    /// one: leaving it early (`break`, `return`, an error, cancellation) does not process the record in hand. If you hand
    /// records to other tasks, use `Ack.manual`.
    ///
    /// Closing the consumer, from wherever, ends the loop that runs; one that begins after that throws `CLOSED`.
    public var records: Records { Records(consumer: self) }

    /// The records, block by block: a batch counts as processed when the next one is asked for.
    public var batches: Batches { Batches(consumer: self) }

    /// Calls `handler` for every record, in up to `concurrency` tasks at the same time.
    ///
    /// Records of one key of one partition are handled one after the other (`order`). A record whose handler throws is tried
    /// again after a pause, up to `attempts` times, and holds back only its key. After that it goes to the topic
    /// `deadLetter`, or without one its error comes out of here, once the other handlers have ended. Only what is processed
    /// is committed; a record may be handled more than once.
    ///
    /// Returns when `until` is reached or the consumer is closed; cancelled, it cancels the handlers. What was not processed
    /// is read again by whoever reads this consumer next.
    public func process(
        options: ProcessOptions = ProcessOptions(), _ handler: @escaping @Sendable (Record) async throws -> Void
    ) async throws {
        try await process(options, .ofRecord(handler))
    }

    /// Calls `handler` for many records at once: as many as may run, at most `concurrency`. They end together: if it throws,
    /// each of them is tried again, or has failed. All else is as with `process`.
    public func processBatches(
        options: ProcessOptions = ProcessOptions(), _ handler: @escaping @Sendable (Batch) async throws -> Void
    ) async throws {
        try await process(options, .ofBatch(handler))
    }

    private func process(_ options: ProcessOptions, _ handler: Processing.Handler) async throws {
        // Stands for a loop: nobody else can be it.
        try takeOver(ObjectIdentifier(Processing.self))
        defer { lock.withLock { reader = nil } }
        let processor = try callNative { try native.processor(options: options.native) }
        try await Processing(processor, handler).run()
    }

    /// Nobody else reads from now on. What a loop has not passed is read again, and so is what it has left on its way.
    private func takeOver(_ reader: ObjectIdentifier) throws {
        try lock.withLock {
            guard self.reader == nil else {
                throw HeadwaterError(code: "INVALID_STATE", "another loop reads this consumer; one at a time can")
            }
            if isRefusing { throw HeadwaterError(code: "CLOSED", "the consumer is closed") }
            try report()
            self.reader = reader
            lease = nil
            if let fetch { Hub.shared.forget(fetch.ticket) }
            fetch = nil
        }
    }

    /// Acknowledges one record, in any order (`Ack.manual`). What is committed is the first offset that is not.
    public func ack(_ record: Record) throws {
        try checkManual()
        try lock.withLock {
            guard let lease, lease.block === record.block else {
                return try ackOne(record.run, record.offset)
            }
            // Neighbours go together: one call for many records.
            if let acked, acked.lease === lease, acked.rows.upperBound == record.row {
                self.acked = (lease, acked.rows.lowerBound..<record.row + 1)
            } else {
                try pushAcks()
                acked = (lease, record.row..<record.row + 1)
                Hub.shared.soon { [self] in try? lock.withLock { try pushAcks() } }
            }
        }
    }

    /// Acknowledges every record of a batch (`Ack.manual`).
    public func ack(_ batch: Batch) throws {
        try checkManual()
        try lock.withLock {
            guard let rows = batch.rows, lease?.block === batch.block else {
                for record in batch { try ack(record) }
                return
            }
            try pushAcks()
            try ackRows(rows)
        }
    }

    /// Commits what is processed.
    public func commit() async throws {
        try report()
        _ = try await Hub.shared.ask { try native.commit(ticket: $0) }
    }

    /// Commits these offsets, each that of the next record to read.
    public func commit(_ offsets: [PartitionOffset]) async throws {
        let places = try offsets.map { try $0.toNative() }
        _ = try await Hub.shared.ask { try native.commitOffsets(ticket: $0, places: places) }
    }

    /// Sends records and commits what was given out, as one append: both happen, or neither does. For reading one topic and
    /// writing what comes of it to another: after a crash nothing is missing and nothing is there twice. Every record given
    /// out so far counts as processed, also the one or the batch in hand; from the first call on nothing is committed
    /// unasked. Needs a `group` and `Ack.auto`. Returns where the results went, in order.
    public func commit(with results: [ProducerRecord]) async throws -> [RecordMetadata] {
        let (inHand, rows) = lock.withLock { (lease, lease?.next ?? 0) }
        let sending = results.map(\.native)
        let answer = try await Hub.shared.ask { try native.commitWith(ticket: $0, rows: UInt32(rows), results: sending) }
        guard case .sent(let sent) = answer else { throw unexpected() }
        // What the loop had in hand is committed now, and not given out again; had it failed, it would be.
        lock.withLock { if let inHand { inHand.passed = max(inHand.passed, rows) } }
        return sent.map(RecordMetadata.init)
    }

    /// What the group has committed for the partitions of this consumer.
    public func committed() async throws -> [PartitionOffset] {
        guard case .places(let places) = try await Hub.shared.ask({ try native.committed(ticket: $0) }) else { throw unexpected() }
        return places.map(PartitionOffset.init)
    }

    /// Goes on reading a partition at `offset`.
    public func seek(_ topic: String, partition: Int, to offset: Int64) throws {
        try report()
        let number = try int32(partition, "partition")
        try callNative { try native.seek(topic: topic, partition: number, offset: offset) }
        forget(topic, partition)
    }

    /// Goes on reading a partition at an offset by its meaning.
    public func seek(_ topic: String, partition: Int, to at: OffsetAt) async throws {
        try report()
        let number = try int32(partition, "partition")
        _ = try await Hub.shared.ask { try native.seekTo(ticket: $0, topic: topic, partition: number, at: at.native) }
        forget(topic, partition)
    }

    /// For each partition the offset of the first record that does not count as processed.
    public func positions() throws -> [PartitionOffset] {
        try report()
        return try callNative { try native.positions() }.map(PartitionOffset.init)
    }

    /// The partitions that it reads, each with the offset of the next record to be given out.
    public func assignment() throws -> [PartitionOffset] {
        try callNative { try native.assignment() }.map(PartitionOffset.init)
    }

    /// How far it is in each assigned partition, and how far it could be. One request.
    public func lag() async throws -> [PartitionLag] {
        try report()
        guard case .lags(let lags) = try await Hub.shared.ask({ try native.lag(ticket: $0) }) else { throw unexpected() }
        return lags.map(PartitionLag.init)
    }

    /// Gives out nothing more of these partitions (nil: of all that are assigned) until they are resumed. The rest of the
    /// block in hand is still given; heartbeats and commits go on. A partition that goes to another member is paused no
    /// more, one that is assigned later is not paused.
    public func pause(_ partitions: [TopicPartition]? = nil) throws {
        let names = try partitions?.map { try $0.toNative() }
        try callNative { try native.pause(partitions: names) }
    }

    /// Goes on giving out these partitions (nil: all that are assigned).
    public func resume(_ partitions: [TopicPartition]? = nil) throws {
        let names = try partitions?.map { try $0.toNative() }
        try callNative { try native.resume(partitions: names) }
    }

    /// The partitions that are paused.
    public func paused() throws -> [TopicPartition] {
        try callNative { try native.paused() }.map(TopicPartition.init)
    }

    /// Whether nothing more will come: `until` is reached in every partition, or it was closed.
    public var isFinished: Bool {
        get throws { try callNative { try native.isFinished() } }
    }

    /// Commits what is processed, leaves the group, and returns within `timeout` (nil: the client's `closeTimeout`),
    /// whatever happens. Records that were given out stay valid. Closing again gives the same report, sooner if `timeout`
    /// is shorter.
    @discardableResult
    public func close(timeout: Duration? = nil) async throws -> CloseReport {
        // Core ends the close that is on its way, if this one would end sooner.
        let hurry: @Sendable () async -> Void = { [native] in
            _ = try? await Hub.shared.ask { try native.close(ticket: $0, timeoutMs: timeout?.ms) }
        }
        return try await closing.run(patience: .zero, hurry: hurry) { try await self.end(timeout) }
    }

    /// From now on nothing more is given out.
    func refuse() throws {
        try report()
        lock.withLock { isRefusing = true }
    }

    private func end(_ timeout: Duration?) async throws -> CloseReport {
        try refuse()
        guard case .report(let report) = try await Hub.shared.ask({ try native.close(ticket: $0, timeoutMs: timeout?.ms) }) else {
            throw unexpected()
        }
        return CloseReport(report)
    }

    // --- What the iterators do ---

    fileprivate func nextRecord(_ reader: ObjectIdentifier) async throws -> Record? {
        try await next(reader) { lease, run in
            let row = lease.next
            lease.next += 1
            return Record(block: lease.block, row: row, run: run)
        }
    }

    fileprivate func nextBatch(_ reader: ObjectIdentifier) async throws -> Batch? {
        try await next(reader) { lease, _ in
            defer {
                lease.next = lease.block.count
                lease.runIndex = lease.block.runs.count
            }
            return Batch(lease.block, from: lease.next, skipped: lease.skipped)
        }
    }

    /// Passes what was given out before and gives the next, waiting for a block if need be; nil: there will be none.
    private func next<Element>(_ reader: ObjectIdentifier, _ give: (Lease, Run) -> Element) async throws -> Element? {
        while true {
            try Task.checkCancellation()
            switch try step(reader, give) {
            case .give(let element): return element
            case .fetch(let fetch):
                try await fetch.ready.value()
                if !(try receive(fetch)) {
                    leave(reader)
                    return nil
                }
            case .end:
                leave(reader)
                return nil
            }
        }
    }

    private func step<Element>(_ reader: ObjectIdentifier, _ give: (Lease, Run) -> Element) throws -> Step<Element> {
        try lock.withLock {
            if self.reader == nil {
                if isRefusing { throw HeadwaterError(code: "CLOSED", "the consumer is closed") }
                try callNative { try native.beginLoop() }
                self.reader = reader
            }
            guard self.reader == reader else {
                throw HeadwaterError(code: "INVALID_STATE", "another loop reads this consumer; one at a time can")
            }
            if isRefusing { return .end }
            if let lease {
                lease.passed = lease.next
                if DispatchTime.now().uptimeNanoseconds &- reportedAt >= progressNanoseconds { try report() }
                if let run = lease.proceed() { return .give(give(lease, run)) }
            }
            return .fetch(try fetch ?? request())
        }
    }

    private func request() throws -> Fetch {
        try pushAcks()
        lease = nil
        let asked = Fetch(ticket: Hub.shared.newTicket())
        Hub.shared.handle(asked.ticket) {
            Hub.shared.unwatch(asked.ticket)
            asked.ready.finish()
        }
        do {
            try callNative { try native.nextBlock(ticket: asked.ticket, timeoutMs: nil) }
        } catch {
            Hub.shared.forget(asked.ticket)
            throw error
        }
        fetch = asked
        return asked
    }

    /// Takes the block that was asked for; false: there will be none.
    private func receive(_ fetch: Fetch) throws -> Bool {
        lock.withLock { self.fetch = nil }
        guard case .block(let bytes) = try Hub.shared.take(fetch.ticket) else { throw unexpected() }
        guard let bytes else { return false }
        let block = try Block(bytes)
        lock.withLock {
            lease = Lease(block)
            reportedAt = DispatchTime.now().uptimeNanoseconds
        }
        return true
    }

    /// A loop ended, in whatever way.
    fileprivate func leave(_ reader: ObjectIdentifier) {
        lock.withLock {
            guard self.reader == reader else { return }
            self.reader = nil
            // Acknowledged by hand, a record that was given out is the caller's.
            if let lease { isManual ? lease.passed = lease.next : lease.rewind() }
            if !isRefusing { try? report() }
        }
    }

    /// Tells core how far the loop is; core may want the rest of a run left out.
    private func report() throws {
        try lock.withLock {
            try pushAcks()
            reportedAt = DispatchTime.now().uptimeNanoseconds
            guard let lease, lease.passed != lease.reported else { return }
            lease.reported = lease.passed
            let run = try callNative { try native.progress(rows: UInt32(lease.passed)) }
            if run >= 0 { lease.skipped.insert(Int(run)) }
        }
    }

    private func pushAcks() throws {
        guard let (from, rows) = acked else { return }
        acked = nil
        if from === lease { return try ackRows(rows) }
        // The loop went on to another block in between.
        for run in from.block.runs {
            let first = max(run.firstRow, rows.lowerBound)
            for row in first..<max(first, min(run.endRow, rows.upperBound)) { try ackOne(run, from.block.offset(row, run)) }
        }
    }

    private func ackRows(_ rows: Range<Int>) throws {
        try callNative { try native.ackRows(start: UInt32(rows.lowerBound), end: UInt32(rows.upperBound)) }
    }

    private func ackOne(_ run: Run, _ offset: Int64) throws {
        try callNative { try native.ack(topic: run.topic, partition: Int32(run.partition), offset: offset) }
    }

    private func checkManual() throws {
        if !isManual { throw HeadwaterError(code: "INVALID_STATE", "records are acknowledged by hand with `Ack.manual` only") }
    }

    /// The rows of a partition that are in hand are no longer wanted.
    private func forget(_ topic: String, _ partition: Int) {
        lock.withLock {
            guard let lease else { return }
            for (index, run) in lease.block.runs.enumerated() where run.topic == topic && run.partition == partition {
                lease.skipped.insert(index)
            }
        }
    }
}

func unexpected() -> HeadwaterError { HeadwaterError(code: "UNKNOWN_SERVER_ERROR", "an answer of another kind than asked for") }

/// The records of a consumer, one by one.
public struct Records: AsyncSequence, Sendable {
    public typealias Element = Record
    let consumer: Consumer

    public func makeAsyncIterator() -> Iterator { Iterator(consumer) }

    public final class Iterator: AsyncIteratorProtocol {
        private let consumer: Consumer
        private var isOver = false

        init(_ consumer: Consumer) {
            self.consumer = consumer
        }

        deinit { consumer.leave(ObjectIdentifier(self)) }

        public func next() async throws -> Record? {
            if isOver { return nil }
            let record = try await consumer.nextRecord(ObjectIdentifier(self))
            isOver = record == nil
            return record
        }
    }
}

/// The records of a consumer, block by block.
public struct Batches: AsyncSequence, Sendable {
    public typealias Element = Batch
    let consumer: Consumer

    public func makeAsyncIterator() -> Iterator { Iterator(consumer) }

    public final class Iterator: AsyncIteratorProtocol {
        private let consumer: Consumer
        private var isOver = false

        init(_ consumer: Consumer) {
            self.consumer = consumer
        }

        deinit { consumer.leave(ObjectIdentifier(self)) }

        public func next() async throws -> Batch? {
            if isOver { return nil }
            let batch = try await consumer.nextBatch(ObjectIdentifier(self))
            isOver = batch == nil
            return batch
        }
    }
}
