"""The parts of a cluster, and the services that they require."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from livebalance.stack.build.page import PAGE_DIRECTORY
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.service import Service, create_service
from livebalance.stack.secret import demo_secret
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics


@dataclass(frozen=True)
class ClusterPlan:
    """The parts of a cluster.

    `environment` adds variables to all processes of a kind, to a single process, or to the balancer:
    {"gateway": {...}}.
    """

    accounts: int = 8
    rate: float | Literal["max"] = 5.0  # transfers per second; max: as fast as Kafka accepts them
    seed: int | None = None
    limit: int | None = None  # number of transfers after which the feed ends
    feeds: int = 1
    recorders: int = 1
    projectors: int = 2
    gateways: int = 2
    topics: Topics = field(default_factory=lambda: Topics(lifecycle="account-lifecycle"))
    page: bool = True
    port: int | None = None  # of the page; None: 8080, or another port if that is taken
    durable: bool = True
    own_topics: bool = False  # the user's topics, set in the environment; the feed writes nothing to them
    control: bool = False  # the page may kill gateways and write transfers
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def feed_arguments(self) -> list[str]:
        """Returns the arguments of the feed."""
        if self.own_topics:
            return ["--tokens-only"]
        options = {"accounts": self.accounts, "rate": self.rate, "seed": self.seed, "limit": self.limit}
        return [
            word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))
        ]


def page_origins(port: int) -> list[str]:
    """Returns the origins of the page at a port of this machine."""
    return [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost")]


def services(paths: StatePaths, plan: ClusterPlan, servers: Servers, page_port: int) -> Iterator[Service]:
    """Yields the services of a plan, not started yet, the gateways first."""
    demo = {"LIVEBALANCE_DEMO_SECRET": demo_secret(paths)}
    common = {
        "LIVEBALANCE_KAFKA": servers.kafka,
        "LIVEBALANCE_REDIS": servers.redis(),
        **({} if plan.own_topics else _demo_topics(plan.topics)),
    }
    by_kind: dict[str, dict[str, str]] = {
        "feed": demo,
        "recorder": {"LIVEBALANCE_POSTGRES": servers.postgres("recorder")},
        "projector": {"LIVEBALANCE_POSTGRES": servers.postgres("projector")},
        "gateway": {
            **demo,
            "LIVEBALANCE_ALLOWED_ORIGINS": json.dumps(page_origins(page_port)),
            "LIVEBALANCE_ALLOWED_HOSTS": os.environ.get("LIVEBALANCE_ALLOWED_HOSTS", _own_hosts(plan)),
            "LIVEBALANCE_POSTGRES": servers.postgres("gateway"),
            **({"LIVEBALANCE_PAGE_DIRECTORY": str(PAGE_DIRECTORY)} if plan.page else {}),
        },
    }
    counts = {
        "gateway": plan.gateways,
        "projector": plan.projectors,
        "recorder": plan.recorders,
        "feed": plan.feeds,
    }
    gateways_port = free_port()
    for kind, count in counts.items():
        arguments = plan.feed_arguments() if kind == "feed" else []
        for number in range(1, count + 1):
            more = {**plan.environment.get(kind, {}), **plan.environment.get(f"{kind}-{number}", {})}
            environment = {**common, **by_kind[kind], **more}
            yield create_service(paths, kind, number, environment, arguments, gateways_port=gateways_port)


def _own_hosts(plan: ClusterPlan) -> str:
    """Returns the names of this machine, as JSON.

    Anybody gets a demo token. If a website gave its own name the address of this machine (DNS rebinding), it
    could otherwise read the accounts in the browser of whoever runs the demo.
    """
    return json.dumps(["localhost", *(f"127.0.0.{number + 1}" for number in range(plan.gateways))])


def _demo_topics(topics: Topics) -> dict[str, str]:
    return {
        "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
        **({"LIVEBALANCE_LIFECYCLE_TOPIC": topics.lifecycle} if topics.lifecycle else {}),
        "LIVEBALANCE_CURRENCY": "EUR",
    }
