// The end of a client, a producer or a consumer: once, by when, and what nobody was told about.

import Foundation

extension Headwater {
    /// Runs `body`, then `close` however it ended; what was lost by that is thrown, for nobody looks at the report. Who was
    /// cancelled wants to leave: then there is no more than `exitTimeout` for it, and what was lost is said on the error
    /// output.
    static func closing<R>(
        within exitTimeout: Duration, _ close: (Duration?) async throws -> CloseReport, _ body: () async throws -> R
    ) async throws -> R {
        let result: R
        do {
            result = try await body()
        } catch {
            // The first error is the one that counts.
            if Task.isCancelled {
                try? await close(exitTimeout).warn("when it was closed")
            } else {
                _ = try? await close(nil)
            }
            throw error
        }
        if let lost = try await close(nil).lost { throw lost }
        return result
    }
}

extension CloseReport {
    /// What was lost, as an error.
    var lost: HeadwaterError? {
        if firstError != nil || unsentRecords == 0 { return firstError }
        return HeadwaterError(
            code: "DELIVERY_TIMED_OUT", "on closing, \(unsentRecords) records were not delivered", outcome: .unknown)
    }

    /// Says what was lost on the error output.
    func warn(_ situation: String) {
        if unsentRecords == 0, failedRecords == 0, firstError == nil { return }
        let first = firstError.map { "; the first error: \($0.message)" } ?? ""
        let counts = "\(unsentRecords) records were not delivered and \(failedRecords) failed"
        FileHandle.standardError.write(Data("headwater: \(counts) \(situation)\(first)\n".utf8))
    }
}

/// Something that is done once; whoever comes later gets what the first got. The caller's cancellation does not end it.
final class Once<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var task: Task<Value, Error>?

    var isBegun: Bool { lock.withLock { task != nil } }

    /// Does it. Whoever comes later waits for at most `patience`, and then has it hurry.
    func run(
        patience: Duration, hurry: @escaping @Sendable () async -> Void, _ call: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let (running, isFirst) = lock.withLock { () -> (Task<Value, Error>, Bool) in
            if let task { return (task, false) }
            let begun = Task { try await call() }
            task = begun
            return (begun, true)
        }
        if isFirst { return try await running.value }
        let impatient = Task {
            try? await Task.sleep(for: patience)
            if !Task.isCancelled { await hurry() }
        }
        defer { impatient.cancel() }
        return try await running.value
    }
}
