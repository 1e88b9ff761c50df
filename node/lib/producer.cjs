'use strict'
// The producer. Records are packed here and handed to core many at a time: when the buffer is full, or at the end of
// the turn (`enqueue`) or of the microtasks (`send`). Core never waits; what it has no room for stays here, in order:
// rows in the buffer first, then the `send`s that wait. Answers come back as completion rows, one wake-up for all.

const { EventEmitter } = require('node:events')
const { Deadline, reportOf, sum, throwIfLost } = require('./closing.cjs')
const { AbortError, errorOf, invalid, shown } = require('./errors.cjs')
const exit = require('./exit.cjs')
const hub = require('./hub.cjs')
const native = require('./native.cjs')
const { timeoutOf } = require('./options.cjs')
const rows = require('./rows.cjs')

const { COMPLETION_BYTES, RowBuffer, completionAt, headersOf, partOf, partitionOf, rowBytes, timestampOf } = rows

const BUFFER_BYTES = 65_536
const { sendWaiters: SEND_WAITERS_MAX } = native.limits()
const DURABILITIES = ['none', 'os', 'disk', 'quorum']
const OUTCOMES = ['done', 'not_done', 'unknown']
const codes = new Map(native.errorTable().map(({ number, code }) => [number, code]))

// The options of the record at hand: no object is made for a record. Set when nothing of the caller's runs any more
// (a getter, an iterator of headers) that could send another record in between.
let partition, key, headers, timestamp, signal

function readOptions(options) {
  let partitionRead = -1
  let keyRead = null
  let headersRead = null
  let timestampRead = -1
  let signalRead = null
  if (options !== undefined && options !== null) {
    for (const name in options) {
      const value = options[name]
      if (value === undefined) continue
      if (name === 'key') keyRead = partOf(value, 'key')
      else if (name === 'headers') headersRead = headersOf(value)
      else if (name === 'partition') partitionRead = partitionOf(value)
      else if (name === 'timestamp') timestampRead = timestampOf(value)
      else if (name === 'signal') signalRead = value
      else throw unknownOption(name)
    }
  }
  partition = partitionRead
  key = keyRead
  headers = headersRead
  timestamp = timestampRead
  signal = signalRead
}

function unknownOption(name) {
  const known = 'key, headers, partition, timestamp'
  return errorOf('UNKNOWN_OPTION', `there is no option ${shown(name)} of a record; there are ${known}`)
}

/** One record that somebody waits for. */
class Delivery {
  constructor(topic, timestamp, resolve, reject) {
    this.topic = topic
    this.timestamp = timestamp
    this.resolve = resolve
    this.reject = reject
  }

  done(ticket, partition, offset, appended, durability) {
    const timestamp = appended < 0 ? this.timestamp : appended
    this.resolve({ topic: this.topic, partition, offset, timestamp, durability })
  }
}

/** Records that are waited for together. */
class Deliveries {
  constructor(topic, firstTicket, resolve, reject) {
    this.topic = topic
    this.firstTicket = firstTicket
    this.timestamps = []
    this.metadata = []
    this.left = 0
    this.resolve = resolve
    this.reject = reject
  }

  done(ticket, partition, offset, appended, durability) {
    const index = ticket - this.firstTicket
    const timestamp = appended < 0 ? this.timestamps[index] : appended
    this.metadata[index] = { topic: this.topic, partition, offset, timestamp, durability }
    if (--this.left === 0) this.resolve(this.metadata)
  }
}

class Producer extends EventEmitter {
  #native
  #closeTimeoutMs
  #onClosed
  #rows = new RowBuffer(BUFFER_BYTES)
  /** Each is the rows of one `send` or `sendMany` that found no room. */
  #waiting = []
  #isFull = false
  #isTurnDue = false
  #isMicrotaskDue = false
  #handedOver = []
  #topics = new Map()
  #topicNames = []
  #lastTopic
  #lastTopicId
  #lastTicket = 0
  #deliveries = new Map()
  #failed = 0
  #firstError
  #closing
  #deadline = new Deadline()
  #isHandedOver = false
  #tickets

