/**
 * `sqlite-vector completion`: prints the completion script of a shell.
 */
import { completionScript, SHELLS } from '../completion.ts'
import { type Command, EXIT, oneOfWords } from '../command.ts'

/** Takes the table that it is part of. */
export function completionCommand(commands: () => readonly Command[]): Command {
  return {
    words: ['completion'],
    summary: 'Print a completion script for a shell to source.',
    target: 'none',
    arguments: [{ name: 'shell', summary: 'the shell', choices: SHELLS }],
    options: [],
    async run(call) {
      const shell = oneOfWords('SHELL', call.argument('shell'), SHELLS)
      const script = completionScript(shell, commands())
      call.print({ shell, script }, () => script)
      return EXIT.done
    },
  }
}
