/**
 * The demonstration: two real processes with a database file each are synced over QUIC,
 * disconnected, written on both sides, and synced again.
 *
 * This file runs and checks the steps; the nodes run node-process.ts in processes of their own.
 * Every figure is counted by the library or measured here. The demo fails when the files differ at
 * the end, whatever the nodes reported.
 */
import { existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { formatBytes, formatCount, formatMs, type Reporter } from '../terminal.ts'
import { InputError } from '../formats/input-error.ts'
import { compareFiles, type Comparison } from './compare.ts'
import type { Answer, Edits, NodeState } from './messages.ts'
import { DEMO_PASSAGES_MIN, type Passage } from './passages.ts'
import { PeerProcess } from './peer.ts'

export interface DemoOptions {
  /** Folder of texts to read; null: the documents and package READMEs of the current folder. */
  readonly folder: string | null
  /** Folder for the two database files; null: a new temporary folder. */
  readonly directory: string | null
  /** UDP port of node A on the loopback interface; 0 lets the system choose. */
  readonly port: number
  readonly questions: readonly string[]
  /** Questions typed by a person once B has everything. */
  readonly asked: AsyncIterable<string> | null
}

export interface Phase {
  readonly name: string
  readonly rows: number
  readonly wireBytes: number
  readonly ms: number
}

/** The report; `ok` when no check failed. */
export interface DemoReport {
  readonly ok: boolean
  /** Failed checks, one sentence each. */
  readonly mismatches: readonly string[]
  readonly embedder: string
  readonly dimension: number
  readonly files: number
  readonly passages: number
  readonly phases: readonly Phase[]
  readonly answers: readonly { readonly question: string; readonly answers: readonly Answer[] }[]
  readonly nodes: Readonly<Record<'a' | 'b', NodeReport>>
}

export interface NodeReport {
  readonly path: string
  readonly certificate: string
  readonly rows: number
  readonly digest: string
}

export const DEFAULT_QUESTIONS: readonly string[] = [
  'What happens when two peers change the same record?',
  'How do I match files with a glob pattern?',
  'How are positions in a source map encoded?',
]

const SHARD = 'passages'
const WORDS = 'passages.words'
const ANSWERS_SHOWN = 2
/** Words that no document has, so that each note is found by its own. */
const NOTES = { A: 'the kettlefish hums', B: 'the windowsloth yawns' }

/** State of one run. */
interface Stage {
  readonly options: DemoOptions
  readonly reporter: Reporter
  readonly paths: Readonly<Record<'a' | 'b', string>>
  readonly phases: Phase[]
  readonly mismatches: string[]
  /** All started processes, so that none is left running. */
  readonly peers: PeerProcess[]
}

/** Runs all steps. Rejects when a node fails; reports `ok: false` when the outcome is wrong. */
export async function runDemo(options: DemoOptions, reporter: Reporter): Promise<DemoReport> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'sqlite-vector-demo-'))
  mkdirSync(directory, { recursive: true })
  const paths = { a: resolve(directory, 'a.db'), b: resolve(directory, 'b.db') }
  for (const path of [paths.a, paths.b]) {
    // The steps assume empty files.
    if (existsSync(path)) throw new RangeError(`${path} exists; choose an empty folder`)
  }
  const stage: Stage = { options, reporter, paths, phases: [], mismatches: [], peers: [] }
  try {
    return await story(stage)
  } finally {
    // Closed processes have exited; this ends those that a failure left running.
    await Promise.all(stage.peers.map((peer) => peer.kill()))
  }
}

async function story(stage: Stage): Promise<DemoReport> {
  const { reporter } = stage
  reporter.heading('1  Node A reads and embeds documents')
  const a = startNode(stage, 'A')
  const cardA = await a.call('open', { path: stage.paths.a, nodeId: 'node-a' })
  const ingested = await ingest(stage, a)

  reporter.heading('2  Node B has nothing; they sync over QUIC')
  let b = startNode(stage, 'B')
  const cardB = await b.call('open', { path: stage.paths.b, nodeId: 'node-b' })
  // Two operators do this once: each pins the other's certificate.
  await a.call('trust', { nodeId: 'node-b', certificatePem: cardB.certificatePem })
  await b.call('trust', { nodeId: 'node-a', certificatePem: cardA.certificatePem })
  const { address } = await a.call('listen', { address: `127.0.0.1:${stage.options.port}` })
  reporter.line(
    `A ${short(cardA.fingerprint)} listens at ${address}, B is ${short(cardB.fingerprint)}`,
  )
  // The embedder is a shard, too: with it, B turns questions into vectors by itself.
  await syncPhase(stage, b, WORDS, 'sync of words', address, ingested.words)
  await syncPhase(stage, b, SHARD, 'first sync', address, ingested.passages)
  await expectRows(stage, b, 'B after the first sync', ingested.passages)

  reporter.heading('3  B answers from its own file')
  const answers = await answerPhase(stage, b)

  reporter.heading('4  B goes away; both sides write')
  await b.close()
  b = startNode(stage, 'B')
  const cardAgain = await b.call('open', { path: stage.paths.b, nodeId: 'node-b' })
  if (cardAgain.fingerprint !== cardB.fingerprint) {
    stage.mismatches.push('B came back with another identity')
  }
  const edits = planEdits(ingested.sample)
  await editPhase(stage, a, b, edits)

  reporter.heading('5  B comes back; they converge')
  await syncPhase(stage, b, SHARD, 'second sync', address, null)
  const rowsExpected = ingested.passages + edits.a.add.length + edits.b.add.length - 2
  const states = { a: await stateOf(a), b: await stateOf(b) }
  await checkEdited(stage, [a, b], edits)
  await Promise.all([a.close(), b.close()])
  const comparison = await comparePhase(stage, rowsExpected, states)

  const report: DemoReport = {
    ok: stage.mismatches.length === 0,
    mismatches: stage.mismatches,
    embedder: ingested.embedder,
    dimension: ingested.dimension,
    files: ingested.files,
    passages: ingested.passages,
    phases: stage.phases,
    answers,
    nodes: {
      a: nodeReport(stage.paths.a, cardA.fingerprint, comparison.rowsA, states.a),
      b: nodeReport(stage.paths.b, cardB.fingerprint, comparison.rowsB, states.b),
    },
  }
  showReport(reporter, report)
  return report
}

