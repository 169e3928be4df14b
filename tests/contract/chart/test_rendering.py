"""What Helm makes of the chart is what is committed, and what Kubernetes takes."""

import json
from pathlib import Path

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml

from tests.contract.chart import custom, helm, page, reference
from tests.contract.chart.objects import fields, of

EVERY = pytest.mark.parametrize("name", helm.SETS)
OWN = "k8s.io"  # what the API groups of Kubernetes itself end with, if they have a dot


@EVERY
def test_helm_finds_nothing(name: str) -> None:
    answer = helm.asked("lint", "--strict", str(helm.CHART), "--values", str(helm.values(name)))
    assert answer.code == 0, answer.out + answer.error


@EVERY
def test_a_rendering_is_the_committed_one(name: str) -> None:
    assert helm.text(name) == helm.golden(name).read_text(), "python -m tests.contract.chart writes it anew"


@EVERY
@pytest.mark.parametrize("version", helm.VERSIONS)
def test_kubernetes_takes_it(name: str, version: str) -> None:
    mine = [one for one in helm.documents(name) if is_kubernetes(one)]
    assert mine
    for one in mine:
        kubernetes_validate.validate(one, version, strict=True)


def is_kubernetes(one: helm.Document) -> bool:
    group, _, _ = one["apiVersion"].rpartition("/")
    return "." not in group or (group.endswith(OWN) and not group.startswith("gateway."))


def test_kubernetes_would_refuse_a_field_that_is_not_there() -> None:
    [one] = of("Deployment", helm.documents("sparing")).values()
    one["spec"]["template"]["spec"]["graceperiod"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, helm.VERSIONS[0], strict=True)


@pytest.mark.parametrize("kind", custom.PUBLISHED)
def test_objects_of_others_are_as_their_makers_say(kind: str) -> None:
    judge = jsonschema_rs.validator_for(custom.schema(kind))
    found = of(kind, helm.documents("everything"))
    assert found
    for one in found.values():
        judge.validate(one)
        assert one["apiVersion"].endswith(f"/{custom.PUBLISHED[kind].version}")
        one["spec"]["unheard"] = True
        assert not judge.is_valid(one)


