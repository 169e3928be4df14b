"""The schema registry over HTTP, as Confluent's API has it.

An id means one schema for ever, so an answer is kept. While the registry is away records wait; an id that it
does not know is poison, and asked for again only after a while.
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
from livebalance.runtime.kafka.connection import trusting
from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import Schema, SchemaId, schema_id
from livebalance.wire.kafka.codec import Kind

_WITHIN = 5.0  # seconds for one answer
_TRIES = 3
_UNKNOWN_FOR = 60.0  # seconds until an id that nobody knew is asked for again
_MOST = 10_000  # ids kept; with more, those kept first go
_JSON = "application/vnd.schemaregistry.v1+json"
_OURS: dict[Kind, tuple[str, Schema]] = {
    "transfer": (avro.TRANSFER_TEXT, avro.TRANSFER),
    "balance": (avro.BALANCE_TEXT, avro.BALANCE),
}

_log = logs.get("schemas")


class RegistryUnavailableError(OSError):
    """Nothing is known of a schema now; later it may be."""


class HttpRegistry:
    """`url` may hold user and password. Of one id there is one question at a time, whoever asks."""

    def __init__(self, url: str, ca: Path | None = None) -> None:
        self._url, self._ca = url.rstrip("/"), ca
        self._schemas: dict[SchemaId, Schema | None] = {}  # None: no schema that we could read by
        self._again: dict[SchemaId, float] = {}  # when those nobody knew are asked for again
        self._asked: dict[SchemaId, asyncio.Task[None]] = {}
        self._ours: dict[Kind, SchemaId] = {}

    def writer(self, id_: SchemaId) -> Schema:
        schema = self._schemas.get(id_)
        if schema is None:
            raise DecodeError(f"unknown schema id {id_}")
        return schema

    def ours(self, kind: Kind) -> SchemaId:
        return self._ours[kind]

    async def learn(self, values: Iterable[bytes | None]) -> None:
        now = time.monotonic()
        wanted = {id_ for value in values if (id_ := _named(value)) is not None and self._is_new(id_, now)}
        await asyncio.gather(*map(self._once, wanted))

    def _is_new(self, id_: SchemaId, now: float) -> bool:
        return id_ not in self._schemas or self._again.get(id_, now + 1) <= now

    async def _once(self, id_: SchemaId) -> None:
        if (task := self._asked.get(id_)) is None:
            task = self._asked[id_] = asyncio.create_task(self._learn(id_))
            task.add_done_callback(lambda _: self._asked.pop(id_, None))
        await asyncio.shield(task)  # who gives up waiting does not stop the others

    async def _learn(self, id_: SchemaId) -> None:
        answer = await self._ask("GET", f"/schemas/ids/{id_}")
        self._again.pop(id_, None)
        if answer is None:
            _log.warning("the registry does not know a schema", id=id_)
            self._again[id_] = time.monotonic() + _UNKNOWN_FOR
        self._schemas[id_] = _read(id_, answer) if answer else None
        while len(self._schemas) > _MOST:
            oldest = next(iter(self._schemas))
            self._schemas.pop(oldest)
            self._again.pop(oldest, None)

    async def register(self, topic: str, kind: Kind) -> None:
        text, schema = _OURS[kind]
        answer = await self._ask("POST", f"/subjects/{topic}-value/versions", {"schema": text})
        if answer is None or not isinstance(id_ := answer.get("id"), int):
            raise StartupError(f"the registry does not take our schema for {topic}: its answer was {answer}")
        self._ours[kind] = SchemaId(id_)
        self._schemas[SchemaId(id_)] = schema

    @stamina.retry(on=RegistryUnavailableError, attempts=_TRIES, timeout=3 * _WITHIN)
    async def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        """None: there is no such thing there."""
        secure = trusting(self._ca) if self._ca else True
        try:
            async with httpx.AsyncClient(timeout=_WITHIN, trust_env=False, verify=secure) as client:
                answer = await client.request(
                    method, self._url + path, json=body, headers={"accept": _JSON, "content-type": _JSON}
                )
        except httpx.HTTPError as why:
            raise RegistryUnavailableError(f"schema registry: {why or type(why).__name__}") from why
        if answer.status_code in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise StartupError(f"the schema registry refuses our schema: {answer.text[:200]}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if not answer.is_success:
            raise RegistryUnavailableError(f"schema registry: {answer.status_code} {answer.text[:200]}")
        return _object(answer)


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as why:
        raise RegistryUnavailableError("schema registry: what answers is none") from why
    if not isinstance(found, dict):
        raise RegistryUnavailableError("schema registry: what answers is none")
    return found


def _named(value: bytes | None) -> SchemaId | None:
    try:
        return None if value is None else schema_id(value)
    except DecodeError:
        return None


def _read(id_: SchemaId, answer: dict[str, Any]) -> Schema | None:
    """None: it is not a schema of Avro, or is one that we cannot take."""
    try:
        if answer.get("schemaType", "AVRO") != "AVRO" or answer.get("references"):
            raise DecodeError("not the schema of an Avro record alone")
        return avro.parsed(str(answer.get("schema")))
    except DecodeError as why:
        _log.warning("a schema of the registry is of no use here", id=id_, why=str(why))
        return None
