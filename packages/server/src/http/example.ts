/**
 * Examples of the OpenAPI document, made from the schemas so that they always fit. Pure.
 */
import type { JsonSchema } from './route.ts'

/** The shortest useful value of a schema: required properties, first choices. */
export function exampleOf(schema: JsonSchema): unknown {
  const choices = (schema['oneOf'] ?? schema['anyOf']) as readonly JsonSchema[] | undefined
  if (choices?.[0] !== undefined) return exampleOf(choices[0])
  if (Array.isArray(schema['enum'])) return schema['enum'][0] as unknown
  if ('default' in schema) return schema['default']
  const type = Array.isArray(schema['type']) ? (schema['type'][0] as unknown) : schema['type']
  switch (type) {
    case 'object':
      return exampleObject(schema)
    case 'array':
      return exampleArray(schema)
    case 'integer':
      return Math.max(1, Number(schema['minimum'] ?? 1))
    case 'number':
      return 0.5
    case 'boolean':
      return true
    case 'string':
      return 'notes'
    default:
      return null
  }
}

function exampleObject(schema: JsonSchema): unknown {
  const properties = (schema['properties'] ?? {}) as Readonly<Record<string, JsonSchema>>
  const required = (schema['required'] ?? []) as readonly string[]
  return Object.fromEntries(required.map((name) => [name, exampleOf(properties[name] ?? {})]))
}

function exampleArray(schema: JsonSchema): unknown {
  const items = (schema['items'] ?? {}) as JsonSchema
  const value = exampleOf(items)
  return items['type'] === 'number' ? [0.1, 0.2, 0.3] : [value]
}
