/**
 * Where a slot's row lies: rows of one kind are spread over blocks of 2^shift slots.
 *
 * A block holds one region per kind of row (float32, int8, bits, corrections), so memory grows by
 * whole blocks and no row ever moves. `base` below is the address of a region in block 0. Set once
 * per instance by the arena; these are the module's only globals.
 */
let blockShift: u32 = 0
let blockMask: u32 = 0
let blockBytes: usize = 0

/** Tells the kernels the shape of a block: 2^shift slots in `bytes` bytes. */
export function setLayout(shift: u32, bytes: usize): void {
  blockShift = shift
  blockMask = (1 << shift) - 1
  blockBytes = bytes
}

/** Address of the row of `slot` in the region that starts at `base` in block 0. */
export function rowAddress(base: usize, slot: u32, rowBytes: usize): usize {
  return base + <usize>(slot >> blockShift) * blockBytes + <usize>(slot & blockMask) * rowBytes
}
