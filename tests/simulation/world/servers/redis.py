"""Redis as values: connections that subscribe, and what each is still to be delivered."""

from collections import deque
from collections.abc import Callable, Iterable

Push = tuple[str, bytes | None]  # a channel with a message; None: the acknowledgement of a subscription


class Connection:
    """A subscriber's connection: `commands` are under way to Redis, `inbox` to the gateway.

    `wake` is called when something happens.
    """

    __slots__ = ("channels", "commands", "inbox", "is_deaf", "is_lost", "loses_next", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.channels = set[str]()
        self.commands = deque[tuple[str, bool]]()  # True: subscribe
        self.inbox = deque[Push]()
        self.is_deaf = self.is_lost = self.loses_next = False

    def execute_command(self) -> None:
        channel, subscribe = self.commands.popleft()
        (self.channels.add if subscribe else self.channels.discard)(channel)
        if subscribe:
            self.inbox.append((channel, None))


class Redis:
    """A server. It keeps nothing: a message reaches those who subscribe at that moment, or nobody."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []

    def connect(self, wake: Callable[[], None]) -> Connection:
        connection = Connection(wake)
        self.connections.append(connection)
        return connection

    def publish(self, messages: Iterable[tuple[str, bytes]]) -> None:
        for channel, message in messages:
            for connection in self.connections:
                if channel not in connection.channels or connection.is_deaf:
                    continue
                if connection.loses_next:
                    connection.loses_next = False
                else:
                    connection.inbox.append((channel, message))
                    connection.wake()

    def restart(self) -> None:
        """Loses all connections with what was under way."""
        for connection in self.connections:
            connection.is_lost = True
            connection.wake()
        self.connections.clear()

    def close(self, connection: Connection) -> None:
        connection.is_lost = True
        if connection in self.connections:
            self.connections.remove(connection)
