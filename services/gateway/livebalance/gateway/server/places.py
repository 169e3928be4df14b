"""The places that an HTTP connection holds: its own, or those of the requests that a proxy forwards on it."""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass

from livebalance.gateway.limits.client_address import UNNAMED, Address, client_address
from livebalance.gateway.server.admission import Admission
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.server.request_head import RequestHead

_STREAM_PATH = b"/api/v1/events"  # an EventSource needs another form of refusal, otherwise it does not retry


@dataclass(slots=True)
class _Place:
    address: Address
    is_held: bool = False


class Places:
    """The places of a connection in `Admission`.

    A client that connects itself holds a place of its address until the connection is closed. A trusted proxy
    holds none. Each request that it forwards holds a place of its client until the response is complete.
    """

    def __init__(self, admission: Admission, proxies: Container[Address]) -> None:
        self._admission = admission
        self._proxies = proxies
        self._peer: Address = ""
        self._is_proxy = False
        self._places: deque[_Place] = deque()  # those of requests in the order of their responses

    def connect(self, peer: Address) -> Refusal | None:
        """Holds a place for a connection from `peer`, or returns why it is rejected."""
        self._peer, self._is_proxy = peer, peer in self._proxies
        if self._is_proxy:
            return None
        refusal = self._admission.connect(peer)
        if refusal is None:
            self._places.append(_Place(peer, is_held=True))
        return refusal

    def begin_request(self, head: RequestHead) -> Refusal | None:
        """Holds a place for a proxy's request, or returns why it is rejected.

        An event stream holds its place only in `open_session`, and a WebSocket by itself.
        """
        if not self._is_proxy or head.upgrade:
            return None
        forwarded = b",".join(head.values(b"x-forwarded-for")).decode("latin-1")
        place = _Place(client_address(self._peer, forwarded, self._proxies))
        if head.target.partition(b"?")[0] != _STREAM_PATH and (refusal := self._hold(place)):
            return refusal
        self._places.append(place)
        return None

    def end_request(self) -> None:
        """Releases the place of a proxy's first request, which has its response."""
        if self._is_proxy and self._places:
            self._release(self._places.popleft())

    def release(self) -> None:
        """Releases all places. Called when the connection is closed."""
        while self._places:
            self._release(self._places.popleft())

    def hand_over(self) -> None:
        """Leaves the place of the connection to its WebSocket, which releases it."""
        self._places.clear()

    def open_session(self) -> Refusal | None:
        """Counts an event stream until `close_session`, or returns why it is rejected."""
        if self._places and (refusal := self._hold(self._places[0])):
            return refusal
        return self._admission.open(self.client_address, through_proxy=self._is_proxy)

    def close_session(self) -> None:
        """Ends the count of an event stream."""
        self._admission.close()

    @property
    def client_address(self) -> Address:
        """The address of the client whose request is being served."""
        return self._places[0].address if self._places else UNNAMED

    def _hold(self, place: _Place) -> Refusal | None:
        refusal = None if place.is_held else self._admission.hold(place.address)
        place.is_held = refusal is None
        return refusal

    def _release(self, place: _Place) -> None:
        if place.is_held:
            self._admission.release(place.address)
