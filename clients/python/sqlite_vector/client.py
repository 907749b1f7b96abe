"""The client: one class for a node, one for a shard, plain dataclasses for what they give.

Reads and idempotent writes are repeated when the node is busy or cannot be reached; a record that
is inserted (not replaced) is not, because the first attempt may have succeeded.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence, Union
from urllib.parse import quote, urlsplit

Json = Any
Filter = Mapping[str, Json]

_RECORDS_PER_WRITE = 1_000
_RETRIED_STATUS = (429, 503)
_ANSWER_BYTES_MAX = 268_435_456


class Unreachable(Exception):
    """The node did not answer."""


class NodeError(Exception):
    """The node refused a request. ``code`` is stable; ``retryable`` says whether the same call may succeed later."""

    def __init__(self, status: int, code: str, message: str, retryable: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.retryable = retryable


@dataclass(frozen=True)
class Record:
    """A record. ``embedding`` is None where it was not asked for."""

    id: str
    metadata: Mapping[str, Json] = field(default_factory=dict)
    text: Optional[str] = None
    embedding: Optional[Sequence[float]] = None


@dataclass(frozen=True)
class Found(Record):
    """A record found by a search. A larger score is better; a smaller distance is nearer."""

    score: float = 0.0
    distance: Optional[float] = None


@dataclass(frozen=True)
class ShardState:
    """A shard of the node."""

    name: str
    dimension: int
    metric: str
    model: Optional[str]
    count: int


class Client:
    """A node at ``url``, such as ``http://127.0.0.1:8080``."""

    def __init__(
        self,
        url: str,
        api_key: Optional[str] = None,
        *,
        timeout: float = 60.0,
        attempts: int = 4,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"url must begin with http:// or https://, got {url!r}")
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {attempts}")
        self._url = url.rstrip("/")
        self._api_key = api_key
        self._timeout = timeout
        self._attempts = attempts

    def shards(self) -> list[ShardState]:
        """The shards that the key may use, by name."""
        return [_state(item) for item in self.request("GET", "/v1/shards")["shards"]]

    def create_shard(
        self,
        name: str,
        dimension: int,
        *,
        metric: str = "cosine",
        model: Optional[str] = None,
    ) -> "Shard":
        """Creates a shard, or checks that the one there is the same."""
        body: dict[str, Json] = {"dimension": dimension, "metric": metric}
        if model is not None:
            body["modelId"] = model
        self.request("PUT", f"/v1/shards/{_part(name)}", body)
        return Shard(self, name)

    def shard(self, name: str) -> "Shard":
        """A handle; asks nothing of the node."""
        return Shard(self, name)

    def drop_shard(self, name: str) -> None:
        """Drops the shard from this node, not from its peers."""
        self.request("DELETE", f"/v1/shards/{_part(name)}")

    def request(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        repeatable: bool = True,
    ) -> Json:
        """Sends a request to any path of the API. Raises NodeError or Unreachable."""
        attempts = self._attempts if repeatable else 1
        for attempt in range(1, attempts + 1):
            try:
                return self._send(method, path, body)
            except NodeError as error:
                if attempt == attempts or error.status not in _RETRIED_STATUS:
                    raise
            except Unreachable:
                if attempt == attempts:
                    raise
            time.sleep(min(5.0, 0.1 * 2**attempt))
        raise AssertionError("the last attempt returns or raises")

    def _send(self, method: str, path: str, body: Json) -> Json:
        headers = {"accept": "application/json"}
        data: Optional[bytes] = None
        if body is not None:
            data = json.dumps(body, allow_nan=False).encode()
            headers["content-type"] = "application/json"
        if self._api_key is not None:
            headers["authorization"] = f"Bearer {self._api_key}"
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                text = response.read(_ANSWER_BYTES_MAX + 1)
        except urllib.error.HTTPError as error:
            raise _node_error(error) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise Unreachable(f"{self._url} does not answer: {error}") from error
        if len(text) > _ANSWER_BYTES_MAX:
            raise Unreachable(f"{self._url} sent more than {_ANSWER_BYTES_MAX} bytes")
        return json.loads(text) if text else None


