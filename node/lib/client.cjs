'use strict'
// An open log, and `connect`, which opens one.

const { Admin } = require('./admin.cjs')
const { Deadline, nothing, reportOf, sum, throwIfLost } = require('./closing.cjs')
const { Consumer } = require('./consumer.cjs')
const { AbortError, errorOf, invalid, shown } = require('./errors.cjs')
const exit = require('./exit.cjs')
const hub = require('./hub.cjs')
const native = require('./native.cjs')
const { flatten, timeoutOf } = require('./options.cjs')
const { Producer } = require('./producer.cjs')

class Client {
  #native
  #admin
  #producers = new Set()
  // Weak: a consumer that is forgotten, such as that of a loop which ended, closes when it is collected.
  #consumers = new Set()
  #collected = new FinalizationRegistry((consumer) => this.#consumers.delete(consumer))
  #closing
  #deadline = new Deadline()
  #isEnding = false

  constructor(native) {
    this.#native = native
    this.#admin = new Admin(native.admin())
    exit.opened(this)
  }

  /** What it is connected to, without options and secrets. */
  get address() {
    return this.#native.address
  }

  get admin() {
    return this.#admin
  }

  get isClosed() {
    return this.#closing !== undefined
  }

  producer(options) {
    const inner = this.#native.producer(flatten(options))
    const producer = new Producer(inner, this.#native.closeTimeoutMs, (closed) => this.#producers.delete(closed))
    this.#producers.add(producer)
    return producer
  }

  consumer(topics, options) {
    const names = typeof topics === 'string' ? [topics] : topics
    if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) {
      throw invalid(`the topics must be a string or an array of strings, not ${shown(topics)}`)
    }
    const inner = this.#native.consumer(names, flatten(options, ['signal']))
    const consumer = new Consumer(inner, options, () => this.#consumers.delete(weak))
    const weak = new WeakRef(consumer)
    this.#consumers.add(weak)
    this.#collected.register(consumer, weak)
    return consumer
  }

  /** What the client is doing: counts since it was opened, by name. */
  metrics() {
    return this.#native.metrics()
  }

  /** How it is, and why it does not work if it does not: asks nobody and never waits. */
  health() {
    const health = this.#native.health()
    return {
      isHealthy: health.isHealthy,
      reason: health.reason ?? null,
      isClosed: health.isClosed,
      address: health.address,
      isConnected: health.isConnected,
      sinceMs: health.sinceMs,
      lastError: health.lastError ? errorOf(health.lastError.code, health.lastError.message) : null,
      members: health.members.map((member) => ({
        ...member,
        lastHeartbeatMs: member.lastHeartbeatMs ?? null,
        reason: member.reason ?? null,
      })),
      bufferedBytes: health.bufferedBytes,
      bufferedRecords: health.bufferedRecords,
      oldestUnsentMs: health.oldestUnsentMs ?? null,
    }
  }

  /**
   * Closes producers (flushing them) and consumers, then the log. Always answers, and says what was not delivered. Called
   * again it gives the same report, sooner if the time is shorter.
   */
  async close(timeoutMs) {
    const timeout = timeoutOf(timeoutMs) ?? this.#native.closeTimeoutMs
    this.#deadline.bring(timeout)
    if (this.#closing === undefined) this.#closing = this.#close(timeout)
    else this.#hurry(timeout)
    return this.#closing
  }

  async [Symbol.asyncDispose]() {
    throwIfLost(await this.close())
  }

  /** For the end of the process: closes here and now, at most `exitTimeoutMs`, also what closes already. */
  [exit.now]() {
    const parts = [...this.#producers].map((producer) => producer[exit.now]())
    const report = parts.reduce(sum, reportOf(this.#native.closeNow()))
    this.#closing = Promise.resolve(report)
    return report
  }

  /** For a process that has nothing left to do. */
  [exit.soon]() {
    return this.close(this.#native.exitTimeoutMs)
  }

  async #close(timeout) {
    const ends = await Promise.allSettled(this.#parts().map((part) => part.close(timeout)))
    this.#isEnding = true
    const last = reportOf(await hub.ask((ticket) => this.#native.close(ticket, this.#deadline.leftMs)))
    this.#deadline.end()
    exit.closed(this)
    return ends.map(({ value, reason }) => value ?? { ...nothing, firstError: reason }).reduce(sum, last)
  }

  /** What closes already ends by then, if it would later. */
  #hurry(timeout) {
    for (const part of this.#parts()) part.close(timeout).catch(() => {})
    if (this.#isEnding) hub.request((ticket) => this.#native.close(ticket, timeout)).catch(() => {})
  }

  #parts() {
    const consumers = Array.from(this.#consumers, (weak) => weak.deref())
    return [...this.#producers, ...consumers.filter((consumer) => consumer !== undefined)]
  }
}

/** Opens the log at `address`: a path such as `./data`, `mem:`, `host:port`, or a `file:` URL object. */
async function connect(address, options) {
  const text = address instanceof URL ? address.href : address
  if (typeof text !== 'string') throw invalid(`the address must be a string or a URL, not ${shown(address)}`)
  const flat = flatten(options, ['signal'])
  const signal = options?.signal
  if (signal?.aborted) throw new AbortError(signal)
  const opening = hub.request((ticket) => native.connect(ticket, text, flat)).then((inner) => new Client(inner))
  try {
    return await hub.held(opening, signal)
  } catch (error) {
    // Aborted, it may still open: then nobody wants it.
    opening.then(
      (client) => client.close(),
      () => {},
    )
    throw error
  }
}

module.exports = { Client, connect }
