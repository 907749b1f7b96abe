/**
 * DER: the few ASN.1 encodings that a certificate needs. Encoding only; nothing is parsed here,
 * what others sent is read by the platform's own X.509 code.
 *
 * Reference: ITU-T X.690 (DER), tag numbers of X.680.
 */

const TAG_BOOLEAN = 0x01
const TAG_INTEGER = 0x02
const TAG_BIT_STRING = 0x03
const TAG_OCTET_STRING = 0x04
const TAG_OID = 0x06
const TAG_UTF8_STRING = 0x0c
const TAG_PRINTABLE_STRING = 0x13
const TAG_UTC_TIME = 0x17
const TAG_GENERALIZED_TIME = 0x18
const TAG_SEQUENCE = 0x30
const TAG_SET = 0x31

/** Tag, length in the shortest form, content. */
export function derValue(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(content)
  if (body.length < 0x80) return Buffer.concat([Uint8Array.of(tag, body.length), body])
  const length: number[] = []
  for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256)
  return Buffer.concat([Uint8Array.of(tag, 0x80 | length.length, ...length), body])
}

export function derSequence(...items: readonly Uint8Array[]): Uint8Array {
  return derValue(TAG_SEQUENCE, ...items)
}

/** A set of one member, which is all that names need; more would have to be sorted. */
export function derSetOfOne(item: Uint8Array): Uint8Array {
  return derValue(TAG_SET, item)
}

/** `[number] EXPLICIT`, constructed. */
export function derExplicit(number: number, content: Uint8Array): Uint8Array {
  return derValue(0xa0 | number, content)
}

/** `[number] IMPLICIT` of a primitive type. */
export function derImplicit(number: number, content: Uint8Array): Uint8Array {
  return derValue(0x80 | number, content)
}

export function derBoolean(value: boolean): Uint8Array {
  return derValue(TAG_BOOLEAN, Uint8Array.of(value ? 0xff : 0))
}

/** A non-negative integer given by its big-endian bytes; leading zeros are dropped. */
export function derUnsigned(bigEndian: Uint8Array): Uint8Array {
  let start = 0
  while (start < bigEndian.length - 1 && bigEndian[start] === 0) start += 1
  const digits = bigEndian.subarray(start)
  // A set top bit would make it negative.
  const sign = (digits[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array()
  return derValue(TAG_INTEGER, sign, digits)
}

/** Whole bytes as a bit string; `unusedBits` of the last byte do not count. */
export function derBitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return derValue(TAG_BIT_STRING, Uint8Array.of(unusedBits), bytes)
}

export function derOctetString(bytes: Uint8Array): Uint8Array {
  return derValue(TAG_OCTET_STRING, bytes)
}

export function derUtf8String(text: string): Uint8Array {
  return derValue(TAG_UTF8_STRING, Buffer.from(text, 'utf8'))
}

/** Give letters, digits and hyphens only. */
export function derPrintableString(text: string): Uint8Array {
  return derValue(TAG_PRINTABLE_STRING, Buffer.from(text, 'latin1'))
}

/** An object identifier in dotted form, `1.2.840.10045.4.3.2`. */
export function derOid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes: number[] = []
  for (const arc of [first * 40 + second, ...rest]) {
    const digits = [arc % 128]
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) {
      digits.unshift((high % 128) | 0x80)
    }
    bytes.push(...digits)
  }
  return derValue(TAG_OID, Uint8Array.from(bytes))
}

/**
 * A moment to the second: UTCTime before 2050, GeneralizedTime from then on (RFC 5280 §4.1.2.5).
 */
export function derTime(epochMs: number): Uint8Array {
  const digits = new Date(epochMs).toISOString().replaceAll(/[-:T]|\.\d+/g, '')
  const early = Number(digits.slice(0, 4)) < 2050
  const tag = early ? TAG_UTC_TIME : TAG_GENERALIZED_TIME
  return derValue(tag, Buffer.from(early ? digits.slice(2) : digits, 'latin1'))
}
