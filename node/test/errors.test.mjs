import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { HeadwaterError } from 'headwater'
import { json } from './golden.mjs'

const require = createRequire(import.meta.url)
const native = require('../lib/native.cjs')
const { errorOf } = require('../lib/errors.cjs')

test('the table of errors is the golden one, and every row of it can be caught', () => {
  const rows = json('errors.json')
  assert.deepEqual(
    native.errorTable().map(({ code }) => code),
    rows.map(({ code }) => code),
  )
  for (const { number, code, kind, retriable, fatal } of rows) {
    const error = errorOf(code, 'what happened')
    assert.ok(error instanceof HeadwaterError && error instanceof Error)
    assert.equal(error.name, 'HeadwaterError')
    assert.deepEqual(pick(error), { kind, code, retriable, fatal, outcome: 'not_done', message: 'what happened' })
    assert.equal(native.errorTable().find((row) => row.code === code).number, number)
  }
})

test('an error says whether it may have happened all the same', () => {
  assert.equal(errorOf('REQUEST_TIMED_OUT', 'x', 'unknown').outcome, 'unknown')
})

test('an error prints its message, its code and where it came from', () => {
  const text = inspect(errorOf('BUFFER_FULL', 'no room'))
  assert.match(text, /HeadwaterError: no room/)
  assert.match(text, /code: 'BUFFER_FULL'/)
  assert.match(text, /errors\.test\.mjs/)
})

const pick = ({ kind, code, retriable, fatal, outcome, message }) => ({
  kind,
  code,
  retriable,
  fatal,
  outcome,
  message,
})
