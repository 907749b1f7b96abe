/**
 * What the MCP conformance suite asks a server for by name, over our own server. The answers mean nothing; they show
 * that every kind of message passes through our transport and sessions.
 */
import { completable } from '@modelcontextprotocol/sdk/server/completable.js'
import { type McpServer, ResourceTemplate } from '@modelcontextprotocol/sdk/server/mcp.js'
import {
  CreateMessageResultSchema,
  ElicitResultSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'

/** One red pixel. */
const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=='
/** No samples. */
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA='

const text = (value: string) => ({ type: 'text' as const, text: value })
const image = { type: 'image' as const, data: PNG, mimeType: 'image/png' }
const embedded = (uri: string) => ({
  type: 'resource' as const,
  resource: { uri, mimeType: 'text/plain', text: 'a resource within an answer' },
})

/** Adds them; the same server. */
export function addFixtures(server: McpServer): McpServer {
  server.server.registerCapabilities({ resources: { subscribe: true }, logging: {} })
  addContentTools(server)
  addMessageTools(server)
  addElicitationTools(server)
  addResources(server)
  addPrompts(server)
  return server
}

function addContentTools(server: McpServer): void {
  const tool = (name: string, content: object[]): void => {
    server.registerTool(name, { description: name }, () => ({ content: content as never }))
  }
  tool('test_simple_text', [text('This is a simple text response for testing.')])
  tool('test_image_content', [image])
  tool('test_audio_content', [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }])
  tool('test_embedded_resource', [embedded('test://embedded-resource')])
  tool('test_multiple_content_types', [
    text('several'),
    image,
    embedded('test://mixed-content-resource'),
  ])
  server.registerTool('test_error_handling', { description: 'fails' }, () => {
    throw new Error('This tool intentionally returns an error for testing')
  })
}

function addMessageTools(server: McpServer): void {
  server.registerTool(
    'test_tool_with_logging',
    { description: 'logs', inputSchema: {} },
    async (_, extra) => {
      for (const data of [
        'Tool execution started',
        'Tool processing data',
        'Tool execution completed',
      ]) {
        await extra.sendNotification({
          method: 'notifications/message',
          params: { level: 'info', data },
        })
      }
      return { content: [text('logged')] }
    },
  )
  server.registerTool(
    'test_tool_with_progress',
    { description: 'progresses', inputSchema: {} },
    async (_, extra) => {
      const { _meta: given } = extra
      const progressToken = given?.progressToken ?? 0
      for (const progress of [0, 50, 100]) {
        await extra.sendNotification({
          method: 'notifications/progress',
          params: { progressToken, progress, total: 100 },
        })
      }
      return { content: [text('done')] }
    },
  )
  server.registerTool(
    'test_sampling',
    { description: 'samples', inputSchema: { prompt: z.string() } },
    async ({ prompt }, extra) => {
      const answer = await extra.sendRequest(
        {
          method: 'sampling/createMessage',
          params: { messages: [{ role: 'user', content: text(prompt) }], maxTokens: 100 },
        },
        CreateMessageResultSchema,
      )
      return { content: [text(`LLM response: ${JSON.stringify(answer.content)}`)] }
    },
  )
}

function addElicitationTools(server: McpServer): void {
  const tool = (
    name: string,
    inputSchema: Record<string, z.ZodType>,
    properties: object,
    required: string[],
  ): void => {
    server.registerTool(name, { description: name, inputSchema }, async (_, extra) => {
      const params = {
        mode: 'form',
        message: 'Please fill in',
        requestedSchema: { type: 'object', properties, required },
      }
      const answer = await extra.sendRequest(
        { method: 'elicitation/create', params } as never,
        ElicitResultSchema,
      )
      return {
        content: [text(`action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`)],
      }
    })
  }
  tool('test_elicitation', { message: z.string() }, { response: { type: 'string' } }, ['response'])
  tool(
    'test_elicitation_sep1034_defaults',
    {},
    {
      name: { type: 'string', default: 'John Doe' },
      age: { type: 'integer', default: 30 },
      score: { type: 'number', default: 95.5 },
      status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
      verified: { type: 'boolean', default: true },
    },
    [],
  )
  const options = ['option1', 'option2', 'option3']
  const titled = options.map((value) => ({ const: value, title: `Title of ${value}` }))
  tool(
    'test_elicitation_sep1330_enums',
    {},
    {
      untitledSingle: { type: 'string', enum: options },
      titledSingle: { type: 'string', oneOf: titled },
      legacyEnum: {
        type: 'string',
        enum: options,
        enumNames: options.map((value) => `Title of ${value}`),
      },
      untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
      titledMulti: { type: 'array', items: { anyOf: titled } },
    },
    [],
  )
}

const meta = (description: string, mimeType: string) => ({
  title: description,
  description,
  mimeType,
})

function addResources(server: McpServer): void {
  server.registerResource(
    'text',
    'test://static-text',
    meta('a text', 'text/plain'),
    ({ href }) => ({
      contents: [
        {
          uri: href,
          mimeType: 'text/plain',
          text: 'This is the content of the static text resource.',
        },
      ],
    }),
  )
  server.registerResource(
    'binary',
    'test://static-binary',
    meta('an image', 'image/png'),
    ({ href }) => ({
      contents: [{ uri: href, mimeType: 'image/png', blob: PNG }],
    }),
  )
  server.registerResource(
    'watched',
    'test://watched-resource',
    meta('watched', 'text/plain'),
    ({ href }) => ({
      contents: [{ uri: href, mimeType: 'text/plain', text: 'watched' }],
    }),
  )
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined })
  server.registerResource(
    'template',
    template,
    meta('by id', 'application/json'),
    ({ href }, { id }) => ({
      contents: [
        {
          uri: href,
          mimeType: 'application/json',
          text: JSON.stringify({ id, data: `Data for ID: ${String(id)}` }),
        },
      ],
    }),
  )
  server.server.setRequestHandler(SubscribeRequestSchema, () => ({}))
  server.server.setRequestHandler(UnsubscribeRequestSchema, () => ({}))
}

const user = (...content: object[]) => ({
  messages: content.map((part) => ({ role: 'user' as const, content: part as never })),
})

const argument = (start: string) => completable(z.string(), (value) => [`${start}-${value}`])

function addPrompts(server: McpServer): void {
  server.registerPrompt('test_simple_prompt', { description: 'simple' }, () =>
    user(text('This is a simple prompt for testing.')),
  )
  server.registerPrompt(
    'test_prompt_with_arguments',
    { description: 'with arguments', argsSchema: { arg1: argument('a'), arg2: argument('b') } },
    ({ arg1, arg2 }) => user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  )
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'with a resource', argsSchema: { resourceUri: z.string() } },
    ({ resourceUri }) =>
      user(embedded(resourceUri), text('Please process the embedded resource above.')),
  )
  server.registerPrompt('test_prompt_with_image', { description: 'with an image' }, () =>
    user(image, text('Please analyze the image above.')),
  )
}
