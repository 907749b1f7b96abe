/**
 * Two nodes in this process that trust each other, over real UDP; b syncs with a when asked.
 */
import { testNode, type TestNode } from './node.ts'

export interface Pair extends AsyncDisposable {
  readonly a: TestNode
  readonly b: TestNode
}

export async function pair(flags: Readonly<Record<string, string>> = {}): Promise<Pair> {
  const a = await testNode(flags, 'a')
  const b = await testNode(flags, 'b')
  const [syncA, syncB] = [a.node.coordinator.sync, b.node.coordinator.sync]
  syncA.trust.add(syncB.certificatePem, 'b')
  syncB.trust.add(syncA.certificatePem, 'a')
  return {
    a,
    b,
    async [Symbol.asyncDispose]() {
      await b[Symbol.asyncDispose]()
      await a[Symbol.asyncDispose]()
    },
  }
}
