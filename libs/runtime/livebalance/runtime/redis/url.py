"""Where Redis is, as its URL says: one server, or a cluster that any of its nodes tells all about."""

from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_CLUSTER = "+cluster"
SCHEMES = ("redis", "rediss", f"redis{_CLUSTER}", f"rediss{_CLUSTER}")


class RedisNode(NamedTuple):
    host: str
    port: int


@dataclass(frozen=True)
class RedisUrl:
    """`nodes` are where to begin: the server, or some of the cluster's."""

    nodes: tuple[RedisNode, ...]
    clustered: bool = False
    tls: bool = False
    login: tuple[str, str] | None = field(default=None, repr=False)  # user, password

    @classmethod
    def of(cls, url: str) -> "RedisUrl":
        """redis://host:port, or redis+cluster://one:port,other:port; rediss for TLS. Raises ValueError."""
        scheme, found, rest = url.partition("://")
        login, _, hosts = rest.partition("/")[0].rpartition("@")
        user, _, password = login.partition(":")
        nodes = tuple(_node(host) for host in hosts.split(","))
        clustered = scheme.endswith(_CLUSTER)
        if scheme not in SCHEMES or not found or (len(nodes) > 1 and not clustered):
            raise ValueError("not a URL of RedisUrl")
        return cls(
            nodes,
            clustered,
            scheme.startswith("rediss"),
            (unquote(user) or "default", unquote(password)) if password else None,
        )


def _node(text: str) -> RedisNode:
    parts = urlsplit(f"//{text.strip()}")
    return RedisNode(parts.hostname or "127.0.0.1", parts.port or 6379)
