'use strict'
// The end of the process: what was sent is not forgotten because nobody closed.
//
// A process that has nothing left to do closes what is open (`beforeExit`), as `close` would, within
// `exitTimeoutMs`; one that calls `process.exit` does it before it goes, waiting in place. Either warns with counts
// if something was not delivered. A process ended by a signal ends there. Native code closes what is left when an
// environment is torn down without either (a worker that is terminated).

const { writeSync } = require('node:fs')

const soon = Symbol('exit soon')
const now = Symbol('exit now')
const open = new Set()
let isWatching = false

function opened(client) {
  open.add(client)
  if (isWatching) return
  isWatching = true
  process.on('beforeExit', async () => {
    const reports = await Promise.allSettled([...open].map((client) => client[soon]()))
    open.clear()
    for (const { value } of reports) if (value) warn(value, (text) => process.emitWarning(text, 'HeadwaterWarning'))
  })
  process.on('exit', () => {
    for (const client of open) {
      warn(client[now](), (text) => writeSync(2, `(node:${process.pid}) HeadwaterWarning: ${text}\n`))
    }
  })
}

function closed(client) {
  open.delete(client)
}

function warn({ unsentRecords, failedRecords, firstError }, write) {
  if (unsentRecords === 0 && failedRecords === 0) return
  const cause = firstError ? `; the first error: ${firstError.message}` : ''
  write(`${unsentRecords} records were not delivered and ${failedRecords} failed when the process ended${cause}`)
}

module.exports = { opened, closed, soon, now }
