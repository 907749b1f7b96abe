#!/usr/bin/env node
// The short name of the command: `npx sqlite-vector` runs @agentic-flow/sqlite-vector-cli.
export { loaded } from '@agentic-flow/sqlite-vector-cli/bin'
