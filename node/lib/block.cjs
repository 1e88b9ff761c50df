'use strict'
// Reads a receive block: many records in one piece of memory, column by column. The layout is core's
// (`record/block`), and so are the golden vectors that the test walks.
//
// Everything is checked once, when the block arrives: magic, length, every position and end, runs and topics. After
// that rows are read without checks, and only when asked for: a message is three references, its key and value are
// `subarray`s that keep the whole block alive (`copy()` frees the rest).

const { inspect } = require('node:util')
const { errorOf } = require('./errors.cjs')

const MAGIC = 0x31425748 // "HWB1"
const HEADER_BYTES = 64
const RUN_BYTES = 40
const FLAG_CONTIGUOUS = 1
const NAME_BYTES_MAX = 249
const HIGH = 2 ** 32

/** Rows of one partition, offsets ascending. */
class Run {
  constructor(baseOffset, firstRow, rowCount, partition, leaderEpoch, topic) {
    this.baseOffset = baseOffset
    this.firstRow = firstRow
    this.rowCount = rowCount
    this.partition = partition
    this.leaderEpoch = leaderEpoch
    this.topic = topic
  }
}

/** A column of byte strings: which rows have one, where each ends, and the bytes. */
class Strings {
  constructor(present, ends, bytes) {
    this.present = present
    this.ends = ends
    this.bytes = bytes
  }

  at(row) {
    if (this.present !== null && ((this.present[row >> 3] >> (row & 7)) & 1) === 0) return null
    return this.bytes.subarray(this.ends[row], this.ends[row + 1])
  }
}

class Block {
  constructor(bytes) {
    const reader = new Reader(bytes)
    const words = reader.words
    this.length = words[3]
    const isContiguous = (reader.bytes.readUInt16LE(6) & FLAG_CONTIGUOUS) !== 0
    this.deltas = reader.numbers('offset_deltas', words[6], this.length)
    if (this.deltas === null && !isContiguous) throw corrupt('offset_deltas is absent')
    this.timestamps = reader.numbers('timestamps', words[7], this.length * 2)
    this.keys = reader.strings('keys', words[8], words[9], words[13], this.length)
    this.values = reader.strings('values', words[10], words[11], words[14], this.length)
    this.headers = reader.strings('headers', 0, words[12], words[15], this.length)
    if (this.timestamps === null) throw corrupt('timestamps is absent')
    if (this.values === null) throw corrupt('values is absent')
    this.runs = reader.runs(words[5], words[4], this)
  }

  offset(row, run) {
    return run.baseOffset + (this.deltas === null ? row - run.firstRow : this.deltas[row])
  }

  timestamp(row) {
    return this.timestamps[2 * row] + (this.timestamps[2 * row + 1] | 0) * HIGH
  }
}

/** The checks. Positions are from the start of the block. */
class Reader {
  constructor(bytes) {
    if (bytes.length < HEADER_BYTES) throw corrupt(`${bytes.length} bytes, expected ${HEADER_BYTES} or more`)
    const magic = bytes.readUInt32LE(0)
    if (magic !== MAGIC) {
      throw errorOf('UNSUPPORTED_VERSION', `block magic ${bytes.toString('hex', 0, 4)} is not supported`)
    }
    const length = bytes.readUInt32LE(8)
    if (length > bytes.length || length < HEADER_BYTES) {
      throw corrupt(`the block says ${length} bytes, ${bytes.length} are there`)
    }
    this.headerLength = bytes.readUInt16LE(4)
    if (this.headerLength < HEADER_BYTES || this.headerLength > length) {
      throw corrupt(`header of ${this.headerLength} bytes`)
    }
    // Typed arrays need aligned memory; blocks from core are, a slice of somebody's Buffer may not be.
    this.bytes =
      bytes.byteOffset % 8 === 0
        ? bytes.subarray(0, length)
        : Buffer.from(new Uint8Array(bytes.subarray(0, length)).buffer)
    this.length = length
    this.words = this.#words(0, HEADER_BYTES / 4)
  }

