/**
 * Platforms: where there is a QUIC binary, and what is said where there is none.
 */
import { expect, test } from 'vitest'
import { SqliteVectorError } from '../../../../src/errors.ts'
import { loadQuicBinding, QUIC_PACKAGES } from '../../../../src/transport/quic/binding.ts'

function failureOf(platform: string): SqliteVectorError {
  try {
    loadQuicBinding(platform)
  } catch (error) {
    if (error instanceof SqliteVectorError) return error
    throw error
  }
  throw new Error(`a binary for ${platform} was loaded`)
}

test('a platform without a binary is refused by name, with those that have one', () => {
  const error = failureOf('freebsd-x64')

  expect(error.code).toBe('TRANSPORT_UNSUPPORTED_PLATFORM')
  expect(error.message).toContain('freebsd-x64')
  for (const platform of Object.keys(QUIC_PACKAGES)) expect(error.message).toContain(platform)
})

test('a binary that is not installed says so, and keeps the cause', () => {
  const here = `${process.platform}-${process.arch}`
  const other = Object.keys(QUIC_PACKAGES).find((platform) => platform !== here) ?? ''

  const error = failureOf(other)

  expect(error.code).toBe('TRANSPORT_UNSUPPORTED_PLATFORM')
  expect(error.message).toContain(QUIC_PACKAGES[other])
  expect(error.cause).toBeInstanceOf(Error)
})
