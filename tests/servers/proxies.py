"""Caddy, nginx and HAProxy in front of a gateway, each with a log of the requests that it forwards."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from livebalance.stack.paths import PROJECT, free_port
from livebalance.stack.process.process import ChildProcess, bare_environment
from livebalance.stack.servers.balancer import PUBLIC_PATH

_NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr warn;
events {{ worker_connections 512; }}
http {{
  log_format forwarded "$upstream_addr";
  access_log {directory}/requests.log forwarded;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  upstream gateway {{ server 127.0.0.1:{gateway}; keepalive 8; }}
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://gateway; proxy_http_version 1.1; proxy_next_upstream off;
      proxy_request_buffering off;
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    }}
  }}
}}
"""

_HAPROXY = """
global
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "%s"
  http-reuse always
  option forwardfor
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  timeout tunnel 5s
listen front
  bind 127.0.0.1:{port}
  server gateway 127.0.0.1:{gateway}
"""


class Proxy:
    """A proxy that is started by `start`. `log` gets a line for each request, when the request has ended."""

    def __init__(
        self, child: ChildProcess, port: int, log: Path, is_forwarded: Callable[[str], bool]
    ) -> None:
        self.child, self.http = child, f"http://127.0.0.1:{port}"
        self._log, self._is_forwarded = log, is_forwarded

    def forwarded(self) -> int:
        """Returns the number of requests that the proxy has sent to the gateway."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return sum(map(self._is_forwarded, lines))


def _program(name: str) -> str:
    """Returns the path of a server. Without it the test is skipped; in CI it fails."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"skipped: {name} is not installed (Debian: the package {name})"
        )
    return path


def caddy(directory: Path, gateway: int) -> Proxy:
    """Returns Caddy with the shipped Caddyfile, whose requests are logged as well."""
    port, log, config = free_port(), directory / "requests.log", directory / "Caddyfile"
    shipped = (PROJECT / "deploy" / "Caddyfile").read_text()
    assert shipped.count("\trequest_body {") == 1
    config.write_text(
        shipped.replace("\trequest_body {", f"\tlog {{\n\t\toutput file {log}\n\t}}\n\trequest_body {{")
    )
    command = [str(Path(sys.executable).with_name("caddy")), "run", "--adapter", "caddyfile"]
    environment = {
        **bare_environment(),
        "XDG_CONFIG_HOME": str(directory),
        "XDG_DATA_HOME": str(directory),
        "LIVEBALANCE_PAGE_PORT": str(port),
        "LIVEBALANCE_GATEWAYS": f"127.0.0.1:{gateway}",
        "LIVEBALANCE_HEALTH_PORT": "0",  # that of clients, where this path answers
        "LIVEBALANCE_HEALTH_PATH": PUBLIC_PATH,
    }
    child = ChildProcess("caddy", [*command, "--config", str(config)], directory / "log", environment)
    return Proxy(child, port, log, lambda line: '"handled request"' in line)


def nginx(directory: Path, gateway: int) -> Proxy:
    """Returns nginx, which streams bodies to the gateway and keeps its connections."""
    port, config = free_port(), directory / "nginx.conf"
    config.write_text(_NGINX.format(directory=directory, gateway=gateway, port=port))
    command = [_program("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(config)]
    child = ChildProcess("nginx", command, directory / "log", bare_environment())
    return Proxy(child, port, directory / "requests.log", lambda line: line != "-")


def haproxy(directory: Path, gateway: int) -> Proxy:
    """Returns HAProxy, which shares its connections to the gateway between clients."""
    port, config = free_port(), directory / "haproxy.cfg"
    config.write_text(_HAPROXY.format(gateway=gateway, port=port))
    child = ChildProcess(
        "haproxy", [_program("haproxy"), "-f", str(config)], directory / "log", bare_environment()
    )
    return Proxy(child, port, directory / "log", lambda line: line == "gateway")
