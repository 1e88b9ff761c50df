// An open log: where producers, consumers and administration come from.

import Foundation
internal import HeadwaterNative

/// Where it begins. (It has the name of the module: to name one of several types called `Record`, write
/// `import struct Headwater.Record`.)
public enum Headwater {
    /// Opens the log at `address`: a path such as `./data`, `mem:`, or `host:port`.
    ///
    /// Throws `INVALID_ADDRESS` if it is none of these, `FOLDER_LOCKED` if another process owns the folder,
    /// `NETWORK_EXCEPTION` if no broker answers.
    public static func connect(_ address: String, options: ConnectOptions = ConnectOptions()) async throws -> Client {
        let native = options.native
        let closeTimeout = Duration.milliseconds(try callNative { try closeTimeoutMs(options: native) })
        let answer = try await Hub.shared.ask { try HeadwaterNative.connect(ticket: $0, address: address, options: native) }
        guard case .client(let client) = answer else { throw unexpected() }
        return try Client(client, closeTimeout: closeTimeout)
    }

    /// Opens the log in a folder.
    public static func connect(_ folder: URL, options: ConnectOptions = ConnectOptions()) async throws -> Client {
        try await connect(folder.absoluteURL.path, options: options)
    }

    /// The same for as long as `body` runs; then it is closed, and what was lost by that is thrown. A task that is
    /// cancelled closes it within `exitTimeout`, and what was not delivered then is said on the error output.
    public static func withConnection<R>(
        _ address: String, options: ConnectOptions = ConnectOptions(), _ body: (Client) async throws -> R
    ) async throws -> R {
        let client = try await connect(address, options: options)
        return try await closing(within: client.exitTimeout, { try await client.close(timeout: $0) }) { try await body(client) }
    }

    /// The address as Headwater reads it, without its options; throws `INVALID_ADDRESS`.
    public static func parse(_ address: String) throws -> String { try callNative { try parseAddress(text: address) } }
}

/// An open log, in this process or behind a broker. Close it: what was sent is flushed then.
public final class Client: @unchecked Sendable {
    private struct Weak<Object: AnyObject> {
        weak var object: Object?
    }

    private let native: NativeClient
    private let closeTimeout: Duration
    let exitTimeout: Duration
    private let closing = Once<CloseReport>()
    private let lock = NSLock()
    private var producers: [Weak<Producer>] = []
    private var consumers: [Weak<Consumer>] = []

    init(_ native: NativeClient, closeTimeout: Duration) throws {
        self.native = native
        self.closeTimeout = closeTimeout
        exitTimeout = .milliseconds(try callNative { try native.exitTimeoutMs() })
    }

    /// What it is connected to, without options and secrets.
    public var address: String { native.address() }

    /// Topics, groups and offsets.
    public var admin: Admin { Admin(native.admin()) }

    /// Whether `close` was called.
    public var isClosed: Bool { closing.isBegun }

    /// A producer. It is not tied to a topic. What is named here wins over `options`.
    public func producer(
        durability: Durability? = nil, linger: Duration? = nil, options: ProducerOptions = ProducerOptions()
    ) throws -> Producer {
        var options = options
        options.durability = durability ?? options.durability
        options.linger = linger ?? options.linger
        let producer = try Producer(callNative { try native.producer(options: options.native) }, closeTimeout: closeTimeout)
        lock.withLock { producers = producers.filter { $0.object != nil } + [Weak(object: producer)] }
        return producer
    }

    /// A consumer of one topic.
    public func consumer(
        _ topic: String, group: String? = nil, start: Start? = nil, until: Until? = nil, ack: Ack? = nil,
        options: ConsumerOptions = ConsumerOptions()
    ) throws -> Consumer {
        try consumer([topic], group: group, start: start, until: until, ack: ack, options: options)
    }

    /// A consumer of `topics`. It opens at the first call that needs it, or by `open`. What is named here wins over
    /// `options`.
    public func consumer(
        _ topics: [String], group: String? = nil, start: Start? = nil, until: Until? = nil, ack: Ack? = nil,
        options: ConsumerOptions = ConsumerOptions()
    ) throws -> Consumer {
        var options = options
        options.group = group ?? options.group
        options.start = start ?? options.start
        options.until = until ?? options.until
        options.ack = ack ?? options.ack
        let made = try callNative { try native.consumer(topics: topics, options: options.toNative()) }
        let consumer = Consumer(made, isManual: options.ack == .manual)
        lock.withLock { consumers = consumers.filter { $0.object != nil } + [Weak(object: consumer)] }
        return consumer
    }

    /// A producer for as long as `body` runs; then it is closed, as by `withConnection`.
    public func withProducer<R>(
        durability: Durability? = nil, linger: Duration? = nil, options: ProducerOptions = ProducerOptions(),
        _ body: (Producer) async throws -> R
    ) async throws -> R {
        let producer = try producer(durability: durability, linger: linger, options: options)
        return try await Headwater.closing(within: exitTimeout, { try await producer.close(timeout: $0) }) {
            try await body(producer)
        }
    }

    /// A consumer for as long as `body` runs; then it is closed, as by `withConnection`.
    public func withConsumer<R>(
        _ topic: String, group: String? = nil, start: Start? = nil, until: Until? = nil, ack: Ack? = nil,
        options: ConsumerOptions = ConsumerOptions(), _ body: (Consumer) async throws -> R
    ) async throws -> R {
        let consumer = try consumer(topic, group: group, start: start, until: until, ack: ack, options: options)
        return try await Headwater.closing(within: exitTimeout, { try await consumer.close(timeout: $0) }) {
            try await body(consumer)
        }
    }

    /// What the client is doing, by name; counts are since it was opened.
    public func metrics() throws -> [String: Int64] {
        let metrics = try callNative { try native.metrics() }
        return Dictionary(metrics.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
    }

    /// How it is, and why it does not work if it does not: for probes. Asks nobody, never waits.
    public func health() throws -> Health { Health(try callNative { try native.health() }) }

    /// Closes its producers (flushing them) and consumers (committing what is processed), then the log. Returns within
    /// `timeout` (nil: `closeTimeout`), whatever happens, and says what was not delivered. Closing again gives the same
    /// report, sooner if `timeout` is shorter.
    @discardableResult
    public func close(timeout: Duration? = nil) async throws -> CloseReport {
        try await closing.run(patience: timeout ?? closeTimeout, hurry: { await self.hurry() }) {
            try await self.end(timeout)
        }
    }

    /// What closes already ends now.
    private func hurry() async {
        for producer in lock.withLock({ producers.compactMap(\.object) }) { producer.giveUp() }
        _ = try? await Hub.shared.ask { try native.close(ticket: $0, timeoutMs: 0) }
    }

    private func end(_ timeout: Duration?) async throws -> CloseReport {
        let deadline = ContinuousClock.now + (timeout ?? closeTimeout)
        let (producers, consumers) = lock.withLock {
            (self.producers.compactMap(\.object), self.consumers.compactMap(\.object))
        }
        for producer in producers { producer.refuse() }
        for consumer in consumers { try consumer.refuse() }
        for producer in producers { try await producer.handOver(max(deadline - .now, .zero)) }
        let left = max(deadline - .now, .zero)
        guard case .report(let report) = try await Hub.shared.ask({ try native.close(ticket: $0, timeoutMs: left.ms) }) else {
            throw unexpected()
        }
        return producers.reduce(CloseReport(report)) { sum, producer in producer.finish(sum) }
    }
}
