/**
 * For those who write a transport: what every transport must do, as cases that any test runner can run.
 */
export {
  type ContractBounds,
  type ContractCase,
  type FixtureOptions,
  type OpenFixture,
  type TransportFixture,
} from './types.ts'
export { transportContract } from './transport-contract.ts'
