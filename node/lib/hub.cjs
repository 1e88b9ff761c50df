'use strict'
// Where answers arrive: one wake-up of the event loop for as many as are ready.
//
// Whoever waits has a ticket. Core pushes the tickets that are answered to one queue, which wakes this environment
// through one ThreadsafeFunction; `drain` gives them all. The function is weak, it never keeps the process alive by
// itself: that is the anchor's part, a timer that is referenced as long as somebody waits (`hold`, `release`).

const native = require('./native.cjs')
const { AbortError, host } = require('./errors.cjs')

const handlers = new Map()
let lastTicket = 0
let holders = 0
let anchor

let isTurnTaken = false
let isWakeDue = false

// One delivery a turn of the event loop: Node calls a ThreadsafeFunction up to a thousand times without turning, and a
// loop that asks for the next block as soon as it has one would keep everything else waiting as long.
host.wake = () => {
  if (isTurnTaken) {
    isWakeDue = true
    return
  }
  isTurnTaken = true
  setImmediate(() => {
    isTurnTaken = false
    if (!isWakeDue) return
    isWakeDue = false
    host.wake()
  })
  for (const ticket of native.drain()) handlers.get(ticket)?.()
}

/** Keeps the process alive until `release`. */
function hold() {
  if (holders++ > 0) return
  anchor ??= setInterval(() => {}, 2 ** 31 - 1)
  anchor.ref()
}

function release() {
  if (--holders === 0) anchor.unref()
}

/** A ticket whose `handler` runs at every wake-up, until it is forgotten. The handler must not throw. */
function watch(handler) {
  handlers.set(++lastTicket, handler)
  return lastTicket
}

function forget(ticket) {
  handlers.delete(ticket)
}

/** Takes a request back: its answer is dropped, whether it is there or on its way. */
function cancel(ticket) {
  forget(ticket)
  native.forget(ticket)
}

/** A promise of the answer to what `start(ticket)` asks; it does not keep the process alive. */
function request(start) {
  return new Promise((resolve, reject) => {
    const ticket = watch(() => {
      forget(ticket)
      try {
        resolve(native.take(ticket))
      } catch (error) {
        reject(error)
      }
    })
    try {
      start(ticket)
    } catch (error) {
      forget(ticket)
      reject(error)
    }
  })
}

/** Waits for `answer` and keeps the process alive meanwhile; an abort ends the wait, not what was asked. */
function held(answer, signal) {
  hold()
  if (!signal) return answer.finally(release)
  return new Promise((resolve, reject) => {
    const abort = () => reject(new AbortError(signal))
    const settle = (end) => (value) => {
      signal.removeEventListener('abort', abort)
      end(value)
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    answer.then(settle(resolve), settle(reject))
  }).finally(release)
}

/** Asks and waits. */
function ask(start, signal) {
  if (signal?.aborted) return Promise.reject(new AbortError(signal))
  return held(request(start), signal)
}

module.exports = { ask, request, held, watch, forget, cancel, hold, release }
