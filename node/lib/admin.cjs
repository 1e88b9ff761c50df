'use strict'
// Topics, groups and offsets: one request each.

const { invalid, shown } = require('./errors.cjs')
const hub = require('./hub.cjs')
const { meaningOf, placeOf } = require('./consumer.cjs')
const { flatten } = require('./options.cjs')

class Admin {
  #native

  constructor(native) {
    this.#native = native
  }

  async createTopic(name, options) {
    const flat = flatten(options, ['signal'])
    await hub.ask((ticket) => this.#native.createTopic(ticket, nameOf(name), flat), options?.signal)
  }

  async deleteTopic(name, options) {
    await hub.ask((ticket) => this.#native.deleteTopic(ticket, nameOf(name)), options?.signal)
  }

  /** Deletes the records of a topic before an offset of each partition, `{ 0: 100 }` or a Map; -1: all there is. */
  async deleteRecords(topic, before, options) {
    const name = nameOf(topic)
    const entries = before instanceof Map ? [...before] : Object.entries(before ?? {})
    const places = entries.map(([partition, offset]) => placeOf({ topic: name, partition: Number(partition), offset }))
    const starts = await hub.ask((ticket) => this.#native.deleteRecords(ticket, name, places), options?.signal)
    return new Map(starts.map(({ partition, offset }) => [partition, offset]))
  }

  async alterTopic(name, options) {
    const flat = flatten(options, ['signal'])
    await hub.ask((ticket) => this.#native.alterTopic(ticket, nameOf(name), flat), options?.signal)
  }

  async listTopics(options) {
    const topics = await hub.ask((ticket) => this.#native.listTopics(ticket), options?.signal)
    return topics.map(withConfig)
  }

  async describeTopic(name, options) {
    return withConfig(await hub.ask((ticket) => this.#native.describeTopic(ticket, nameOf(name)), options?.signal))
  }

  async listGroups(options) {
    return hub.ask((ticket) => this.#native.listGroups(ticket), options?.signal)
  }

  async describeGroup(group, options) {
    const found = await hub.ask((ticket) => this.#native.describeGroup(ticket, nameOf(group)), options?.signal)
    const members = found.members.map((member) => ({
      ...member,
      instanceId: member.instanceId ?? null,
      host: member.host ?? null,
    }))
    return { ...found, members }
  }

  async deleteGroup(group, options) {
    await hub.ask((ticket) => this.#native.deleteGroup(ticket, nameOf(group)), options?.signal)
  }

  /** Offsets by their meaning, in the order asked: `{ topic, partition, at: 'earliest' | 'latest' | { time } }`. */
  async listOffsets(queries, options) {
    const asked = [...queries].map(({ topic, partition, at }) => {
      const [word, timeMs] = meaningOf(at)
      const place = placeOf({ topic, partition, offset: 0 })
      return { topic: place.topic, partition: place.partition, at: word, timeMs }
    })
    return hub.ask((ticket) => this.#native.listOffsets(ticket, asked), options?.signal)
  }

  /** Commits offsets of a group by hand, while it has no member. */
  async commitOffsets(group, offsets, options) {
    const places = [...offsets].map(placeOf)
    await hub.ask((ticket) => this.#native.commitOffsets(ticket, nameOf(group), places), options?.signal)
  }
}

function nameOf(name) {
  if (typeof name === 'string') return name
  throw invalid(`a name must be a string, not ${shown(name)}`)
}

function withConfig(topic) {
  return { ...topic, config: Object.fromEntries(topic.config) }
}

module.exports = { Admin }
