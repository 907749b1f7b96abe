/**
 * A finding of `doctor`: subject, state, detail, remedy. Every finding that is not in order has
 * one.
 */
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { hintOf } from '../hints.ts'

/** The finding on one subject. */
export interface Finding {
  readonly check: string
  readonly state: 'ok' | 'warning' | 'failed'
  readonly detail: string
  /** The remedy; null when none is needed. */
  readonly advice: string | null
}

export function ok(check: string, detail: string): Finding {
  return { check, state: 'ok', detail, advice: null }
}

export function warning(check: string, detail: string, advice: string): Finding {
  return { check, state: 'warning', detail, advice }
}

export function failed(check: string, detail: string, advice: string): Finding {
  return { check, state: 'failed', detail, advice }
}

/** Turns an error into a finding; an error of the library carries its hint. */
export function ofError(check: string, error: unknown): Finding {
  if (error instanceof SqliteVectorError) {
    const hint = hintOf(error) ?? error.hint
    return failed(check, `${error.code}: ${error.message}`, hint)
  }
  const message = error instanceof Error ? error.message : String(error)
  return failed(check, message, 'Correct what the message names, then run doctor again.')
}
