import headwater from './index.cjs'

export const { Broker, Client, HeadwaterError, connect } = headwater
