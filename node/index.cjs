'use strict'
const { Client, connect } = require('./lib/client.cjs')
const { HeadwaterError } = require('./lib/errors.cjs')

module.exports = { Client, HeadwaterError, connect }
