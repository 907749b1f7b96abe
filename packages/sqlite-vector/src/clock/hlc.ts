/**
 * Hybrid logical clock: stamps that follow physical time and strictly increase.
 *
 * Kulkarni et al. 2014, "Logical Physical Clocks and Consistent Snapshots", figure 5. A stamp is 48
 * bits of milliseconds since 1970 and 16 bits of logical counter. Here it only breaks ties between
 * concurrent writes; causality is the business of dots (model/version-vector.ts).
 *
 * Differs from the paper: a remote stamp more than `driftMsMax` ahead of physical time is not
 * absorbed (the caller keeps it on its record and reports it), so that one wrong clock cannot drag
 * the others along; and a logical counter that overflows carries into the milliseconds.
 */

/** A reading: `ms` 0 to 2^48 - 1 since 1970, `logical` 0 to 65 535. */
export interface Hlc {
  readonly ms: number
  readonly logical: number
}

/** Largest value of {@link Hlc.ms}. */
export const HLC_MS_MAX: number = 2 ** 48 - 1

/** Largest value of {@link Hlc.logical}. */
export const HLC_LOGICAL_MAX: number = 2 ** 16 - 1

/** Before every stamp. */
export const HLC_ZERO: Hlc = Object.freeze({ ms: 0, logical: 0 })

/** Negative, zero or positive, as `a` is before, equal to or after `b`. */
export function compareHlc(a: Hlc, b: Hlc): number {
  return a.ms === b.ms ? a.logical - b.logical : a.ms - b.ms
}

/**
 * The stamp of a local write: after `last`, and not before `nowMs`. Figure 5, "send or local
 * event".
 */
export function tickHlc(last: Hlc, nowMs: number): Hlc {
  if (nowMs > last.ms) return { ms: nowMs, logical: 0 }
  return successor(last)
}

/**
 * `last`, moved past `remote` unless that is more than `driftMsMax` ahead of `nowMs`. Figure 5,
 * "receive".
 */
export function receiveHlc(last: Hlc, remote: Hlc, nowMs: number, driftMsMax: number): Hlc {
  if (remote.ms - nowMs > driftMsMax) return last
  return compareHlc(remote, last) > 0 ? remote : last
}

/** How far `remote` is ahead of `nowMs`, in milliseconds; negative when it is behind. */
export function skewMs(remote: Hlc, nowMs: number): number {
  return remote.ms - nowMs
}

/** True when both parts are integers in range: a peer's stamp is input. */
export function isHlc(ms: unknown, logical: unknown): boolean {
  return (
    Number.isInteger(ms) &&
    Number.isInteger(logical) &&
    (ms as number) >= 0 &&
    (ms as number) <= HLC_MS_MAX &&
    (logical as number) >= 0 &&
    (logical as number) <= HLC_LOGICAL_MAX
  )
}

function successor(last: Hlc): Hlc {
  return last.logical < HLC_LOGICAL_MAX
    ? { ms: last.ms, logical: last.logical + 1 }
    : { ms: last.ms + 1, logical: 0 }
}
