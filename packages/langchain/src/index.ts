/**
 * LangChain.js on SQLiteVector. The LangGraph store is in `./langgraph`.
 */
export {
  type AddOptions,
  type DeleteOptions,
  type HybridRetrieverOptions,
  SQLiteVectorHybridRetriever,
  SQLiteVectorStore,
  type SQLiteVectorStoreOptions,
} from './vector-store.ts'
