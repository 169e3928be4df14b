"""A client: the real session and account around a socket. Every event goes to the oracles."""

from collections.abc import Sequence

from livebalance.client.effects import (
    CloseSocket,
    ConnectionLost,
    Emit,
    Input,
    OpenSocket,
    Received,
    Send,
    Tick,
)
from livebalance.client.event import Ended
from livebalance.client.session import Session
from livebalance.wire.frame import Subscribe, decode_client_frame
from livebalance.wire.identity import AccountId
from tests.simulation.world.gateway import Socket
from tests.simulation.world.process import IDLE, Process, Steps

JITTER = 0.1  # small, so that a world heals within its bound


class Client(Process):
    """Follows every account, and follows an account again that was erased.

    `hidden` are the accounts that it lost the right to see.
    """

    socket: Socket | None = None
    loses_delta = False  # a fault: each connection loses a delta

    def create(self) -> Sequence[Steps]:
        gateways = self.world.gateways
        patches = self.name == "client-1"  # the others get whole deltas
        self.session = Session([gateway.name for gateway in gateways], patches=patches)
        self.world.oracles.forget(self)
        self.hidden = set[AccountId]()
        for account in self.world.accounts:
            self.session.follow(account)
        return (self._run(),)

    def on_killed(self) -> None:
        self._close()

    def _close(self) -> None:
        if self.socket is not None:
            self.socket.close(1000)
            self.socket = None

    def _run(self) -> Steps:
        while True:
            socket = self.socket
            if socket is not None and socket.to_client:
                self._step(Received(socket.to_client.popleft()))
                yield 0.0
            elif socket is not None and socket.close_code is not None:
                self.socket = None
                self._step(ConnectionLost(socket.close_code, ""))
                yield 0.0
            elif self.session.deadline <= self.world.now:
                self._step(Tick())
                yield 0.0
            else:
                yield min(IDLE, max(0.001, self.session.deadline - self.world.now))

    def _step(self, input_: Input) -> None:
        socket = self.socket
        # Before the step, which may ask again itself.
        may_miss = socket is None or socket.is_tampered or socket.asked_twice
        for effect in self.session.step(input_, self.world.now, JITTER):
            if isinstance(effect, Emit):
                self.world.oracles.on_event(self, effect.event, may_miss=may_miss)
                if isinstance(effect.event, Ended):
                    self._on_ended(effect.event)
            elif isinstance(effect, OpenSocket):
                self._open(effect.url)
            elif isinstance(effect, CloseSocket):
                self._close()
            elif isinstance(effect, Send) and self.socket is not None:
                self._send(self.socket, effect.text)

    def _on_ended(self, ended: Ended) -> None:
        if ended.code == "gone":
            self.session.follow(ended.account)
        else:
            self.hidden.add(ended.account)

    def _send(self, socket: Socket, text: bytes) -> None:
        frame = decode_client_frame(text)
        if isinstance(frame, Subscribe):
            requested = {request.channel for request in frame.channels}
            # Both answers arrive, and the second does not know what the first brought.
            socket.asked_twice |= not requested.isdisjoint(socket.requested)
            socket.requested |= requested
        socket.send_to_gateway(text)

    def _open(self, url: str) -> None:
        gateway = next(gateway for gateway in self.world.gateways if gateway.name == url)
        self.socket = Socket(self, gateway)
        self.socket.is_tampered = self.socket.loses_next = self.loses_delta
        if gateway.is_alive:
            gateway.backlog.append(self.socket)
            gateway.wake()
        else:
            self.socket.close(1006)

    def has(self, account: AccountId) -> bool:
        return self.session.account_state(account) is not None
