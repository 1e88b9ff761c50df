// Where answers arrive: one wake-up of one queue for as many as are ready.
//
// Whoever waits has a ticket. Core pushes the tickets that are answered to one queue of its own and calls `ready` on one
// of its threads, which only puts a block on the hub's dispatch queue; that one drains the tickets and runs their
// handlers, which resume tasks. A task takes its answer itself, on its own thread. The hub's queue also runs what is due
// soon: handing over records that nobody awaits.

import Foundation
internal import HeadwaterNative

final class Hub: @unchecked Sendable {
    static let shared = Hub()

    private let queue = DispatchQueue(label: "headwater.hub")
    private let lock = NSLock()
    private var lastTicket: Int64 = 0
    private var handlers: [Int64: @Sendable () -> Void] = [:]
    private var soonJobs: [@Sendable () -> Void] = []

    private final class Waker: Ready {
        let wake: @Sendable () -> Void

        init(_ wake: @escaping @Sendable () -> Void) {
            self.wake = wake
        }

        func ready() { wake() }
    }

    private init() {
        hubOpen(ready: Waker { [unowned self] in queue.async { self.drain() } })
        atexit { Hub.shared.end() }
    }

    func newTicket() -> Int64 {
        lock.withLock {
            lastTicket += 1
            return lastTicket
        }
    }

    /// Runs `handler` on the hub's queue whenever `ticket` is answered, until it is forgotten.
    func handle(_ ticket: Int64, _ handler: @escaping @Sendable () -> Void) {
        lock.withLock { handlers[ticket] = handler }
    }

    /// Drops a ticket, and its answer, whether it is there or on its way.
    func forget(_ ticket: Int64) {
        unwatch(ticket)
        hubForget(ticket: ticket)
    }

    /// A ticket that is no longer watched; what was asked under it goes on.
    func unwatch(_ ticket: Int64) {
        _ = lock.withLock { handlers.removeValue(forKey: ticket) }
    }

    /// Runs `job` on the hub's queue in about a millisecond, or before the process ends.
    func soon(_ job: @escaping @Sendable () -> Void) {
        let isFirst = lock.withLock {
            soonJobs.append(job)
            return soonJobs.count == 1
        }
        if isFirst { queue.asyncAfter(deadline: .now() + .milliseconds(1)) { self.runSoon() } }
    }

    /// Asks under a ticket and waits until the answer is there; cancelled, the answer is dropped.
    func ask(_ start: (_ ticket: Int64) throws -> Void) async throws -> Answer {
        try Task.checkCancellation()
        let ticket = newTicket()
        let answered = Signal<Void>()
        handle(ticket) { answered.finish() }
        do {
            try callNative { try start(ticket) }
            try await answered.value()
            let answer = try take(ticket)
            unwatch(ticket)
            return answer
        } catch {
            forget(ticket)
            throw error
        }
    }

    func take(_ ticket: Int64) throws -> Answer {
        guard let answer = try callNative({ try hubTake(ticket: ticket) }) else {
            throw HeadwaterError(code: "UNKNOWN_SERVER_ERROR", "ticket \(ticket) has no answer yet")
        }
        return answer
    }

    private func drain() {
        let tickets = hubDrain()
        let due = lock.withLock { tickets.compactMap { handlers[$0] } }
        for handler in due { handler() }
    }

    private func runSoon() {
        let jobs = lock.withLock {
            defer { soonJobs = [] }
            return soonJobs
        }
        for job in jobs { job() }
    }

    /// The end of the process: hands over what is still here, waits for it, and says what was not delivered.
    private func end() {
        runSoon()
        CloseReport(HeadwaterNative.exit(timeoutMs: nil)).warn("when the process ended")
    }
}

extension Duration {
    /// Whole milliseconds for core, rounded up.
    var ms: Int64 {
        let (seconds, attoseconds) = components
        return seconds.multipliedReportingOverflow(by: 1_000).overflow
            ? (seconds < 0 ? .min : .max)
            : seconds * 1_000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }
}
