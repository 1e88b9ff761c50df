import Foundation
import HeadwaterNative

@testable import Headwater

/// The names of a structure's properties.
private func names(_ value: Any) -> Set<String> { Set(Mirror(reflecting: value).children.compactMap(\.label)) }

private func camel(_ name: String) -> String {
    let parts = name.split(separator: "_")
    return parts[0] + parts.dropFirst().map(\.capitalized).joined()
}

let tableTests = [
    Test("every code of the golden table becomes an error with its facts") {
        let rows = try table("errors.json")
        for row in rows {
            let code = row.text("code")
            for outcome in HeadwaterError.Outcome.allCases {
                let error = HeadwaterError(code: code, "what happened", outcome: outcome)
                try expectEqual(code, error.code)
                try expectEqual(row.text("kind"), error.kind.name, code)
                try expectEqual(row["retriable"] as? Bool, error.retriable, code)
                try expectEqual(row["fatal"] as? Bool, error.fatal, code)
                try expectEqual(outcome, error.outcome, code)
                try expectEqual("what happened", error.message)
            }
        }
        try expectEqual(rows.map { $0.text("code") }, errorTable().map(\.code))
    },
    Test("the kinds are those of core's table, and no others") {
        try expectEqual(Set(try table("errors.json").map { $0.text("kind") }), Set(HeadwaterError.Kind.all.map(\.name)))
    },
    Test("the options of every group are those of core's table, and no others") {
        let groups: [String: Any] = [
            "connect": ConnectOptions(), "producer": ProducerOptions(), "consumer": ConsumerOptions(), "process": ProcessOptions(),
            "topic": TopicOptions(),
        ]
        for (group, options) in groups {
            let rows = try table("options.json").filter { $0.text("group") == group }.map { $0.text("name") }
            // Durations have no unit in their name.
            let expected = rows.map { camel($0.hasSuffix("_ms") ? String($0.dropLast(3)) : $0) }
            try expectEqual(Set(expected), names(options), group)
        }
    },
    Test("every word of an option is one that core takes") {
        let words: [String: [String]] = [
            "durability": Durability.allCases.map(\.rawValue),
            "compression": Compression.allCases.map(\.rawValue),
            "partitioner": Partitioner.allCases.map(\.rawValue),
            "order": Order.allCases.map(\.rawValue),
            "ack": Ack.allCases.map(\.rawValue),
            "assignor": Assignor.allCases.map(\.rawValue),
            "isolation": Isolation.allCases.map(\.rawValue),
            "sharing": Sharing.allCases.map(\.rawValue),
            "max_bytes_policy": MaxBytesPolicy.allCases.map(\.rawValue),
            "cleanup_policy": CleanupPolicy.allCases.map(\.rawValue),
            "message_timestamp_type": TimestampType.allCases.map(\.rawValue),
        ]
        for row in optionTable() {
            guard let words = words[row.name] else { continue }
            try expectEqual(row.range, words.map { "`\($0)`" }.joined(separator: ", "), row.name)
        }
    },
    Test("durations cross as whole milliseconds, rounded up") {
        try expectEqual(2, Duration.milliseconds(2).ms)
        try expectEqual(1, Duration.microseconds(1).ms)
        try expectEqual(1_500, Duration.seconds(1.5).ms)
        try expectEqual(0, Duration.zero.ms)
        try expectEqual(Int64.max, Duration.seconds(Int64.max).ms)
    },
]
