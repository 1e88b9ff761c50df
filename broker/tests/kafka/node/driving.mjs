// What the drivers in Node share: a request a line in, an answer a line out, any number of them side by side.

import { createInterface } from 'node:readline'

export const IDLE_MS = 1500
export const WAIT_MS = 25000

export class NotPossible extends Error {}

/** Answers by `steps[STEP](fields)`; `codeOf(error)` is Kafka's number for what was thrown. */
export function serve(steps, codeOf) {
  const answer = async ({ id, step, fields }) => {
    const out = { id }
    try {
      if (!steps[step]) throw new NotPossible(`no such call: ${step}`)
      out.gives = (await steps[step](fields)) ?? null
    } catch (error) {
      if (error instanceof NotPossible) out.not_possible = error.message
      else {
        out.fails = { code: codeOf(error) ?? null, says: `${error.name}: ${error.message}` }
        if (out.fails.code === null) console.error(error)
      }
    }
    process.stdout.write(JSON.stringify(out, (_, one) => (typeof one === 'bigint' ? Number(one) : one)) + '\n')
  }
  const lines = createInterface({ input: process.stdin })
  lines.on('line', (line) => answer(JSON.parse(line)))
  lines.on('close', () => process.exit(0))
  process.on('unhandledRejection', (error) => console.error('unhandled', error))
}

export const decoded = (text) => (text === null || text === undefined ? null : Buffer.from(text, 'base64'))
export const encoded = (data) => (data === null || data === undefined ? null : Buffer.from(data).toString('base64'))

/** What has come and was not asked for yet; `take` waits until there is enough, or nothing has come for so long. */
export class Inbox {
  records = []

  async take(count, wait_ms, hasEnded = () => false) {
    const wait = wait_ms ?? (count === undefined ? IDLE_MS : WAIT_MS)
    let deadline = Date.now() + wait
    let seen = 0
    while (!hasEnded() && Date.now() < deadline && (count === undefined || this.records.length < count)) {
      if (count === undefined && this.records.length > seen) deadline = Date.now() + wait
      seen = this.records.length
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    return this.records.splice(0, count ?? this.records.length)
  }
}
