"""Who may use the control of the demo, and how often."""

from typing import Any

import httpx
import pytest

from livebalance.stack.control.control import MAX_ACTIONS, PERIOD_SECONDS, DemoControl

ORIGIN = "http://127.0.0.1:8080"
KILL = "/api/demo/control/kill-gateway"


class Stage:
    """A control whose clock stands still, and the requests that reached its action."""

    def __init__(self) -> None:
        self.now = 0.0
        self.requests: list[object] = []

        async def kill(request: dict[str, object]) -> dict[str, object]:
            self.requests.append(request)
            if "gateway" not in request:
                raise ValueError("no gateway")
            return {"pid": 7}

        origins = [ORIGIN, "http://localhost:8080"]
        control: Any = DemoControl(origins, {"kill-gateway": kill}, lambda: self.now)
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app=control), base_url=ORIGIN)

    async def post(
        self, path: str = KILL, content: str = '{"gateway": "g"}', **headers: str
    ) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._http.post(path, content=content, headers=names)

    async def get(self) -> httpx.Response:
        return await self._http.get(KILL, headers={"Origin": ORIGIN})


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:8080"])
async def test_post_of_the_own_page_acts(origin: str) -> None:
    stage = Stage()
    response = await stage.post(origin=origin, sec_fetch_site="same-origin")
    assert (response.status_code, response.json()) == (200, {"pid": 7})
    assert stage.requests == [{"gateway": "g"}]


@pytest.mark.parametrize(
    "headers",
    [
        {},  # a program, or a navigation
        {"origin": "null"},  # a sandboxed frame, or a file
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:8081"},  # another server of this machine
        {"origin": "http://evil.example:8080", "host": "evil.example:8080", "sec_fetch_site": "same-origin"},
        {"origin": ORIGIN, "sec_fetch_site": "cross-site"},
        {"origin": ORIGIN, "sec_fetch_site": "none"},
    ],
    ids=["no-origin", "null", "foreign", "other-port", "rebound-name", "cross-site", "typed-address"],
)
async def test_post_of_another_page_is_forbidden(headers: dict[str, str]) -> None:
    stage = Stage()
    assert (await stage.post(**headers)).status_code == 403
    assert stage.requests == []


async def test_request_that_is_no_action_is_rejected() -> None:
    stage = Stage()
    assert (await stage.get()).status_code == 405
    assert (await stage.post("/api/demo/control/halt", origin=ORIGIN)).status_code == 404
    for content in ("{", "[]", "[" * 4000, "{}"):
        assert (await stage.post(content=content, origin=ORIGIN)).status_code == 400
    assert stage.requests == [{}]


async def test_actions_are_bounded_until_the_period_is_over() -> None:
    stage = Stage()
    for _ in range(MAX_ACTIONS):
        assert (await stage.post(origin=ORIGIN)).status_code == 200
    assert (await stage.post(origin=ORIGIN)).status_code == 429
    stage.now = PERIOD_SECONDS
    assert (await stage.post(origin=ORIGIN)).status_code == 200
    assert len(stage.requests) == MAX_ACTIONS + 1
