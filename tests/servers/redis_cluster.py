"""An embedded Redis (Valkey) cluster on loopback: masters that share the slots, and a replica of each."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from itertools import combinations
from types import TracebackType
from typing import Any, Self

import redis

from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.servers.redis import RedisServer

MASTERS = 3
SLOTS = 16_384
# Milliseconds after which the other nodes regard a node as failed. A busy machine stalls nodes for seconds.
NODE_TIMEOUT, SHORT_NODE_TIMEOUT = 5000, 1000
_TIMEOUT_SECONDS = 60.0  # until all nodes agree
_POLL_SECONDS = 0.02


class ClusterNode(RedisServer):
    """A node of the cluster."""

    def __init__(self, paths: StatePaths, password: str) -> None:
        super().__init__(paths)
        self.bus = 0  # the port for the other nodes
        self._password = password

    def start(self) -> None:
        self.bus = free_port()
        super().start()

    def _settings(self) -> dict[str, str]:
        secret = {"requirepass": self._password, "primaryauth": self._password} if self._password else {}
        return super()._settings() | {
            "cluster-enabled": "yes",
            "cluster-port": str(self.bus),
            "cluster-node-timeout": str(NODE_TIMEOUT),
            "cluster-require-full-coverage": "no",  # remaining nodes serve their own slots
            "cluster-replica-validity-factor": "0",  # a replica with old data takes over too
            "repl-diskless-sync-delay": "0",
            "shutdown-timeout": "0",  # do not wait for replicas
            **secret,
        }

    def execute(self, *words: str | int) -> Any:
        """Executes a command. Raises RedisError."""
        secret = self._password or None
        with redis.Redis(port=self.port, password=secret, decode_responses=True, socket_timeout=5) as client:
            return client.execute_command(*words)

    @property
    def is_master(self) -> bool:
        """Whether the node serves slots."""
        return str(self.execute("ROLE")[0]) == "master"

    @property
    def id(self) -> str:
        """The node's id in the cluster."""
        return str(self.execute("CLUSTER", "MYID"))

    def knows(self, ids: Iterable[str]) -> bool:
        """Tells whether the node has met all these nodes."""
        nodes = str(self.execute("CLUSTER", "NODES"))
        return all(id_ in nodes for id_ in ids)


class RedisCluster:
    """A context manager that stops all its servers. `nodes` are the masters, then their replicas."""

    def __init__(self, paths: StatePaths, password: str = "") -> None:
        self._password = password
        self._running = ExitStack()
        self.nodes = [
            ClusterNode(StatePaths(paths.home, paths.state / f"node-{number}"), password)
            for number in range(2 * MASTERS)
        ]

    @property
    def url(self) -> str:
        """URL of all nodes, redis+cluster://host:port,host:port,…, for clients."""
        login = f":{self._password}@" if self._password else ""
        return f"redis+cluster://{login}{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def owner(self, slot: int) -> ClusterNode:
        """Returns the node that serves a slot, according to the first node that answers."""
        for queried in self.nodes:
            with suppress(redis.RedisError):  # the node was killed or paused
                port = _owner(queried, slot)
                return next(node for node in self.nodes if node.port == port)
        raise StackError("no node of the Redis cluster answers")

    def configure(self, name: str, value: str | int) -> None:
        """Changes a setting of all nodes, which must be running."""
        for node in self.nodes:
            node.execute("CONFIG", "SET", name, value)

    def replace_lost_nodes_soon(self) -> None:
        """Lets replicas take over after a second. Called before a test stops their master."""
        self.configure("cluster-node-timeout", SHORT_NODE_TIMEOUT)

    def move(self, slot: int, *, by_hand: bool = False) -> ClusterNode:
        """Moves a slot to another master, and returns that master when all nodes know it.

        Moves the slot atomically, as Valkey does since version 9; `by_hand` informs node after node instead.
        """
        source = self.owner(slot)
        target = next(node for node in map(self.owner, range(0, SLOTS, 100)) if node is not source)
        if by_hand:
            target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
            source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
            others = [node for node in self.nodes if node not in (target, source) and node.is_master]
            for node in (target, source, *others):
                node.execute("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        else:
            source.execute("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
        self._until(f"slot {slot} did not move", lambda node: _owner(node, slot) == target.port)
        return target

    def _unite(self) -> None:
        masters, replicas = self.nodes[:MASTERS], self.nodes[MASTERS:]
        bounds = [SLOTS * number // MASTERS for number in range(MASTERS + 1)]
        for number, node in enumerate(masters):
            node.execute("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            node.execute("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node, other in combinations(self.nodes, 2):
            node.execute("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus)
        known = [node.id for node in self.nodes]
        self._until("nodes did not meet", lambda node: node.knows(known))
        self._until("slots are not shared", lambda node: _owner(node, SLOTS - 1) == masters[-1].port)
        for master, replica in zip(known, replicas, strict=False):
            replica.execute("CLUSTER", "REPLICATE", master)
        self._until("replicas did not follow", lambda node: node in masters or _follows(node))

    def _until(self, otherwise: str, agreed: Callable[[ClusterNode], bool]) -> None:
        """Waits until all running nodes agree. Raises StackError with the text `otherwise` after a minute."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not all(agreed(node) for node in self.nodes if node.child.pid):
            if time.monotonic() > deadline:
                raise StackError(f"redis cluster: {otherwise} within {_TIMEOUT_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.callback(node.stop)
                node.start()
            for node in self.nodes:
                node.ready()
            self._unite()
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()


def _owner(queried: ClusterNode, slot: int) -> int | None:
    """Returns the port of the node that serves the slot, according to `queried`."""
    shares = queried.execute("CLUSTER SLOTS")
    return next((owner[1] for first, last, owner, *_ in shares if first <= slot <= last), None)


def _follows(node: ClusterNode) -> bool:
    info = node.execute("INFO", "replication")
    return bool(info.get("master_link_status") == "up")
