"""Verifies tokens, and polls Postgres for revocations."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import asyncpg

from livebalance.gateway.auth import config
from livebalance.gateway.auth.config import AuthConfig
from livebalance.gateway.auth.gate import Gate
from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import LEEWAY, Rights
from livebalance.gateway.auth.tokens import TokenError, TokenVerifier
from livebalance.gateway.clock import uptime, wall
from livebalance.readmodel.errors import TRANSIENT
from livebalance.readmodel.revocations import Mark, Revocation, RevocationPage, read_new, read_page
from livebalance.runtime import logs
from livebalance.wire.identity import AccountId

READ_ALL_SECONDS = 60.0  # between two reads of all revocations, at most

_Page = TypeVar("_Page", RevocationPage, RevocationPage | None)
_log = logs.get("auth")


class Authenticator:
    """Answers what the bearer of a token may see. `run` serves until it is cancelled.

    `on_revoked` is called with the revocations of each page that was read, and may get the same revocation
    again. `on_read` is called after each read. `gate` is open while the rights are known well enough.
    """

    def __init__(
        self,
        auth_config: AuthConfig,
        pool: "asyncpg.Pool[asyncpg.Record]",
        *,
        poll_seconds: float,
        timeout_seconds: float,
        max_age_seconds: float,
    ) -> None:
        """Polls every `poll_seconds`. A statement may take `timeout_seconds`.

        After `max_age_seconds` without a successful poll the gate closes; inf: it stays open.

        Raises:
            StartupError: The configuration has no keys, or invalid keys.
        """
        self.revocations = Revocations()
        self.gate = Gate(uptime(), max_age_seconds)
        self.on_revoked: Callable[[Iterable[Revocation]], object] = self.revocations.add
        self.on_read: Callable[[], object] = lambda: None
        self._keys, expected = config.load(auth_config)
        if auth_config.demo_secret:
            _log.warning("demo mode enabled", effect="any client gets a token for every account")
        self._tokens = TokenVerifier(self._keys, expected)
        self._pool = pool
        self._poll_seconds = poll_seconds
        self._timeout_seconds = timeout_seconds
        self._poll_requested = asyncio.Event()
        self._mark: Mark | None = None  # of the last read; None: read all
        self._read_all_at = 0.0

    @property
    def ready(self) -> bool:
        """Whether the keys have been read, and rights are known."""
        return self._keys.ready and self.knows_rights

    @property
    def knows_rights(self) -> bool:
        """Whether the gate is open, so that data may be sent (docs/guarantees.md#rights)."""
        return self.gate.is_open(uptime())

    def check(self, token: str) -> Rights | TokenError:
        """Returns the rights of a valid token, or why it is rejected."""
        rights = self._tokens.check(token, asyncio.get_running_loop().time())
        return self.ended(rights) or rights if isinstance(rights, Rights) else rights

    def may_see(self, rights: Rights, account: AccountId) -> bool:
        """Returns whether the rights have not ended, cover the account, and are not revoked for it."""
        if self.ended(rights) or self.revocations.hides(rights, account):
            return False
        return rights.scope.covers(account)

    def ended(self, rights: Rights) -> TokenError | None:
        """Returns why a token that was valid is so no more. None if it still is."""
        if wall() >= rights.expires + LEEWAY * 1000:
            return "token_expired"
        return "revoked" if self.revocations.revokes(rights) else None

    def request_poll(self) -> None:
        """Polls now. Called when Redis announces a revocation, and after a pause of the gateway."""
        self._poll_requested.set()

    async def run(self) -> None:
        """Keeps keys and revocations up to date."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keys.run())
            group.create_task(self._poll_revocations())

    async def _poll_revocations(self) -> None:
        while True:
            self._poll_requested.clear()
            began = uptime()
            try:
                await self._read_revocations(began)
            except TRANSIENT as error:
                _log.warning("revocations unavailable", reason=type(error).__name__)
                await asyncio.sleep(self._poll_seconds)
                continue
            self.gate.on_revocations(began)
            self.on_read()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._poll_requested.wait()

    async def _read_revocations(self, now: float) -> None:
        """Reads the revocations that the last read has not seen; every minute, or if there are many, all."""
        page = None
        if self._mark and now < self._read_all_at + READ_ALL_SECONDS:
            page = await self._read(read_new(self._pool, self._mark))
        if page is None:
            page = first = await self._read(read_page(self._pool))
            while page.next:
                page = await self._read(read_page(self._pool, page.next))
            page, self._read_all_at = first, now
        self._mark = page.mark

    async def _read(self, read: Awaitable[_Page]) -> _Page:
        """Returns the answer to a statement, and applies its revocations."""
        async with asyncio.timeout(self._timeout_seconds):
            page = await read
        if page:
            self.on_revoked(page.revocations)
        return page
