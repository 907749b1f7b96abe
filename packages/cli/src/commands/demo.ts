/**
 * `sqlite-vector demo`: two processes, two files, one search result. The story is in demo/demo.ts.
 */
import { createInterface } from 'node:readline'
import { count, flag, text, texts, UsageError, type Command } from '../command.ts'
import { reporterFor, silentReporter } from '../terminal.ts'

export const demoCommand: Command = {
  name: 'demo',
  usage: '[FOLDER] [--question TEXT]… [--ask] [--directory FOLDER] [--port NUMBER] [--json]',
  summary: 'Sync two nodes over QUIC, part them, write on both, and watch them converge.',
  options: {
    question: { type: 'string', multiple: true },
    ask: { type: 'boolean' },
    directory: { type: 'string' },
    port: { type: 'string' },
    json: { type: 'boolean' },
  },
  optionHelp: [
    'FOLDER              texts and Markdown to read; default: documents here and READMEs of installed packages',
    '--question TEXT     ask this instead of the three examples; may be repeated',
    '--ask               read questions from the terminal, one a line, until an empty one',
    '--directory FOLDER  where the two database files go; default: a new temporary folder',
    '--port NUMBER       UDP port of node A; default: one that is free',
    '--json              print one JSON object instead of the story',
  ],
  async run(positionals, values) {
    const { DEFAULT_QUESTIONS, runDemo } = await import('../demo/demo.ts')
    const [folder, surplus] = positionals
    if (surplus !== undefined) throw new UsageError(`${surplus} is one argument too many`)
    const questions = texts(values, 'question')
    const asks = flag(values, 'ask')
    const json = flag(values, 'json')
    const report = await runDemo(
      {
        folder: folder ?? null,
        directory: text(values, 'directory') ?? null,
        port: count(values, 'port', 0),
        questions: questions.length > 0 || asks ? questions : DEFAULT_QUESTIONS,
        asked: asks ? typedQuestions() : null,
      },
      json ? silentReporter : reporterFor(process.stdout),
    )
    if (json) process.stdout.write(`${JSON.stringify(report)}\n`)
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
