'use strict'
// The native module of this platform: beside this package (a checkout, or `HEADWATER_NATIVE`), or in the optional
// dependency that a published package has for each platform. Loaded once per environment; safe in workers.

const path = require('node:path')

/** `linux-x64-gnu`, `darwin-arm64` ...: the middle of the file's name, as napi's own tools spell it. */
function platform() {
  const { platform, arch } = process
  if (platform === 'win32') return `${platform}-${arch}-msvc`
  if (platform !== 'linux') return `${platform}-${arch}`
  return `${platform}-${arch}-${isGlibc() ? 'gnu' : 'musl'}`
}

function isGlibc() {
  // Without this the report asks the network for the names of all interfaces.
  const report = process.report
  if (!report) return true
  const exclude = report.excludeNetwork
  report.excludeNetwork = true
  try {
    return Boolean(report.getReport().header.glibcVersionRuntime)
  } finally {
    report.excludeNetwork = exclude
  }
}

function load() {
  if (process.env.HEADWATER_NATIVE) return require(path.resolve(process.env.HEADWATER_NATIVE))
  const name = platform()
  const candidates = [`../headwater.${name}.node`, `@headwater/${name}`]
  for (const candidate of candidates) {
    try {
      return require(candidate)
    } catch (error) {
      // A module that is there but cannot be loaded says itself why.
      if (error.code !== 'MODULE_NOT_FOUND') throw error
    }
  }
  throw new Error(
    `headwater has no native module for ${name}: neither headwater.${name}.node in ${path.dirname(__dirname)} ` +
      `nor the package @headwater/${name} is there. In a checkout, \`node scripts/ensure-native.mjs\` builds it.`,
  )
}

module.exports = load()
