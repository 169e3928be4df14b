"""Rights at the door of HTTP: whose request it is, and whether it may have the account it names."""

from fastapi import Request

from livebalance.gateway.authority import Authority
from livebalance.gateway.credentials import Credentials, in_url
from livebalance.gateway.problem import Problem, ProblemError
from livebalance.gateway.rights import Rights
from livebalance.gateway.tokens import Denial
from livebalance.wire.identity import AccountId

_CHALLENGE = {"www-authenticate": 'Bearer realm="livebalance"'}
_REFUSED: dict[Denial, Problem] = {
    "unauthenticated": Problem(401, "unauthenticated", "a token is needed", _CHALLENGE),
    "token_expired": Problem(401, "token_expired", "the token is past its time", _CHALLENGE),
    "revoked": Problem(401, "revoked", "access was revoked", _CHALLENGE),
    "keys_missing": Problem(503, "unavailable", "the keys to check tokens with are being read"),
}


class Guard:
    def __init__(self, credentials: Credentials, authority: Authority) -> None:
        self._credentials = credentials
        self._authority = authority

    async def rights(self, request: Request) -> Rights:
        """Raises ProblemError for a request without a good token."""
        if in_url(request.url.query):
            raise ProblemError(400, "token_in_url", "a token belongs into the Authorization header")
        token = self.token(request)
        verdict = self._authority.check(token) if token else "unauthenticated"
        if not isinstance(verdict, Rights):
            raise ProblemError(*_REFUSED[verdict])
        return verdict

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
            raise ProblemError(403, "no_access", "no access to this account")
