#!/usr/bin/env node
'use strict'
// The command line: the same program as the `headwater` binary, in the native module. It runs in place, signals too.
const native = require('../lib/native.cjs')

process.exitCode = native.cli(['headwater', ...process.argv.slice(2)])
