"""A WebSocket of the checks: each frame that arrives must be a frame of the protocol, in time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from livebalance.cli.protocol.result import RuleError
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import SUBPROTOCOL, decode_server_frame

SECONDS = 30.0  # for an answer

Frame = dict[str, Any]


class Conversation:
    """An open connection. `frames` has all frames that have arrived."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self._ids = count(1)
        self._read = 0  # frames that `data` has looked at

    async def send(self, **fields: Any) -> None:
        """Sends a frame."""
        await self.socket.send(json.dumps(fields))

    async def receive(self) -> Frame:
        """Returns the next frame.

        Raises:
            RuleError: None arrives in time, the connection is closed, or it is no frame of the protocol.
        """
        try:
            async with asyncio.timeout(SECONDS):
                text = await self.socket.recv()
            decode_server_frame(text)
        except TimeoutError:
            raise RuleError(f"nothing arrives within {SECONDS:.0f} seconds") from None
        except ConnectionClosed:
            raise RuleError(f"the gateway closes with {self.socket.close_code}") from None
        except DecodeError as error:
            raise RuleError(f"{error}: {text!r}") from None
        self.frames.append(json.loads(text))
        return self.frames[-1]

    async def until(self, wanted: Callable[[Frame], bool]) -> Frame:
        """Returns the next frame that is wanted. Raises RuleError."""
        async with asyncio.timeout(2 * SECONDS):
            while not wanted(frame := await self.receive()):
                pass
        return frame

    async def request(self, type_: str, **fields: Any) -> list[Frame]:
        """Sends a request, and returns its answer with all that arrived before it. Raises RuleError."""
        before, id_ = len(self.frames), next(self._ids)
        await self.send(type=type_, id=id_, **fields)
        await self.until(lambda frame: frame.get("id") == id_)
        return self.frames[before:]

    async def subscribe(self, account: str, position: Frame | None = None) -> None:
        """Subscribes, and waits for `ok`. Raises RuleError."""
        channel: Frame = {"channel": f"account:{account}", **({"position": position} if position else {})}
        answer = (await self.request("subscribe", channels=[channel]))[-1]
        expect(answer["type"] == "ok", f"subscribe is answered by {answer}")

    async def data(self, account: str) -> Frame:
        """Returns the next snapshot or delta of an account. Raises RuleError."""
        while True:
            if self._read == len(self.frames):
                await self.receive()
            frame = self.frames[self._read]
            self._read += 1
            if frame["type"] in ("snapshot", "delta") and frame["channel"] == f"account:{account}":
                return frame

    async def closed(self) -> tuple[int, Frame]:
        """Waits until the gateway has closed, and returns the code and the reason. Raises RuleError."""
        try:
            async with asyncio.timeout(SECONDS):
                await self.socket.wait_closed()
        except TimeoutError:
            raise RuleError("the gateway does not close") from None
        try:
            reason = json.loads(self.socket.close_reason or "null")
        except ValueError:
            reason = None
        expect(isinstance(reason, dict) and isinstance(reason.get("code"), str), "its reason has no code")
        return self.socket.close_code or 0, reason


def expect(holds: bool, text: str) -> None:
    """Raises RuleError with this text unless the rule holds."""
    if not holds:
        raise RuleError(text)


@asynccontextmanager
async def conversation(url: str, token: str | None) -> AsyncIterator[Conversation]:
    """Opens a WebSocket. With a token it authenticates, and waits for `welcome`."""
    async with connect(
        url,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        proxy=None,
        open_timeout=SECONDS,
        close_timeout=1,
        max_size=None,
    ) as socket:
        opened = Conversation(socket)
        if token is not None:
            await opened.send(type="auth", token=token)
            first = await opened.receive()
            expect(first["type"] == "welcome", f"the first frame is {first}")
        yield opened
