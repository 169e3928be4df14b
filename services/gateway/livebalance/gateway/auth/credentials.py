"""Where a request may carry a token: a header, a cookie, never its address; and whose pages may ask."""

import re
from collections.abc import Collection, Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.")
_NAMES = frozenset({"token", "access_token", "id_token", "jwt", "auth", "authorization", "bearer"})


class Headers(Protocol):
    def get_all(self, key: str) -> list[str]: ...


class Credentials:
    """`origins` are exact: scheme, host and port as a browser sends them."""

    def __init__(self, cookie: str, origins: Collection[str]) -> None:
        self._cookie = cookie
        self._origins = frozenset(origins)

    def cookie(self, headers: Iterable[str]) -> str | None:
        """The token in our cookie."""
        for header in headers:
            try:
                if found := SimpleCookie(header).get(self._cookie):
                    return found.value
            except CookieError:
                continue
        return None

    def bearer(self, header: str) -> str | None:
        """The token in an Authorization header (RFC 6750)."""
        scheme, _, token = header.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def welcome(self, headers: Headers) -> bool:
        """Whether a page, or a program without one, may open a socket.

        A browser adds the cookie to whatever asks, also to a page of somebody else (ASVS 4.4.2): with it, the
        origin must be there and ours. Without it, a page has nothing it was not given; it still has to be of
        this host, or ours.
        """
        origins = headers.get_all("Origin")
        if all(origin in self._origins for origin in origins) and len(origins) == 1:
            return True
        if self.cookie(headers.get_all("Cookie")) is not None or len(origins) > 1:
            return False
        hosts = [host.lower() for host in headers.get_all("Host")]
        return not origins or [urlsplit(origins[0]).netloc.lower()] == hosts

    def ours(self, headers: Mapping[str, str]) -> bool:
        """Whether a request is of a page of ours, by its origin.

        A browser names none to where its page is from, but says that it is (Fetch Metadata); no page can.
        """
        origin = headers.get("origin")
        return headers.get("sec-fetch-site") == "same-origin" if origin is None else origin in self._origins


def in_url(query: str) -> bool:
    """Whether a query has something like a token: addresses stand in logs and histories (ASVS 14.2.1)."""
    return any(name.lower() in _NAMES or _JWT.match(value) for name, value in parse_qsl(query))
