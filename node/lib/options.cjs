'use strict'
// Options on their way to core: names and values as text, in one flat list. What they mean, their ranges and their
// defaults stand in core alone; an unknown name is refused there.

const { errorOf, invalid, shown } = require('./errors.cjs')

/** `[name, text, name, text ...]` of the options that are set; `own` names what is not core's. */
function flatten(options, own = []) {
  if (options === undefined || options === null) return []
  if (typeof options !== 'object' || Array.isArray(options)) {
    throw invalid(`options must be an object, not ${shown(options)}`)
  }
  const flat = []
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || own.includes(name)) continue
    flat.push(name, textOf(name, value))
  }
  return flat
}

function textOf(name, value) {
  if (['string', 'number', 'boolean', 'bigint'].includes(typeof value)) return String(value)
  if (Array.isArray(value)) return value.map((part) => textOf(name, part)).join(',')
  if (value instanceof Date) return `time:${value.getTime()}`
  const [place, ...more] = typeof value === 'object' ? Object.keys(value) : []
  if (more.length === 0 && (place === 'offset' || place === 'time')) return `${place}:${Number(value[place])}`
  throw errorOf('INVALID_OPTION', `option \`${name}\` is ${shown(value)}; it must be a text, number, boolean or Date`)
}

/** Milliseconds to wait, or none for core's default. */
function timeoutOf(timeoutMs) {
  if (timeoutMs === undefined || timeoutMs === null) return undefined
  if (Number.isFinite(timeoutMs) && timeoutMs >= 0) return Math.ceil(timeoutMs)
  throw invalid(`a timeout is a number of milliseconds from 0, not ${shown(timeoutMs)}`)
}

module.exports = { flatten, timeoutOf }