function startNode(stage: Stage, name: string): PeerProcess {
  const peer = new PeerProcess(name, (label, done, total) =>
    stage.reporter.progress(`${name} ${label}`, done, total),
  )
  stage.peers.push(peer)
  stage.reporter.line(`node ${name} is process ${peer.pid}`)
  return peer
}

async function ingest(stage: Stage, a: PeerProcess) {
  const { folder } = stage.options
  const ingested = await a.call('ingest', {
    shardId: SHARD,
    folder: resolve(folder ?? '.'),
    packages: folder === null,
  })
  if (ingested.passages < DEMO_PASSAGES_MIN) {
    throw new InputError(
      `${resolve(folder ?? '.')} holds ${ingested.passages} passages of text or Markdown and the demo needs ${DEMO_PASSAGES_MIN}; ` +
        'name a folder of texts: sqlite-vector demo FOLDER',
    )
  }
  stage.reporter.line(
    `${formatCount(ingested.passages)} passages of ${formatCount(ingested.files)} files; embedder: ${ingested.embedder}`,
  )
  const rows = ingested.passages
  stage.phases.push({ name: 'A embeds', rows, wireBytes: 0, ms: ingested.embedMs })
  stage.phases.push({ name: 'A inserts', rows, wireBytes: 0, ms: ingested.insertMs })
  return ingested
}

async function syncPhase(
  stage: Stage,
  dialler: PeerProcess,
  shardId: string,
  name: string,
  address: string,
  expected: number | null,
): Promise<void> {
  const report = await dialler.call('sync', { shardId, address, expected })
  const rows = report.applied + report.sent
  stage.phases.push({ name, rows, wireBytes: report.wireBytes, ms: report.durationMs })
  stage.reporter.line(
    `B applied ${formatCount(report.applied)} and sent ${formatCount(report.sent)} changes, ` +
      `${formatBytes(report.wireBytes)} on the wire, ${formatMs(report.durationMs)}`,
  )
}

async function answerPhase(stage: Stage, b: PeerProcess): Promise<DemoReport['answers']> {
  const answers: { question: string; answers: readonly Answer[] }[] = []
  let ms = 0
  const answer = async (question: string): Promise<void> => {
    const started = performance.now()
    const found = await b.call('ask', { shardId: SHARD, question, k: ANSWERS_SHOWN })
    ms += performance.now() - started
    if (found.length === 0) stage.mismatches.push(`B had no answer to ${JSON.stringify(question)}`)
    answers.push({ question, answers: found })
    showAnswers(stage.reporter, question, found)
  }
  for (const question of stage.options.questions) await answer(question)
  if (stage.options.asked !== null) {
    for await (const question of stage.options.asked) await answer(question)
  }
  stage.phases.push({ name: 'B answers', rows: answers.length, wireBytes: 0, ms })
  return answers
}

/** One record that both change, one that each deletes, one that each adds. */
function planEdits(sample: readonly Passage[]): Readonly<Record<'a' | 'b', Edits>> {
  const [shared, first, second] = sample
  if (shared === undefined || first === undefined || second === undefined) {
    throw new Error('the demo needs three passages to edit')
  }
  const edits = (node: 'A' | 'B', remove: Passage): Edits => ({
    update: { id: shared.id, note: `written by ${node} while the other was away` },
    remove: remove.id,
    add: [
      {
        id: `note-${node}`,
        text: `Written by ${node} while the nodes were apart: ${NOTES[node]}.`,
      },
    ],
  })
  return { a: edits('A', first), b: edits('B', second) }
}

