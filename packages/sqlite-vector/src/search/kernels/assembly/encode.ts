/**
 * From a float32 row to its bits and its int8 codes.
 *
 * `row`, `centre`, `inverse` and `step` are padded with zeros to a multiple of 64 components, so no
 * loop has a remainder. `scale` is 1/|row| where the metric is cosine, else 1.
 */

/**
 * Writes one bit per component to `out`: 1 where row × scale > threshold. `components` % 64 = 0.
 */
export function encodeBits(
  row: usize,
  thresholds: usize,
  components: u32,
  scale: f32,
  out: usize,
): void {
  const factor = f32x4.splat(scale)
  for (let i: u32 = 0; i < components; i += 64) {
    let word: u64 = 0
    for (let j: u32 = 0; j < 64; j += 4) {
      const at = (<usize>(i + j)) << 2
      const above = f32x4.gt(f32x4.mul(v128.load(row + at), factor), v128.load(thresholds + at))
      word |= (<u64>i32x4.bitmask(above)) << j
    }
    store<u64>(out, word)
    out += 8
  }
}

/**
 * Writes the codes of one row, `components` % 16 = 0 bytes: the nearest integer to
 * (row × scale − centre) × inverse ÷ f, where f is the largest such magnitude over 127; and its
 * correction, three float32: f, then the squared length of the vector that the codes stand for
 * (`squares` true) or 0, then a bound of the distance between that vector and the row. `slack`
 * covers the rounding of `scale`.
 */
export function encodeInt8(
  row: usize,
  centre: usize,
  inverse: usize,
  step: usize,
  components: u32,
  scale: f32,
  slack: f32,
  squares: bool,
  out: usize,
  correction: usize,
): void {
  const factor = f32x4.splat(scale)
  let largest4 = f32x4.splat(0)
  for (let i: u32 = 0; i < components; i += 4) {
    const at = (<usize>i) << 2
    const centred = f32x4.sub(f32x4.mul(v128.load(row + at), factor), v128.load(centre + at))
    largest4 = f32x4.max(largest4, f32x4.abs(f32x4.mul(centred, v128.load(inverse + at))))
  }
  const largest = max<f32>(
    max<f32>(f32x4.extract_lane(largest4, 0), f32x4.extract_lane(largest4, 1)),
    max<f32>(f32x4.extract_lane(largest4, 2), f32x4.extract_lane(largest4, 3)),
  )
  // Below this the reciprocal overflows; such a row is the centre itself.
  const empty = !(largest > 1e-30)
  const f: f32 = empty ? 0 : largest / 127
  const shrink = f32x4.splat(empty ? 0 : <f32>127 / largest)
  const back = f32x4.splat(f)
  let squares4 = f32x4.splat(0)
  let rest4 = f32x4.splat(0)
  let own4 = f32x4.splat(0)
  for (let i: u32 = 0; i < components; i += 4) {
    const at = (<usize>i) << 2
    const centred = f32x4.sub(f32x4.mul(v128.load(row + at), factor), v128.load(centre + at))
    const scaled = f32x4.mul(f32x4.mul(centred, v128.load(inverse + at)), shrink)
    const rounded = f32x4.nearest(scaled)
    const codes = i32x4.trunc_sat_f32x4_s(rounded)
    const halves = i16x8.narrow_i32x4_s(codes, codes)
    store<u32>(out + <usize>i, i32x4.extract_lane(i8x16.narrow_i16x8_s(halves, halves), 0))
    const stands = f32x4.mul(rounded, v128.load(step + at))
    const rest = f32x4.sub(centred, f32x4.mul(stands, back))
    squares4 = f32x4.add(squares4, f32x4.mul(stands, stands))
    rest4 = f32x4.add(rest4, f32x4.mul(rest, rest))
    own4 = f32x4.add(own4, f32x4.mul(centred, centred))
  }
  store<f32>(correction, f)
  store<f32>(correction, squares ? total(squares4) * f * f : 0, 4)
  const apart = sqrt<f32>(total(rest4)) * 1.001 + sqrt<f32>(total(own4)) * 4e-6 + slack
  store<f32>(correction, apart, 8)
}

function total(lanes: v128): f32 {
  return (
    f32x4.extract_lane(lanes, 0) +
    f32x4.extract_lane(lanes, 1) +
    (f32x4.extract_lane(lanes, 2) + f32x4.extract_lane(lanes, 3))
  )
}
