"""10,000 clients on 1,000 accounts are cut at once, twice: what it costs Postgres, and those who stayed.

`python -m tests.bench.reconnect_storm [--clients 10000] [--accounts 1000]`

Two gateways with the settings of production; rows are written to real Postgres and published to real Redis,
all the time. First the network cuts everyone and they come back to their gateway; then that is killed, and
they come to one that knows nothing of them. A hundred clients of another process stay with the second, and a
hundred with the first until it is killed; "usual" is what they see before, twice: that is the noise.
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from msgspec import json

from livebalance.stack.servers.servers import Servers
from livebalance.wire.delta import Delta
from livebalance.wire.frame import ChannelRequest, DeltaFrame, Subscribe, decode_server_frame, encode_frame
from livebalance.wire.identity import AccountId, channel_account, channel_name
from tests.bench.bench_servers import on_servers
from tests.bench.client_fleet import Crowd, Member, masked
from tests.bench.fanout import Server, serving
from tests.integration.gateway.fake_projector import FakeProjector
from tests.servers.database import Database
from tests.tokens import SECRET

PREFIX = "cut:"
STAY = 100
UPDATES = 100  # a second
QUIET = 10.0  # seconds of what is usual


class Teller:
    """The crowd, in its process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, *words: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.encode(words) + b"\n")
        line = await self._process.stdout.readline()
        assert line, "the crowd is gone"
        return json.decode(line)


@asynccontextmanager
async def crowd() -> AsyncIterator[Teller]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.bench.client_fleet"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    try:
        yield Teller(process)
    finally:
        process.kill()
        await process.wait()


@dataclass
class Watch:
    """What those who stay see: ms from the publication of a delta until it was read."""

    published: dict[tuple[str, int], float] = field(default_factory=dict)
    seen: list[float] = field(default_factory=list)

    def p99(self) -> float:
        times, self.seen = sorted(self.seen), []
        return times[len(times) * 99 // 100]


class TimedBook(FakeProjector):
    watch: Watch

    async def publish(self, account: str, delta: Delta) -> None:
        self.watch.published[account, delta.to] = time.perf_counter()
        await super().publish(account, delta)


class Staying(Member):
    """Follows every account."""

    watch: Watch
    accounts: list[AccountId]

    def _greet(self) -> bool:
        if not super()._greet():
            return False
        assert self.transport
        wanted = [ChannelRequest(channel_name(one)) for one in self.accounts]
        self.transport.write(masked(encode_frame(Subscribe(2, wanted))))
        return True

    def _take(self, opcode: int, text: bytes) -> None:
        if opcode != 1:
            super()._take(opcode, text)
        elif isinstance(frame := decode_server_frame(text), DeltaFrame):
            self.answered = now = time.perf_counter()
            if began := self.watch.published.get((channel_account(frame.channel), frame.to)):
                self.watch.seen.append((now - began) * 1000)


async def statements(server: Server, counter: str = "read_statements") -> int:
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{server.port}/metrics")).text
    found = re.search(rf"^livebalance_gateway_{counter}_total(?:{{.*}})? ([0-9.e+]+)$", text, re.M)
    return int(float(found[1])) if found else 0


async def writing(projector: FakeProjector, accounts: list[AccountId], end: asyncio.Event) -> None:
    """One account after the other."""
    began, number = time.perf_counter(), 0
    while not end.is_set():
        await projector.transfer(accounts[number % len(accounts)], 125)
        number += 1
        await asyncio.sleep(max(began + number / UPDATES - time.perf_counter(), 0))


async def usual(watch: Watch) -> float:
    watch.seen.clear()
    await asyncio.sleep(QUIET)
    return watch.p99()


async def exact(teller: Teller, database: Database) -> None:
    """Every client is where SQL is."""
    connection = await asyncpg.connect(database.url("owner"))
    truth = {
        channel_name(row["account_id"]): [row["revision"]]
        for row in await connection.fetch("select account_id, revision from balance")
    }
    await connection.close()
    async with asyncio.timeout(15):
        while (where := await teller.ask("where")) != truth:  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.5)
    assert len(where) == len(truth)


async def run(servers: Servers, clients: int, count: int) -> None:
    database = Database(servers.postgres, "cut")
    await database.create()
    environment = {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": servers.redis(),
        "LIVEBALANCE_CHANNEL_PREFIX": PREFIX,
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    }
    accounts = [AccountId(f"acc-{number:05}") for number in range(count)]
    watch = Watch()
    async with TimedBook(database.url("owner"), servers.redis(), PREFIX) as projector:
        projector.watch = watch
        await projector.open(*accounts)
        async with (
            serving("livebalance.gateway", environment) as second,
            serving("livebalance.gateway", environment) as first,
            crowd() as teller,
        ):
            here = [await staying(second, watch, accounts), await staying(first, watch, accounts)]
            print(f"{clients:,} clients came: {await teller.ask('come', first.port, clients, count, 250)}")
            end = asyncio.Event()
            writer = asyncio.create_task(writing(projector, accounts, end))
            before = [await usual(watch), await usual(watch)]
            print(f"usual p99 ms of those who stay: {before[0]:.1f}, again {before[1]:.1f}\n")
            for name, server in (("the network cuts them", first), ("their gateway is killed", second)):
                asked, spared = await statements(server), await statements(server, "history_recoveries")
                if server is second:
                    here[1].leaving = True
                    first.process.kill()
                watch.seen.clear()
                back = await teller.ask("cut", server.port)
                asked = await statements(server) - asked
                spared = await statements(server, "history_recoveries") - spared
                print(f"{name}: {back}")
                print(f"  statements that read accounts {asked}, answered without {spared}")
                print(f"  p99 ms of those who stay {watch.p99():.1f}", flush=True)
            end.set()
            await writer
            await exact(teller, database)
            here[0].leaving = True
    print("\nevery client is at the revision SQL has")


async def staying(server: Server, watch: Watch, accounts: list[AccountId]) -> Crowd:
    """In this process, so that one clock tells."""
    here = Crowd()
    here.port = server.port
    for number in range(STAY):
        one = Staying(here, 900_000 + number, accounts[number])
        one.watch, one.accounts = watch, [accounts[number]]
        here.members.append(one)
        await one.connect()
    return here


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--accounts", type=int, default=1_000)
    given = parser.parse_args()
    on_servers(lambda servers: run(servers, given.clients, given.accounts))


if __name__ == "__main__":
    main()
