import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const compiler = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url))

const skip = existsSync(compiler) ? false : 'TypeScript is not installed (npm ci --ignore-scripts)'

test('what users write types, in both module systems, and what is wrong does not', { skip }, () => {
  const project = fileURLToPath(new URL('types', import.meta.url))
  const { status, stdout } = spawnSync(process.execPath, [compiler, '-p', project], { encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})
