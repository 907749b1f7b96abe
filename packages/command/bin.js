#!/usr/bin/env node
// The short name of the command: `npx sqlite-vector` runs @agentic-flow/sqlite-vector-cli.
import '@agentic-flow/sqlite-vector-cli/bin'
