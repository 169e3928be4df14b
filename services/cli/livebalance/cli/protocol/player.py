"""Plays the gateway of recorded dialogues to a client in a process of its own, and judges what it sends."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from livebalance.cli.errors import from_os
from livebalance.cli.protocol.conversation import expect
from livebalance.cli.protocol.dialogues import Dialogue, Frame
from livebalance.cli.protocol.result import RuleError, RuleResult
from livebalance.wire.frame import SUBPROTOCOL

_SECONDS = 60.0  # for what a client must do, its start included
_QUIET_SECONDS = 3.0  # in which a client that must stop does not reconnect; its backoff begins with 0.5 s
_EARLY_SECONDS = 0.05  # by which the clocks of both sides may differ
_MAX_PAUSE = 2.0  # a dialogue with longer pauses is not played
_AT_ONCE = 3  # clients
_ACTIONS = ("switches_to", "rate", "wakes")  # of a user; the client of another author has no script for them


async def play_all(
    selected: Sequence[Dialogue], command: Sequence[str], *, reports: bool
) -> list[RuleResult]:
    """Returns a result for each dialogue. Raises UserError if the command cannot be started."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def result(dialogue: Dialogue) -> RuleResult:
        rule = f"{dialogue.name}: {dialogue.about}"
        if reason := _unplayable(dialogue, command):
            return RuleResult(rule, "skipped", reason)
        async with slots:
            try:
                await _play(dialogue, command, reports=reports)
            except RuleError as error:
                return RuleResult(rule, "failed", str(error))
        return RuleResult(rule, "passed")

    return list(await asyncio.gather(*map(result, selected)))


def _unplayable(dialogue: Dialogue, command: Sequence[str]) -> str | None:
    if dialogue.sets and "{sets}" not in command:
        return "it follows sets: the command has no {sets}"
    if dialogue.features:
        return f"the client would have to ask for a feature: {', '.join(dialogue.features)}"
    kinds = {kind for step in dialogue.steps for kind in step}
    if action := next(filter(kinds.__contains__, _ACTIONS), None):
        return f"a user would have to do this: {action}"
    if any(step.get("client", {}).get("type") == "refresh" for step in dialogue.steps):
        return "it takes the life of a token"
    pauses = [step.get("time", 0) + step.get("reconnects", {}).get("after", 0) for step in dialogue.steps]
    return "it takes too long" if sum(pauses) > _MAX_PAUSE else None


