"""RFC 6455 as `websockets` has it; but what it closes with says why in our words."""

import logging

from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from livebalance.wire.close import encode_reason
from livebalance.wire.frame import MAX_CLIENT_FRAME, RETIRED_SUBPROTOCOLS, SUBPROTOCOL

_FAILED = {1002: "protocol_error", 1007: "bad_text", 1009: "too_big"}
_quiet = logging.getLogger("livebalance.websockets")  # it would tell of every connection, and of frames
_quiet.setLevel(logging.ERROR)


class WebSocketProtocol(ServerProtocol):
    def __init__(self) -> None:
        understood = [
            Subprotocol(one) for one in (SUBPROTOCOL, *RETIRED_SUBPROTOCOLS)
        ]  # the first that is asked for
        super().__init__(subprotocols=understood, max_size=MAX_CLIENT_FRAME, logger=_quiet)

    def fail(self, code: int, reason_: str = "") -> None:
        ours = reason_.startswith("{")
        super().fail(code, reason_ if ours else encode_reason(_FAILED.get(code, "internal")))

    @property
    def is_retired(self) -> bool:
        """The client speaks no version that is served."""
        return self.subprotocol in RETIRED_SUBPROTOCOLS

    @property
    def failed(self) -> tuple[int, str] | None:
        """The code and the word it closed with because what it was sent is no WebSocket."""
        if self.parser_exc and self.close_sent:
            return self.close_sent.code, _FAILED.get(self.close_sent.code, "internal")
        return None
