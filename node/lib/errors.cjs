'use strict'
// The two errors a caller sees: `HeadwaterError`, made from core's table, and the host's own `AbortError`.

const native = require('./native.cjs')

/** A failure: `kind` says what to do about it, `code` what it was, `outcome` whether it may have happened. */
class HeadwaterError extends Error {
  constructor(kind, code, message, outcome, retriable, fatal, cause) {
    super(message, cause === undefined ? undefined : { cause: new Error(cause) })
    this.kind = kind
    this.code = code
    this.outcome = outcome
    this.retriable = retriable
    this.fatal = fatal
  }
}
Object.defineProperty(HeadwaterError.prototype, 'name', { value: 'HeadwaterError', configurable: true, writable: true })

/** What a waiting call ends with when its `AbortSignal` fires; `cause` is the signal's reason. */
class AbortError extends Error {
  constructor(signal) {
    super('The operation was aborted', { cause: signal.reason })
    this.code = 'ABORT_ERR'
  }
}
Object.defineProperty(AbortError.prototype, 'name', { value: 'AbortError', configurable: true, writable: true })

/** What runs when core wakes this environment; `hub.cjs` sets it. */
const host = { wake() {} }

// The first call of the environment: before it the native module can make no error.
native.init(
  (kind, code, message, outcome, retriable, fatal, cause) =>
    new HeadwaterError(kind, code, message, outcome, retriable, fatal, cause ?? undefined),
  () => host.wake(),
)

/** An error of core's table, by its code; kind, retriable and fatal are the table's. */
function errorOf(code, message, outcome = 'not_done') {
  return native.makeError(code, message, outcome)
}

const invalid = (message) => errorOf('INVALID_ARGUMENT', message)

/** A value as a message names it, cut short. */
function shown(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value)
  if (value === null || ['number', 'boolean', 'bigint', 'undefined'].includes(typeof value)) return String(value)
  return typeof value === 'object' ? (value.constructor?.name ?? 'an object') : `a ${typeof value}`
}

module.exports = { host, HeadwaterError, AbortError, errorOf, invalid, shown }
