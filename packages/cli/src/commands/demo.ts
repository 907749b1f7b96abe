/**
 * `sqlite-vector demo`: two processes, two files, one search result. The steps are in demo/demo.ts.
 */
import { createInterface } from 'node:readline'
import type { Command } from '../command.ts'
import { reporterFor, silentReporter } from '../terminal.ts'

export const demoCommand: Command = {
  words: ['demo'],
  summary: 'Sync two nodes over QUIC, disconnect them, write on both, and watch them converge.',
  target: 'none',
  arguments: [
    {
      name: 'folder',
      summary:
        'folder of text and Markdown files; without one, the documents and package READMEs of this folder',
      optional: true,
      choices: 'file',
    },
  ],
  options: [
    {
      name: 'question',
      value: 'TEXT',
      many: true,
      summary: 'ask this instead of the three examples',
    },
    { name: 'ask', summary: 'read questions from the terminal, one per line, until an empty line' },
    {
      name: 'directory',
      value: 'FOLDER',
      summary: 'folder for the two database files',
      default: 'a new temporary folder',
      choices: 'file',
    },
    { name: 'port', value: 'NUMBER', summary: 'UDP port of node A', default: 'a free port' },
  ],
  async run(call) {
    const { DEFAULT_QUESTIONS, runDemo } = await import('../demo/demo.ts')
    const questions = call.texts('question')
    const asks = call.flag('ask')
    const report = await runDemo(
      {
        folder: call.optional('folder') ?? null,
        directory: call.text('directory') ?? null,
        port: call.count('port', 0),
        questions: questions.length > 0 || asks ? questions : DEFAULT_QUESTIONS,
        asked: asks ? typedQuestions() : null,
      },
      call.json ? silentReporter : reporterFor(process.stdout),
    )
    if (call.json) process.stdout.write(`${JSON.stringify(report)}\n`)
    return report.ok ? 0 : 1
  },
}

/** Lines of stdin until an empty one or the end. */
async function* typedQuestions(): AsyncGenerator<string> {
  const terminal = process.stdin.isTTY
  const lines = createInterface({ input: process.stdin })
  if (terminal) process.stdout.write('Ask node B; an empty line goes on.\n? ')
  for await (const line of lines) {
    if (line.trim() === '') break
    yield line.trim()
    if (terminal) process.stdout.write('? ')
  }
  lines.close()
}