  constructor(native, closeTimeoutMs, onClosed) {
    super()
    this.#native = native
    this.#closeTimeoutMs = closeTimeoutMs
    this.#onClosed = onClosed
    this.#tickets = [hub.watch(() => this.#settle()), hub.watch(() => this.#reportFailures())]
    native.watch(...this.#tickets)
  }

  enqueue(topic, value, options) {
    if (this.#closing) throw closed()
    const topicId = topic === this.#lastTopic ? this.#lastTopicId : this.#topicId(topic)
    readOptions(options)
    value = partOf(value, 'value')
    if (this.#waiting.length > 0 || !this.#add(topicId, value, 0)) throw full()
    if (!this.#isTurnDue) {
      this.#isTurnDue = true
      setImmediate(() => {
        this.#isTurnDue = false
        this.#push()
      })
    }
  }

  send(topic, value, options) {
    return new Promise((resolve, reject) => {
      if (this.#closing) throw closed()
      const topicId = topic === this.#lastTopic ? this.#lastTopicId : this.#topicId(topic)
      readOptions(options)
      value = partOf(value, 'value')
      if (signal?.aborted) throw new AbortError(signal)
      if (timestamp < 0) timestamp = Date.now()
      const ticket = ++this.#lastTicket
      const delivery = new Delivery(topic, timestamp, resolve, reject)
      const watched = signal
      this.#deliver(ticket, delivery)
      let waiter
      if (this.#waiting.length > 0 || !this.#add(topicId, value, ticket)) {
        waiter = this.#wait([this.#rowOf(topicId, value, ticket)], ticket, ticket)
      }
      if (watched !== null) this.#abortable(delivery, ticket, ticket, watched, waiter)
      this.#pushSoon()
    })
  }

  sendMany(topic, records, options = {}) {
    return new Promise((resolve, reject) => {
      if (this.#closing) throw closed()
      const { signal, ...common } = options
      if (signal?.aborted) throw new AbortError(signal)
      const topicId = this.#topicId(topic)
      const deliveries = new Deliveries(topic, this.#lastTicket + 1, resolve, reject)
      const packed = this.#packMany(topicId, records, common, deliveries)
      if (deliveries.left === 0) return resolve([])
      const first = deliveries.firstTicket
      const last = (this.#lastTicket += deliveries.left)
      for (let ticket = first; ticket <= last; ticket++) this.#deliver(ticket, deliveries)
      let waiter
      if (this.#waiting.length > 0 || !this.#handAll(packed)) waiter = this.#wait(packed, first, last)
      if (signal) this.#abortable(deliveries, first, last, signal, waiter)
    })
  }

  ready(options) {
    return this.#handOver(options?.signal).then(() => hub.ask((ticket) => this.#native.ready(ticket), options?.signal))
  }

  async flush(options) {
    const signal = options?.signal
    await this.#handOver(signal)
    const [{ reason }] = await Promise.allSettled([hub.ask((ticket) => this.#native.flush(ticket), signal)])
    if (reason instanceof AbortError) throw reason
    const error = this.#takeError()
    if (reason && error) throw errorOf(reason.code, `${reason.message}; and ${error.message}`, reason.outcome)
    if (reason || error) throw reason ?? error
  }

  async close(timeoutMs) {
    const timeout = timeoutOf(timeoutMs) ?? this.#closeTimeoutMs
    this.#deadline.bring(timeout)
    // Core ends the close that is on its way, if this one would end sooner.
    if (this.#isHandedOver) hub.request((ticket) => this.#native.close(ticket, timeout)).catch(() => {})
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose]() {
    throwIfLost(await this.close())
  }

  /** For the end of the process: hands over what can be handed over now; what is left of this side. */
  [exit.now]() {
    this.#push()
    const unsentRecords = this.#leftRows().reduce((records, rows) => records + [...rows.tickets()].length, 0)
    return { unsentRecords, failedRecords: this.#failed, firstError: this.#takeError() }
  }

  // --- In: packing and handing over ---

  #topicId(topic) {
    let topicId = this.#topics.get(topic)
    if (topicId === undefined) {
      if (typeof topic !== 'string') throw invalid(`the topic must be a string, not ${shown(topic)}`)
      topicId = this.#native.topic(topic)
      this.#topics.set(topic, topicId)
      this.#topicNames[topicId] = topic
    }
    this.#lastTopic = topic
    this.#lastTopicId = topicId
    return topicId
  }

  /** Packs the record whose options were read; false: there is no room. */
  #add(topicId, value, ticket) {
    if (this.#rows.add(topicId, partition, key, value, headers, timestamp, ticket)) return true
    const isEmpty = this.#push()
    if (this.#rows.add(topicId, partition, key, value, headers, timestamp, ticket)) return true
    // Larger than the buffer: a buffer of its own, used once.
    return isEmpty && this.#hand(this.#rowOf(topicId, value, ticket))
  }

  #rowOf(topicId, value, ticket) {
    const rows = new RowBuffer(rowBytes(key, value, headers))
    rows.add(topicId, partition, key, value, headers, timestamp, ticket)
    return rows
  }

  /** All records in buffers of their own, before one of them is taken: one that is wrong refuses all. */
  #packMany(topicId, records, options, deliveries) {
    if (typeof records?.[Symbol.iterator] !== 'function' || typeof records === 'string') {
      throw invalid(`the records must be an array or another iterable, not ${shown(records)}`)
    }
    const packed = []
    let rows = new RowBuffer(BUFFER_BYTES)
    for (const record of records) {
      const isPlain = typeof record === 'string' || record === null || ArrayBuffer.isView(record)
      const { value: part, ...own } = isPlain ? { value: record } : (record ?? {})
      readOptions(isPlain ? options : { ...options, ...own })
      const value = partOf(part, 'value')
      if (timestamp < 0) timestamp = Date.now()
      const ticket = deliveries.firstTicket + deliveries.left
      if (!rows.add(topicId, partition, key, value, headers, timestamp, ticket)) {
        if (rows.length > 0) packed.push(rows)
        rows = new RowBuffer(Math.max(BUFFER_BYTES, rowBytes(key, value, headers)))
        rows.add(topicId, partition, key, value, headers, timestamp, ticket)
      }
      deliveries.timestamps.push(timestamp)
      deliveries.left++
    }
    if (rows.length > 0) packed.push(rows)
    return packed
  }

  /** Keeps the rows of one call until there is room, in order of the calls. */
  #wait(rows, firstTicket, lastTicket) {
    if (this.#waiting.length >= SEND_WAITERS_MAX) {
      for (let ticket = firstTicket; ticket <= lastTicket; ticket++) this.#delivered(ticket)
      throw full()
    }
    this.#waiting.push(rows)
    this.#waitForRoom()
    return rows
  }

  #pushSoon() {
    if (this.#isMicrotaskDue) return
    this.#isMicrotaskDue = true
    queueMicrotask(() => {
      this.#isMicrotaskDue = false
      this.#push()
    })
  }

  /** Hands over everything, in order; false: core has no room, and what is left follows when it has. */
  #push() {
    if (this.#isFull || !this.#hand(this.#rows)) return false
    while (this.#waiting.length > 0) {
      if (!this.#handAll(this.#waiting[0])) return false
      this.#waiting.shift()
    }
    if (this.#handedOver.length > 0) for (const resolve of this.#handedOver.splice(0)) resolve()
    return true
  }

  /** Hands over buffers of rows behind what is in the buffer; those that are taken leave the list. */
  #handAll(packed) {
    if (this.#isFull || !this.#hand(this.#rows)) return false
    while (packed.length > 0) {
      if (!this.#hand(packed[0])) return false
      packed.shift()
    }
    return true
  }

  #hand(rows) {
    if (rows.length === 0) return true
    let taken
    try {
      taken = this.#native.sendRows(rows.bytes, 0, rows.length)
    } catch (error) {
      taken = this.#handEach(rows, error)
    }
    rows.drop(taken)
    if (rows.length === 0) return true
    this.#waitForRoom()
    return false
  }

  /** A row that core refuses takes none of the others with it. */
  #handEach(rows, error) {
    let at = 0
    while (at < rows.length) {
      const row = rows.rowAt(at)
      let taken = 0
      try {
        if (!error.fatal) taken = this.#native.sendRows(rows.bytes, at, row.end)
        else this.#fail(row, error)
        if (taken === 0 && !error.fatal) break
      } catch (refused) {
        this.#fail(row, refused)
      }
      at = row.end
    }
    return at
  }

  #waitForRoom() {
    if (this.#isFull) return
    this.#isFull = true
    const proceed = () => {
      this.#isFull = false
      this.#push()
    }
    hub.ask((ticket) => this.#native.ready(ticket)).then(proceed, proceed)
  }

  /** Waits until core has everything. */
  #handOver(signal) {
    if (this.#push()) return Promise.resolve()
    return hub.held(new Promise((resolve) => this.#handedOver.push(resolve)), signal)
  }

  #leftRows() {
    return [this.#rows, ...this.#waiting.flat()]
  }

  // --- Out: what became of them ---

  #deliver(ticket, delivery) {
    if (this.#deliveries.size === 0) hub.hold()
    this.#deliveries.set(ticket, delivery)
  }

  #delivered(ticket) {
    const delivery = this.#deliveries.get(ticket)
    if (delivery !== undefined && this.#deliveries.delete(ticket) && this.#deliveries.size === 0) hub.release()
    return delivery
  }

  /** An abort ends the wait, and takes back what core does not have yet. */
  #abortable(delivery, firstTicket, lastTicket, signal, waiter) {
    const { resolve, reject } = delivery
    const abort = () => {
      const index = this.#waiting.indexOf(waiter)
      if (index >= 0) this.#waiting.splice(index, 1)
      for (let ticket = firstTicket; ticket <= lastTicket; ticket++) this.#delivered(ticket)
      reject(new AbortError(signal))
    }
    signal.addEventListener('abort', abort, { once: true })
    const settle = (end) => (value) => {
      signal.removeEventListener('abort', abort)
      end(value)
    }
    delivery.resolve = settle(resolve)
    delivery.reject = settle(reject)
  }

  #settle() {
    const rows = this.#native.takeCompletions()
    for (let at = 0; at + COMPLETION_BYTES <= rows.length; at += COMPLETION_BYTES) {
      const row = completionAt(rows, at)
      const end = row.firstTicket + row.count
      if (row.error !== 0) {
        const error = this.#errorOf(row)
        for (let ticket = row.firstTicket; ticket < end; ticket++) this.#delivered(ticket)?.reject(error)
        continue
      }
      const durability = DURABILITIES[row.durability]
      for (let ticket = row.firstTicket; ticket < end; ticket++) {
        const offset = row.baseOffset + (ticket - row.firstTicket)
        this.#delivered(ticket)?.done(ticket, row.partition, offset, row.timestamp, durability)
      }
    }
  }

  /** The whole error while core keeps it, then what the row says of it. */
  #errorOf({ error, errorId, outcome }) {
    const kept = this.#native.takeError(errorId)
    if (kept) return errorOf(kept.code, kept.message, kept.outcome)
    return errorOf(codes.get(error), 'more records failed since than whose causes are kept', OUTCOMES[outcome])
  }

  #reportFailures() {
    for (const { topic, partition, records, error } of this.#native.takeFailures()) {
      this.#announce({ topic, partition, records, error: errorOf(error.code, error.message, error.outcome) })
    }
  }

  /** A listener that throws must not take the other answers of this wake-up with it. */
  #announce(failure) {
    process.nextTick(() => this.emit('failure', failure))
  }

  #fail(row, error) {
    const delivery = this.#delivered(row.ticket)
    if (delivery) return delivery.reject(error)
    this.#failed++
    this.#firstError ??= error
    this.#announce({ topic: this.#topicNames[row.topicId], partition: row.partition, records: 1, error })
  }

  #takeError() {
    const error = this.#firstError
    if (error === undefined) return undefined
    const message = this.#failed === 1 ? error.message : `${this.#failed} records failed, the first: ${error.message}`
    this.#failed = 0
    this.#firstError = undefined
    return errorOf(error.code, message, error.outcome)
  }

  // --- The end ---

  async #close() {
    if (!this.#push()) await this.#handOver(this.#deadline.signal).catch(() => {})
    const unsentRecords = this.#dropLeft()
    this.#isHandedOver = true
    const report = await hub.ask((ticket) => this.#native.close(ticket, this.#deadline.leftMs))
    this.#deadline.end()
    this.#settle()
    this.#reportFailures()
    for (const ticket of this.#tickets) hub.forget(ticket)
    const own = { unsentRecords, failedRecords: this.#failed, firstError: this.#takeError() }
    this.#onClosed(this)
    return sum(reportOf(report), own)
  }

  /** Ends what core never took, before core is closed and would refuse it row by row; how many records. */
  #dropLeft() {
    let dropped = 0
    for (const rows of this.#leftRows()) {
      for (const ticket of rows.tickets()) {
        dropped++
        this.#delivered(ticket)?.reject(errorOf('CLOSED', 'the producer was closed before it could send the record'))
      }
      rows.drop(rows.length)
    }
    this.#waiting = []
    for (const resolve of this.#handedOver.splice(0)) resolve()
    return dropped
  }
}

const closed = () => errorOf('CLOSED', 'the producer is closed')

function full() {
  return errorOf(
    'BUFFER_FULL',
    'the buffer of the producer has no room; `await producer.ready()` before the next record',
  )
}

module.exports = { Producer }
