"""Each rendered container gets an environment and files that its service's own settings accept."""

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
from tests.contract.chart.objects import container, environment, pod_templates

MOUNT_ROOT = "/etc/livebalance"
SECRET_FILES = {  # content of the Secrets, by the name of the file that a key is mounted as
    "livebalance_redis": "rediss://redis:6379/0",
    "livebalance_postgres": "postgresql://someone@postgres:5432/livebalance",
    "livebalance_postgres_owner": "postgresql://owner@postgres:5432/livebalance",
    "livebalance_kafka_password": "not guessed",
    "livebalance_schema_registry": "https://registry.example.org",
    "livebalance_jwks": json.dumps({"keys": [{"kty": "oct", "kid": "1", "k": "c2VjcmV0" * 8}]}),
}
SETTINGS: dict[str, type[ServiceSettings]] = {**service_settings(), "migrations": MigrationSettings}


def make_certificates() -> dict[str, bytes]:
    """Returns the files of a certificate authority, a certificate and its key."""
    ca = trustme.CA()
    certificate = ca.issue_cert("livebalance")
    return {
        "ca.crt": ca.cert_pem.bytes(),
        "tls.crt": b"".join(pem.bytes() for pem in certificate.cert_chain_pems),
        "tls.key": certificate.private_key_pem.bytes(),
    }


def mount_volumes(pod: helm.Document, root: Path) -> None:
    """Writes a pod's volumes as a kubelet does: files are links through `..data` to a dated directory."""
    certificates = make_certificates()
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container(pod)["volumeMounts"]:
        if not mount["mountPath"].startswith(MOUNT_ROOT):
            continue
        directory = root / mount["mountPath"].removeprefix(f"{MOUNT_ROOT}/")
        sources = volumes[mount["name"]].get("projected", {}).get("sources", [])
        keys = [item["path"] for source in sources for item in source["secret"]["items"]]
        files = {key: SECRET_FILES[key].encode() for key in keys} or certificates
        (directory / "..2026").mkdir(parents=True)
        (directory / "..data").symlink_to("..2026")
        for name, content in files.items():
            (directory / "..2026" / name).write_bytes(content)
            (directory / name).symlink_to(f"..data/{name}")


def read_pod_settings(
    service: str, pod: helm.Document, root: Path, monkeypatch: pytest.MonkeyPatch
) -> ServiceSettings:
    """Returns the settings of a service in this pod. Raises SettingsError, like the service at its start."""
    for name in [name for name in os.environ if name.startswith("LIVEBALANCE_")]:
        monkeypatch.delenv(name)
    for name, value in environment(pod, f"livebalance-{service}-0").items():
        if name.startswith("LIVEBALANCE_"):
            monkeypatch.setenv(name, value.replace(MOUNT_ROOT, str(root)))
    mount_volumes(pod, root)
    return read_settings(SETTINGS[service])


@pytest.mark.parametrize("name", helm.VALUE_SETS)
@pytest.mark.parametrize("service", ["recorder", "projector", "gateway", "feed", "migrations"])
def test_settings_of_each_rendered_container_are_accepted(
    name: str, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pod_templates(helm.render_documents(name)).get(service)
    if pod is None:
        assert name != "everything"
        return
    settings = read_pod_settings(service, pod["spec"], tmp_path, monkeypatch)
    assert settings.name == f"livebalance-{service}-0"
    if service != "migrations":
        assert (settings.http_host, settings.http_port) == ("0.0.0.0", 8000)
        assert getattr(settings, "operations_port", 8001) == 8001
    if name == "everything":
        assert settings.currency == "EUR"
        assert settings.transfers_topic == "bank.transfers"
    if service == "projector":
        assert getattr(settings, "group_instance_id", None) == settings.name


def test_settings_with_numbers_and_lists_keep_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = pod_templates(helm.render_documents("everything"))
    gateway = read_pod_settings("gateway", pods["gateway"]["spec"], tmp_path / "gateway", monkeypatch)
    values = gateway.model_dump()
    assert values["history_bytes"] == 134217728
    assert values["drain_period_seconds"] == 45.5
    assert values["require_tls"] is True
    assert values["allowed_origins"] == ("https://bank.example.org",)
    projector = read_pod_settings("projector", pods["projector"]["spec"], tmp_path / "projector", monkeypatch)
    assert projector.model_dump()["cache_accounts"] == 1_000_000
    feed_command = container(pods["feed"]["spec"])["command"]
    assert feed_command[3:] == ["--accounts", "1000000", "--rate", "2.5"]


def test_settings_of_a_service_with_false_and_0_override_those_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_all = "settings.LIVEBALANCE_REQUIRE_TLS=true,settings.LIVEBALANCE_DRAIN_PERIOD_SECONDS=100"
    own = "gateway.settings.LIVEBALANCE_REQUIRE_TLS=false,gateway.settings.LIVEBALANCE_DRAIN_PERIOD_SECONDS=0"
    pod = pod_templates(helm.render_documents("minimal", "--set", f"{for_all},{own}"))["gateway"]["spec"]
    values = read_pod_settings("gateway", pod, tmp_path, monkeypatch).model_dump()
    assert (values["require_tls"], values["drain_period_seconds"]) == (False, 0)


def test_settings_with_an_ipv6_listen_address_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pod_templates(helm.render_documents("minimal", "--set", "listen=::"))["gateway"]["spec"]
    assert read_pod_settings("gateway", pod, tmp_path, monkeypatch).http_host == "::"


SHARED_REDIS = "redis://shared:6379/0"


def gateway_redis_url(values: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns the gateway's LIVEBALANCE_REDIS with the minimal values and `values`, as for `--set`."""
    pod = pod_templates(helm.render_documents("minimal", "--set", values))["gateway"]["spec"]
    return read_pod_settings("gateway", pod, root, monkeypatch).redis.get_secret_value()


def test_secret_of_a_service_overrides_a_setting_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = gateway_redis_url(f"settings.LIVEBALANCE_REDIS={SHARED_REDIS}", tmp_path, monkeypatch)
    assert url == SECRET_FILES["livebalance_redis"]


def test_setting_of_a_service_overrides_a_secret_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_all = "secrets.LIVEBALANCE_REDIS.name=livebalance,secrets.LIVEBALANCE_REDIS.key=redis"
    own = f"gateway.secrets.LIVEBALANCE_REDIS=null,gateway.settings.LIVEBALANCE_REDIS={SHARED_REDIS}"
    assert gateway_redis_url(f"{for_all},{own}", tmp_path, monkeypatch) == SHARED_REDIS
    mounted = [path.name for path in tmp_path.rglob("livebalance_redis")]
    assert not mounted, "a pod must not mount a secret that a setting overrides"


def test_null_for_a_service_leaves_the_setting_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With null, a second file of values can remove what the first file sets."""
    own = "gateway.secrets.LIVEBALANCE_REDIS=null,gateway.settings.LIVEBALANCE_REDIS=null"
    values = f"settings.LIVEBALANCE_REDIS={SHARED_REDIS},{own}"
    assert gateway_redis_url(values, tmp_path, monkeypatch) == SHARED_REDIS


def test_setting_with_a_misspelled_name_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    misspelled = variable("kafka_timeout_second")
    documents = helm.render_documents("minimal", "--set", f"recorder.settings.{misspelled}=3")
    pod = pod_templates(documents)["recorder"]["spec"]
    with pytest.raises(SettingsError, match=r"did you mean LIVEBALANCE_KAFKA_TIMEOUT_SECONDS\?"):
        read_pod_settings("recorder", pod, tmp_path, monkeypatch)
