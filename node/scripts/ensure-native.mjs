// For checkouts only: builds the native module if it is not there. A published package has neither this script nor
// the `install` line that runs it (`scripts/pack.mjs` leaves both out): there, the module of the platform is an
// optional dependency.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(dirname(fileURLToPath(import.meta.url)))

/** `linux-x64-gnu`, `darwin-arm64` ...; `lib/native.cjs` looks for the same name. */
function platform() {
  const { platform, arch, report } = process
  if (platform === 'win32') return `${platform}-${arch}-msvc`
  if (platform !== 'linux') return `${platform}-${arch}`
  report.excludeNetwork = true
  return `${platform}-${arch}-${report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl'}`
}

function run(command, args) {
  const { status, error, stdout } = spawnSync(command, args, {
    cwd: here,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  if (error?.code === 'ENOENT') {
    fail(`${command} was not found: building headwater from a checkout needs Rust (https://rustup.rs)`)
  }
  if (error || status !== 0) fail(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`)
  return stdout
}

function fail(message) {
  console.error(`headwater: ${message}`)
  process.exit(1)
}

const module = join(here, `headwater.${platform()}.node`)
if (!existsSync(module) && !process.env.HEADWATER_NATIVE) {
  if (!existsSync(join(here, 'Cargo.toml'))) fail(`${module} is not there, and this is no checkout to build it from`)
  console.error('headwater: building the native module (a few minutes the first time)')
  run('cargo', ['build', '--release', '-p', 'headwater-node'])
  const { target_directory: target } = JSON.parse(run('cargo', ['metadata', '--format-version', '1', '--no-deps']))
  const library = { win32: 'headwater_node.dll', darwin: 'libheadwater_node.dylib' }[process.platform]
  // In one move, so that nobody loads half a module.
  copyFileSync(join(target, 'release', library ?? 'libheadwater_node.so'), `${module}.new`)
  renameSync(`${module}.new`, module)
}
