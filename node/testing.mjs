import testing from './testing.cjs'

export const { useBroker } = testing
