'use strict'
// What closing has to say, and by when it has to say it.

const { errorOf } = require('./errors.cjs')

/** The longest time that a timer of Node's knows. */
const TIMER_MS_MAX = 2 ** 31 - 1

const nothing = { unsentRecords: 0, failedRecords: 0, firstError: undefined }

/** A report of core's as users see it. */
function reportOf({ unsentRecords, failedRecords, firstError: first }) {
  const firstError = first ? errorOf(first.code, first.message, first.outcome) : undefined
  return { unsentRecords, failedRecords, firstError }
}

/** Two reports as one. */
function sum(one, other) {
  return {
    unsentRecords: one.unsentRecords + other.unsentRecords,
    failedRecords: one.failedRecords + other.failedRecords,
    firstError: one.firstError ?? other.firstError,
  }
}

/** For the end of a scope, where nobody looks at the report. */
function throwIfLost({ unsentRecords, firstError }) {
  if (firstError) throw firstError
  if (unsentRecords === 0) return
  throw errorOf('DELIVERY_TIMED_OUT', `on closing, ${unsentRecords} records were not delivered`, 'unknown')
}

/** When a close ends: whoever closes again may bring it nearer. */
class Deadline {
  #at = Infinity
  #passed = new AbortController()
  #timer

  /** Aborted when it has passed. */
  get signal() {
    return this.#passed.signal
  }

  get leftMs() {
    return Math.max(0, this.#at - performance.now())
  }

  bring(timeoutMs) {
    const at = performance.now() + timeoutMs
    if (at >= this.#at) return
    this.#at = at
    clearTimeout(this.#timer)
    if (timeoutMs === 0) this.#passed.abort()
    else this.#timer = setTimeout(() => this.#passed.abort(), Math.min(timeoutMs, TIMER_MS_MAX)).unref()
  }

  end() {
    clearTimeout(this.#timer)
  }
}

module.exports = { Deadline, nothing, reportOf, sum, throwIfLost }