class Shard:
    """The records of one shard."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def upsert(self, records: Iterable[Union[Record, Mapping[str, Json]]]) -> int:
        """Writes records, replacing those with the same id; each 1,000 are one transaction. Returns how many."""
        return self._write(records, "upsert")

    def insert(self, records: Iterable[Union[Record, Mapping[str, Json]]]) -> int:
        """Writes new records; an id that is there is an error, and nothing of its 1,000 is written."""
        return self._write(records, "insert")

    def get(self, ids: Sequence[str]) -> list[Optional[Record]]:
        """The records in the order of ``ids``, with embeddings; None for each that is not there."""
        found: list[Optional[Record]] = []
        for start in range(0, len(ids), 100):
            answer = self._post("get", {"ids": list(ids[start : start + 100])})
            found.extend(None if item is None else _record(item) for item in answer["records"])
        return found

    def update(
        self,
        id: str,
        *,
        metadata: Optional[Mapping[str, Json]] = None,
        text: Optional[str] = None,
        embedding: Optional[Sequence[float]] = None,
    ) -> None:
        """Changes parts of a record; metadata is merged key by key."""
        given = {"metadata": metadata, "text": text, "embedding": embedding}
        body = {key: value for key, value in given.items() if value is not None}
        self._client.request("PATCH", f"{self._path}/records/{_part(id)}", body)

    def delete(self, ids: Optional[Sequence[str]] = None, *, filter: Optional[Filter] = None) -> int:
        """Deletes records by id, or all that match a filter. Returns how many there were."""
        if (ids is None) == (filter is None):
            raise ValueError("delete takes ids or a filter")
        if filter is not None:
            return int(self._post("delete", {"filter": dict(filter)})["deleted"])
        deleted = 0
        for start in range(0, len(ids or ()), _RECORDS_PER_WRITE):
            batch = list((ids or ())[start : start + _RECORDS_PER_WRITE])
            deleted += int(self._post("delete", {"ids": batch})["deleted"])
        return deleted

    def count(self, filter: Optional[Filter] = None) -> int:
        """How many records there are, or match a filter."""
        body = {} if filter is None else {"filter": dict(filter)}
        return int(self._post("count", body)["count"])

    def query(
        self,
        vector: Optional[Sequence[float]] = None,
        *,
        text: Optional[str] = None,
        k: int = 10,
        filter: Optional[Filter] = None,
        exact: bool = False,
    ) -> list[Found]:
        """The best records by vector, by words, or by both."""
        body: dict[str, Json] = {"k": k}
        if filter is not None:
            body["filter"] = dict(filter)
        if vector is None:
            if text is None:
                raise ValueError("query takes a vector, a text, or both")
            return self._found("text", {**body, "text": text})
        body["vector"] = [float(component) for component in vector]
        if exact:
            body["exact"] = True
        if text is None:
            return self._found("query", body)
        return self._found("hybrid", {**body, "text": text})

    def records(self, *, page: int = 1_000, embeddings: bool = True) -> Iterator[Record]:
        """All records in the byte order of their ids, read page by page."""
        cursor: Optional[str] = None
        while True:
            options = f"limit={page}&includeVectors={str(embeddings).lower()}"
            if cursor is not None:
                options += f"&cursor={quote(cursor, safe='')}"
            answer = self._client.request("GET", f"{self._path}/records?{options}")
            for item in answer["records"]:
                yield _record(item)
            cursor = answer["nextCursor"]
            if cursor is None:
                return

    @property
    def _path(self) -> str:
        return f"/v1/shards/{_part(self.name)}"

    def _post(self, path: str, body: Json) -> Json:
        return self._client.request("POST", f"{self._path}/{path}", body)

    def _found(self, path: str, body: Json) -> list[Found]:
        return [
            Found(
                id=item["id"],
                metadata=item["metadata"],
                text=item["text"],
                score=item["score"],
                distance=item.get("distance"),
            )
            for item in self._post(path, body)["results"]
        ]

    def _write(self, records: Iterable[Union[Record, Mapping[str, Json]]], mode: str) -> int:
        written = 0
        batch: list[Json] = []
        for record in records:
            batch.append(_given(record))
            if len(batch) == _RECORDS_PER_WRITE:
                written += self._write_batch(batch, mode)
                batch = []
        return written + (self._write_batch(batch, mode) if batch else 0)

    def _write_batch(self, batch: Sequence[Json], mode: str) -> int:
        body = {"records": batch, "mode": mode}
        answer = self._client.request(
            "POST", f"{self._path}/records", body, repeatable=mode == "upsert"
        )
        return int(answer["written"])


def _given(record: Union[Record, Mapping[str, Json]]) -> dict[str, Json]:
    if not isinstance(record, Record):
        return dict(record)
    given: dict[str, Json] = {
        "id": record.id,
        "embedding": [float(component) for component in record.embedding or ()],
        "metadata": dict(record.metadata),
    }
    if record.text is not None:
        given["text"] = record.text
    return given


def _record(item: Mapping[str, Json]) -> Record:
    return Record(item["id"], item["metadata"], item["text"], item.get("embedding"))


def _state(item: Mapping[str, Json]) -> ShardState:
    return ShardState(
        item["shardId"], item["dimension"], item["metric"], item.get("modelId"), item["recordCount"]
    )


def _part(name: str) -> str:
    return quote(name, safe="")


def _node_error(error: urllib.error.HTTPError) -> NodeError:
    text = error.read(65_536).decode("utf-8", "replace")
    try:
        problem = json.loads(text)
        code, message = str(problem["code"]), str(problem.get("detail") or problem.get("title"))
        return NodeError(error.code, code, message, bool(problem.get("retryable")))
    except (ValueError, KeyError, TypeError):
        return NodeError(error.code, "UNKNOWN", text[:200], error.code in _RETRIED_STATUS)
