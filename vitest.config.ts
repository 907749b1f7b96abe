/**
 * How the tests run: every project in forked processes (native addons), sources taken as they are.
 */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    pool: 'forks',
    // eventsource-parser publishes its TypeScript under the condition `source`, too; what imports it is transformed
    // here, because Node strips no types below node_modules.
    server: {
      deps: {
        inline: [
          /eventsource-parser/,
          /@ai-sdk\//,
          /node_modules\/ai\//,
          /@modelcontextprotocol\//,
        ],
      },
    },
    maxWorkers: 2,
    include: ['packages/*/tests/**/*.test.ts', 'tests/**/*.test.ts'],
    // Generous, for slow and shared machines: a deadline ends what hangs, it does not measure.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default'],
  },
})
