'use strict'
// The loop of `process`: as many handlers at the same time as core gives records for. Order, retries, dead letters and
// commits are core's; here a handler is called, and core hears how it ended.

const { Batch, Block } = require('./block.cjs')
const { shown } = require('./errors.cjs')
const hub = require('./hub.cjs')

async function runHandlers(processor, handler, signal) {
  const running = new Set()
  let failure
  const run = async (message, ticket) => {
    try {
      await handler(message)
      processor.finish(ticket)
    } catch (error) {
      if (processor.finish(ticket, textOf(error))) failure = { error }
    }
  }
  try {
    for (;;) {
      const taken = await hub.ask((ticket) => processor.take(ticket), signal)
      if (taken === null) break
      let ticket = taken.firstTicket
      for (const message of new Batch(new Block(taken.block))) {
        const handling = run(message, ticket++)
        running.add(handling)
        handling.then(() => running.delete(handling))
      }
    }
  } finally {
    // What runs has its end, and counts.
    await hub.held(Promise.all(running))
    await hub.ask((ticket) => processor.close(ticket))
  }
  if (failure) throw failure.error
}

/** An error as its dead letter says it. */
const textOf = (error) => (error instanceof Error ? `${error.name}: ${error.message}` : shown(error))

module.exports = { runHandlers }
