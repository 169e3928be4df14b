"""Ports: not those of others, nor those that another stack is about to take."""

import socket
import subprocess
import sys

import pytest

from livebalance.stack.paths import free_port, reserve_port
from livebalance.stack.servers import balancer

_TRY = "import sys; from livebalance.stack.paths import reserved; print(reserved(int(sys.argv[1])))"


def _by_another(port: int) -> bool:
    command = [sys.executable, "-c", _TRY, str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout == "True\n"


def test_a_port_goes_to_one_stack_before_anybody_listens_there() -> None:
    port = free_port()
    assert not reserve_port(port)
    assert not _by_another(port)


def test_a_reservation_ends_with_its_process() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    assert _by_another(port)
    assert _by_another(port)


def test_the_page_takes_another_port_if_its_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("", 0))  # on all addresses, as most servers do
        other.listen()
        taken = int(other.getsockname()[1])
        monkeypatch.setattr(balancer, "PREFERRED_PORT", taken)
        port = balancer.page_port(None)
    assert port != taken
