"""Finds the token of a request, in a header or cookie but never in the URL, and checks its origin."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.")
_TOKEN_NAMES = frozenset({"token", "access_token", "id_token", "jwt", "auth", "authorization", "bearer"})


class Credentials:
    """Reads tokens and checks origins. `origins` are exact: scheme, host and port as a browser sends them."""

    def __init__(self, cookie: str, origins: Collection[str]) -> None:
        self._cookie = re.compile(rf'(?:^|;)[ \t]*{re.escape(cookie)}[ \t]*=[ \t]*"?([^;"]*)')
        self._origins = frozenset(origins)

    def cookie(self, headers: Iterable[str]) -> str | None:
        """Returns the token in the token cookie, from the values of the Cookie headers (RFC 6265 §4.2.1).

        `http.cookies` takes up to 0.2 s for a header of 8 KiB (CVE-2024-7592), and anybody can send one.
        """
        for header in headers:
            if values := self._cookie.findall(header):
                token: str = values[-1].rstrip(" \t")
                return token
        return None

    def bearer(self, header: str) -> str | None:
        """Returns the token in an Authorization header (RFC 6750 §2.1)."""
        scheme, _, token = header.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def allows_socket(self, origins: Sequence[str], hosts: Sequence[str], cookies: Sequence[str]) -> bool:
        """Returns whether a page, or a program without a page, may open a WebSocket.

        A browser adds the cookie to every request, also to those of a foreign page (ASVS 4.4.2). A request
        with the cookie therefore needs an allowed origin. Without the cookie, a page has only the tokens that
        it was given; its origin must then be allowed, or equal the request's host.
        """
        if all(origin in self._origins for origin in origins) and len(origins) == 1:
            return True
        if self.cookie(cookies) is not None or len(origins) > 1:
            return False
        return not origins or [urlsplit(origins[0]).netloc.lower()] == [host.lower() for host in hosts]

    def is_own_page(self, headers: Mapping[str, str]) -> bool:
        """Returns whether a request comes from a page of the same or an allowed origin.

        A browser sends no Origin with a same-origin GET, but `Sec-Fetch-Site: same-origin` (Fetch Metadata).
        A page cannot forge that header.
        """
        origin = headers.get("origin")
        return headers.get("sec-fetch-site") == "same-origin" if origin is None else origin in self._origins


def has_token(query: str) -> bool:
    """Returns whether a query seems to contain a token. URLs end up in logs and histories (ASVS 14.2.1)."""
    return any(name.lower() in _TOKEN_NAMES or _JWT.match(value) for name, value in parse_qsl(query))
