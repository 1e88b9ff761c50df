// The loop of `process`: as many handlers at the same time as core gives records for. Order, retries, dead letters and
// commits are core's; here a handler is run, and core hears how it ended.

import Foundation
internal import HeadwaterNative

final class Processing: @unchecked Sendable {
    /// What handlers are called with: each record by itself, or all that may run.
    enum Handler: Sendable {
        case ofRecord(@Sendable (Record) async throws -> Void)
        case ofBatch(@Sendable (Batch) async throws -> Void)
    }

    private let processor: NativeProcessor
    private let handler: Handler
    private let lock = NSLock()
    /// What ended it; under `lock`.
    private var failure: (any Error)?

    init(_ processor: NativeProcessor, _ handler: Handler) {
        self.processor = processor
        self.handler = handler
    }

    func run() async throws {
        // Its end is that of the handlers: what runs counts.
        await withDiscardingTaskGroup { handlers in
            do {
                while let taken = try await take() {
                    let block = try Block(taken.block)
                    switch handler {
                    case .ofRecord(let handler):
                        for run in block.runs {
                            for row in run.firstRow..<run.endRow {
                                let record = Record(block: block, row: row, run: run)
                                handlers.addTask {
                                    await self.handle(taken.firstTicket + Int64(row), 1) { try await handler(record) }
                                }
                            }
                        }
                    case .ofBatch(let handler):
                        let batch = Batch(block)
                        handlers.addTask {
                            await self.handle(taken.firstTicket, UInt32(batch.count)) { try await handler(batch) }
                        }
                    }
                }
            } catch {
                fail(error)
            }
        }
        // In a task of its own: it is closed in a cancelled one too.
        try await Task { [processor] in _ = try await Hub.shared.ask { try processor.close(ticket: $0) } }.value
        if let failure = lock.withLock({ failure }) { throw failure }
    }

    private func take() async throws -> NativeTaken? {
        guard case .taken(let taken) = try await Hub.shared.ask({ try processor.take(ticket: $0) }) else { throw unexpected() }
        return taken
    }

    /// Runs what is to be done with `count` records, the first of which has this ticket.
    private func handle(_ ticket: Int64, _ count: UInt32, _ call: () async throws -> Void) async {
        do {
            do {
                try await call()
                _ = try callNative { try processor.finishBatch(firstTicket: ticket, count: count, error: nil) }
            } catch {
                // Cancelled from outside it has not failed; it is read again.
                if Task.isCancelled { return }
                let text = "\(error)"
                if try callNative({ try processor.finishBatch(firstTicket: ticket, count: count, error: text) }) { fail(error) }
            }
        } catch {
            fail(error)
        }
    }

    private func fail(_ error: any Error) {
        lock.withLock { failure = failure ?? error }
    }
}
