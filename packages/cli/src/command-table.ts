/**
 * All commands, in the order of help. main.ts runs them, help.ts and completion.ts describe them,
 * and scripts/cli-reference.ts writes docs/reference/cli.md from this table.
 */
import type { Command } from './command.ts'
import { askCommand } from './commands/ask.ts'
import { benchCommand } from './commands/bench.ts'
import {
  clusterInitCommand,
  clusterJoinCommand,
  clusterListCommand,
  clusterRevokeCommand,
  clusterTokenCommand,
  grantCommand,
} from './commands/cluster.ts'
import { completionCommand } from './commands/completion.ts'
import {
  conflictsListCommand,
  conflictsResolveCommand,
  conflictsShowCommand,
  conflictsUndoCommand,
} from './commands/conflicts.ts'
import { demoCommand } from './commands/demo.ts'
import { doctorCommand, vacuumCommand } from './commands/doctor.ts'
import { exportCommand } from './commands/export.ts'
import { importCommand } from './commands/import.ts'
import { ingestCommand } from './commands/ingest.ts'
import { initCommand } from './commands/init.ts'
import {
  listenCommand,
  peersAddCommand,
  peersCommand,
  peersRemoveCommand,
  syncCommand,
} from './commands/peers.ts'
import { mcpCommand } from './commands/mcp.ts'
import {
  quarantineDiscardCommand,
  quarantineListCommand,
  quarantineRetryCommand,
} from './commands/quarantine.ts'
import {
  countCommand,
  deleteCommand,
  getCommand,
  queryCommand,
  watchCommand,
} from './commands/records.ts'
import { configPrintCommand, serveCommand } from './commands/serve.ts'
import {
  shardsCommand,
  shardsCreateCommand,
  shardsDropCommand,
  shardsIndexCommand,
  shardsStrategyCommand,
  statsCommand,
} from './commands/shards.ts'
import { restoreCommand, snapshotCommand } from './commands/snapshot.ts'
import {
  fingerprintCommand,
  trustAddCommand,
  trustListCommand,
  trustRemoveCommand,
} from './commands/trust.ts'
import { repairCommand, verifyCommand } from './commands/verify.ts'

export const COMMANDS: readonly Command[] = [
  initCommand,
  serveCommand,
  configPrintCommand,
  shardsCommand,
  shardsCreateCommand,
  shardsDropCommand,
  shardsStrategyCommand,
  shardsIndexCommand,
  ingestCommand,
  askCommand,
  mcpCommand,
  importCommand,
  exportCommand,
  queryCommand,
  getCommand,
  deleteCommand,
  countCommand,
  watchCommand,
  statsCommand,
  peersCommand,
  peersAddCommand,
  peersRemoveCommand,
  syncCommand,
  listenCommand,
  conflictsListCommand,
  conflictsShowCommand,
  conflictsResolveCommand,
  conflictsUndoCommand,
  quarantineListCommand,
  quarantineRetryCommand,
  quarantineDiscardCommand,
  verifyCommand,
  repairCommand,
  snapshotCommand,
  restoreCommand,
  vacuumCommand,
  doctorCommand,
  fingerprintCommand,
  trustAddCommand,
  trustListCommand,
  trustRemoveCommand,
  clusterInitCommand,
  clusterTokenCommand,
  clusterJoinCommand,
  clusterListCommand,
  clusterRevokeCommand,
  grantCommand,
  benchCommand,
  completionCommand(() => COMMANDS),
  demoCommand,
]
