// One answer that any number of tasks may wait for. A cancelled task ends its wait at once; the answer stays for others.

import Foundation

final class Signal<Value: Sendable>: @unchecked Sendable {
    private typealias Waiter = CheckedContinuation<Value, Error>

    private let lock: NSLock
    private var result: Result<Value, Error>?
    private var waiters: [Int: Waiter] = [:]
    private var cancelled: Set<Int> = []
    private var lastWaiter = 0

    /// Many signals may share a lock; none is held while somebody is resumed.
    init(lock: NSLock = NSLock()) {
        self.lock = lock
    }

    var isFinished: Bool { lock.withLock { result != nil } }

    /// Answers, the first time; resumes those who wait. Never under the lock.
    func finish(_ answer: Result<Value, Error>) {
        let waiting: [Waiter] = lock.withLock {
            guard result == nil else { return [] }
            result = answer
            defer { waiters = [:] }
            return Array(waiters.values)
        }
        for waiter in waiting { waiter.resume(with: answer) }
    }

    /// The answer; a task that is cancelled gets `CancellationError`, unless the answer is there already.
    func value() async throws -> Value {
        let id = lock.withLock {
            lastWaiter += 1
            return lastWaiter
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (waiter: Waiter) in wait(waiter, id) }
        } onCancel: {
            cancel(id)
        }
    }

    private func wait(_ waiter: Waiter, _ id: Int) {
        let known: Result<Value, Error>? = lock.withLock {
            if let result { return result }
            // The handler may have run before there was anything to cancel.
            if cancelled.remove(id) != nil { return .failure(CancellationError()) }
            waiters[id] = waiter
            return nil
        }
        if let known { waiter.resume(with: known) }
    }

    private func cancel(_ id: Int) {
        let waiter: Waiter? = lock.withLock {
            if result == nil, waiters[id] == nil { cancelled.insert(id) }
            return waiters.removeValue(forKey: id)
        }
        waiter?.resume(throwing: CancellationError())
    }
}

extension Signal where Value == Void {
    func finish() { finish(.success(())) }
}
