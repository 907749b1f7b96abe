/**
 * For those who write a transport: what every transport must do, as cases that any test runner can run.
 */
export {
  transportContract,
  type ContractBounds,
  type ContractCase,
  type FixtureOptions,
  type OpenFixture,
  type TransportFixture,
} from './transport-contract.ts'
