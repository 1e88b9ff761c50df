'use strict'
// The consumer. A block of records is leased: core hands one out, this side tells how many of its rows the loop has
// passed (at least every 100 ms, and whenever somebody asks for positions), and asking for the next block passes the
// whole of the last. A row counts as passed when the loop asks for the one behind it, so leaving a loop by `break`,
// `return` or an exception does not process the record in hand; the next loop begins with it again.

const { Batch, Block, Message } = require('./block.cjs')
const { reportOf, throwIfLost } = require('./closing.cjs')
const { AbortError, errorOf, invalid, shown } = require('./errors.cjs')
const hub = require('./hub.cjs')
const { flatten, timeoutOf } = require('./options.cjs')
const { runHandlers } = require('./process.cjs')
const { resultOf } = require('./rows.cjs')

const PROGRESS_MS = 100

/** The block in hand and how far the loop is in it. */
class Lease {
  block = null
  /** Rows the loop has passed. */
  passed = 0
  /** The next row to give out. */
  next = 0
  /** The run of `next`, and the row at which something must be looked at: its end, or where it is interrupted. */
  runIndex = 0
  run = null
  stop = 0
  skipped = new Set()

  put(bytes) {
    this.block = new Block(bytes)
    this.passed = this.next = 0
    this.skipped.clear()
    this.#enter(0)
  }

  drop() {
    this.block = this.run = null
    this.passed = this.next = this.stop = 0
  }

  /** Goes on to the next row that is to be given out; false: the block has no more. */
  proceed() {
    if (this.block === null) return false
    while (this.runIndex < this.block.runs.length) {
      const end = this.run.firstRow + this.run.rowCount
      if (this.skipped.has(this.runIndex)) this.next = end
      if (this.next < end) {
        this.stop = end
        return true
      }
      this.#enter(this.runIndex + 1)
    }
    return false
  }

  /** Leaves out what is left of a run. */
  skip(runIndex) {
    this.skipped.add(runIndex)
    if (runIndex === this.runIndex) this.stop = this.next
  }

  /** The loop was left: the record in hand is given out again. */
  rewind() {
    if (this.block === null) return
    this.next = this.passed
    this.#enter(this.block.runs.findLastIndex((run) => run.firstRow <= this.next))
  }

  #enter(runIndex) {
    this.runIndex = runIndex
    this.run = this.block.runs[runIndex] ?? null
    this.stop = this.next
  }
}

class Consumer {
  #native
  #onClosed
  #isManual
  #signal
  #lease = new Lease()
  #reported = 0
  #fetch = null
  #fetchTicket
  #reader = null
  #timer
  #closing

  constructor(native, options, onClosed) {
    this.#native = native
    this.#onClosed = onClosed
    this.#isManual = options?.ack === 'manual'
    this.#signal = options?.signal
  }

