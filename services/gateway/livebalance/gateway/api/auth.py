"""Authorization of REST requests: the token's rights, and access to the account that a request names."""

from http import HTTPStatus

from fastapi import Request
from starlette.types import Scope

from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.auth.authenticator import Authenticator
from livebalance.gateway.auth.credentials import Credentials, has_token
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.auth.tokens import TokenError
from livebalance.wire.identity import AccountId

_RIGHTS_KEY = "token_rights"  # in `scope["state"]`
_CHALLENGE = {"www-authenticate": 'Bearer realm="livebalance"'}
_RIGHTS_UNKNOWN = "The gateway cannot read who may see what at the moment; retry later."
_DETAILS: dict[TokenError, str] = {
    "unauthenticated": "Send a valid token.",
    "token_expired": "The token has expired; get another.",
    "revoked": "Access was revoked; sign in again.",
    "keys_missing": "The gateway is still loading the keys that check tokens; retry later.",
}


class RequestAuth:
    """Dependencies and checks for routes that need a token."""

    def __init__(self, credentials: Credentials, authenticator: Authenticator) -> None:
        self._credentials = credentials
        self._authenticator = authenticator

    async def rights(self, request: Request) -> Rights:
        """Returns the rights of the request's token.

        Raises:
            ProblemError: The URL contains a token, or the request has no valid token.
        """
        if has_token(request.url.query):
            detail = "Send the token in the Authorization header, not in the URL."
            raise ProblemError(HTTPStatus.BAD_REQUEST, "token_in_url", detail)
        rights = self.check(request)
        if not isinstance(rights, Rights):
            raise _token_problem(rights)
        return rights

    def check(self, request: Request) -> Rights | TokenError:
        """Returns the rights of the request's token, or why it has none. The token is verified only once."""
        state = request.scope.setdefault("state", {})
        if _RIGHTS_KEY not in state:
            token = self.token(request)
            state[_RIGHTS_KEY] = self._authenticator.check(token) if token else "unauthenticated"
        rights: Rights | TokenError = state[_RIGHTS_KEY]
        return rights

    async def rights_from_own_page(self, request: Request) -> Rights:
        """Returns the rights of the request's token, which may only be in the cookie if the page is allowed.

        For requests that a browser sends with the cookie for a page of any site (ASVS 4.4.2).

        Raises:
            ProblemError: As for `rights`, or the page is not allowed to use the cookie.
        """
        from_cookie = "authorization" not in request.headers and self.token(request) is not None
        if from_cookie and not self._credentials.is_own_page(request.headers):
            raise ProblemError(HTTPStatus.FORBIDDEN, "origin", "This origin is not allowed.")
        return await self.rights(request)

    def token(self, request: Request) -> str | None:
        """Returns the token in the Authorization header. Without that header: the token in the cookie."""
        if header := request.headers.get("authorization"):
            return self._credentials.bearer(header)
        return self._credentials.cookie(request.headers.getlist("cookie"))

    def require_rights_to_send(self, scope: Scope) -> None:
        """Checks that data may be written now (docs/guarantees.md#rights).

        The rights may have ended since the request was read: while Postgres was read, while the client did
        not read, or while the gateway was stopped.

        Raises:
            ProblemError: The gateway does not know which rights are revoked, or these have ended.
        """
        if not self._authenticator.knows_rights:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", _RIGHTS_UNKNOWN)
        rights = scope["state"].get(_RIGHTS_KEY)
        if isinstance(rights, Rights):
            if ended := self._authenticator.ended(rights):
                raise _token_problem(ended)
            account = scope.get("path_params", {}).get("account")
            if account and self._authenticator.revocations.hides(rights, account):
                raise _no_access()

    def may_see(self, rights: Rights, account: AccountId) -> bool:
        """Returns whether the rights have not ended, cover the account, and are not revoked for it."""
        return self._authenticator.may_see(rights, account)

    def hidden_accounts(self, rights: Rights) -> list[AccountId]:
        """Returns the accounts for which the rights are revoked."""
        return self._authenticator.revocations.hidden_accounts(rights)

    def require_access(self, rights: Rights, account: AccountId) -> None:
        """Checks that the rights allow to see the account.

        Raises:
            ProblemError: They do not. The problem does not reveal whether the account exists.
        """
        if not self.may_see(rights, account):
            raise _no_access()


def _no_access() -> ProblemError:
    return ProblemError(HTTPStatus.FORBIDDEN, "no_access", "This token gives no access to this account.")


def _token_problem(error: TokenError) -> ProblemError:
    if error == "keys_missing":
        return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", _DETAILS[error])
    return ProblemError(HTTPStatus.UNAUTHORIZED, error, _DETAILS[error], _CHALLENGE)
