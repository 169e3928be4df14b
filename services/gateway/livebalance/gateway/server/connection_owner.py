"""What a connection calls: the part of `Connections` that the server knows."""

from collections.abc import Iterable
from typing import Any, Protocol

from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.live.session import Session
from livebalance.gateway.server.admission import Admission


class ConnectionOwner(Protocol):
    """Owns all connections and their sessions."""

    @property
    def admission(self) -> Admission:
        """Admits its connections and sessions."""

    def connect(self, name: str, address: Address, connection: Any) -> Session:
        """Returns the session of an admitted connection. `connection` gets its frames."""

    def authenticate(self, session: Session, token: str) -> None:
        """Checks the token that came with the request."""

    def disconnect(self, session: Session) -> None:
        """Ends the session."""

    def handle_message(self, session: Session, text: bytes) -> None:
        """Handles a message. Its effects are performed by `perform`."""

    def perform(self) -> None:
        """Performs the effects of the messages handled so far."""

    def flush(self, sessions: Iterable[Session]) -> None:
        """Writes the outboxes of sessions to their connections, if data may be sent."""

    def set_writable(self, session: Session, writable: bool) -> None:
        """Says whether the transport accepts more bytes."""
