/**
 * `sqlite-vector completion`: the script that teaches a shell the words of this command.
 */
import { completionScript, SHELLS } from '../completion.ts'
import { type Command, EXIT, oneOfWords } from '../command.ts'

/** Made from the table that it is part of. */
export function completionCommand(commands: () => readonly Command[]): Command {
  return {
    words: ['completion'],
    summary: 'Print a completion script for a shell, to be sourced by it.',
    target: 'none',
    arguments: [{ name: 'shell', summary: 'which shell', choices: SHELLS }],
    options: [],
    async run(call) {
      const shell = oneOfWords('SHELL', call.argument('shell'), SHELLS)
      const script = completionScript(shell, commands())
      call.print({ shell, script }, () => script)
      return EXIT.done
    },
  }
}