  #words(position, count) {
    return new Uint32Array(this.bytes.buffer, this.bytes.byteOffset + position, count)
  }

  check(name, position, bytes) {
    if (position % 8 !== 0 || position < this.headerLength || position + bytes > this.length) {
      throw corrupt(`${name} at byte ${position} with ${bytes} bytes is not within the block`)
    }
  }

  /** `count` u32 at `position`, null if the column is absent. */
  numbers(name, position, count) {
    if (position === 0) return null
    this.check(name, position, count * 4)
    return this.#words(position, count)
  }

  strings(name, presentAt, endsAt, bytesAt, rows) {
    const ends = this.numbers(`${name} ends`, endsAt, rows + 1)
    if (ends === null) return null
    let end = 0
    if (ends[0] !== 0) throw corrupt(`end 0 of ${name} is ${ends[0]}, expected 0`)
    for (let row = 1; row <= rows; row++) {
      if (ends[row] < end) throw corrupt(`end ${row} of ${name} is ${ends[row]}, expected ${end} or more`)
      end = ends[row]
    }
    this.check(name, bytesAt, end)
    let present = null
    if (presentAt !== 0) {
      const bytes = Math.ceil(rows / 8)
      this.check(`${name} present`, presentAt, bytes)
      present = this.bytes.subarray(presentAt, presentAt + bytes)
    }
    return new Strings(present, ends, this.bytes.subarray(bytesAt, bytesAt + end))
  }

  runs(position, count, block) {
    this.check('runs', position, count * RUN_BYTES)
    const runs = []
    let expected = 0
    for (let index = 0; index < count; index++) {
      const run = this.#run(position + index * RUN_BYTES, index)
      const end = run.firstRow + run.rowCount
      if (run.firstRow !== expected || run.rowCount === 0 || end > block.length) {
        throw corrupt(`run ${index} has rows ${run.firstRow} to ${end}, expected from ${expected} on`)
      }
      checkOffsets(block, run, end)
      runs.push(run)
      expected = end
    }
    if (expected !== block.length) throw corrupt(`runs cover ${expected} rows of ${block.length}`)
    return runs
  }

  #run(at, index) {
    const bytes = this.bytes
    const topicAt = bytes.readUInt32LE(at + 24)
    const topicBytes = bytes.readUInt32LE(at + 28)
    if (topicBytes > NAME_BYTES_MAX || topicAt + topicBytes > this.length) {
      throw corrupt(`topic of run ${index} is not a name within the block`)
    }
    return new Run(
      bytes.readUInt32LE(at) + bytes.readInt32LE(at + 4) * HIGH,
      bytes.readUInt32LE(at + 8),
      bytes.readUInt32LE(at + 12),
      bytes.readInt32LE(at + 16),
      bytes.readInt32LE(at + 20),
      bytes.toString('utf8', topicAt, topicAt + topicBytes),
    )
  }
}

/** Offsets rise inside a run, and a number of JavaScript holds each exactly. */
function checkOffsets(block, run, end) {
  if (block.deltas !== null) {
    for (let row = run.firstRow + 1; row < end; row++) {
      if (block.deltas[row] <= block.deltas[row - 1])
        throw corrupt(`offset of row ${row} does not follow on the one before`)
    }
  }
  const last = block.offset(end - 1, run)
  if (!Number.isSafeInteger(last) || !Number.isSafeInteger(run.baseOffset)) {
    throw errorOf('UNSUPPORTED_FEATURE', `offset ${last} of ${run.topic} is beyond 2^53, which a number cannot hold`)
  }
}

const corrupt = (message) => errorOf('CORRUPT_FRAME', `block: ${message}`)

/** The headers of one row: `[name, value]` pairs in their order, names may repeat. */
function headersIn(bytes) {
  const headers = []
  let at = 0
  while (at < bytes.length) {
    if (at + 8 > bytes.length) throw corrupt('a header ends within its lengths')
    const keyLength = bytes.readUInt32LE(at)
    const valueLength = bytes.readInt32LE(at + 4)
    const value = at + 8 + keyLength
    at = value + Math.max(valueLength, 0)
    if (at > bytes.length || valueLength < -1) throw corrupt('a header ends behind its record')
    headers.push([bytes.toString('utf8', value - keyLength, value), valueLength < 0 ? null : bytes.subarray(value, at)])
  }
  return headers
}

