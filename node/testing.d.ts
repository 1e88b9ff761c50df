/**
 * Kafka in a test suite: a broker in the test's process, which starts and closes with the tests.
 *
 *     import { test } from 'node:test'
 *     import { useBroker } from 'headwater/testing'
 *     import { Kafka } from 'kafkajs'
 *
 *     const broker = useBroker({ topics: { orders: 4 } })
 *
 *     test('an order is sent', async () => {
 *       const kafka = new Kafka({ brokers: broker.brokers })
 *     })
 */

import type { BrokerOptions } from './index.options.js'

/** The broker of a file's (or a suite's) tests, there while they run. */
export interface TestBroker {
  /** `127.0.0.1:54321`: what `connect` takes, and Kafka's clients. */
  readonly address: string
  readonly addresses: string[]
  /** What kafkajs takes as `brokers`, and others as `bootstrapBrokers`. */
  readonly brokers: string[]
  /** The same in one string, as `bootstrap.servers` has it. */
  readonly bootstrapServers: string
}

/** Registers a function that runs before or after tests, as every runner has it. */
export type Hook = (run: () => Promise<void>) => unknown

export interface TestBrokerOptions extends BrokerOptions {
  /** Topics that are there from the start: names, or names with their numbers of partitions. */
  topics?: readonly string[] | Readonly<Record<string, number>>
  /** Whether each test has a broker of its own. Default: false, one for all tests of the file or suite. */
  each?: boolean
  /** An environment variable that holds `bootstrapServers` while the broker is there. Default: none. */
  env?: string
  /**
   * The runner's hooks. Default: its global ones where it has some (Jest, Mocha, Vitest with `globals`), else those of
   * `node:test`. Vitest without `globals`: `import { beforeAll, afterAll } from 'vitest'`, and
   * `useBroker({ hooks: { beforeAll, afterAll } })`.
   */
  hooks?: { beforeAll?: Hook; afterAll?: Hook; beforeEach?: Hook; afterEach?: Hook }
}

/**
 * A broker for the tests of this file, or of the suite in whose body it is called: it starts before them, in memory, on
 * a free port of this machine, creating topics as they are used, and is closed behind them. Use it inside of tests and
 * of `beforeEach`: where files have `before` hooks at their top, `node:test` runs those side by side. Clients that a
 * test left open are cut off, not waited for.
 */
export function useBroker(options?: TestBrokerOptions): TestBroker
