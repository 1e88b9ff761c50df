// What a published package does not have: the native module of this machine, the scripts, and the `install` line that
// runs one of them (npm warns of every dependency with such a line). `npm pack` and `npm publish` run this before and
// after; an install from a checkout does not.
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

const manifest = new URL('../package.json', import.meta.url)
const original = new URL('../package.json.original', import.meta.url)

if (process.argv[2] === 'restore') {
  renameSync(original, manifest)
} else {
  const { scripts, devDependencies, files, ...published } = JSON.parse(readFileSync(manifest, 'utf8'))
  copyFileSync(manifest, original)
  published.files = files.filter((pattern) => pattern !== 'scripts' && !pattern.endsWith('.node'))
  writeFileSync(manifest, `${JSON.stringify(published, null, 2)}\n`)
}
