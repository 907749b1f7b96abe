/**
 * The second hundred seeds (simulation.test.ts), in a process of their own: the two run side by side.
 */
import { testSeeds } from './seeds.ts'

testSeeds(101, 200)
