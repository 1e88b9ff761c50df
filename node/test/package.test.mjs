import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import * as esm from 'headwater'

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('..', import.meta.url))

test('both module systems load the same implementation', () => {
  const cjs = require('headwater')
  assert.deepEqual(Object.keys(esm).sort(), Object.keys(cjs).sort())
  for (const name of Object.keys(cjs)) assert.equal(esm[name], cjs[name], name)
})

test('the types name what is exported, and nothing else', () => {
  const types = readFileSync(new URL('../index.d.ts', import.meta.url), 'utf8')
  const named = [...types.matchAll(/^export (?:function|class) (\w+)/gm)].map(([, name]) => name)
  const hidden = ['Producer', 'Consumer', 'Admin']
  assert.deepEqual(named.filter((name) => !hidden.includes(name)).sort(), Object.keys(esm).sort())
})

test('the package has no dependencies at run time, and types come first', () => {
  const { dependencies, exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  assert.equal(dependencies, undefined)
  assert.equal(Object.keys(exports['.'])[0], 'types')
})

test('a platform without a module is told what to do', () => {
  const source = `Object.defineProperty(process, 'arch', { value: 'vax' }); require('./lib/native.cjs')`
  const { status, stderr } = spawnSync(process.execPath, ['-e', source], { cwd: root, encoding: 'utf8' })
  assert.equal(status, 1)
  assert.match(stderr, /no native module for \w+-vax.*ensure-native\.mjs/)
})

test('the script for checkouts does nothing when the module is there', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/ensure-native.mjs'], {
    cwd: root,
    encoding: 'utf8',
  })
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' })
})
