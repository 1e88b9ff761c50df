'use strict'
// The loop of `process`: as many handlers at the same time as core gives records for. Order, retries, dead letters and
// commits are core's; here a handler is called, and core hears how it ended.

const { Batch, Block } = require('./block.cjs')
const { shown } = require('./errors.cjs')
const hub = require('./hub.cjs')

async function runHandlers(processor, handler, isBatch, signal) {
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
  const runBatch = async (batch, first) => {
    try {
      await handler(batch)
      processor.finishBatch(first, batch.length)
    } catch (error) {
      if (processor.finishBatch(first, batch.length, textOf(error))) failure ??= { error }
    }
  }
  const begin = (handling) => {
    running.add(handling)
    handling.then(() => running.delete(handling))
  }
  try {
    for (;;) {
      const taken = await hub.ask((ticket) => processor.take(ticket), signal)
      if (taken === null) break
      const batch = new Batch(new Block(taken.block))
      let ticket = taken.firstTicket
      if (isBatch) begin(runBatch(batch, ticket))
      else for (const message of batch) begin(run(message, ticket++))
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
