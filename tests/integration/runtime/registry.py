"""A registry of schemas as Confluent's API has it, as far as it is asked here; it can be away, or refuse."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from livebalance.stack.paths import free_port


@dataclass
class Registry:
    """Ids are given in the order in which schemas come, from 101 on."""

    port: int = field(default_factory=free_port)
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    users: set[str] = field(default_factory=set)  # who asked, as user:password
    status: int = 0  # of every answer, if not 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, **schema: Any) -> int:
        """A schema somebody else registered; returns its id."""
        for id_, known in self.schemas.items():
            if known == schema:
                return id_
        id_ = 101 + len(self.schemas)
        self.schemas[id_] = schema
        return id_

    async def schema(self, request: Request) -> JSONResponse:
        if refusal := self._heard(request):
            return refusal
        await asyncio.sleep(0)  # others may ask meanwhile
        found = self.schemas.get(int(request.path_params["id"]))
        if found is None:
            return JSONResponse({"error_code": 40403, "message": "Schema not found"}, 404)
        return JSONResponse(found)

    async def version(self, request: Request) -> JSONResponse:
        refusal = self._heard(request)
        return refusal or JSONResponse({"id": self.add(**await request.json())})

    def _heard(self, request: Request) -> JSONResponse | None:
        self.asked.append(f"{request.method} {request.url.path}")
        if told := request.headers.get("authorization"):
            self.users.add(base64.b64decode(told.removeprefix("Basic ")).decode())
        return (
            JSONResponse({"error_code": self.status, "message": "no"}, self.status) if self.status else None
        )


@asynccontextmanager
async def serving(registry: Registry) -> AsyncIterator[None]:
    app = Starlette(
        routes=[
            Route("/schemas/ids/{id}", registry.schema),
            Route("/subjects/{subject}/versions", registry.version, methods=["POST"]),
        ]
    )
    config = uvicorn.Config(app, port=registry.port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    server.capture_signals = _nothing  # type: ignore[method-assign, assignment]  # they are pytest's
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


class _Nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def _nothing() -> _Nothing:
    return _Nothing()
