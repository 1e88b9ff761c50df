// Run by testing.test.mjs, in Vitest with its globals and without.
import { useBroker } from 'headwater/testing'

const broker = useBroker()

globalThis.test?.('it is there', () => {
  globalThis.expect(broker.brokers).toHaveLength(1)
})
