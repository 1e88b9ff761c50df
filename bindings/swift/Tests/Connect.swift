import Foundation

@testable import Headwater

let connectTests = [
    Test("every golden address is read, or refused in words") {
        for row in try table("address.json") {
            let address = row.text("address")
            guard row["error"] != nil else {
                try expectEqual(row.text("shown"), Headwater.parse(address), address)
                continue
            }
            // Options are looked at when it is opened; none of these gets that far.
            let refused = try await expectThrows(HeadwaterError.self, address) { try await Headwater.connect(address).close() }
            try expectEqual(row.text("error"), refused.code, address)
            try expect(refused.message.contains(row.text("says")), "\(address): \(refused)")
        }
    },
    Test("localhost alone is no address, and the message says what is") {
        let refused = try await fails(.invalidArgument, "INVALID_ADDRESS") { _ = try await Headwater.connect("localhost") }
        try expect(refused.message.contains("localhost:9092"), refused.message)
        try expectEqual(.notDone, refused.outcome)
    },
    Test("a path that is a file is refused") {
        let file = newPath()
        try Data("not a log".utf8).write(to: file)
        try await fails(.invalidArgument, "NOT_A_FOLDER") { _ = try await Headwater.connect(file) }
    },
    Test("a folder that is missing is created only if it may be") {
        var options = ConnectOptions()
        options.create = false
        try await fails(.notFound, "FOLDER_NOT_FOUND") { _ = try await Headwater.connect(newPath(), options: options) }
    },
    Test("an option out of range is refused before anything is opened") {
        var options = ConnectOptions()
        options.segmentBytes = 7
        let folder = newPath()
        try await fails(.invalidArgument, "INVALID_OPTION") { _ = try await Headwater.connect(folder, options: options) }
        try expect(!FileManager.default.fileExists(atPath: folder.path))
    },
    Test("a task that is cancelled does not connect") {
        let folder = newPath()
        let connecting = Task {
            while !Task.isCancelled { await Task.yield() }
            _ = try await Headwater.connect(folder)
        }
        connecting.cancel()
        try await expectThrows(CancellationError.self) { try await connecting.value }
        try expect(!FileManager.default.fileExists(atPath: folder.path))
    },
]
