/**
 * Compiles the AssemblyScript kernels and writes them as a TypeScript module that holds the bytes.
 *
 * The module is checked in, so that sources run after a plain install and users need no build step;
 * a test compiles again and compares, so that it cannot go stale. Run: `npm run build:kernels`.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { main as compile } from 'assemblyscript/asc'

const KERNELS = fileURLToPath(new URL('../src/search/kernels', import.meta.url))

/** The path of the generated module. */
export const KERNELS_MODULE_PATH = `${KERNELS}/kernels.wasm.ts`

const FLAGS = [
  '-O3',
  '--runtime',
  'stub',
  '--importMemory',
  '--noExportMemory',
  '--noAssert',
  '--enable',
  'simd',
]

/** Compiles the kernels; the same sources and compiler give the same bytes. */
export async function buildKernels(): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined
  let complaints = ''
  const result = await compile(
    ['assembly/index.ts', '--outFile', 'kernels.wasm', '--baseDir', KERNELS, ...FLAGS],
    {
      writeFile: (name, contents) => {
        if (name.endsWith('.wasm') && typeof contents !== 'string') bytes = contents
      },
      stderr: {
        write: (chunk: string | Uint8Array) => {
          complaints += Buffer.from(chunk).toString('utf8')
        },
      },
    },
  )
  if (result.error !== null) {
    throw new Error(`the kernels do not compile:\n${complaints}`, {
      cause: result.error,
    })
  }
  if (bytes === undefined) throw new Error('the compiler wrote no module')
  return bytes
}

/** The generated module's text for compiled `bytes`. */
export function kernelsModule(bytes: Uint8Array): string {
  const lines = Buffer.from(bytes)
    .toString('base64')
    .match(/.{1,96}/g)
  const literal = (lines ?? []).map((line) => `  '${line}',`).join('\n')
  return `/**
 * The compiled kernels: ${bytes.byteLength} bytes of WebAssembly as base64. Generated from assembly/ by
 * \`npm run build:kernels\`; never edited by hand, and compared with a fresh build by a test.
 */
export const KERNELS_BASE64: string = [
${literal}
].join('')
`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bytes = await buildKernels()
  writeFileSync(KERNELS_MODULE_PATH, kernelsModule(bytes))
  process.stdout.write(`${KERNELS_MODULE_PATH}: ${bytes.byteLength} bytes\n`)
}
