'use strict'
// A broker inside this process: others reach its log on a port, as they would a broker of its own.

const { errorOf } = require('./errors.cjs')
const hub = require('./hub.cjs')
const native = require('./native.cjs')
const { flatten, timeoutOf } = require('./options.cjs')

/** The key that only `start` has: a broker is started, not constructed. */
const started = Symbol('started')

class Broker {
  #native
  #closing
  #isHeld = false

  constructor(key, inner) {
    if (key !== started) throw errorOf('INVALID_STATE', 'a broker is made by `await Broker.start()`')
    this.#native = inner
    // As a server of Node's own, it keeps the process alive until it is closed.
    this.ref()
  }

  /** Serves the folder `data`, or without it a log in memory on a free port of this machine. */
  static async start(options) {
    const { data, allowRemote, signal, ...rest } = options ?? {}
    const flat = flatten(rest)
    const starting = hub
      .request((ticket) =>
        native.startBroker(ticket, data === undefined ? undefined : String(data), allowRemote === true, flat),
      )
      .then((inner) => new Broker(started, inner))
    try {
      return await hub.held(starting, signal)
    } catch (error) {
      starting.then(
        (broker) => broker.close(),
        () => {},
      )
      throw error
    }
  }

  /** Where it listens, `host:port` each, with the ports it really has. */
  get addresses() {
    return this.#native.addresses
  }

  /** The first of them: what `connect` takes. */
  get address() {
    return this.addresses[0]
  }

  /** The ports among them: what Kafka's clients are given, such as kafkajs as its `brokers`. */
  get brokers() {
    const ports = this.addresses.filter((address) => !address.startsWith('unix:'))
    if (ports.length > 0) return ports
    throw errorOf('INVALID_STATE', `Kafka's clients need a port, and the broker listens on ${this.addresses.join(', ')}`)
  }

  /** The same in one string, as `bootstrap.servers` has it. */
  get bootstrapServers() {
    return this.brokers.join(',')
  }

  /** Keeps the process alive again, after `unref`. */
  ref() {
    if (this.#isHeld || this.#closing) return this
    hub.hold()
    this.#isHeld = true
    return this
  }

  /** Lets the process end although it is not closed. */
  unref() {
    if (this.#isHeld) hub.release()
    this.#isHeld = false
    return this
  }

  /** Stops accepting, answers what was asked, closes the log; connections that are not done in time are cut. */
  async close(timeoutMs) {
    const timeout = timeoutOf(timeoutMs)
    this.#closing ??= this.#close(timeout).finally(() => this.unref())
    return this.#closing
  }

  [Symbol.asyncDispose]() {
    return this.close()
  }

  async #close(timeout) {
    await hub.ask((ticket) => this.#native.close(ticket, timeout))
  }
}

module.exports = { Broker }