async def _play(dialogue: Dialogue, command: Sequence[str], *, reports: bool) -> None:
    """Raises RuleError or UserError."""
    player = _Player(dialogue, reports=reports)
    async with serve(
        player.connect, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None
    ) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws"
        accounts, lists = (
            " ".join(dialogue.follows),
            {"{accounts}": dialogue.follows, "{sets}": dialogue.sets},
        )
        words = list[str]()
        for word in command:
            filled = word.replace("{url}", url).replace("{accounts}", accounts)
            words += lists.get(word, [filled])  # an argument for each account or set
        environment = {
            **os.environ,
            "LIVEBALANCE_URL": url,
            "LIVEBALANCE_TOKEN": "token-1",
            "LIVEBALANCE_ACCOUNTS": accounts,
            "LIVEBALANCE_SETS": " ".join(dialogue.sets),
        }
        try:
            process = await asyncio.create_subprocess_exec(
                *words, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise from_os(error) from None
        reading = asyncio.create_task(player.read(process))
        try:
            for step in dialogue.steps:
                await player.play(step)
        finally:
            reading.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also what a shell has started
            await process.wait()


class _Player:
    """Has a method per kind of step that concerns clients."""

    def __init__(self, dialogue: Dialogue, *, reports: bool) -> None:
        self._reports = reports
        self._connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self._connection: ServerConnection | None = None
        self._next: ServerConnection | None = None  # it has connected, and sent nothing yet
        self._request_ids: dict[Any, Any] = {}  # id in the script: id that the client chose
        self._left_at = 0.0
        self._shown: dict[str, Frame] = {}
        self._changed = asyncio.Condition()

    async def connect(self, connection: ServerConnection) -> None:
        """Called for each connection of the client."""
        self._connections.put_nowait(connection)
        await connection.wait_closed()

    async def read(self, process: asyncio.subprocess.Process) -> None:
        """Keeps what the client prints about its accounts."""
        assert process.stdout
        while line := await process.stdout.readline():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                name = isinstance(event, dict) and (event.get("account") or event.get("set"))
                if isinstance(name, str):
                    async with self._changed:
                        self._shown[name] = event
                        self._changed.notify_all()

    async def play(self, step: dict[str, Any]) -> None:
        """Plays a step. Raises RuleError."""
        [(kind, value)] = step.items()
        if method := getattr(self, f"_{kind}", None):
            try:
                async with asyncio.timeout(_SECONDS + _MAX_PAUSE):
                    await method(value)
            except TimeoutError:
                raise RuleError(f"in time, there was no {json.dumps(step)}") from None
            except ConnectionClosed:
                raise RuleError(f"the client closed before {json.dumps(step)}") from None

    # --- frames

    async def _client(self, frame: Frame) -> None:
        if frame["type"] == "auth":
            await self._authenticate()
        elif frame["type"] == "subscribe":
            await self._subscribe(frame)
        else:
            sent = await self._receive()
            self._request_ids[frame["id"]] = sent.get("id")
            expect({**sent, "id": 0} == {**frame, "id": 0}, f"expected {frame}, got {sent}")

    async def _authenticate(self) -> None:
        self._connection = self._next or await self._connections.get()
        self._next = None
        expect(self._connection.subprotocol == SUBPROTOCOL, "the client does not offer livebalance.v1")
        sent = await self._receive()
        expect(
            sent.get("type") == "auth" and isinstance(sent.get("token"), str), f"expected auth, got {sent}"
        )

    async def _subscribe(self, frame: Frame) -> None:
        """A client may use a message for each channel. All but the last are answered here."""
        expected = {channel["channel"]: channel.get("position") for channel in frame["channels"]}
        got: dict[str, Any] = {}
        while True:
            sent = await self._receive()
            expect(sent.get("type") == "subscribe", f"expected {frame}, got {sent}")
            got.update({channel["channel"]: channel.get("position") for channel in sent["channels"]})
            if got.keys() >= expected.keys():
                break
            await self._send({"type": "ok", "id": sent["id"]})
        self._request_ids[frame["id"]] = sent["id"]
        expect(got == expected, f"expected positions {expected}, got {got}")

    async def _receive(self) -> Frame:
        """Returns the next message of the client, after the answers to pings and rates, which it may send."""
        assert self._connection
        while True:
            sent = json.loads(await self._connection.recv())
            if sent.get("type") not in ("ping", "rate"):
                return dict(sent)
            await self._send({"type": "ok", "id": sent["id"]})

    async def _send(self, frame: Frame) -> None:
        assert self._connection
        await self._connection.send(json.dumps(frame))

    async def _server(self, frame: Frame) -> None:
        own = {"id": self._request_ids.get(frame["id"], frame["id"])} if "id" in frame else {}
        await self._send({**frame, **own})
        self._left_at = asyncio.get_running_loop().time()

    _receives = _server

    async def _close(self, close: dict[str, Any]) -> None:
        assert self._connection
        self._left_at = asyncio.get_running_loop().time()
        if close["code"] == 1006:
            self._connection.transport.abort()
        else:
            reason = json.dumps(close["reason"], separators=(",", ":")) if "reason" in close else ""
            await self._connection.close(close["code"], reason)

    # --- times

    async def _time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _reconnects(self, when: dict[str, float]) -> None:
        self._next = await self._connections.get()
        waited = asyncio.get_running_loop().time() - self._left_at
        expect(waited >= when["after"] - _EARLY_SECONDS, f"it reconnects after {waited:.2f} s: {when}")

    async def _stops(self, _: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_QUIET_SECONDS):
                await self._connections.get()
                raise RuleError("it reconnects")

    _reloads = _stops

    # --- what the client shows

    async def _shows(self, shown: dict[str, Any]) -> None:
        if self._reports:
            position = shown["position"]
            event = await self._until_shown(shown["account"], "revision", position["revision"], shown)
            got = event.get("epoch"), (event.get("balance") or {}).get("amount")
            expect(got == (position["epoch"], shown["amount"]), f"expected {shown}, the client shows {event}")

    async def _shows_set(self, shown: dict[str, Any]) -> None:
        if self._reports:
            event = await self._until_shown(shown["channel"], "lanes", shown["lanes"], shown)
            for key in ("epoch", "members", "totals"):
                expect(event.get(key) == shown[key], f"expected {shown}, the client shows {event}")

    async def _until_shown(self, name: str, key: str, value: object, shown: Frame) -> Frame:
        """Returns what the client shows of an account or a set at a position."""

        def is_there() -> bool:
            return bool(self._shown.get(name, {}).get(key) == value)

        try:
            async with asyncio.timeout(_SECONDS), self._changed:
                await self._changed.wait_for(is_there)
        except TimeoutError:
            raise RuleError(f"expected {shown}, the client shows {self._shown.get(name)}") from None
        return self._shown[name]
