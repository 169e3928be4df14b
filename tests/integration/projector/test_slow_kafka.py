"""Kafka answers late and slowly: the projector keeps its lanes, and catches up."""

import dataclasses
from pathlib import Path

from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.paths import StatePaths
from tests.integration.gateway.faulty_proxy import faulty_proxy
from tests.integration.projector.pipeline import Pipeline, history
from tests.servers.kafka_behind_proxy import ProxiedKafkaServer

_CLAIMS = "select array_agg(generation order by lane) from lane"


async def test_projector_keeps_its_lanes_when_kafka_is_slow(
    pipeline: Pipeline, paths: StatePaths, tmp_path: Path
) -> None:
    server = ProxiedKafkaServer(StatePaths(paths.home, tmp_path / "own"))
    server.prepare()
    server.start()
    try:
        server.ready()
        direct = dataclasses.replace(pipeline, kafka=f"127.0.0.1:{server.port}")
        await pipeline.topics.create(Broker(direct.kafka))
        records = history("alice", range(1, 1_501))
        async with faulty_proxy(f"tcp://127.0.0.1:{server.proxied}", server.proxy) as (proxy, _):
            slow = dataclasses.replace(pipeline, kafka=f"127.0.0.1:{server.proxy}")
            async with slow.running():
                await direct.write(records[:5])
                await pipeline.wait_until_applied(records[:5])
                claims = await pipeline.query(_CLAIMS)
                proxy.delay, proxy.rate = 0.5, 20_000
                await direct.write(records[5:-4])
                await pipeline.wait_until_applied(records[:-4], 120)
                proxy.delay, proxy.rate = 0.0, None
                await direct.write(records[-4:])
                await pipeline.wait_until_applied(records)
                assert await pipeline.query(_CLAIMS) == claims
            await pipeline.assert_exact(records)
    finally:
        server.stop()
