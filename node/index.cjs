'use strict'
const { Broker } = require('./lib/broker.cjs')
const { Client, connect } = require('./lib/client.cjs')
const { HeadwaterError } = require('./lib/errors.cjs')

module.exports = { Broker, Client, HeadwaterError, connect }
