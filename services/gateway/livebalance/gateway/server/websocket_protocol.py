"""The server side of RFC 6455, by `websockets`, with close reasons of the Livebalance protocol."""

import logging

from websockets.protocol import CONNECTING, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from livebalance.wire.close import encode_reason
from livebalance.wire.frame import MAX_CLIENT_FRAME, RETIRED_SUBPROTOCOLS, SUBPROTOCOL

_REASONS = {1002: "protocol_error", 1007: "bad_text", 1009: "too_big"}
# By default the library logs every connection and, at level DEBUG, frames.
_library_log = logging.getLogger("livebalance.websockets")
_library_log.setLevel(logging.ERROR)


class WebSocketProtocol(ServerProtocol):
    """The sans-I/O protocol of a connection."""

    def __init__(self, state: State = CONNECTING) -> None:
        # Of these, `websockets` selects the first that the client offers.
        subprotocols = [Subprotocol(name) for name in (SUBPROTOCOL, *RETIRED_SUBPROTOCOLS)]
        super().__init__(
            subprotocols=subprotocols, state=state, max_size=MAX_CLIENT_FRAME, logger=_library_log
        )

    def fail(self, code: int, reason: str = "") -> None:
        """Closes because of an error. A reason that `websockets` itself gives is replaced by JSON."""
        is_json = reason.startswith("{")
        super().fail(code, reason if is_json else encode_reason(_REASONS.get(code, "internal")))

    @property
    def is_retired(self) -> bool:
        """Whether the client offered only subprotocols that are no longer served."""
        return self.subprotocol in RETIRED_SUBPROTOCOLS

    @property
    def failure(self) -> tuple[int, str] | None:
        """The close code and the reason's word if the client violated RFC 6455. Otherwise None."""
        if self.parser_exc and self.close_sent:
            return self.close_sent.code, _REASONS.get(self.close_sent.code, "internal")
        return None
