"""Renderings equal the committed ones and are valid for Kubernetes; invalid values are rejected."""

import json
from pathlib import Path

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml

from tests.contract.chart import crd_schemas, helm, kubernetes_page, values_table
from tests.contract.chart.objects import of_kind, walk_fields

EACH_VALUE_SET = pytest.mark.parametrize("name", helm.VALUE_SETS)
KUBERNETES_GROUPS = "k8s.io"  # last part of the API groups of Kubernetes itself, if they have a dot
REGENERATE = "`python -m tests.contract.chart` writes it again"


@EACH_VALUE_SET
def test_helm_lint_reports_nothing(name: str) -> None:
    result = helm.run_helm("lint", "--strict", str(helm.CHART), "--values", str(helm.values_path(name)))
    assert result.exit_code == 0, result.stdout + result.stderr


@EACH_VALUE_SET
def test_rendering_equals_the_committed_rendering(name: str) -> None:
    assert helm.render(name) == helm.rendering_path(name).read_text(), REGENERATE


@EACH_VALUE_SET
@pytest.mark.parametrize("version", helm.KUBERNETES_VERSIONS)
def test_objects_of_kubernetes_in_each_version_are_valid(name: str, version: str) -> None:
    documents = [document for document in helm.render_documents(name) if is_of_kubernetes(document)]
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def is_of_kubernetes(document: helm.Document) -> bool:
    group, _, _ = document["apiVersion"].rpartition("/")
    return "." not in group or (group.endswith(KUBERNETES_GROUPS) and not group.startswith("gateway."))


def test_object_of_kubernetes_with_an_unknown_field_is_invalid() -> None:
    [deployment] = of_kind("Deployment", helm.render_documents("reduced")).values()
    deployment["spec"]["template"]["spec"]["graceperiod"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, helm.KUBERNETES_VERSIONS[0], strict=True)


@pytest.mark.parametrize("kind", crd_schemas.CRD_FILES)
def test_custom_resources_are_valid_for_the_published_schema(kind: str) -> None:
    validator = jsonschema_rs.validator_for(crd_schemas.load_schema(kind))
    resources = of_kind(kind, helm.render_documents("everything"))
    assert resources
    for resource in resources.values():
        validator.validate(resource)
        assert resource["apiVersion"].endswith(f"/{crd_schemas.CRD_FILES[kind].version}")
        resource["spec"]["unknown"] = True
        assert not validator.is_valid(resource)


def test_pod_monitor_has_only_fields_that_we_know() -> None:
    """There is no published schema that a test can download, so the expected fields are listed here."""
    [monitor] = of_kind("PodMonitor", helm.render_documents("everything")).values()
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"selector", "podTargetLabels", "podMetricsEndpoints"}
    endpoints = monitor["spec"]["podMetricsEndpoints"]
    assert endpoints == [{"port": "operations", "path": "/metrics", "interval": "30s"}]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_rendering_of_everything_has_each_kind_of_the_templates() -> None:
    kinds = {
        line.split()[1]
        for file in (helm.CHART / "templates").iterdir()
        for line in file.read_text().splitlines()
        if line.startswith("kind: ")
    }
    assert kinds == {document["kind"] for document in helm.render_documents("everything")}


