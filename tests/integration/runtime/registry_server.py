"""A test server with the used part of Confluent's registry API. It can answer every request with an error."""

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
class RegistryServer:
    """Schemas have ids in the order of their registration, from 101 on."""

    port: int = field(default_factory=free_port)
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)  # method and path
    users: set[str] = field(default_factory=set)  # user:password
    status: int = 0  # of every answer, unless 0
    answers: asyncio.Event | None = None  # before it is set, requests for schemas wait

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, **schema: Any) -> int:
        """Registers a schema as another client would, and returns its id."""
        for id_, known in self.schemas.items():
            if known == schema:
                return id_
        id_ = 101 + len(self.schemas)
        self.schemas[id_] = schema
        return id_

    async def schema(self, request: Request) -> JSONResponse:
        if self.answers:
            await self.answers.wait()
        if error := self._log(request):
            return error
        await asyncio.sleep(0)  # other requests may arrive meanwhile
        schema = self.schemas.get(int(request.path_params["id"]))
        if schema is None:
            return JSONResponse({"error_code": 40403, "message": "Schema not found"}, 404)
        return JSONResponse(schema)

    async def version(self, request: Request) -> JSONResponse:
        error = self._log(request)
        return error or JSONResponse({"id": self.add(**await request.json())})

    def _log(self, request: Request) -> JSONResponse | None:
        self.requests.append(f"{request.method} {request.url.path}")
        if credentials := request.headers.get("authorization"):
            self.users.add(base64.b64decode(credentials.removeprefix("Basic ")).decode())
        return (
            JSONResponse({"error_code": self.status, "message": "no"}, self.status) if self.status else None
        )


@asynccontextmanager
async def running(registry: RegistryServer) -> AsyncIterator[None]:
    """Serves the registry while the block runs."""
    app = Starlette(
        routes=[
            Route("/schemas/ids/{id}", registry.schema),
            Route("/subjects/{subject}/versions", registry.version, methods=["POST"]),
        ]
    )
    config = uvicorn.Config(app, port=registry.port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    server.capture_signals = _nothing  # type: ignore[method-assign, assignment]  # signals belong to pytest
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
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