/** A record as it is read: all fields are taken out of the block when asked for. */
class Message {
  #block
  #row
  #run

  constructor(block, row, run) {
    this.#block = block
    this.#row = row
    this.#run = run
  }

  get topic() {
    return this.#run.topic
  }

  get partition() {
    return this.#run.partition
  }

  get offset() {
    return this.#block.offset(this.#row, this.#run)
  }

  get timestamp() {
    return this.#block.timestamp(this.#row)
  }

  get key() {
    const keys = this.#block.keys
    return keys === null ? null : keys.at(this.#row)
  }

  get value() {
    return this.#block.values.at(this.#row)
  }

  get headers() {
    const headers = this.#block.headers
    return headers === null ? [] : headersIn(headers.at(this.#row))
  }

  /** The same record in memory of its own, so that the block it came in can be freed. */
  copy() {
    return new CopiedMessage(this)
  }

  [inspect.custom](depth, options) {
    return `Message ${inspect(fieldsOf(this), options)}`
  }
}

class CopiedMessage {
  constructor(message) {
    Object.assign(this, fieldsOf(message))
    this.key &&= Buffer.from(this.key)
    this.value &&= Buffer.from(this.value)
    this.headers = this.headers.map(([name, value]) => [name, value && Buffer.from(value)])
    Object.freeze(this)
  }

  copy() {
    return this
  }
}

function fieldsOf({ topic, partition, offset, timestamp, key, value, headers }) {
  return { topic, partition, offset, timestamp, key, value, headers }
}

/** Records that arrived together: the fast lane. Iterates messages; `values()` makes nothing but buffers. */
class Batch {
  #block
  #runs
  #start

  constructor(block, start = 0, skipped = new Set()) {
    this.#block = block
    this.#start = start
    this.#runs = []
    block.runs.forEach((run, index) => {
      const first = Math.max(run.firstRow, start)
      const end = run.firstRow + run.rowCount
      if (first < end && !skipped.has(index)) this.#runs.push({ run, first, end })
    })
    this.length = this.#runs.reduce((rows, { first, end }) => rows + end - first, 0)
  }

  /** The message at `index`, from the end if negative; undefined if there is none. */
  at(index) {
    let row = index < 0 ? this.length + index : index
    if (!Number.isInteger(row) || row < 0) return undefined
    for (const { run, first, end } of this.#runs) {
      if (row < end - first) return new Message(this.#block, first + row, run)
      row -= end - first
    }
    return undefined
  }

  *[Symbol.iterator]() {
    for (const { run, first, end } of this.#runs) {
      for (let row = first; row < end; row++) yield new Message(this.#block, row, run)
    }
  }

  /** Every value, null for a tombstone. */
  values() {
    return this.#column(this.#block.values)
  }

  /** Every key, null where there is none. */
  keys() {
    return this.#column(this.#block.keys)
  }

  /** Where the records stand: one entry for the rows of each partition, in order. */
  get partitions() {
    return this.#runs.map(({ run, first, end }) => ({
      topic: run.topic,
      partition: run.partition,
      firstOffset: this.#block.offset(first, run),
      lastOffset: this.#block.offset(end - 1, run),
      length: end - first,
    }))
  }

  /** Its rows if it is the whole rest of `block`; none if it belongs to another, or leaves rows out. */
  rowsOf(block) {
    const isRest = block === this.#block && this.length === block.length - this.#start
    return isRest ? { start: this.#start, end: block.length } : undefined
  }

  [inspect.custom](depth, options) {
    return `Batch ${inspect({ length: this.length, partitions: this.partitions }, options)}`
  }

  #column(strings) {
    if (strings === null) return new Array(this.length).fill(null)
    const column = new Array(this.length)
    let at = 0
    for (const { first, end } of this.#runs) {
      for (let row = first; row < end; row++) column[at++] = strings.at(row)
    }
    return column
  }
}

module.exports = { Block, Message, CopiedMessage, Batch }
