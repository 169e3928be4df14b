"""Caddy in front of the gateways, configured by `deploy/Caddyfile`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from livebalance.stack.errors import StackError
from livebalance.stack.paths import PROJECT, StatePaths, free_port, is_free, reserve_port
from livebalance.stack.process.process import ChildProcess, bare_environment

PREFERRED_PORT = 8080
PUBLIC_PATH = "/api/openapi.json"  # any ready gateway answers it, through the balancer as well


def page_port(requested: int | None) -> int:
    """Returns the requested port; without one, 8080 or, if that is taken, a free port.

    Raises:
        StackError: the requested port is taken.
    """
    if requested and not is_free(requested):
        raise StackError(
            f"port {requested} is taken: stop the process that uses it, or choose another port with --port"
        )
    return requested or (PREFERRED_PORT if reserve_port(PREFERRED_PORT) else free_port())


def balancer(
    paths: StatePaths,
    port: int,
    gateways: Sequence[str],
    health_port: int,
    feed: int | None,
    *,
    page: Path | None = None,
    control: int | None = None,
) -> ChildProcess:
    """Returns the process that listens on `port`, not started yet.

    It forwards requests to the URLs in `gateways`, requests for demo tokens to the port `feed`, and actions
    of the demo's page to the port `control`. It asks each gateway at `health_port` whether it is ready. It
    serves the files in `page` itself, so that a browser gets the page also while no gateway runs.
    """
    caddy = Path(sys.executable).with_name("caddy")
    state = str(paths.directory("caddy"))
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
        log=paths.log("balancer"),
        environment={
            **bare_environment(),
            "XDG_CONFIG_HOME": state,
            "XDG_DATA_HOME": state,
            "LIVEBALANCE_PAGE_PORT": str(port),
            **{name: value for name, value in os.environ.items() if name == "LIVEBALANCE_DEMO_HOSTS"},
            **({"LIVEBALANCE_DEMO_TOKEN_ADDRESS": f"127.0.0.1:{feed}"} if feed else {}),
            **({"LIVEBALANCE_DEMO_CONTROL_ADDRESS": f"127.0.0.1:{control}"} if control else {}),
            **({"LIVEBALANCE_PAGE_ROOT": str(page)} if page else {}),
            "LIVEBALANCE_GATEWAYS": " ".join(urlsplit(url).netloc for url in gateways),
            "LIVEBALANCE_HEALTH_PORT": str(health_port),
        },
    )
