// Folders, logs and brokers for the tests.

import Foundation

@testable import Headwater

private let scratch = URL(fileURLWithPath: environment["HEADWATER_SCRATCH"] ?? NSTemporaryDirectory())
private let cli = environment["HEADWATER_CLI"] ?? "headwater"

/// A path where nothing is yet.
func newPath() -> URL { scratch.appendingPathComponent("swift-\(UUID())") }

/// A path for a socket, which is short.
func newSocket() -> String { scratch.appendingPathComponent("s\(UInt32.random(in: .min ... .max))").path }

/// A test with a log in memory that has a topic of `partitions` partitions; closed at the end.
func inMemory(_ name: String, partitions: Int = 1, _ body: @escaping (Client) async throws -> Void) -> Test {
    Test(name) {
        try await Headwater.withConnection("mem:") { db in
            try await db.admin.createTopic("orders", partitions: partitions)
            try await body(db)
        }
    }
}

@discardableResult
func fails(
    _ kind: HeadwaterError.Kind, _ code: String, line: Int = #line, _ call: () async throws -> Void
) async throws -> HeadwaterError {
    let error = try await expectThrows(HeadwaterError.self, code, line: line, call)
    try expectEqual(kind, error.kind, error.message, line: line)
    try expectEqual(code, error.code, error.message, line: line)
    return error
}

/// Runs a program to its end; returns what it printed.
@discardableResult
func run(_ program: String, _ arguments: String...) throws -> String {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let printed = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    try expectEqual(0, process.terminationStatus, "\(program) \(arguments): \(printed)")
    return printed
}

/// Runs the command line.
@discardableResult
func headwater(_ first: String, _ second: String, _ third: String) throws -> String { try run(cli, first, second, third) }

/// A broker on a free port, in memory unless told otherwise.
func withBroker(_ data: [String] = ["--dev"], on listen: String = "127.0.0.1:0", _ body: (String) async throws -> Void) async throws {
    try await withStoppingBroker(data, on: listen) { address, _ in try await body(address) }
}

/// A broker that can be stopped: then it says nothing more, and its connections stay.
func withStoppingBroker(
    _ data: [String] = ["--dev"], on listen: String = "127.0.0.1:0", _ body: (String, @escaping @Sendable () -> Void) async throws -> Void
) async throws {
    let broker = Process()
    let output = Pipe()
    broker.executableURL = URL(fileURLWithPath: cli)
    broker.arguments = ["--json", "serve", "--listen", listen] + data
    broker.standardOutput = output
    try broker.run()
    defer {
        // Not `terminate`: what a thread of Swift's pool starts inherits its mask, in which SIGTERM is blocked.
        kill(broker.processIdentifier, SIGKILL)
        broker.waitUntilExit()
    }
    var line = ""
    while !line.contains("\n") { line += String(decoding: output.fileHandleForReading.availableData, as: UTF8.self) }
    guard let found = line.range(of: #"127\.0\.0\.1:\d+|unix:[^"]+"#, options: .regularExpression) else {
        throw Failed(description: "no address in \(line)")
    }
    let pid = broker.processIdentifier
    try await body(String(line[found])) { kill(pid, SIGSTOP) }
}

/// The elements of a sequence.
func all<S: AsyncSequence>(_ sequence: S) async throws -> [S.Element] {
    var found: [S.Element] = []
    for try await element in sequence { found.append(element) }
    return found
}

/// The first elements of a sequence; the loop is left with the last of them in hand.
func first<S: AsyncSequence>(_ count: Int, of sequence: S) async throws -> [S.Element] {
    var found: [S.Element] = []
    for try await element in sequence {
        found.append(element)
        if found.count == count { break }
    }
    return found
}

extension Record {
    var text: String { valueString ?? "" }
}
