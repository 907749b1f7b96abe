/**
 * The public face of the store: open a database, write, search. Loads no network code.
 */
export { SqliteVectorError, ERRORS, isErrorCode, type ErrorCode } from './errors.ts'
export { createVectorDB, SQLiteVectorDB, type VectorDBEnvironment } from './store/vector-db.ts'
export { checkIntegrity } from './store/integrity.ts'
export type * from './store/types.ts'
export { VectorQuery, type WhereOperator } from './store/query-builder.ts'
export type * from './store/search-types.ts'
export { watch, type WatchOptions, type WatchQuery, type WatchableDatabase } from './store/watch.ts'
