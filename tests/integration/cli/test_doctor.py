"""`livebalance doctor` on a sound setup, and on setups that are broken in one way: it names the cause."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from livebalance.cli import addresses
from livebalance.cli.inspection import doctor
from livebalance.cli.inspection.diagnosis import Diagnosis
from livebalance.readmodel.connection import Connection
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.topic_identity import read_topic_identities
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.conftest import MakeTopics
from tests.integration.cli.command_line import run_command
from tests.servers.database import Database

UNREACHABLE = "127.0.0.1:1"

Configure = Callable[..., None]


@pytest.fixture
def configure(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], database: Database
) -> Iterator[Configure]:
    """A function that sets variables of the command beside those of a sound setup."""

    def set_variables(**changed: str) -> None:
        for name, value in {
            **environment,
            "LIVEBALANCE_POSTGRES": database.url("operator"),
            **{f"LIVEBALANCE_{key}": value for key, value in changed.items()},
        }.items():
            monkeypatch.setenv(name, value)
        addresses._settings.cache_clear()

    set_variables()
    yield set_variables
    addresses._settings.cache_clear()


@pytest.fixture
async def owner(database: Database, topics: Topics, kafka: str) -> AsyncIterator[Connection]:
    """A connection to a database in which a projector has claimed the lanes of these topics."""
    connection = await asyncpg.connect(database.url("owner"))
    ids = await read_topic_identities(Broker(kafka), [topics.transfers, topics.balances])
    await connection.execute(
        "insert into projection select true, 'e', system_identifier, timeline, 3 from server_identity"
    )
    await connection.execute(
        "insert into lane (lane, transfers_next, balances_next, generation, epoch, from_start, as_of, owner,"
        " transfers_topic_id, balances_topic_id)"
        " select n, 0, 0, 1, 'e', true, now(), 'projector-1', $1, $2 from generate_series(0, 2) n",
        ids[topics.transfers].id,
        ids[topics.balances].id,
    )
    yield connection
    await connection.close()


async def errors() -> list[Diagnosis]:
    """Returns the findings of doctor that are errors. Each says what to do."""
    findings = await doctor.diagnose()
    assert all(finding.hint for finding in findings if finding.state != "ok"), findings
    return [finding for finding in findings if finding.state == "error"]


async def only_error() -> Diagnosis:
    (finding,) = await errors()
    return finding


async def test_doctor_finds_no_error_in_a_sound_setup(configure: Configure, owner: Connection) -> None:
    findings = {finding.check: finding for finding in await doctor.diagnose()}
    assert [finding for finding in findings.values() if finding.state == "error"] == []
    sound = {"Postgres", "rights", "schema", "projection", "Kafka", "partitions", "retention", "Redis"}
    assert {name for name, finding in findings.items() if finding.state == "ok"} >= sound
    assert findings["projectors"].text == "no projector is connected to this database"


async def test_doctor_shows_which_services_are_connected(
    configure: Configure, owner: Connection, database: Database
) -> None:
    projector = await asyncpg.connect(
        database.url("projector"), server_settings={"application_name": "projector-7"}
    )
    findings = {finding.check: finding for finding in await doctor.diagnose()}
    await projector.close()
    assert findings["projectors"] == Diagnosis("projectors", "ok", "connected to Postgres: projector-7")


async def test_doctor_reports_postgres_that_does_not_run(configure: Configure) -> None:
    configure(POSTGRES=f"postgresql://operator@{UNREACHABLE}/livebalance")
    finding = await only_error()
    assert finding.check == "Postgres"
    assert finding.hint == "start Postgres, or correct host and port in LIVEBALANCE_POSTGRES"


async def test_doctor_reports_a_wrong_password(
    configure: Configure, paths: StatePaths, tmp_path: Path
) -> None:
    own = StatePaths(paths.home, tmp_path / "postgres")
    with Servers(own, parts=["postgres"], durable=False, only_embedded=True) as server:
        await require_password(server.postgres, "someone", "right")
        configure(POSTGRES=server.postgres("someone:right", "postgres"))
        assert (await only_error()).check == "schema"
        configure(POSTGRES=server.postgres("someone:wrong", "postgres"))
        finding = await only_error()
    assert "password authentication failed" in finding.text
    assert finding.hint == "correct user and password in LIVEBALANCE_POSTGRES, or pg_hba.conf"


async def require_password(address: Callable[[str, str], str], role: str, password: str) -> None:
    """Creates a role that logs in with a password. Other roles of this machine are trusted."""
    owner = await asyncpg.connect(address("owner", "postgres"))
    await owner.execute(f"create role {role} login password '{password}'")
    rules = [f"host all {role} all scram-sha-256", "host all all 127.0.0.1/32 trust", "local all all trust"]
    lines = " union all ".join(f"select '{rule}'" for rule in rules)
    await owner.execute(f"copy ({lines}) to '{await owner.fetchval('show hba_file')}'")
    await owner.execute("select pg_reload_conf()")
    await owner.close()
    async with asyncio.timeout(60):
        while await is_accepted(address(f"{role}:wrong", "postgres")):  # noqa: ASYNC110 - a reload
            await asyncio.sleep(0.05)


async def is_accepted(url: str) -> bool:
    try:
        await (await asyncpg.connect(url)).close()
    except asyncpg.InvalidPasswordError:
        return False
    return True


@pytest.mark.parametrize(
    ("role", "missing"),
    [("analyst", "select lane"), ("gateway", "select quarantine"), ("projector", "insert revocation")],
)
async def test_doctor_reports_missing_rights(
    configure: Configure, owner: Connection, database: Database, role: str, missing: str
) -> None:
    configure(POSTGRES=database.url(role))
    finding = await only_error()
    assert (finding.check, finding.text.split(" may not: ")[0]) == ("rights", role)
    assert missing in finding.text
    assert finding.hint
    assert "grant operator to the role" in finding.hint


async def test_doctor_reports_a_database_without_a_schema(configure: Configure, database: Database) -> None:
    configure(POSTGRES=database.address("operator", "postgres"))
    finding = await only_error()
    assert (finding.check, finding.text) == ("schema", "the database has no schema of Livebalance")
    assert finding.hint == "run `python -m livebalance.readmodel` as the owner of the database"


async def test_doctor_reports_a_missing_migration(configure: Configure, owner: Connection) -> None:
    await owner.execute("update alembic_version set version_num = '0001'")
    finding = await only_error()
    assert finding.text.startswith("migration 0001, but ")
    assert finding.text.endswith(" is missing")


async def test_doctor_reports_a_database_that_does_not_exist(
    configure: Configure, database: Database
) -> None:
    configure(POSTGRES=database.address("operator", "no_such_database"))
    assert "does not exist" in (await only_error()).text


async def test_doctor_reports_kafka_that_does_not_run(configure: Configure, owner: Connection) -> None:
    configure(KAFKA=UNREACHABLE)
    finding = await only_error()
    assert finding.check == "Kafka"
    assert finding.text.startswith(UNREACHABLE)


async def test_doctor_reports_a_topic_that_does_not_exist(configure: Configure, owner: Connection) -> None:
    configure(BALANCES_TOPIC="no-such-topic")
    assert (await only_error())[:3] == ("no-such-topic", "error", "this topic does not exist")


async def test_doctor_reports_topics_with_other_partitions(
    configure: Configure, owner: Connection, topics: Topics, make_topics: MakeTopics
) -> None:
    other = await make_topics(2)
    configure(BALANCES_TOPIC=other.balances)
    assert f"{topics.transfers} has 3 partitions, {other.balances} has 2" in {e.text for e in await errors()}
    configure(
        TRANSFERS_TOPIC=other.transfers, BALANCES_TOPIC=other.balances, LIFECYCLE_TOPIC=other.lifecycle or ""
    )
    assert "the topics have 2 partitions, the projection has 3 lanes" in {e.text for e in await errors()}


async def test_doctor_reports_a_topic_that_was_created_again(
    configure: Configure, owner: Connection, topics: Topics
) -> None:
    await owner.execute("update lane set transfers_topic_id = $1", uuid4())
    finding = await only_error()
    assert finding.check == topics.transfers
    assert "created again" in finding.text


async def test_doctor_reports_records_that_kafka_has_lost(
    configure: Configure, owner: Connection, topics: Topics
) -> None:
    await owner.execute("update lane set balances_next = 7 where lane = 1")
    finding = await only_error()
    assert finding.check == topics.balances
    assert finding.text == "partition 1 ends at 0, but the projection has applied up to 7"


@pytest.mark.parametrize("seconds", [-3600, 3600])
async def test_doctor_reports_clocks_that_differ(
    configure: Configure, owner: Connection, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    now = time.time
    monkeypatch.setattr("livebalance.cli.inspection.doctor.time.time", lambda: now() - seconds)
    findings = [finding for finding in await doctor.diagnose() if finding.check.startswith("clock of")]
    assert [finding.check for finding in findings] == ["clock of Postgres", "clock of Redis"]
    for finding in findings:
        assert finding.state == "error"
        assert ("ahead of" if seconds > 0 else "behind") in finding.text


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        (f"redis://{UNREACHABLE}", "start Redis, or correct LIVEBALANCE_REDIS"),
        (
            "redis://nobody:wrong@{address}",
            "correct user and password in LIVEBALANCE_REDIS, or deploy/redis.acl",
        ),
    ],
)
async def test_doctor_reports_redis_that_does_not_answer(
    configure: Configure, owner: Connection, redis_url: str, url: str, hint: str
) -> None:
    configure(REDIS=url.format(address=redis_url.partition("://")[2]))
    finding = await only_error()
    assert (finding.check, finding.hint) == ("Redis", hint)


async def test_doctor_reports_a_halted_lane_and_what_waits(configure: Configure, owner: Connection) -> None:
    await owner.execute("update lane set halted_why = 'the topic lost records' where lane = 2")
    await owner.execute("update lane set disputed = 4, as_of = now() - interval '3 hours' where lane = 1")
    findings = await doctor.diagnose()
    halted = next(finding for finding in findings if finding.state == "error")
    assert (halted.check, halted.text) == ("lane 2", "halted by the projector: the topic lost records")
    texts = {finding.text for finding in findings}
    assert "4 accounts are disputed" in texts
    assert any(
        re.fullmatch(r"complete as of 1\d,\d{3} s ago; claimed by projector-1", text) for text in texts
    )


async def test_doctor_prints_a_table_or_json_and_exits_with_3(
    environment: dict[str, str], database: Database, owner: Connection
) -> None:
    variables = {**environment, "LIVEBALANCE_POSTGRES": database.url("operator")}
    sound = await run_command(variables, "doctor")
    assert (sound.code, sound.err) == (0, "")
    assert "\x1b" not in sound.out
    assert sound.out.splitlines()[0].split() == ["check", "finding"]
    broken = await run_command(
        {**variables, "LIVEBALANCE_REDIS": f"redis://{UNREACHABLE}"}, "doctor", "--json"
    )
    assert (broken.code, broken.err) == (3, "")
    result = json.loads(broken.out)
    assert result["good"] is False
    assert [finding for finding in result["findings"] if finding["state"] == "error"] == [
        {
            "check": "Redis",
            "state": "error",
            "text": result["findings"][-1]["text"],
            "hint": "start Redis, or correct LIVEBALANCE_REDIS",
        }
    ]
