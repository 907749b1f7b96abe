/**
 * The public face of the store: open a database, write, search. Loads no network code.
 */
export { SqliteVectorError, ERRORS, isErrorCode, type ErrorCode } from './errors.ts'
export { createVectorDB, SQLiteVectorDB, type VectorDBEnvironment } from './store/vector-db.ts'
export { TypedShard } from './store/typed-shard.ts'
export { checkIntegrity } from './store/file/integrity.ts'
export { databasePath } from './store/file/inspect.ts'
export type * from './model/records.ts'
export type * from './store/types.ts'
export type * from './store/feed/types.ts'
export type * from './store/replica/types.ts'
export type { CommitNotice } from './store/file/open-shard.ts'
export type { Sliced } from './store/file/sliced.ts'
export { VectorQuery, type WhereOperator } from './store/query/query-builder.ts'
export type * from './store/query/types.ts'
export {
  watch,
  type WatchOptions,
  type WatchQuery,
  type WatchableDatabase,
} from './store/query/watch.ts'
