/**
 * Computes the address of a slot's row: rows of one kind are spread over blocks of 2^shift slots.
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

/** Bytes of an int8 row's correction: scale, offset, distance to the row (encode.ts). */
export const CORRECTION_BYTES: usize = 12

/** Rows that a list kernel asks memory for at once. */
const TOUCHED_ROWS: u32 = 16

/** Bytes that memory gives at once. */
const LINE_BYTES: usize = 64

/**
 * Reads a byte of every cache line of the next rows of a list, at most {@link TOUCHED_ROWS};
 * returns how many rows. Rows of a list lie apart, so a kernel that meets them one by one waits for
 * memory at each; asked for together, they come together. The sum is written to `out` so that the
 * compiler keeps the reads; keys overwrite it.
 */
export function touchRows(base: usize, bytes: usize, list: usize, left: u32, out: usize): u32 {
  const count = min<u32>(left, TOUCHED_ROWS)
  let read: u32 = 0
  for (let i: u32 = 0; i < count; i += 1) {
    const row = rowAddress(base, load<u32>(list), bytes)
    for (let at: usize = 0; at < bytes; at += LINE_BYTES) read += load<u8>(row + at)
    list += 4
  }
  store<u32>(out, read)
  return count
}
