/**
 * Embedders for SQLiteVector: attach one to a shard, insert text, ask with text.
 */
export type { AskResult, Embedder, EmbedOptions, TextRecord } from './types.ts'
export {
  attachEmbedder,
  type AskOptions,
  EmbeddedShard,
  type EmbedCallOptions,
  type EmbeddedShardOptions,
  type EmbedMissingReport,
} from './embedded-shard.ts'
export { embedTexts, type EmbedTextsOptions } from './embed-texts.ts'
export { ASK_WEIGHTS } from './ask.ts'
export { searchWords } from './words.ts'
export { EmbedderError } from './failure.ts'
export type { RetryNotice } from './retry.ts'
export type { RetryClock } from './clock/system-clock.ts'
export { httpEmbedder, type HttpEmbedderOptions } from './http-embedder.ts'
export {
  aiSdkEmbedder,
  type AiSdkEmbedderOptions,
  type AiSdkEmbeddingModel,
} from './ai-sdk-embedder.ts'
export {
  fitLsaEmbedder,
  type FitLsaOptions,
  loadLsaEmbedder,
  type LsaEmbedder,
  lsaEmbedderOf,
  lsaShardOf,
  saveLsaEmbedder,
} from './lsa-embedder.ts'
