/**
 * Exact search: every candidate's distance, the k nearest kept. Pure: rows come from the caller.
 *
 * O(n · dimension + n log k) time, O(k) memory. Ties go to the smaller id by its bytes, so the
 * answer is a function of the rows alone.
 */
import { compareUtf8 } from '../bytes.ts'
import type { DistanceTo } from './distance.ts'

/** A vector that may be among the nearest. */
export interface Candidate {
  readonly record: number
  readonly id: string
  readonly embedding: Float32Array
}

/** One of the nearest. */
export interface Neighbour {
  readonly record: number
  readonly id: string
  readonly distance: number
}

/** The `k` nearest of `candidates` at most `threshold` away, nearest first. */
export function exactSearch(
  candidates: Iterable<Candidate>,
  distanceTo: DistanceTo,
  k: number,
  threshold: number,
): Neighbour[] {
  const heap: Neighbour[] = []
  for (const { record, id, embedding } of candidates) {
    const distance = distanceTo(embedding)
    if (distance > threshold) continue
    if (heap.length < k) {
      heap.push({ record, id, distance })
      siftUp(heap)
    } else if (isFarther(heap[0] as Neighbour, distance, id)) {
      heap[0] = { record, id, distance }
      siftDown(heap)
    }
  }
  return heap.sort(compareNeighbours)
}

/** Nearest first, ties by id. */
export function compareNeighbours(a: Neighbour, b: Neighbour): number {
  return a.distance - b.distance || compareUtf8(a.id, b.id)
}

// A binary heap with the farthest neighbour on top, so that one comparison refuses a candidate.

function isFarther(neighbour: Neighbour, distance: number, id: string): boolean {
  if (neighbour.distance !== distance) return neighbour.distance > distance
  return compareUtf8(neighbour.id, id) > 0
}

function siftUp(heap: Neighbour[]): void {
  let child = heap.length - 1
  const added = heap[child] as Neighbour
  while (child > 0) {
    const parent = (child - 1) >> 1
    const above = heap[parent] as Neighbour
    if (compareNeighbours(above, added) >= 0) break
    heap[child] = above
    child = parent
  }
  heap[child] = added
}

function siftDown(heap: Neighbour[]): void {
  const sinking = heap[0] as Neighbour
  let parent = 0
  for (;;) {
    let child = 2 * parent + 1
    if (child >= heap.length) break
    const right = heap[child + 1]
    if (right !== undefined && compareNeighbours(right, heap[child] as Neighbour) > 0) child += 1
    const below = heap[child] as Neighbour
    if (compareNeighbours(sinking, below) >= 0) break
    heap[parent] = below
    parent = child
  }
  heap[parent] = sinking
}