def test_a_pod_monitor_is_as_we_know_it() -> None:
    """Its makers' schema is in no registry here: this is ours, of the fields that are used."""
    [one] = of("PodMonitor", helm.documents("everything")).values()
    assert one["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(one["spec"]) == {"selector", "podTargetLabels", "podMetricsEndpoints"}
    assert one["spec"]["podMetricsEndpoints"] == [{"port": "http", "path": "/metrics", "interval": "30s"}]
    assert one["metadata"]["labels"]["release"] == "prometheus"


def test_everything_is_everything() -> None:
    """Each kind that the chart can make is in one of the renderings."""
    made = {
        line.split()[1]
        for file in (helm.CHART / "templates").iterdir()
        for line in file.read_text().splitlines()
        if line.startswith("kind: ")
    }
    assert made == {one["kind"] for one in helm.documents("everything")}


WRONG = {  # what is said, and the words of the refusal
    "an unknown value": ("gatway.replicas=3", "additional properties 'gatway' not allowed"),
    "an unknown value further in": ("gateway.replica=3", "at '/gateway/replica': false schema"),
    "a value of another kind": ("gateway.replicas=three", "at '/gateway/replicas': got string"),
    "a setting that is not ours": ("settings.KAFKA=kafka:9092", "invalid propertyName 'KAFKA'"),
    "a setting that the chart makes": (
        "settings.LIVEBALANCE_NAME=mine",
        "invalid propertyName 'LIVEBALANCE_NAME'",
    ),
    "a secret without a key": ("secrets.LIVEBALANCE_JWKS.name=jwks", "missing property 'key'"),
    "a secret that nobody reads from a file": (
        "secrets.SSL_CERT_FILE.name=authorities,secrets.SSL_CERT_FILE.key=ca.crt",
        "invalid propertyName 'SSL_CERT_FILE'",
    ),
    "a setting and a secret for all": (
        "settings.LIVEBALANCE_JWKS=x,secrets.LIVEBALANCE_JWKS.name=jwks,secrets.LIVEBALANCE_JWKS.key=keys",
        "LIVEBALANCE_JWKS is set in both settings and secrets of all services",
    ),
    "a setting and a secret of one service": (
        "gateway.settings.LIVEBALANCE_REDIS=redis://here",
        "LIVEBALANCE_REDIS is set in both settings and secrets of `gateway`",
    ),
    "files of two": ("files.a.secret=x,files.a.configMap=y", "at '/files/a': maxProperties"),
    "no lanes": ("lanes=null", "at '/lanes': got null, want integer"),
    "more recorders than lanes": (
        "recorder.replicas=7",
        "recorder.replicas exceeds the number of lanes (6)",
    ),
    "more projectors than lanes": (
        "projector.keda.enabled=true,projector.keda.maxReplicas=7",
        "projector.keda.maxReplicas exceeds the number of lanes (6)",
    ),
    "more projectors at least than at most": (
        "projector.keda.enabled=true,projector.keda.minReplicas=4,projector.keda.maxReplicas=3",
        "projector.keda.minReplicas exceeds maxReplicas (3)",
    ),
    "more recorders at least than lanes": (
        "recorder.keda.enabled=true,recorder.keda.minReplicas=7",
        "recorder.keda.minReplicas exceeds maxReplicas (6)",
    ),
    "more gateways at least than at most": (
        "gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=11",
        "gateway.autoscaling.minReplicas exceeds maxReplicas (10)",
    ),
    "brokers that KEDA does not know": (
        "recorder.keda.enabled=true,settings.LIVEBALANCE_KAFKA=null,"
        "secrets.LIVEBALANCE_KAFKA.name=kafka,secrets.LIVEBALANCE_KAFKA.key=brokers",
        "recorder.keda: KEDA cannot read LIVEBALANCE_KAFKA from a Secret, so set it in settings",
    ),
    "a route to nowhere": ("gateway.route.enabled=true", "gateway.route.parentRefs: name the Gateway"),
    "metrics that nobody may read": (
        "podMonitor.enabled=true",
        "podMonitor.enabled: set networkPolicy.monitoring",
    ),
}


@pytest.mark.parametrize("why", WRONG)
def test_what_cannot_be_meant_is_refused(why: str) -> None:
    assert helm.template("minimal").code == 0
    said, words = WRONG[why]
    answer = helm.template("minimal", "--set", said)
    assert answer.code != 0
    assert words in " ".join(answer.error.split())


NEEDED = {  # where it stands in the least that has to be told, and who is missing it
    "settings.LIVEBALANCE_KAFKA": "set LIVEBALANCE_KAFKA in settings or secrets, of",
    "projector.secrets.LIVEBALANCE_POSTGRES": "projector: set LIVEBALANCE_POSTGRES in",
    "projector.secrets.LIVEBALANCE_REDIS": "projector: set LIVEBALANCE_REDIS in",
    "gateway.secrets.LIVEBALANCE_POSTGRES": "gateway: set LIVEBALANCE_POSTGRES in",
    "gateway.secrets.LIVEBALANCE_REDIS": "gateway: set LIVEBALANCE_REDIS in",
    "gateway.settings.LIVEBALANCE_JWKS_URL": "gateway: set LIVEBALANCE_JWKS or LIVEBALANCE_JWKS_URL or ",
    "gateway.settings.LIVEBALANCE_TOKEN_ISSUER": "gateway: set LIVEBALANCE_TOKEN_ISSUER or ",
    "migrations.secrets.LIVEBALANCE_POSTGRES_OWNER": "migrations: set LIVEBALANCE_POSTGRES_OWNER in",
}


@pytest.mark.parametrize("path", NEEDED)
def test_what_a_service_needs_has_to_be_told(path: str, tmp_path: Path) -> None:
    """Left out, and taken back by null."""
    told = yaml.safe_load(helm.values("minimal").read_text())
    *way, last = path.split(".")
    here = told
    for name in way:
        here = here[name]
    del here[last]
    (tmp_path / "less.yaml").write_text(yaml.safe_dump(told))
    less = helm.asked("template", helm.RELEASE, str(helm.CHART), "--values", str(tmp_path / "less.yaml"))
    for answer in (less, helm.template("minimal", "--set", f"{path}=null")):
        assert answer.code != 0
        assert NEEDED[path] in answer.error


def test_every_value_is_in_the_schema_and_has_its_default() -> None:
    schema = json.loads((helm.CHART / "values.schema.json").read_text())
    judge = jsonschema_rs.validator_for(schema)
    told = yaml.safe_load((helm.CHART / "values.yaml").read_text())
    judge.validate({**told, "lanes": 1})
    for path, value in fields(told):
        if isinstance(value, dict) and value:
            judge_of_more(judge, told, path)


def judge_of_more(judge: jsonschema_rs.Validator, told: helm.Document, path: str) -> None:
    """Where the chart has fields of its own, it takes no others."""
    free = ("settings", "secrets", "requests", "limits", "matchLabels", "namespaceSelector", "podSelector")
    *way, last = path.split(".")
    if last in free or any(name in free for name in way):
        return
    changed = json.loads(json.dumps({**told, "lanes": 1}))
    here = changed
    for name in (*way, last):
        here = here[int(name) if name.isdigit() else name]
    here["unheard"] = 1
    assert not judge.is_valid(changed), path


def test_what_the_page_says_renders(tmp_path: Path) -> None:
    first, *others = page.values()
    (tmp_path / "mine.yaml").write_text(first)
    alone = ("template", helm.RELEASE, str(helm.CHART), "--values", str(tmp_path / "mine.yaml"))
    assert helm.asked(*alone).code == 0
    assert others
    for number, more in enumerate(others):
        (tmp_path / f"{number}.yaml").write_text(more)
        assert helm.asked(*alone, "--values", str(tmp_path / f"{number}.yaml")).code == 0


def test_the_table_of_values_is_the_committed_one() -> None:
    text = reference.PAGE.read_text()
    assert text == reference.renewed(text), "python -m tests.contract.chart writes it anew"


def test_notes_say_where_to_look(tmp_path: Path) -> None:
    answer = helm.asked(
        "install", helm.RELEASE, str(helm.CHART), "--dry-run=client", "--values", str(helm.values("minimal"))
    )
    assert answer.code == 0, answer.error
    assert "livebalance-gateway.default, port 80" in answer.out
