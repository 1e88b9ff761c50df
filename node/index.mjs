import headwater from './index.cjs'

export const { Client, HeadwaterError, connect } = headwater
