"""Reads the state of an account over REST, from the first gateway that answers."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle

import httpx
import msgspec

from livebalance.client.account import Account, apply
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import Snapshot, decode_server_frame
from livebalance.wire.identity import AccountId, parse_account_id

_RETRY_SECONDS = 0.5  # if the answer has no Retry-After
_ANSWER_SECONDS = 5.0  # a gateway that is silent for longer counts as unreachable
# No answer, the revision is not reached yet, a budget is used up, or the gateway is starting or stopping.
_TEMPORARY = frozenset({"unreachable", "not_yet", "user_full", "user_too_fast", "address_too_fast"})


class ReadError(Exception):
    """A read failed.

    `code` is that of a problem (docs/errors.md), `unreachable`, `timeout` or `invalid`.
    `status` is None if no gateway answered.
    """

    def __init__(self, code: str, detail: str, status: int | None = None, retry_after: float = 0.0) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.status, self.retry_after = code, detail, status, retry_after

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in _TEMPORARY or (self.status is not None and self.status >= 500)


class _Problem(msgspec.Struct):
    code: str = "no_problem"  # the answer of something before the gateway, such as a proxy
    detail: str = ""


class Reader:
    """Sends requests to the gateways of `urls`, the WebSocket URLs of a client."""

    def __init__(self, urls: Sequence[str], token: Callable[[], Awaitable[str]] | None) -> None:
        self._urls = cycle(urls)
        self._base = next(self._urls)
        self._token = token
        self._http: httpx.AsyncClient | None = None

    async def read(self, account: AccountId, min_revision: int, within: float) -> Account:
        """Returns the account at `min_revision` or later, and repeats the request for `within` seconds.

        Raises:
            ReadError: The gateway rejects the request, or the time is over.
            DecodeError: `account` is not an account id.
        """
        path = f"accounts/{parse_account_id(account).replace('.', '%2E')}"  # `..` must not leave the folder
        failed = ReadError("timeout", f"no gateway answered within {within:g} s")
        try:
            async with asyncio.timeout(within):
                while True:
                    try:
                        return await self._request(path, min_revision)
                    except ReadError as error:
                        failed = error
                        if not error.is_temporary:
                            raise
                    await asyncio.sleep(failed.retry_after)
        except TimeoutError:
            raise failed from None

    async def close(self) -> None:
        """Closes the connections."""
        if self._http:
            http, self._http = self._http, None
            await http.aclose()

    async def _request(self, path: str, min_revision: int) -> Account:
        if self._http is None:
            self._http = httpx.AsyncClient(
                verify=ssl.create_default_context(), trust_env=False, timeout=_ANSWER_SECONDS
            )
        try:
            headers = {"Authorization": f"Bearer {await self._token()}"} if self._token else {}
            answer = await self._http.get(
                _rest_url(self._base, path), params={"min_revision": min_revision}, headers=headers
            )
        except (httpx.TransportError, OSError) as cause:
            self._base = next(self._urls)
            detail = str(cause) or type(cause).__name__
            raise ReadError("unreachable", detail, None, _RETRY_SECONDS) from cause
        return _account(answer)


def _rest_url(websocket_url: str, path: str) -> str:
    """Returns the URL of a path of the REST API, which is beside the WebSocket: `ws…/ws`, `http…/api/v1`."""
    return f"http{websocket_url[2:].rpartition('/')[0]}/api/v1/{path}"


def _account(answer: httpx.Response) -> Account:
    if answer.status_code == httpx.codes.OK:
        try:
            frame = decode_server_frame(answer.content)
        except DecodeError as cause:
            raise ReadError("invalid", str(cause), answer.status_code) from cause
        if isinstance(frame, Snapshot) and isinstance(state := apply(None, frame), Account):
            return state
        raise ReadError("invalid", "the answer is not the state of an account", answer.status_code)
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(detail=answer.reason_phrase)
    raise ReadError(problem.code, problem.detail, answer.status_code, _retry_after(answer))


def _retry_after(answer: httpx.Response) -> float:
    """Returns the seconds of Retry-After (RFC 9110 §10.2.3). Gateways send no dates."""
    seconds = answer.headers.get("retry-after", "")
    return float(seconds) if seconds.isdecimal() else _RETRY_SECONDS
