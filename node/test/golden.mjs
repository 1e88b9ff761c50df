// What the tests share: the golden files of core, which every language is tested with.
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = new URL('../../core/tests/golden/', import.meta.url)

export const json = (path) => JSON.parse(readFileSync(new URL(path, folder), 'utf8'))

export const bytes = (path) => readFileSync(new URL(path, folder))

export const path = (name) => fileURLToPath(new URL(name, folder))

/** `[name, bytes, meaning]` of every pair of files in a folder. */
export function pairs(name) {
  const files = readdirSync(new URL(`${name}/`, folder)).filter((file) => file.endsWith('.bin'))
  return files.map((file) => {
    const stem = `${name}/${file.slice(0, -4)}`
    return [file.slice(0, -4), bytes(`${stem}.bin`), json(`${stem}.json`)]
  })
}

export const hex = (part) => part && Buffer.from(part).toString('hex')
