"""A network namespace for the clients, connected by a veth pair, so that what they receive counts as theirs.

On loopback the kernel delivers a packet to its receiver while the sender writes it, on the sender's core and
as the sender's CPU time. The receiving end of the pair hands packets to the cores of the clients instead.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_SERVER, _CLIENT = "198.18.0.1", "198.18.0.2"  # RFC 2544 §C.2.2 reserves these for benchmarks
_CLONE_NEWNET = 0x40000000
_OWN = Path("/proc/self/ns/net")


class ClientNetwork(NamedTuple):
    """Where servers listen, and where the sockets of clients are made."""

    host: str = "127.0.0.1"
    namespace: Path | None = None  # None: that of the servers
    description: str = "clients on loopback, because a network namespace needs root and `ip`"

    def socket(self) -> socket.socket:
        """Returns a socket in the namespace. A socket stays where it was made."""
        if self.namespace is None:
            made = socket.socket()
        else:
            with _OWN.open() as own, self.namespace.open() as other:
                _enter(other.fileno())
                try:
                    made = socket.socket()
                finally:
                    _enter(own.fileno())
        made.setblocking(False)
        return made


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def client_network(cores: Collection[int]) -> Iterator[ClientNetwork]:
    """Yields a namespace that exists while the block runs; loopback if root or `ip` is missing.

    `cores` are those of the clients.
    """
    name = f"peers-{os.getpid()}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` is reached
    is_root = os.geteuid() == 0 and shutil.which("ip") is not None
    try:
        yield _create(name, cores) if is_root else ClientNetwork()
    finally:
        if is_root:  # the pair ends with the namespace
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _create(name: str, cores: Collection[int]) -> ClientNetwork:
    outside, inside = f"peers{os.getpid()}", "clients"
    receiving = f"/sys/class/net/{inside}/queues/rx-0/rps_cpus"
    mask = f"{sum(1 << core for core in cores):x}"
    try:
        _ip("netns", "add", name)
        _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
        _ip("address", "add", f"{_SERVER}/30", "dev", outside)
        _ip("link", "set", outside, "up")
        _ip("-n", name, "address", "add", f"{_CLIENT}/30", "dev", inside)
        _ip("-n", name, "link", "set", inside, "up")
        _ip("netns", "exec", name, "sh", "-c", f"echo {mask} > {receiving}")
    except subprocess.CalledProcessError as error:
        print(f"clients on loopback, because this failed: {' '.join(error.cmd)}")
        return ClientNetwork()
    return ClientNetwork(_SERVER, Path("/run/netns") / name, "clients in a network namespace of their own")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
