"""Client of a SQLiteVector node over its HTTP API. Standard library only."""

from .client import Client, Found, NodeError, Record, Shard, ShardState, Unreachable

__all__ = ["Client", "Found", "NodeError", "Record", "Shard", "ShardState", "Unreachable"]
