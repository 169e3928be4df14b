"""Who is let in, and who no longer: tokens checked here, and what operators took back, read from Postgres."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

import asyncpg

from livebalance.gateway.auth.config import trusted
from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.auth.tokens import TokenError, TokenVerifier
from livebalance.gateway.settings import Settings
from livebalance.readmodel.errors import TRANSIENT
from livebalance.readmodel.revocations import KEPT, OVERLAP, Revocation, revoked
from livebalance.runtime import logs
from livebalance.wire.identity import AccountId

_log = logs.get("authority")


class Authenticator:
    """`run` serves until it is cancelled; `told` is called with what was taken back, perhaps again."""

    def __init__(self, settings: Settings, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Raises RefusedError when the settings have no keys, or keys that are none."""
        self.revocations = Revocations()
        self.told: Callable[[Iterable[Revocation]], object] = self.revocations.add
        self._keys, expected = trusted(settings)
        if settings.demo_secret:
            _log.warning("demo mode: whoever asks is given a token for every account")
        self._tokens = TokenVerifier(self._keys, expected)
        self._pool = pool
        self._period = settings.revocation_poll_seconds
        self._deadline = settings.postgres_timeout_seconds
        self._rang = asyncio.Event()
        self._read = False  # what was taken back, ever
        self._gapless = False  # and since then without a pause

    @property
    def ready(self) -> bool:
        return self._keys.ready and self._read

    def check(self, token: str) -> Rights | TokenError:
        rights = self._tokens.check(token, asyncio.get_running_loop().time())
        return "revoked" if isinstance(rights, Rights) and self.revocations.ended(rights) else rights

    def may_see(self, rights: Rights, account: AccountId) -> bool:
        return rights.scope.covers(account) and not self.revocations.hide(rights, account)

    def ring(self) -> None:
        """Redis said that something was taken back."""
        self._rang.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keys.run())
            group.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self._rang.clear()
            try:
                async with asyncio.timeout(self._deadline):
                    self.told(await revoked(self._pool, OVERLAP if self._gapless else KEPT))
                self._read = self._gapless = True
            except TRANSIENT as reason:
                self._gapless = False
                _log.warning("revocations cannot be read", reason=type(reason).__name__)
                await asyncio.sleep(self._period)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period):
                    await self._rang.wait()
