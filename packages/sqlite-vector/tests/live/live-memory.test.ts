import { liveContract } from './live-contract.ts'

liveContract('memory')
