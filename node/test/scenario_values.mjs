// What scenarios compare: results as plain values, and how an expectation is held against one.
import { isDeepStrictEqual } from 'node:util'

const isMap = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
const isOnly = (value, ...keys) => isMap(value) && Object.keys(value).sort().join() === keys.sort().join()
const shown = (value) => JSON.stringify(value)

/** Refuses what is missing and what has no meaning. */
export function checkFields(found, needed, known) {
  const missing = needed.filter((name) => !(name in found))
  const unknown = Object.keys(found).filter((name) => !needed.includes(name) && !known.includes(name))
  if (missing.length + unknown.length > 0) {
    throw new Error(`missing: [${missing}], unknown: [${unknown}], in ${shown(found)}`)
  }
}

/** What is otherwise than wanted, or undefined. Of a map only what is named counts. */
export function differs(wanted, found, where = 'it') {
  if (isOnly(wanted, 'not')) return differs(wanted.not, found) ? undefined : `${where} is ${shown(found)}`
  if (isOnly(wanted, 'says')) {
    if (typeof found === 'string' && found.includes(wanted.says)) return undefined
    return `${where} is ${shown(found)} and does not say ${shown(wanted.says)}`
  }
  if (isMap(wanted) && isMap(found)) {
    for (const [key, value] of Object.entries(wanted)) {
      if (!(key in found)) return `${where} has no \`${key}\``
      const difference = differs(value, found[key], `${where}.${key}`)
      if (difference) return difference
    }
    return undefined
  }
  if (Array.isArray(wanted) && Array.isArray(found)) {
    if (wanted.length !== found.length) return `${where} has ${found.length} entries, not ${wanted.length}`
    return wanted.map((want, at) => differs(want, found[at], `${where}[${at}]`)).find(Boolean)
  }
  // A record that was read may be written as its value alone.
  if (isMap(found) && 'offset' in found && 'value' in found) return differs(wanted, found.value, `${where}.value`)
  return isDeepStrictEqual(wanted, found) ? undefined : `${where} is ${shown(found)}, not ${shown(wanted)}`
}

/** A key or a value as it is written: text, absent, or `{hex: ..}`. */
export function toBytes(value) {
  if (!isMap(value)) return value
  checkFields(value, ['hex'], [])
  return Buffer.from(value.hex, 'hex')
}

/** The same, the other way. */
function fromBytes(data) {
  if (data === null) return null
  const text = data.toString()
  return Buffer.from(text).equals(data) ? text : { hex: data.toString('hex') }
}

/** The options of a record to be sent. */
export function recordOptions({ value, key, headers, partition, timestamp, ...unknown }) {
  checkFields({ value, ...unknown }, ['value'], [])
  if (value === undefined) throw new Error('a record has a value, or null')
  const options = {}
  if (key !== undefined) options.key = toBytes(key)
  if (partition !== undefined) options.partition = partition
  if (timestamp !== undefined) options.timestamp = timestamp
  if (headers !== undefined) options.headers = headers.map(([name, bytes]) => [name, toBytes(bytes)])
  return options
}

/** A record that was read. */
export function plainMessage({ topic, partition, offset, timestamp, key, value, headers }) {
  return {
    topic,
    partition,
    offset,
    timestamp,
    key: fromBytes(key),
    value: fromBytes(value),
    headers: headers.map(([name, bytes]) => [name, fromBytes(bytes)]),
  }
}

/** What programs go by, and the text. */
export const plainError = ({ kind, code, outcome, message }) => ({ kind, code, outcome, message })

export const plainHealth = (health) => ({
  ...snakeKeys(health),
  last_error: health.lastError && plainError(health.lastError),
  members: health.members.map(snakeKeys),
})

/** By topic, partition and offset. */
export const sorted = (places) =>
  [...places].sort((a, b) => a.topic.localeCompare(b.topic) || a.partition - b.partition || a.offset - b.offset)

/** Names of fields and options as this language spells them, `lingerMs` for `linger_ms`, and back. */
export const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
export const camelKeys = (map) => Object.fromEntries(Object.entries(map).map(([key, value]) => [camel(key), value]))
export const snakeKeys = (map) => Object.fromEntries(Object.entries(map).map(([key, value]) => [snake(key), value]))
