"""A client for a schema registry with Confluent's HTTP API.

An id always means the same schema, so answers are cached without expiry. While the registry is unavailable,
records wait. A record whose id the registry does not know is rejected, and the id is requested again after a
minute (decision 15).
"""

import asyncio
import time
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import stamina

from livebalance.runtime import logs
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.connection import tls_context
from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import Schema, SchemaId, schema_id
from livebalance.wire.kafka.codec import Kind

_TIMEOUT_SECONDS = 5.0  # per request
_ATTEMPTS = 3
_UNKNOWN_SECONDS = 60.0  # until an unknown id is requested again
_MAX_SCHEMAS = 10_000  # cached; a new schema replaces the oldest
# A value can name any id, even one that the registry cannot parse.
_NO_SUCH_ID = HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY
_JSON = "application/vnd.schemaregistry.v1+json"
_OWN_SCHEMAS: dict[Kind, tuple[str, Schema]] = {
    "transfer": (avro.TRANSFER_SCHEMA_TEXT, avro.TRANSFER_SCHEMA),
    "balance": (avro.BALANCE_SCHEMA_TEXT, avro.BALANCE_SCHEMA),
}

_log = logs.get("schema_registry")


class RegistryUnavailableError(OSError):
    """The registry did not answer. A retry may succeed."""


class HttpRegistry:
    """Requests each id at most once at a time, for all callers.

    The URL can contain a user and password. `ca` is a PEM file of authorities, None for those of the system.
    """

    def __init__(self, url: str, ca: Path | None = None) -> None:
        self._url, self._ca = url.rstrip("/"), ca
        self._schemas: dict[SchemaId, Schema | None] = {}  # None: unknown, or not usable
        self._retry_at: dict[SchemaId, float] = {}  # monotonic time of the next request for an unknown id
        self._requests: dict[SchemaId, asyncio.Task[None]] = {}
        self._own_ids: dict[Kind, SchemaId] = {}

    def writer_schema(self, id_: SchemaId) -> Schema:
        """Returns the schema with this id. Raises DecodeError if it is unknown or not usable."""
        schema = self._schemas.get(id_)
        if schema is None:
            raise DecodeError(f"unknown schema id {id_}")
        return schema

    def own_id(self, kind: Kind) -> SchemaId:
        """Returns the id of our registered schema. `register` must have returned before."""
        return self._own_ids[kind]

    def knows_schemas(self, values: Iterable[bytes | None]) -> bool:
        """Returns whether `fetch_schemas` has nothing to fetch for these values."""
        return not self._missing(values)

    async def fetch_schemas(self, values: Iterable[bytes | None]) -> None:
        """Fetches the schemas of values that are not cached. Raises RegistryUnavailableError."""
        await asyncio.gather(*map(self._fetch_once, self._missing(values)))

    def _missing(self, values: Iterable[bytes | None]) -> set[SchemaId]:
        now, ids = time.monotonic(), set(map(_schema_id, values))
        return {id_ for id_ in ids if id_ is not None and self._is_due(id_, now)}

    def _is_due(self, id_: SchemaId, now: float) -> bool:
        return id_ not in self._schemas or self._retry_at.get(id_, now + 1) <= now

    async def _fetch_once(self, id_: SchemaId) -> None:
        if (task := self._requests.get(id_)) is None:
            task = self._requests[id_] = asyncio.create_task(self._fetch(id_))
            task.add_done_callback(lambda _: self._requests.pop(id_, None))
        await asyncio.shield(task)  # a caller that is cancelled does not cancel the request of other callers

    async def _fetch(self, id_: SchemaId) -> None:
        answer = await self._request("GET", f"/schemas/ids/{id_}")
        self._retry_at.pop(id_, None)
        if answer is None:
            _log.warning("schema not found", id=id_)
            self._retry_at[id_] = time.monotonic() + _UNKNOWN_SECONDS
        self._schemas[id_] = _parse(id_, answer) if answer else None
        while len(self._schemas) > _MAX_SCHEMAS:
            oldest = next(iter(self._schemas))
            self._schemas.pop(oldest)
            self._retry_at.pop(oldest, None)

    async def register(self, topic: str, kind: Kind) -> None:
        """Registers our schema as a version of the subject `<topic>-value`.

        Raises:
            RegistryUnavailableError: The registry does not answer.
            StartupError: The registry rejects the schema.
        """
        text, schema = _OWN_SCHEMAS[kind]
        answer = await self._request("POST", f"/subjects/{topic}-value/versions", {"schema": text})
        if answer is None or not isinstance(id_ := answer.get("id"), int):
            raise StartupError(
                f"the schema registry does not accept our schema for {topic}: it answered {answer}"
            )
        self._own_ids[kind] = SchemaId(id_)
        self._schemas[SchemaId(id_)] = schema

    @stamina.retry(on=RegistryUnavailableError, attempts=_ATTEMPTS, timeout=3 * _TIMEOUT_SECONDS)
    async def _request(self, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        """Returns the JSON object of the answer, or None if the registry has no such object."""
        secure = tls_context(self._ca) if self._ca else True
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False, verify=secure) as client:
                answer = await client.request(
                    method, self._url + path, json=body, headers={"accept": _JSON, "content-type": _JSON}
                )
        except httpx.HTTPError as error:
            raise RegistryUnavailableError(f"schema registry: {error or type(error).__name__}") from error
        if answer.status_code in (_NO_SUCH_ID if method == "GET" else (HTTPStatus.NOT_FOUND,)):
            return None
        if answer.status_code in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise StartupError(f"the schema registry rejects our schema: {answer.text[:200]}")
        if not answer.is_success:
            raise RegistryUnavailableError(f"schema registry: {answer.status_code} {answer.text[:200]}")
        return _object(answer)


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError as error:
        raise RegistryUnavailableError("schema registry: the answer is not JSON") from error
    if not isinstance(value, dict):
        raise RegistryUnavailableError("schema registry: the answer is not a JSON object")
    return value


def _schema_id(value: bytes | None) -> SchemaId | None:
    try:
        return None if value is None else schema_id(value)
    except DecodeError:
        return None


def _parse(id_: SchemaId, answer: dict[str, Any]) -> Schema | None:
    """Returns the Avro schema in an answer, or None if it cannot be used."""
    try:
        if answer.get("schemaType", "AVRO") != "AVRO" or answer.get("references"):
            raise DecodeError("not an Avro schema, or a schema with references")
        return avro.parse_schema(str(answer.get("schema")))
    except DecodeError as error:
        _log.warning("schema rejected", id=id_, reason=str(error))
        return None
