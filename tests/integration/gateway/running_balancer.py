"""A Caddy in front of gateways, configured by `deploy/Caddyfile`."""

import asyncio
import ssl
from pathlib import Path

from livebalance.stack.process.process import ChildProcess
from livebalance.stack.process.service import responds
from livebalance.stack.servers.balancer import PUBLIC_PATH


class RunningBalancer:
    """A Caddy in front of gateways."""

    def __init__(self, child: ChildProcess, port: int, certificate: Path, uses_tls: bool) -> None:
        self.child, self.port, self._certificate, self._uses_tls = child, port, certificate, uses_tls
        self.http = f"http://127.0.0.1:{port}"

    def ssl_context(self) -> ssl.SSLContext:
        """Trusts only the balancer's own certificate authority."""
        return ssl.create_default_context(cafile=str(self._certificate))

    async def ready(self) -> None:
        """Waits until the balancer has found its gateways, or with TLS until it has a certificate."""
        async with asyncio.timeout(30):
            while not await self._is_ready():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        try:
            if self._uses_tls:
                _, writer = await asyncio.open_connection("localhost", self.port, ssl=self.ssl_context())
                writer.transport.abort()
                return True
            return await responds(self.port, PUBLIC_PATH)
        except OSError:  # TLS errors are OSErrors
            return False