INVALID = {  # name of the case: values as for `--set`, and a part of the error
    "an unknown value": ("gatway.replicas=3", "additional properties 'gatway' not allowed"),
    "an unknown nested value": ("gateway.replica=3", "at '/gateway/replica': false schema"),
    "a value of another type": ("gateway.replicas=three", "at '/gateway/replicas': got string"),
    "a setting with a foreign name": ("settings.KAFKA=kafka:9092", "invalid propertyName 'KAFKA'"),
    "a setting that the chart sets itself": (
        "settings.LIVEBALANCE_NAME=mine",
        "invalid propertyName 'LIVEBALANCE_NAME'",
    ),
    "a secret without a key": ("secrets.LIVEBALANCE_JWKS.name=jwks", "missing property 'key'"),
    "a secret for a variable that no service reads from a file": (
        "secrets.SSL_CERT_FILE.name=authorities,secrets.SSL_CERT_FILE.key=ca.crt",
        "invalid propertyName 'SSL_CERT_FILE'",
    ),
    "a setting and a secret for all services": (
        "settings.LIVEBALANCE_JWKS=x,secrets.LIVEBALANCE_JWKS.name=jwks,secrets.LIVEBALANCE_JWKS.key=keys",
        "LIVEBALANCE_JWKS is set in both settings and secrets of all services",
    ),
    "a setting and a secret of one service": (
        "gateway.settings.LIVEBALANCE_REDIS=redis://here",
        "LIVEBALANCE_REDIS is set in both settings and secrets of `gateway`",
    ),
    "files from two sources": ("files.a.secret=x,files.a.configMap=y", "at '/files/a': maxProperties"),
    "no lanes": ("lanes=null", "at '/lanes': got null, want integer"),
    "more recorders than lanes": (
        "recorder.replicas=7",
        "recorder.replicas exceeds the number of lanes (6)",
    ),
    "more projectors than lanes": (
        "projector.keda.enabled=true,projector.keda.maxReplicas=7",
        "projector.keda.maxReplicas exceeds the number of lanes (6)",
    ),
    "a minimum of projectors above the maximum": (
        "projector.keda.enabled=true,projector.keda.minReplicas=4,projector.keda.maxReplicas=3",
        "projector.keda.minReplicas exceeds maxReplicas (3)",
    ),
    "a minimum of recorders above the number of lanes": (
        "recorder.keda.enabled=true,recorder.keda.minReplicas=7",
        "recorder.keda.minReplicas exceeds maxReplicas (6)",
    ),
    "a minimum of gateways above the maximum": (
        "gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=11",
        "gateway.autoscaling.minReplicas exceeds maxReplicas (10)",
    ),
    "brokers that KEDA cannot read": (
        "recorder.keda.enabled=true,settings.LIVEBALANCE_KAFKA=null,"
        "secrets.LIVEBALANCE_KAFKA.name=kafka,secrets.LIVEBALANCE_KAFKA.key=brokers",
        "recorder.keda: KEDA cannot read LIVEBALANCE_KAFKA from a Secret, so set it in settings",
    ),
    "a route without a parent": ("gateway.route.enabled=true", "gateway.route.parentRefs: name the Gateway"),
    "a pod monitor without access to metrics": (
        "podMonitor.enabled=true",
        "podMonitor.enabled: set networkPolicy.monitoring",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_values_are_rejected(case: str) -> None:
    assert helm.try_render("minimal").exit_code == 0
    values, message = INVALID[case]
    result = helm.try_render("minimal", "--set", values)
    assert result.exit_code != 0
    assert message in " ".join(result.stderr.split())


REQUIRED = {  # path of a value in the minimal values: the error without this value
    "settings.LIVEBALANCE_KAFKA": "set LIVEBALANCE_KAFKA in settings or secrets, of",
    "projector.secrets.LIVEBALANCE_POSTGRES": "projector: set LIVEBALANCE_POSTGRES in",
    "projector.secrets.LIVEBALANCE_REDIS": "projector: set LIVEBALANCE_REDIS in",
    "gateway.secrets.LIVEBALANCE_POSTGRES": "gateway: set LIVEBALANCE_POSTGRES in",
    "gateway.secrets.LIVEBALANCE_REDIS": "gateway: set LIVEBALANCE_REDIS in",
    "gateway.settings.LIVEBALANCE_JWKS_URL": "gateway: set LIVEBALANCE_JWKS or LIVEBALANCE_JWKS_URL or ",
    "gateway.settings.LIVEBALANCE_TOKEN_ISSUER": "gateway: set LIVEBALANCE_TOKEN_ISSUER or ",
    "migrations.secrets.LIVEBALANCE_POSTGRES_OWNER": "migrations: set LIVEBALANCE_POSTGRES_OWNER in",
}


@pytest.mark.parametrize("path", REQUIRED)
def test_values_without_a_required_value_are_rejected(path: str, tmp_path: Path) -> None:
    """The value is left out of the file, or removed by null."""
    values = yaml.safe_load(helm.values_path("minimal").read_text())
    *parents, last = path.split(".")
    parent = values
    for name in parents:
        parent = parent[name]
    del parent[last]
    file = tmp_path / "without.yaml"
    file.write_text(yaml.safe_dump(values))
    left_out = helm.run_helm("template", helm.RELEASE, str(helm.CHART), "--values", str(file))
    for result in (left_out, helm.try_render("minimal", "--set", f"{path}=null")):
        assert result.exit_code != 0
        assert REQUIRED[path] in result.stderr


def test_schema_of_values_accepts_the_defaults_and_rejects_unknown_fields() -> None:
    schema = json.loads((helm.CHART / "values.schema.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    values = yaml.safe_load((helm.CHART / "values.yaml").read_text())
    validator.validate({**values, "lanes": 1})
    for path, value in walk_fields(values):
        if isinstance(value, dict) and value:
            assert_rejects_unknown_field(validator, values, path)


def assert_rejects_unknown_field(
    validator: jsonschema_rs.Validator, values: helm.Document, path: str
) -> None:
    """Asserts that an unknown field at `path` is invalid, unless users choose the names of fields there."""
    open_objects = (
        "settings",
        "secrets",
        "requests",
        "limits",
        "matchLabels",
        "namespaceSelector",
        "podSelector",
    )
    names = path.split(".")
    if any(name in open_objects for name in names):
        return
    changed = json.loads(json.dumps({**values, "lanes": 1}))
    node = changed
    for name in names:
        node = node[int(name) if name.isdigit() else name]
    node["unknown"] = 1
    assert not validator.is_valid(changed), path


def test_values_on_the_page_render(tmp_path: Path) -> None:
    minimum, *additions = kubernetes_page.our_values()
    (tmp_path / "minimum.yaml").write_text(minimum)
    command = ("template", helm.RELEASE, str(helm.CHART), "--values", str(tmp_path / "minimum.yaml"))
    assert helm.run_helm(*command).exit_code == 0
    assert additions
    for number, values in enumerate(additions):
        (tmp_path / f"{number}.yaml").write_text(values)
        assert helm.run_helm(*command, "--values", str(tmp_path / f"{number}.yaml")).exit_code == 0


def test_table_of_values_on_the_page_is_current() -> None:
    text = values_table.PAGE.read_text()
    assert text == values_table.replace_table(text), REGENERATE


def test_install_notes_name_the_gateway_service() -> None:
    values = ("--values", str(helm.values_path("minimal")))
    result = helm.run_helm("install", helm.RELEASE, str(helm.CHART), "--dry-run=client", *values)
    assert result.exit_code == 0, result.stderr
    assert "livebalance-gateway.default, port 80" in result.stdout
