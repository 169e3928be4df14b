"""Parses the URL of a Redis server or cluster."""

from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_CLUSTER = "+cluster"
SCHEMES = ("redis", "rediss", f"redis{_CLUSTER}", f"rediss{_CLUSTER}")


class RedisNode(NamedTuple):
    """Address of a Redis server."""

    host: str
    port: int


@dataclass(frozen=True)
class RedisUrl:
    """A Redis server, or a cluster with some of its nodes, to which clients connect first."""

    nodes: tuple[RedisNode, ...]
    clustered: bool = False
    tls: bool = False
    login: tuple[str, str] | None = field(default=None, repr=False)  # user, password

    @classmethod
    def parse(cls, url: str) -> "RedisUrl":
        """Parses redis://host:port or redis+cluster://host:port,…; rediss for TLS. Raises ValueError."""
        scheme, separator, rest = url.partition("://")
        login, _, hosts = rest.partition("/")[0].rpartition("@")
        user, _, password = login.partition(":")
        nodes = tuple(_node(host) for host in hosts.split(","))
        clustered = scheme.endswith(_CLUSTER)
        if scheme not in SCHEMES or not separator or (len(nodes) > 1 and not clustered):
            raise ValueError("not the URL of a Redis server or cluster")
        return cls(
            nodes,
            clustered,
            scheme.startswith("rediss"),
            (unquote(user) or "default", unquote(password)) if password else None,
        )


def _node(text: str) -> RedisNode:
    parts = urlsplit(f"//{text.strip()}")
    return RedisNode(parts.hostname or "127.0.0.1", parts.port or 6379)
