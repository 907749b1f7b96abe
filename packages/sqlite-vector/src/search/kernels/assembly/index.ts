/**
 * The kernels: everything the arena runs over many rows. Compiled to WebAssembly with SIMD by
 * `npm run build:kernels`; each has a scalar TypeScript reference in
 * tests/unit/search/kernel-reference.ts, with which property tests compare it.
 *
 * All arguments are addresses and counts of memory the arena lays out (search/arena.ts). No
 * runtime, no allocation, no checks: the arena is the only caller and keeps every address inside
 * the memory.
 */
export { setLayout } from './layout'
export { rowNorm, dotRun, dotList, squaredRun, squaredList } from './float32'
export { int8Run, int8List } from './int8'
export { bitsRun, bitsList } from './bits'
export { heapReset, selectRun, selectList, withinRun, withinList, maskToList } from './select'
export { encodeBits, encodeInt8 } from './encode'
export { certifyQuery, listReset, certifyRun, certifyList } from './certify'
