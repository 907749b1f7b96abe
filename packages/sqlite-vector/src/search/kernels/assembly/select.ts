/**
 * Choosing among keys: a bounded heap of the smallest, and a list of all within a limit.
 *
 * | bytes | heap                                                          |
 * | ----- | ------------------------------------------------------------- |
 * | 4     | u32 entries held                                              |
 * | 4     | u32 capacity, at least 1                                      |
 * | 4     | f32 bound: a key must be below it to enter; +∞ while not full |
 * | 4     | unused                                                        |
 * | 8 × n | f32 key, u32 slot: a binary heap, the largest key first       |
 *
 * A key that is not a number never enters; the arena keeps such rows away from the kernels.
 */
export const ENTRIES: usize = 16

/** Empties the heap at `heap` and gives it room for `capacity` entries. */
export function heapReset(heap: usize, capacity: u32): void {
  store<u32>(heap, 0)
  store<u32>(heap, capacity, 4)
  store<f32>(heap, <f32>Infinity, 8)
}

function siftUp(entries: usize, index: u32, key: f32, slot: u32): void {
  while (index > 0) {
    const parent = (index - 1) >> 1
    const at = entries + ((<usize>parent) << 3)
    if (load<f32>(at) >= key) break
    store<u64>(entries + ((<usize>index) << 3), load<u64>(at))
    index = parent
  }
  store<f32>(entries + ((<usize>index) << 3), key)
  store<u32>(entries + ((<usize>index) << 3), slot, 4)
}

function siftDown(entries: usize, size: u32, key: f32, slot: u32): void {
  let index: u32 = 0
  for (;;) {
    let child: u32 = 2 * index + 1
    if (child >= size) break
    let at = entries + ((<usize>child) << 3)
    if (child + 1 < size && load<f32>(at, 8) > load<f32>(at)) {
      child += 1
      at += 8
    }
    if (load<f32>(at) <= key) break
    store<u64>(entries + ((<usize>index) << 3), load<u64>(at))
    index = child
  }
  store<f32>(entries + ((<usize>index) << 3), key)
  store<u32>(entries + ((<usize>index) << 3), slot, 4)
}

/** Takes an entry whose key is below the bound; returns the bound that then holds. */
export function offer(heap: usize, key: f32, slot: u32): f32 {
  const size = load<u32>(heap)
  const capacity = load<u32>(heap, 4)
  if (size < capacity) {
    siftUp(heap + ENTRIES, size, key, slot)
    store<u32>(heap, size + 1)
    if (size + 1 < capacity) return <f32>Infinity
  } else {
    siftDown(heap + ENTRIES, size, key, slot)
  }
  const bound = load<f32>(heap + ENTRIES)
  store<f32>(heap, bound, 8)
  return bound
}

/** Offers `count` keys of consecutive slots, the first of which is `first`. */
export function selectRun(keys: usize, count: u32, first: u32, heap: usize): void {
  let bound = load<f32>(heap, 8)
  let i: u32 = 0
  for (; i + 4 <= count; i += 4) {
    const at = keys + ((<usize>i) << 2)
    // Nearly every key loses: four comparisons at once, and no branch for each.
    if (!v128.any_true(f32x4.lt(v128.load(at), f32x4.splat(bound)))) continue
    for (let j: u32 = 0; j < 4; j += 1) {
      const key = load<f32>(at + ((<usize>j) << 2))
      if (key < bound) bound = offer(heap, key, first + i + j)
    }
  }
  for (; i < count; i += 1) {
    const key = load<f32>(keys + ((<usize>i) << 2))
    if (key < bound) bound = offer(heap, key, first + i)
  }
}

/** Offers `count` keys of the slots of a list. */
export function selectList(keys: usize, list: usize, count: u32, heap: usize): void {
  let bound = load<f32>(heap, 8)
  for (let i: u32 = 0; i < count; i += 1) {
    const key = load<f32>(keys + ((<usize>i) << 2))
    if (key < bound) bound = offer(heap, key, load<u32>(list + ((<usize>i) << 2)))
  }
}

/** Writes the consecutive slots whose key is at most `limit` to `out`; returns how many. */
export function withinRun(keys: usize, count: u32, first: u32, limit: f32, out: usize): u32 {
  let found: u32 = 0
  for (let i: u32 = 0; i < count; i += 1) {
    if (load<f32>(keys + ((<usize>i) << 2)) > limit) continue
    store<u32>(out + ((<usize>found) << 2), first + i)
    found += 1
  }
  return found
}

/** Writes the slots of a list whose key is at most `limit` to `out`; returns how many. */
export function withinList(keys: usize, list: usize, count: u32, limit: f32, out: usize): u32 {
  let found: u32 = 0
  for (let i: u32 = 0; i < count; i += 1) {
    if (load<f32>(keys + ((<usize>i) << 2)) > limit) continue
    store<u32>(out + ((<usize>found) << 2), load<u32>(list + ((<usize>i) << 2)))
    found += 1
  }
  return found
}

/**
 * Writes the slots whose bit is set in `words` 64-bit words to `out`, ascending; returns how many.
 */
export function maskToList(mask: usize, words: u32, first: u32, out: usize): u32 {
  let at = out
  for (let i: u32 = 0; i < words; i += 1) {
    let word = load<u64>(mask + ((<usize>i) << 3))
    while (word != 0) {
      store<u32>(at, first + (i << 6) + <u32>ctz<u64>(word))
      word &= word - 1
      at += 4
    }
  }
  return <u32>((at - out) >> 2)
}
