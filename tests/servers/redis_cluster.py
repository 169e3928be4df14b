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
NODE_TIMEOUT = 5000
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
            # `replace` orders it: on a busy machine, nodes may hold elections for minutes without a majority.
            "cluster-replica-no-failover": "yes",
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

    @property
    def gave_up_migration(self) -> bool:
        """Whether the node ended its newest migration without success. A node that stalls has that effect."""
        jobs = self.execute("CLUSTER", "GETSLOTMIGRATIONS")
        return bool(jobs) and jobs[0]["state"] in ("failed", "cancelled")

    def replicates(self, master: "ClusterNode") -> bool:
        """Tells whether the node is a replica of that master."""
        role, *of = self.execute("ROLE")
        return bool(role == "slave" and of[1] == master.port)

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

    def replace(self, lost: ClusterNode) -> ClusterNode:
        """Lets the replica of a master that does not answer take over its slots, and returns the replica."""
        [replica] = [node for node in self.nodes if node is not lost and node.replicates(lost)]
        replica.execute("CLUSTER", "FAILOVER", "TAKEOVER")
        self._until("no replica took over", lambda node: node is lost or lost.port not in _owners(node))
        return replica

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

        def moved(node: ClusterNode) -> bool:
            if not by_hand and source.gave_up_migration:
                source.execute("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
            return _owner(node, slot) == target.port

        self._until(f"slot {slot} did not move", moved)
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
        # A node that has not learned of a master's slots neither votes for its replica nor lets it take over.
        owners = {master.port for master in masters}
        self._until("slots are not shared", lambda node: _owners(node) == owners)
        for master, replica in zip(known, replicas, strict=False):
            replica.execute("CLUSTER", "REPLICATE", master)
        self._until("replicas did not follow", lambda node: node in masters or _follows(node))

    def _until(self, otherwise: str, agreed: Callable[[ClusterNode], bool]) -> None:
        """Waits until all running nodes agree. Raises StackError with the text `otherwise` after a minute."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not all(_agrees(node, agreed) for node in self.nodes if node.child.pid):
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


def _agrees(node: ClusterNode, agreed: Callable[[ClusterNode], bool]) -> bool:
    """Returns False also for a node that does not answer yet."""
    with suppress(redis.RedisError):
        return agreed(node)
    return False


def _owner(queried: ClusterNode, slot: int) -> int | None:
    """Returns the port of the node that serves the slot, according to `queried`."""
    shares = queried.execute("CLUSTER SLOTS")
    return next((owner[1] for first, last, owner, *_ in shares if first <= slot <= last), None)


def _owners(queried: ClusterNode) -> set[int]:
    """Returns the ports of the nodes that serve any slots, according to `queried`."""
    return {owner[1] for _, _, owner, *_ in queried.execute("CLUSTER SLOTS")}


def _follows(node: ClusterNode) -> bool:
    info = node.execute("INFO", "replication")
    return bool(info.get("master_link_status") == "up")
