'use strict'
// Send rows: records packed in JavaScript, handed to core many at a time, because a call into native code costs ten
// times what packing a record does.
//
//  0 u32 row_len   4 u32 topic_id   8 i32 partition (-1 = partitioner)  12 i32 key_len (-1 absent)
// 16 i32 value_len (-1 absent)     20 u32 headers_len                   24 i64 timestamp_ms (-1 = now)
// 32 u64 ticket (0 = none)         40 key, value, headers, padding to 8

const { isUint8Array } = require('node:util').types
const { errorOf, invalid, shown } = require('./errors.cjs')

const HEADER = 40
const PART_BYTES_MAX = 2 ** 31 - 1
const HIGH = 2 ** 32

/** Rows back to back in one buffer of a fixed size. */
class RowBuffer {
  constructor(bytes) {
    // Its own ArrayBuffer, so that words stand at multiples of 8.
    const memory = new ArrayBuffer(bytes)
    this.bytes = Buffer.from(memory)
    this.words = new Int32Array(memory)
    this.length = 0
  }

  /** Adds a row, or returns false if there may be no room for it. Parts are checked already. */
  add(topicId, partition, key, value, headers, timestamp, ticket) {
    const start = this.length
    let at = start + HEADER
    const room = at + boundOf(key) + boundOf(value) + (headers === null ? 0 : headers.length) + 8
    if (room > this.bytes.length) return false
    const keyLength = key === null ? -1 : write(this.bytes, key, at)
    if (keyLength > 0) at += keyLength
    const valueLength = value === null ? -1 : write(this.bytes, value, at)
    if (valueLength > 0) at += valueLength
    if (headers !== null) {
      this.bytes.set(headers, at)
      at += headers.length
    }
    const end = (at + 7) & ~7
    if (at !== end) this.bytes.fill(0, at, end)
    const words = this.words
    let word = start >> 2
    words[word++] = end - start
    words[word++] = topicId
    words[word++] = partition
    words[word++] = keyLength
    words[word++] = valueLength
    words[word++] = headers === null ? 0 : headers.length
    words[word++] = timestamp
    words[word++] = Math.floor(timestamp / HIGH)
    words[word++] = ticket
    words[word] = ticket / HIGH
    this.length = end
    return true
  }

  /** Forgets the first `bytes`. */
  drop(bytes) {
    this.bytes.copyWithin(0, bytes, this.length)
    this.length -= bytes
  }

  /** The row that begins at `at`. */
  rowAt(at) {
    const word = at >> 2
    return {
      end: at + this.words[word],
      topicId: this.words[word + 1] >>> 0,
      partition: this.words[word + 2],
      ticket: (this.words[word + 8] >>> 0) + this.words[word + 9] * HIGH,
    }
  }

  /** The tickets of the rows in it, 0 for a row without one. */
  *tickets() {
    for (let at = 0; at < this.length;) {
      const { ticket, end } = this.rowAt(at)
      yield ticket
      at = end
    }
  }
}

/**
 * A completion row: what became of `count` records with consecutive tickets.
 *
 *  0 u64 first_ticket  8 u32 count  12 i32 partition  16 i64 base_offset (-1 failed)  24 i64 timestamp_ms
 * 32 u8 durability    33 u8 outcome 34 u16 error      36 u32 error_id
 */
function completionAt(bytes, at) {
  return {
    firstTicket: numberAt(bytes, at),
    count: bytes.readUInt32LE(at + 8),
    partition: bytes.readInt32LE(at + 12),
    baseOffset: numberAt(bytes, at + 16),
    timestamp: numberAt(bytes, at + 24),
    durability: bytes[at + 32],
    outcome: bytes[at + 33],
    error: bytes.readUInt16LE(at + 34),
    errorId: bytes.readUInt32LE(at + 36),
  }
}

const COMPLETION_BYTES = 40

const numberAt = (bytes, at) => bytes.readUInt32LE(at) + bytes.readInt32LE(at + 4) * HIGH

/** Bytes that a buffer for this one row needs. */
function rowBytes(key, value, headers) {
  return (HEADER + boundOf(key) + boundOf(value) + (headers === null ? 0 : headers.length) + 16) & ~7
}

