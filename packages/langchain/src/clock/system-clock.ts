/**
 * The real clock: the only place of this package that reads the time.
 */

/** Time of this machine. */
export const systemClock: { readonly nowMs: () => number } = Object.freeze({
  nowMs: () => Date.now(),
})
