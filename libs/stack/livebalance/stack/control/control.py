"""Serves `POST /api/demo/control/<action>` on loopback: for the demo's own page only (decision 35)."""

import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aiokafka.errors import KafkaError

from livebalance.runtime.process.health import Receive, Send, read_body

PATH = "/api/demo/control/"
MAX_ACTIONS, PERIOD_SECONDS = 10, 10.0

Action = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Problem = tuple[int, str]  # status and message


class DemoControl:
    """An ASGI application. A request must be a POST by a page of one of `origins`, as its browser says."""

    def __init__(
        self,
        origins: Collection[str],
        actions: Mapping[str, Action],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._origins = {origin.encode() for origin in origins}
        self._actions, self._clock = actions, clock
        self._times: deque[float] = deque(maxlen=MAX_ACTIONS)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answers a request."""
        problem = self._problem(scope["method"], scope["path"], dict(scope["headers"]))
        if problem is None:
            status, body = await self._run(scope["path"].removeprefix(PATH), await read_body(receive))
        else:
            status, body = problem[0], {"message": problem[1]}
        content = json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _problem(self, method: str, path: str, headers: dict[bytes, bytes]) -> Problem | None:
        # Browsers add both headers to a POST, and scripts cannot set them. Old browsers send only Origin.
        site = headers.get(b"sec-fetch-site", b"same-origin")
        if headers.get(b"origin") not in self._origins or site != b"same-origin":
            return 403, "only the page of this demo may do this"
        if path.removeprefix(PATH) not in self._actions:
            return 404, "there is no such action"
        if method != "POST":
            return 405, "only POST is allowed"
        now = self._clock()
        if len(self._times) == MAX_ACTIONS and now - self._times[0] < PERIOD_SECONDS:
            return 429, f"at most {MAX_ACTIONS} actions in {PERIOD_SECONDS:.0f} s: wait a moment"
        self._times.append(now)
        return None

    async def _run(self, action: str, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            request = json.loads(body or b"{}")
            if not isinstance(request, dict):
                raise ValueError("the body is not a JSON object")
            return 200, await self._actions[action](request)
        except (ValueError, RecursionError) as error:
            return 400, {"message": str(error)}
        except (TimeoutError, KafkaError):
            return 503, {"message": "Kafka is unavailable: try again later"}
