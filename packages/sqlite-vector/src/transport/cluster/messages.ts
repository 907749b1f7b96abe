/**
 * Messages between nodes and their cluster's authority: requests of the transport
 * (quic/messages.ts) whose bytes are JSON. Decoding is total: any bytes give a message or null.
 */
import { CLUSTER_MESSAGE_BYTES_MAX } from '../../limits.ts'

const CERTIFICATE_CHARACTERS_MAX = 16_384

/** Requests that a node or a guest may make. */
export type ClusterRequest =
  /** By a guest: a certificate for the key of this self-signed one, under this name. */
  | { readonly type: 'join'; readonly nodeId: string; readonly certificatePem: string }
  /** By a node: a new certificate in place of the one that it shows. */
  | { readonly type: 'renew'; readonly certificatePem: string }
  /** By a node: the list of revoked certificates. */
  | { readonly type: 'revocations' }

export type ClusterAnswer =
  | {
      readonly ok: true
      /** Leaf and authority; absent when none was asked for. */
      readonly certificatePem?: string
      /** Name of the cluster. */
      readonly cluster?: string
      /** The node that holds the authority. */
      readonly authorityNode?: string
      /** The signed list; absent while nothing was revoked. */
      readonly revocations?: string
    }
  | { readonly ok: false; readonly reason: string }

export function encodeMessage(message: ClusterRequest | ClusterAnswer): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ version: 1, ...message }))
}

/** The request that the bytes are, or null. */
export function decodeRequest(bytes: Uint8Array): ClusterRequest | null {
  const fields = objectOf(bytes)
  switch (fields?.['type']) {
    case 'join': {
      const nodeId = textOf(fields, 'nodeId')
      const certificatePem = textOf(fields, 'certificatePem')
      if (nodeId === null || certificatePem === null) return null
      return { type: 'join', nodeId, certificatePem }
    }
    case 'renew': {
      const certificatePem = textOf(fields, 'certificatePem')
      return certificatePem === null ? null : { type: 'renew', certificatePem }
    }
    case 'revocations':
      return { type: 'revocations' }
    default:
      return null
  }
}

/** The answer that the bytes are, or null. */
export function decodeAnswer(bytes: Uint8Array): ClusterAnswer | null {
  const fields = objectOf(bytes)
  if (fields === null) return null
  if (fields['ok'] === false)
    return { ok: false, reason: textOf(fields, 'reason') ?? 'no reason given' }
  if (fields['ok'] !== true) return null
  const certificatePem = textOf(fields, 'certificatePem')
  const cluster = textOf(fields, 'cluster')
  const authorityNode = textOf(fields, 'authorityNode')
  const revocations = textOf(fields, 'revocations', CLUSTER_MESSAGE_BYTES_MAX)
  return {
    ok: true,
    ...(certificatePem === null ? {} : { certificatePem }),
    ...(cluster === null ? {} : { cluster }),
    ...(authorityNode === null ? {} : { authorityNode }),
    ...(revocations === null ? {} : { revocations }),
  }
}

function objectOf(bytes: Uint8Array): Readonly<Record<string, unknown>> | null {
  if (bytes.byteLength > CLUSTER_MESSAGE_BYTES_MAX) return null
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    if (!isObject || !('version' in value) || value.version !== 1) return null
    return value
  } catch {
    // Any bytes may come from a peer; bytes that are not JSON are not a message.
    return null
  }
}

function textOf(
  fields: Readonly<Record<string, unknown>>,
  name: string,
  charactersMax = CERTIFICATE_CHARACTERS_MAX,
): string | null {
  const value = fields[name]
  return typeof value === 'string' && value.length <= charactersMax ? value : null
}
