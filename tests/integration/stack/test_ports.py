"""Free ports: not used by other programs, and not reserved by other stacks."""

import socket
import subprocess
import sys

import pytest

from livebalance.stack.paths import free_port, reserve_port
from livebalance.stack.servers import balancer

_RESERVE = (
    "import sys; from livebalance.stack.paths import reserve_port; print(reserve_port(int(sys.argv[1])))"
)


def _reserve_in_another_process(port: int) -> bool:
    command = [sys.executable, "-c", _RESERVE, str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout == "True\n"


def test_reserved_port_is_not_reserved_again_before_a_server_listens() -> None:
    port = free_port()
    assert not reserve_port(port)
    assert not _reserve_in_another_process(port)


def test_reservation_ends_with_its_process() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    assert _reserve_in_another_process(port)
    assert _reserve_in_another_process(port)


def test_page_takes_another_port_if_the_preferred_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("", 0))  # on all addresses, as most servers do
        other.listen()
        taken = int(other.getsockname()[1])
        monkeypatch.setattr(balancer, "PREFERRED_PORT", taken)
        port = balancer.page_port(None)
    assert port != taken
