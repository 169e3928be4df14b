"""A Redis (Valkey) cluster of our own, on loopback: masters that share the slots, and a replica of each."""

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
NODE_TIMEOUT = 1000  # ms after which the others hold a node for dead
_WITHIN = 30.0  # seconds until all agree
_POLL = 0.02  # seconds


class ClusterNode(RedisServer):
    """One server of it."""

    def __init__(self, paths: StatePaths, password: str) -> None:
        super().__init__(paths)
        self.bus = 0  # the port where it hears the others
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
            "cluster-require-full-coverage": "no",  # who is left serves what is its own
            "cluster-replica-validity-factor": "0",  # a replica takes over, however long it was alone
            "repl-diskless-sync-delay": "0",
            "shutdown-timeout": "0",  # no replica is waited for
            **secret,
        }

    def ask(self, *words: str | int) -> Any:
        """The answer to a command. Raises RedisError."""
        secret = self._password or None
        with redis.Redis(port=self.port, password=secret, decode_responses=True, socket_timeout=2) as client:
            return client.execute_command(*words)

    @property
    def id(self) -> str:
        """Its name in the cluster."""
        return str(self.ask("CLUSTER", "MYID"))

    def knows(self, ids: Iterable[str]) -> bool:
        """It has met them all."""
        told = str(self.ask("CLUSTER", "NODES"))
        return all(id_ in told for id_ in ids)


class RedisCluster:
    """A context manager that leaves none of its servers behind. `nodes`: the masters, then their replicas."""

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
        """Who serves a slot, as one that answers says."""
        for asked in self.nodes:
            with suppress(redis.RedisError):  # it was killed, or stopped
                port = _owner(asked, slot)
                return next(node for node in self.nodes if node.port == port)
        raise StackError("no node of the Redis cluster answers")

    def move(self, slot: int, *, by_hand: bool = False) -> ClusterNode:
        """Give a slot to another node that has some; returns which, when all know.

        At once, as Valkey does since 9; or node after node is told, as everyone did before.
        """
        source = self.owner(slot)
        target = next(one for one in map(self.owner, range(0, SLOTS, 100)) if one is not source)
        if by_hand:
            target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
            source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
            for node in (target, source):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        else:
            source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
        self._until(f"slot {slot} did not move", lambda node: _owner(node, slot) == target.port)
        return target

    def _unite(self) -> None:
        masters, replicas = self.nodes[:MASTERS], self.nodes[MASTERS:]
        bounds = [SLOTS * number // MASTERS for number in range(MASTERS + 1)]
        for number, node in enumerate(masters):
            node.ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for one, other in combinations(self.nodes, 2):
            one.ask("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus)
        known = [node.id for node in self.nodes]
        self._until("nodes did not meet", lambda node: node.knows(known))
        self._until("slots are not shared", lambda node: _owner(node, SLOTS - 1) == masters[-1].port)
        for master, replica in zip(known, replicas, strict=False):
            replica.ask("CLUSTER", "REPLICATE", master)
        self._until("replicas did not follow", lambda node: node in masters or _follows(node))

    def _until(self, otherwise: str, agreed: Callable[[ClusterNode], bool]) -> None:
        """All that run say so."""
        deadline = time.monotonic() + _WITHIN
        while not all(agreed(node) for node in self.nodes if node.child.pid):
            if time.monotonic() > deadline:
                raise StackError(f"redis cluster: {otherwise} within {_WITHIN:.0f} s")
            time.sleep(_POLL)

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


def _owner(asked: ClusterNode, slot: int) -> int | None:
    """The port of who serves the slot, as far as that node knows."""
    shares = asked.ask("CLUSTER SLOTS")
    return next((owner[1] for first, last, owner, *_ in shares if first <= slot <= last), None)


def _follows(node: ClusterNode) -> bool:
    told = node.ask("INFO", "replication")
    return bool(told.get("master_link_status") == "up")
