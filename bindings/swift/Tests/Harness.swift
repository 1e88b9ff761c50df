// A test is a name and a body; it fails by throwing. Few lines instead of XCTest: no package has to be built for it.

import Foundation

struct Failed: Error, CustomStringConvertible {
    let description: String
}

struct Test {
    let name: String
    let body: () async throws -> Void

    init(_ name: String, _ body: @escaping () async throws -> Void) {
        self.name = name
        self.body = body
    }
}

func expect(_ condition: Bool, _ what: @autoclosure () -> String = "", line: Int = #line) throws {
    if !condition { throw Failed(description: "line \(line): \(what())") }
}

func expectEqual<T: Equatable>(_ expected: T, _ found: T, _ what: @autoclosure () -> String = "", line: Int = #line) throws {
    if found != expected { throw Failed(description: "line \(line): expected \(expected), found \(found) \(what())") }
}

/// The error that `call` throws, which must be of type `E`.
@discardableResult
func expectThrows<E: Error>(
    _ type: E.Type, _ what: @autoclosure () -> String = "", line: Int = #line, _ call: () async throws -> Void
) async throws -> E {
    do {
        try await call()
    } catch let error as E {
        return error
    } catch {
        throw Failed(description: "line \(line): expected \(type), found \(error) \(what())")
    }
    throw Failed(description: "line \(line): expected \(type), nothing was thrown \(what())")
}

/// Runs the tests whose name contains `filter`; the exit code says whether all passed.
func run(_ tests: [Test], filter: String) async -> Int32 {
    setvbuf(stdout, nil, _IOLBF, 0)  // what hangs must be seen
    var (passed, failed) = (0, 0)
    for test in tests where filter.isEmpty || test.name.contains(filter) {
        if !filter.isEmpty { print("test: \(test.name)") }
        do {
            try await test.body()
            passed += 1
        } catch {
            failed += 1
            print("FAILED: \(test.name): \(error)")
        }
    }
    print("swift: \(passed) passed, \(failed) failed")
    return failed == 0 && passed > 0 ? 0 : 1
}
