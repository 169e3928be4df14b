"""What a cluster consists of, and the services that follow from it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from livebalance.stack.build.page import BUILT
from livebalance.stack.paths import StatePaths
from livebalance.stack.process.service import Service, service
from livebalance.stack.secret import demo_secret
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics

_HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class ClusterPlan:
    """What a cluster consists of.

    `environment` adds variables to every process of a kind or to one of a name: {"gateway": {...}}.
    """

    accounts: int = 8
    rate: float | Literal["max"] = 5.0  # transfers a second; max: as fast as the broker takes them
    seed: int | None = None
    limit: int | None = None  # transfers, then the feed is done
    feeds: int = 1
    recorders: int = 1
    projectors: int = 2
    gateways: int = 2
    topics: Topics = field(default_factory=Topics)
    page: bool = True
    port: int | None = None  # of the page; None: 8080 if it is free
    durable: bool = True
    yours: bool = False  # topics of somebody's own: the environment tells of them, and nothing feeds them
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def feed_arguments(self) -> list[str]:
        """The feed's command line."""
        if self.yours:
            return ["--desk"]
        given = {"accounts": self.accounts, "rate": self.rate, "seed": self.seed, "limit": self.limit}
        return [
            word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))
        ]


def services(place: StatePaths, plan: ClusterPlan, servers: Servers, page_port: int) -> Iterator[Service]:
    """The services of a plan, none started yet, in the order of the path."""
    demo = {"LIVEBALANCE_DEMO_SECRET": demo_secret(place)}
    common = {
        "LIVEBALANCE_KAFKA": servers.kafka,
        "LIVEBALANCE_REDIS": servers.redis(),
        **({} if plan.yours else _of_the_demo(plan.topics)),
    }
    own: dict[str, dict[str, str]] = {
        "feed": demo,
        "recorder": {},
        "projector": {"LIVEBALANCE_POSTGRES": servers.postgres("projector")},
        "gateway": {
            **demo,
            "LIVEBALANCE_ALLOWED_ORIGINS": json.dumps([f"http://{host}:{page_port}" for host in _HOSTS]),
            "LIVEBALANCE_POSTGRES": servers.postgres("gateway"),
            **({"LIVEBALANCE_PAGE_DIRECTORY": str(BUILT)} if plan.page else {}),
        },
    }
    counts = {
        "gateway": plan.gateways,
        "projector": plan.projectors,
        "recorder": plan.recorders,
        "feed": plan.feeds,
    }
    for kind, count in counts.items():
        arguments = plan.feed_arguments() if kind == "feed" else []
        for number in range(1, count + 1):
            more = {**plan.environment.get(kind, {}), **plan.environment.get(f"{kind}-{number}", {})}
            yield service(place, kind, number, {**common, **own[kind], **more}, arguments)


def _of_the_demo(topics: Topics) -> dict[str, str]:
    return {
        "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
        "LIVEBALANCE_CURRENCY": "EUR",
    }
