"""What each rendered container is told is what its service takes: by the service's own settings."""

import json
import os
from pathlib import Path

import pytest
import trustme

from livebalance.readmodel.__main__ import MigrationSettings
from livebalance.runtime.config.environment import read_settings, service_settings, variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import SettingsError
from tests.contract.chart import helm
from tests.contract.chart.objects import container, environment, pods

MOUNTED = "/etc/livebalance"
VALUES = {  # what the Secrets hold, by the file that a key of theirs becomes
    "livebalance_redis": "rediss://redis:6379/0",
    "livebalance_postgres": "postgresql://someone@postgres:5432/livebalance",
    "livebalance_postgres_owner": "postgresql://owner@postgres:5432/livebalance",
    "livebalance_kafka_password": "not guessed",
    "livebalance_schema_registry": "https://registry.example.org",
    "livebalance_jwks": json.dumps({"keys": [{"kty": "oct", "kid": "1", "k": "c2VjcmV0" * 8}]}),
}
SERVICES: dict[str, type[ServiceSettings]] = {**service_settings(), "migrations": MigrationSettings}


def authority(directory: Path) -> dict[str, bytes]:
    ca = trustme.CA()
    mine = ca.issue_cert("livebalance")
    return {
        "ca.crt": ca.cert_pem.bytes(),
        "tls.crt": b"".join(one.bytes() for one in mine.cert_chain_pems),
        "tls.key": mine.private_key_pem.bytes(),
    }


def mount(pod: helm.Document, root: Path) -> None:
    """As a kubelet does: each file is a link through `..data` into a directory of its own time."""
    papers = authority(root)
    volumes = {one["name"]: one for one in pod["volumes"]}
    for place in container(pod)["volumeMounts"]:
        if not place["mountPath"].startswith(MOUNTED):
            continue
        here = root / place["mountPath"].removeprefix(f"{MOUNTED}/")
        sources = volumes[place["name"]].get("projected", {}).get("sources", [])
        keys = [item["path"] for source in sources for item in source["secret"]["items"]]
        files = {key: VALUES[key].encode() for key in keys} or papers
        (here / "..2026").mkdir(parents=True)
        (here / "..data").symlink_to("..2026")
        for name, content in files.items():
            (here / "..2026" / name).write_bytes(content)
            (here / name).symlink_to(f"..data/{name}")


def told(service: str, pod: helm.Document, root: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    """Raises SettingsError, as the service itself would before it does anything."""
    for name in [name for name in os.environ if name.startswith("LIVEBALANCE_")]:
        monkeypatch.delenv(name)
    for name, value in environment(pod, f"livebalance-{service}-0").items():
        if name.startswith("LIVEBALANCE_"):
            monkeypatch.setenv(name, value.replace(MOUNTED, str(root)))
    mount(pod, root)
    return read_settings(SERVICES[service])


RENDERED = pytest.mark.parametrize("name", helm.SETS)


@RENDERED
@pytest.mark.parametrize("service", ["recorder", "projector", "gateway", "feed", "migrations"])
def test_a_container_is_told_what_its_service_takes(
    name: str, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pods(helm.documents(name)).get(service)
    if pod is None:
        assert name != "everything"
        return
    settings = told(service, pod["spec"], tmp_path, monkeypatch)
    assert settings.name == f"livebalance-{service}-0"
    if service != "migrations":
        assert (settings.http_host, settings.http_port) == ("0.0.0.0", 8000)
    if name == "everything":
        assert settings.currency == "EUR"
        assert settings.transfers_topic == "bank.transfers"
    if service == "projector":
        assert getattr(settings, "group_instance_id", None) == settings.name


def test_numbers_and_lists_arrive_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = pods(helm.documents("everything"))
    gateway = told("gateway", everything["gateway"]["spec"], tmp_path / "gateway", monkeypatch)
    found = gateway.model_dump()
    assert found["history_bytes"] == 134217728
    assert found["drain_period_seconds"] == 45.5
    assert found["require_tls"] is True
    assert found["allowed_origins"] == ("https://bank.example.org",)
    projector = told("projector", everything["projector"]["spec"], tmp_path / "projector", monkeypatch)
    assert projector.model_dump()["cache_accounts"] == 1_000_000
    feed = container(everything["feed"]["spec"])["command"]
    assert feed[3:] == ["--accounts", "1000000", "--rate", "2.5"]


def test_a_service_outranks_all_also_by_false_and_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = "settings.LIVEBALANCE_REQUIRE_TLS=true,settings.LIVEBALANCE_DRAIN_PERIOD_SECONDS=100"
    own = "gateway.settings.LIVEBALANCE_REQUIRE_TLS=false,gateway.settings.LIVEBALANCE_DRAIN_PERIOD_SECONDS=0"
    pod = pods(helm.documents("minimal", "--set", f"{everybody},{own}"))["gateway"]["spec"]
    found = told("gateway", pod, tmp_path, monkeypatch).model_dump()
    assert (found["require_tls"], found["drain_period_seconds"]) == (False, 0)


def test_a_cluster_without_ipv4_is_listened_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = pods(helm.documents("minimal", "--set", "listen=::"))["gateway"]["spec"]
    assert told("gateway", pod, tmp_path, monkeypatch).http_host == "::"


EVERYBODYS = "redis://everybody:6379/0"


def told_of_redis(more: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pod = pods(helm.documents("minimal", "--set", more))["gateway"]["spec"]
    return told("gateway", pod, root, monkeypatch).redis.get_secret_value()


def test_a_secret_of_a_service_outranks_a_setting_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told_of_redis(f"settings.LIVEBALANCE_REDIS={EVERYBODYS}", tmp_path, monkeypatch)
    assert found == VALUES["livebalance_redis"]


def test_a_setting_of_a_service_outranks_a_secret_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = "secrets.LIVEBALANCE_REDIS.name=livebalance,secrets.LIVEBALANCE_REDIS.key=redis"
    own = f"gateway.secrets.LIVEBALANCE_REDIS=null,gateway.settings.LIVEBALANCE_REDIS={EVERYBODYS}"
    assert told_of_redis(f"{everybody},{own}", tmp_path, monkeypatch) == EVERYBODYS
    mounted = [path.name for path in tmp_path.rglob("livebalance_redis")]
    assert not mounted, "what is outranked is nobody's to know"


def test_null_is_as_if_nothing_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one file of values can take back what another tells."""
    own = "gateway.secrets.LIVEBALANCE_REDIS=null,gateway.settings.LIVEBALANCE_REDIS=null"
    more = f"settings.LIVEBALANCE_REDIS={EVERYBODYS},{own}"
    assert told_of_redis(more, tmp_path, monkeypatch) == EVERYBODYS


def test_a_setting_that_nobody_reads_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake = variable("kafka_timeout_second")
    pod = pods(helm.documents("minimal", "--set", f"recorder.settings.{mistake}=3"))["recorder"]
    with pytest.raises(SettingsError, match="LIVEBALANCE_KAFKA_TIMEOUT_SECONDS meant"):
        told("recorder", pod["spec"], tmp_path, monkeypatch)
