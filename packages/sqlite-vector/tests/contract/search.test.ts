/**
 * The search contract for every way to hold an index: by memory, from all kinds of row down to
 * none.
 */
import { searchContract } from './search-contract.ts'

searchContract({
  name: 'float32, int8 and bits in memory',
  searchMemoryBytes: 1e9,
  rows: ['float32', 'int8', 'bits'],
  // Few enough rows that exact search is cheapest.
  mode: 'exact',
})

searchContract({
  name: 'int8 and bits in memory, float32 in the table',
  searchMemoryBytes: 200_000,
  rows: ['int8', 'bits'],
  // Bits of so few rows save nothing.
  mode: 'int8',
})

searchContract({
  name: 'bits in memory, float32 in the table',
  searchMemoryBytes: 60_000,
  rows: ['bits'],
  mode: 'bits',
})

searchContract({ name: 'nothing in memory', searchMemoryBytes: 0, rows: null, mode: 'exact' })
