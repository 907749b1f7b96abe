/**
 * For authors of a transport: the contract of every transport, as cases for any test runner.
 */
export {
  type ContractBounds,
  type ContractCase,
  type FixtureOptions,
  type OpenFixture,
  type TransportFixture,
} from './types.ts'
export { transportContract } from './transport-contract.ts'
