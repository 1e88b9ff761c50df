// Every scenario of `examples/scenarios`, at every door.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { folder } from './setting.mjs'
import { DOORS, Door, load, run } from './scenarios.mjs'

for (const scenario of load()) {
  for (const kind of DOORS) {
    test(`${scenario.name}, ${kind}`, async (t) => {
      if (!(scenario.languages ?? ['node']).includes('node')) return t.skip(scenario.because)
      const door = await Door.open(kind, folder(t))
      t.after(() => door.close())
      const missing = (scenario.needs ?? []).filter((need) => !door.gives.includes(need))
      if (missing.length > 0) return t.skip(`${kind} is not ${missing}`)
      await run(scenario, door)
    })
  }
}

for (const scenario of load('wrong')) {
  test(`it is found that ${scenario.name}`, async (t) => {
    await assert.rejects(run(scenario, await Door.open('mem', folder(t))))
  })
}