  /** Finds the topics and joins the group; a loop does it if it was not done. */
  async open(options) {
    await hub.ask((ticket) => this.#native.open(ticket), options?.signal)
    return this
  }

  [Symbol.asyncIterator]() {
    return new Records(this.#door(this.#signal))
  }

  batches(options) {
    return new Batches(this.#door(options?.signal ?? this.#signal))
  }

  /** Calls `handler` for every record, or for many (`batch`), many at the same time; ends as a loop does, or with its error. */
  async process(handler, options) {
    if (typeof handler !== 'function') throw invalid(`the handler must be a function, not ${shown(handler)}`)
    const flat = flatten(options, ['signal', 'batch'])
    const isBatch = flagOf(options?.batch, 'batch')
    const signal = options?.signal ?? this.#signal
    if (signal?.aborted) throw new AbortError(signal)
    this.#enter(runHandlers)
    try {
      // What a loop has not passed is read again.
      this.#report()
      this.#lease.drop()
      if (this.#fetch !== null) hub.cancel(this.#fetchTicket)
      this.#fetch = null
      await runHandlers(this.#native.processor(flat), handler, isBatch, signal)
    } finally {
      this.#reader = null
      this.#pause()
    }
  }

  /** Acknowledges a message, or every record of a batch (`ack: 'manual'`). */
  ack(record) {
    if (record instanceof Batch) {
      const rows = record.rowsOf(this.#lease.block)
      if (rows) return this.#native.ackRows(rows.start, rows.end)
      for (const message of record) this.#native.ack(message.topic, message.partition, message.offset)
      return undefined
    }
    const { topic, partition, offset } = placeOf(record)
    return this.#native.ack(topic, partition, offset)
  }

  /** Commits what is processed, or these offsets: each that of the next record to read. */
  async commit(offsets, options) {
    this.#report()
    const places = offsets === undefined || offsets === null ? undefined : [...offsets].map(placeOf)
    await hub.ask((ticket) => this.#native.commit(ticket, places), options?.signal)
  }

  /** Sends records and commits what was given out, as one append: both happen, or neither does. */
  async commitWith(results, options) {
    if (typeof results?.[Symbol.iterator] !== 'function') {
      throw invalid(`the results are an array of { topic, value, ... }, not ${shown(results)}`)
    }
    const records = Array.from(results, resultOf)
    const { block, next: rows } = this.#lease
    const sent = await hub.ask((ticket) => this.#native.commitWith(ticket, rows, records), options?.signal)
    // What the loop had in hand is committed now, and not given out again; had it failed, it would be.
    if (this.#lease.block === block) this.#lease.passed = Math.max(this.#lease.passed, rows)
    return sent
  }

  async committed(options) {
    return hub.ask((ticket) => this.#native.committed(ticket), options?.signal)
  }

  /** Goes on reading a partition at an offset, at `earliest` or `latest`, or at `{ time }`. */
  async seek(topic, partition, to, options) {
    this.#report()
    const place = placeOf({ topic, partition, offset: typeof to === 'number' ? to : 0 })
    if (typeof to === 'number') this.#native.seek(place.topic, place.partition, place.offset)
    else {
      const [at, timeMs] = meaningOf(to)
      await hub.ask((ticket) => this.#native.seekTo(ticket, place.topic, place.partition, at, timeMs), options?.signal)
    }
    this.#forget(topic, partition)
  }

  /** For each partition the offset of the first record that does not count as processed. */
  positions() {
    this.#report()
    return this.#native.positions()
  }

  /** The partitions it reads, each with the offset of the next record. */
  assignment() {
    return this.#native.assignment()
  }

  /** How far it is in each assigned partition, and how far it could be: one request. */
  async lag(options) {
    this.#report()
    const lags = await hub.ask((ticket) => this.#native.lag(ticket), options?.signal)
    return lags.map((lag) => ({ ...lag, committed: lag.committed ?? null }))
  }

  /** Gives nothing more of these partitions until they are resumed, or of all that are assigned. */
  pause(partitions) {
    this.#native.pause(partitionsOf(partitions))
  }

  resume(partitions) {
    this.#native.resume(partitionsOf(partitions))
  }

  /** The partitions that are paused. */
  paused() {
    return this.#native.paused()
  }

  get isFinished() {
    return this.#native.isFinished
  }

  async close(timeoutMs) {
    const timeout = timeoutOf(timeoutMs)
    if (this.#closing === undefined) this.#closing = this.#close(timeout)
    // Core ends the close that is on its way, if this one would end sooner.
    else hub.request((ticket) => this.#native.close(ticket, timeout)).catch(() => {})
    return this.#closing
  }

  async [Symbol.asyncDispose]() {
    throwIfLost(await this.close())
  }

  async #close(timeout) {
    this.#report()
    this.#pause()
    // The loop that runs looks up at its next record.
    this.#lease.stop = this.#lease.next
    const report = await hub.ask((ticket) => this.#native.close(ticket, timeout))
    this.#onClosed()
    return reportOf(report)
  }

  /** What the iterators may do. */
  #door(signal) {
    return {
      lease: this.#lease,
      signal,
      isClosed: () => this.#closing !== undefined,
      enter: (reader) => this.#enter(reader),
      leave: (reader) => this.#leave(reader),
      nextBlock: () => this.#nextBlock(signal),
    }
  }

  #enter(reader) {
    if (this.#reader === reader && reader !== runHandlers) return
    if (this.#closing !== undefined) throw errorOf('CLOSED', 'the consumer is closed')
    if (this.#reader !== null) {
      throw errorOf('INVALID_STATE', 'another loop reads this consumer; one at a time can')
    }
    this.#reader = reader
    this.#resume()
  }

  #leave(reader) {
    if (this.#reader !== reader) return
    this.#reader = null
    // Acknowledged by hand, a record that was given out is the caller's.
    if (this.#isManual) this.#lease.passed = this.#lease.next
    else this.#lease.rewind()
    this.#report()
    this.#pause()
  }

  /** Passes the block in hand and waits for the next; false: there will be none. */
  async #nextBlock(signal) {
    this.#lease.passed = this.#lease.block?.length ?? 0
    // A wait that was aborted has left its block behind: it comes first.
    this.#fetch ??= this.#request()
    const bytes = await hub.held(this.#fetch, signal).catch((error) => {
      if (!(error instanceof AbortError)) this.#fetch = null
      throw error
    })
    this.#fetch = null
    if (bytes === null) return false
    this.#lease.put(bytes)
    this.#reported = 0
    return true
  }

  #request() {
    this.#lease.drop()
    const fetch = hub.request((ticket) => {
      this.#fetchTicket = ticket
      this.#native.nextBlock(ticket, undefined)
    })
    // The error belongs to whoever waits; without anybody it is kept for the next.
    fetch.catch(() => {})
    return fetch
  }

  /** Tells core how far the loop is; core may want the rest of a run left out. */
  #report() {
    const { block, passed } = this.#lease
    if (block === null || passed === this.#reported) return
    this.#reported = passed
    const run = this.#native.progress(passed)
    if (run >= 0) this.#lease.skip(run)
  }

  /** The rows of a partition that are in hand are no longer wanted. */
  #forget(topic, partition) {
    const runs = this.#lease.block?.runs ?? []
    runs.forEach((run, index) => {
      if (run.topic === topic && run.partition === partition) this.#lease.skip(index)
    })
  }

  #resume() {
    this.#timer ??= setInterval(() => this.#report(), PROGRESS_MS).unref()
  }

  #pause() {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

/** What both iterators share: one call after the other, and a signal that ends the loop at the next record. */
class Reader {
  #door
  #calls = 0
  #last
  #isDone = false

  constructor(door) {
    this.#door = door
    this.lease = door.lease
  }

  [Symbol.asyncIterator]() {
    return this
  }

  /** The slow path: a new run, a new block, the end, or an abort; calls that do not wait for each other queue up. */
  more(give) {
    const turn = this.#calls === 0 ? this.#more(give) : this.#last.then(() => this.#more(give))
    this.#calls++
    const done = () => void this.#calls--
    this.#last = turn.then(done, done)
    return turn
  }

  async #more(give) {
    if (this.#isDone) return { value: undefined, done: true }
    const { signal } = this.#door
    try {
      this.#begin()
      if (this.#door.isClosed()) return this.#end()
      // Asking passes what was given out before.
      this.lease.passed = this.lease.next
      if (signal?.aborted) throw new AbortError(signal)
      while (!this.lease.proceed()) {
        if (!(await this.#door.nextBlock()) || this.#door.isClosed()) return this.#end()
      }
      return { value: give(), done: false }
    } catch (error) {
      this.#end()
      throw error
    }
  }

  return(value) {
    this.#end()
    return Promise.resolve({ value, done: true })
  }

  throw(error) {
    this.#end()
    return Promise.reject(error)
  }

  [Symbol.asyncDispose]() {
    return this.return().then(() => {})
  }

  get isBusy() {
    return this.#calls > 0
  }

  #interrupt = () => {
    this.lease.stop = this.lease.next
  }

  #begin() {
    this.#door.enter(this)
    // Again for each: a listener is added once.
    this.#door.signal?.addEventListener('abort', this.#interrupt)
  }

  #end() {
    this.#isDone = true
    this.#door.signal?.removeEventListener('abort', this.#interrupt)
    this.#door.leave(this)
    return { value: undefined, done: true }
  }
}

/** Record by record. */
class Records extends Reader {
  #hasBegun = false

  next() {
    const lease = this.lease
    if (lease.next < lease.stop && this.#hasBegun && !this.isBusy) {
      return Promise.resolve({ value: this.#give(lease), done: false })
    }
    return this.more(() => {
      this.#hasBegun = true
      return this.#give(lease)
    })
  }

  #give(lease) {
    const row = lease.next++
    lease.passed = row
    return new Message(lease.block, row, lease.run)
  }
}

/** Block by block. */
class Batches extends Reader {
  next() {
    return this.more(() => this.#give())
  }

  #give() {
    const { lease } = this
    const batch = new Batch(lease.block, lease.next, lease.skipped)
    lease.next = lease.stop = lease.block.length
    lease.runIndex = lease.block.runs.length
    return batch
  }
}

function placeOf(place) {
  const { topic, partition, offset } = place ?? {}
  if (typeof topic !== 'string' || !Number.isInteger(partition) || !Number.isSafeInteger(offset)) {
    throw invalid(`a place is { topic, partition, offset }, not ${shown(place)}`)
  }
  return { topic, partition, offset }
}

function flagOf(flag, name) {
  if (flag === undefined || flag === null) return false
  if (typeof flag === 'boolean') return flag
  throw errorOf('INVALID_OPTION', `option \`${name}\` is ${shown(flag)}; it must be true or false`)
}

/** Places without their offsets; none stands for all. */
function partitionsOf(partitions) {
  if (partitions === undefined || partitions === null) return undefined
  if (typeof partitions !== 'object' || typeof partitions[Symbol.iterator] !== 'function') {
    throw invalid(`the partitions are an array of { topic, partition }, not ${shown(partitions)}`)
  }
  return Array.from(partitions, (place) => {
    const { topic, partition } = placeOf({ ...place, offset: 0 })
    return { topic, partition }
  })
}

/** `earliest`, `latest`, `{ time }` or a Date, as core takes it: the word, and the time with it. */
function meaningOf(at) {
  if (at === 'earliest' || at === 'latest') return [at, undefined]
  const time = at instanceof Date ? at.getTime() : at?.time instanceof Date ? at.time.getTime() : at?.time
  if (Number.isSafeInteger(time)) return ['time', time]
  throw invalid(`a place is an offset, 'earliest', 'latest', { time } or a Date, not ${shown(at)}`)
}

module.exports = { Consumer, meaningOf, placeOf }
