"""Caddy before the gateways, as `deploy/Caddyfile` says."""

import sys
from collections.abc import Sequence
from pathlib import Path

from livebalance.stack.errors import StackError
from livebalance.stack.paths import PROJECT, StatePaths, free_port, is_free, reserved
from livebalance.stack.process.process import ChildProcess, bare_environment

PREFERRED_PORT = 8080


def page_port(wanted: int | None) -> int:
    """The port of the page: the one wanted, else 8080, else one that is free.

    Raises:
        Trouble: the one wanted is taken.
    """
    if wanted and not is_free(wanted):
        raise StackError(f"port {wanted} is taken: stop what uses it, or ask for another with --port")
    return wanted or (PREFERRED_PORT if reserved(PREFERRED_PORT) else free_port())


def balancer(place: StatePaths, port: int, gateways: Sequence[int], feed: int | None) -> ChildProcess:
    """The process that listens on `port` and asks the gateways on theirs, and the feed for tokens."""
    caddy = Path(sys.executable).with_name("caddy")
    state = str(place.directory("caddy"))
    return ChildProcess(
        name="balancer",
        command=[
            str(caddy),
            "run",
            "--config",
            str(PROJECT / "deploy" / "Caddyfile"),
            "--adapter",
            "caddyfile",
        ],
        log=place.log("balancer"),
        environment={
            **bare_environment(),
            "XDG_CONFIG_HOME": state,
            "XDG_DATA_HOME": state,
            "LIVEBALANCE_PAGE_PORT": str(port),
            **({"LIVEBALANCE_DEMO_TOKEN_ADDRESS": f"127.0.0.1:{feed}"} if feed else {}),
            "LIVEBALANCE_GATEWAYS": " ".join(f"127.0.0.1:{gateway}" for gateway in gateways),
        },
    )
