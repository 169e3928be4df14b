"""Rights at the door of HTTP: whose request it is, and whether it may have the account it names."""

from http import HTTPStatus

from fastapi import Request

from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.auth.authenticator import Authenticator
from livebalance.gateway.auth.credentials import Credentials, in_url
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.auth.tokens import TokenError
from livebalance.wire.identity import AccountId

_CHALLENGE = {"www-authenticate": 'Bearer realm="livebalance"'}
_WORDS: dict[TokenError, str] = {
    "unauthenticated": "a token is needed",
    "token_expired": "the token is past its time",
    "revoked": "access was revoked",
}


class RequestAuth:
    def __init__(self, credentials: Credentials, authority: Authenticator) -> None:
        self._credentials = credentials
        self._authority = authority

    async def rights(self, request: Request) -> Rights:
        """Raises ProblemError for a request without a good token."""
        if in_url(request.url.query):
            words = "a token belongs into the Authorization header"
            raise ProblemError(HTTPStatus.BAD_REQUEST, "token_in_url", words)
        token = self.token(request)
        verdict = self._authority.check(token) if token else "unauthenticated"
        if not isinstance(verdict, Rights):
            raise _refused(verdict)
        return verdict

    async def rights_of_reader(self, request: Request) -> Rights:
        """As `rights`, for what any page may have a browser open with our cookie: it has to be ours."""
        by_cookie = "authorization" not in request.headers and self.token(request) is not None
        if by_cookie and not self._credentials.ours(request.headers):
            raise ProblemError(HTTPStatus.FORBIDDEN, "origin", "origin not allowed")
        return await self.rights(request)

    def token(self, request: Request) -> str | None:
        """The one of the header, else that of the cookie."""
        if header := request.headers.get("authorization"):
            return self._credentials.bearer(header)
        return self._credentials.cookie(request.headers.getlist("cookie"))

    def may_see(self, rights: Rights, account: AccountId) -> bool:
        return self._authority.may_see(rights, account)

    def check(self, rights: Rights, account: AccountId) -> None:
        """The same ProblemError for every account that may not be seen, whether there is one or not."""
        if not self.may_see(rights, account):
            raise ProblemError(HTTPStatus.FORBIDDEN, "no_access", "no access to this account")


def _refused(denial: TokenError) -> ProblemError:
    if denial == "keys_missing":
        words = "the keys to check tokens with are being read"
        return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", words)
    return ProblemError(HTTPStatus.UNAUTHORIZED, denial, _WORDS[denial], _CHALLENGE)