// A UTF-16 unit is at most three bytes of UTF-8.
const boundOf = (part) => (part === null ? 0 : typeof part === 'string' ? part.length * 3 : part.length)

function write(bytes, part, at) {
  if (typeof part === 'string') return bytes.write(part, at)
  bytes.set(part, at)
  return part.length
}

/** A key or value as it is packed: text, bytes, or null. */
function partOf(part, name) {
  if (typeof part === 'string' || part === null || isUint8Array(part)) {
    if (part !== null && part.length > PART_BYTES_MAX) throw tooLarge(part, name)
    return part
  }
  if (ArrayBuffer.isView(part)) return new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
  throw invalid(`the ${name} must be a string, a Uint8Array or null, not ${shown(part)}`)
}

function tooLarge(part, name) {
  return errorOf('MESSAGE_TOO_LARGE', `the ${name} has ${part.length} bytes; it must be at most ${PART_BYTES_MAX}`)
}

function partitionOf(partition) {
  if (partition === undefined || partition === null) return -1
  if (Number.isInteger(partition) && partition >= 0 && partition <= PART_BYTES_MAX) return partition
  throw invalid(`the partition must be a whole number from 0, not ${shown(partition)}`)
}

/** Milliseconds since 1970; -1 lets core take the time. */
function timestampOf(timestamp) {
  if (timestamp === undefined || timestamp === null) return -1
  const ms = timestamp instanceof Date ? timestamp.getTime() : timestamp
  if (Number.isSafeInteger(ms) && ms >= 0) return ms
  throw invalid(`the timestamp must be whole milliseconds since 1970 or a Date, not ${shown(timestamp)}`)
}

/** Headers packed: per header u32 key_len, i32 value_len (-1 null), key, value; null if there are none. */
function headersOf(headers) {
  if (headers === undefined || headers === null) return null
  const parts = []
  for (const [name, body] of headerPairs(headers)) {
    const key = Buffer.from(name)
    const lengths = Buffer.alloc(8)
    lengths.writeUInt32LE(key.length, 0)
    lengths.writeInt32LE(body === null ? -1 : body.length, 4)
    parts.push(lengths, key)
    if (body !== null) parts.push(body)
  }
  return parts.length === 0 ? null : Buffer.concat(parts)
}

/** Names and values, checked, the values as bytes. */
function* headerPairs(headers) {
  if (typeof headers !== 'object') throw invalid(`headers must be an object, a Map or pairs, not ${shown(headers)}`)
  const pairs = typeof headers[Symbol.iterator] === 'function' ? headers : Object.entries(headers)
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2) throw invalid('headers must be pairs of a name and a value')
    const [name, value] = pair
    if (typeof name !== 'string') throw invalid(`the name of a header must be a string, not ${shown(name)}`)
    // An array under one name is that name repeated, as HTTP libraries do.
    for (const one of Array.isArray(value) ? value : [value]) {
      yield [name, bufferOf(one, `value of header ${shown(name)}`)]
    }
  }
}

/** A key or value as bytes, or null. */
function bufferOf(part, name) {
  const checked = partOf(part, name)
  if (typeof checked === 'string') return Buffer.from(checked)
  return checked === null || Buffer.isBuffer(checked) ? checked : Buffer.from(checked.buffer, checked.byteOffset, checked.length)
}

/** A record with its topic, as core takes it with a commit. */
function resultOf(record) {
  const { topic, value, key, headers, partition, timestamp } = record ?? {}
  if (typeof topic !== 'string') throw invalid(`a result is { topic, value, ... }, not ${shown(record)}`)
  const number = partitionOf(partition)
  const timestampMs = timestampOf(timestamp)
  return {
    topic,
    value: bufferOf(value, 'value') ?? undefined,
    key: bufferOf(key ?? null, 'key') ?? undefined,
    headers: Array.from(headers ? headerPairs(headers) : [], ([name, body]) => ({ name, value: body ?? undefined })),
    partition: number < 0 ? undefined : number,
    timestampMs: timestampMs < 0 ? undefined : timestampMs,
  }
}

module.exports = {
  COMPLETION_BYTES,
  RowBuffer,
  completionAt,
  headersOf,
  partOf,
  partitionOf,
  resultOf,
  rowBytes,
  timestampOf,
}