async function editPhase(
  stage: Stage,
  a: PeerProcess,
  b: PeerProcess,
  edits: Readonly<Record<'a' | 'b', Edits>>,
): Promise<void> {
  const started = performance.now()
  const done = [
    await a.call('edit', { shardId: SHARD, edits: edits.a }),
    await b.call('edit', { shardId: SHARD, edits: edits.b }),
  ]
  const rows = done.reduce(
    (sum, { updated, deleted, inserted }) => sum + updated + deleted + inserted,
    0,
  )
  stage.phases.push({
    name: 'both write, apart',
    rows,
    wireBytes: 0,
    ms: performance.now() - started,
  })
  stage.reporter.line(`each: an update of ${edits.a.update.id}, a delete, a new record`)
}

async function expectRows(
  stage: Stage,
  peer: PeerProcess,
  what: string,
  expected: number,
): Promise<void> {
  const { rows } = await stateOf(peer)
  if (rows !== expected) stage.mismatches.push(`${what}: ${rows} rows, expected ${expected}`)
}

function stateOf(peer: PeerProcess): Promise<NodeState> {
  return peer.call('state', { shardId: SHARD })
}

/** Asks both nodes for the text of each new note: what one wrote, the other must find first. */
async function checkEdited(
  stage: Stage,
  peers: readonly PeerProcess[],
  edits: Readonly<Record<'a' | 'b', Edits>>,
): Promise<void> {
  for (const peer of peers) {
    for (const { id, text } of [...edits.a.add, ...edits.b.add]) {
      const [nearest] = await peer.call('ask', {
        shardId: SHARD,
        question: text,
        k: 1,
        ranking: 'text',
      })
      if (nearest?.id !== id) stage.mismatches.push(`node ${peer.name} does not find ${id}`)
    }
    for (const { remove } of [edits.a, edits.b]) {
      const found = await peer.call('has', { shardId: SHARD, id: remove })
      if (found) stage.mismatches.push(`node ${peer.name} still has ${remove}, which was deleted`)
    }
  }
}

async function comparePhase(
  stage: Stage,
  rowsExpected: number,
  states: Readonly<Record<'a' | 'b', NodeState>>,
): Promise<Comparison> {
  const started = performance.now()
  const comparison = await compareFiles(stage.paths.a, stage.paths.b, SHARD)
  const { rowsA, rowsB } = comparison
  stage.phases.push({
    name: 'both files read',
    rows: rowsA + rowsB,
    wireBytes: 0,
    ms: performance.now() - started,
  })
  const wrong = (holds: boolean, sentence: string): void => {
    if (!holds) stage.mismatches.push(sentence)
  }
  wrong(
    comparison.differenceCount === 0,
    `${comparison.differenceCount} rows differ, such as ${comparison.differences.join(', ')}`,
  )
  wrong(rowsA === rowsExpected, `A has ${rowsA} rows, expected ${rowsExpected}`)
  wrong(rowsB === rowsExpected, `B has ${rowsB} rows, expected ${rowsExpected}`)
  wrong(states.a.digest === states.b.digest, 'the digests differ')
  wrong(
    JSON.stringify(states.a.versionVector) === JSON.stringify(states.b.versionVector),
    'the version vectors differ',
  )
  wrong(
    states.a.conflicts === 1 && states.b.conflicts === 1,
    `A knows ${states.a.conflicts} and B ${states.b.conflicts} conflicts, expected 1 each`,
  )
  return comparison
}

function nodeReport(path: string, certificate: string, rows: number, state: NodeState): NodeReport {
  return { path, certificate, rows, digest: state.digest }
}

function showAnswers(reporter: Reporter, question: string, answers: readonly Answer[]): void {
  reporter.line(`? ${question}`)
  for (const { source, heading, text, distance } of answers) {
    const where = heading === '' ? source : `${source}, ${heading}`
    // A passage may be found by its words alone.
    reporter.line(`  ${distance?.toFixed(3) ?? '  –  '}  ${where}`)
    reporter.line(`         ${text.replaceAll(/\s+/g, ' ').slice(0, 160)}`)
  }
}

function showReport(reporter: Reporter, report: DemoReport): void {
  reporter.heading('6  What happened')
  reporter.table([
    ['phase', 'rows', 'on the wire', 'took'],
    ...report.phases.map((phase) => [
      phase.name,
      formatCount(phase.rows),
      phase.wireBytes === 0 ? '–' : formatBytes(phase.wireBytes),
      formatMs(phase.ms),
    ]),
  ])
  const { a, b } = report.nodes
  reporter.line('')
  reporter.table([
    ['node', 'rows', 'digest', 'file'],
    ['A', formatCount(a.rows), a.digest, a.path],
    ['B', formatCount(b.rows), b.digest, b.path],
  ])
  reporter.line('')
  if (report.ok) reporter.line('Both files hold the same rows, byte for byte.')
  for (const mismatch of report.mismatches) reporter.line(`MISMATCH: ${mismatch}`)
}

function short(fingerprint: string): string {
  return `${fingerprint.slice(0, 12)}…`
}
