"""What Helm makes of the chart is what is committed, and what Kubernetes takes."""

import json
import re
from pathlib import Path

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml

from tests.contract.chart import custom, helm, reference
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


WRONG = {
    "an unknown value": ["--set", "gatway.replicas=3"],
    "an unknown value further in": ["--set", "gateway.replica=3"],
    "a value of another kind": ["--set-string", "gateway.replicas=three"],
    "a setting that is not ours": ["--set", "settings.KAFKA=kafka:9092"],
    "a setting that the chart makes": ["--set", "settings.LIVEBALANCE_NAME=mine"],
    "a secret without a key": ["--set", "secrets.LIVEBALANCE_JWKS.name=jwks"],
    "files of two": ["--set", "files.a.secret=x,files.a.configMap=y"],
    "no lanes": ["--set", "lanes=null"],
    "more recorders than lanes": ["--set", "recorder.replicas=7"],
    "more projectors than lanes": ["--set", "projector.keda.enabled=true,projector.keda.maxReplicas=7"],
    "no brokers": ["--set", "settings.LIVEBALANCE_KAFKA=null"],
    "nobody to check tokens": ["--set", "gateway.settings.LIVEBALANCE_JWKS_URL=null"],
    "nobody whose tokens are taken": ["--set", "gateway.settings.LIVEBALANCE_ISSUER=null"],
    "a route to nowhere": ["--set", "gateway.route.enabled=true"],
}


@pytest.mark.parametrize("why", WRONG)
def test_what_cannot_be_meant_is_refused(why: str) -> None:
    assert helm.template("minimal").code == 0
    assert helm.template("minimal", *WRONG[why]).code != 0


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
    first, *others = re.findall(r"^```yaml\n(.*?)^```$", reference.PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "mine.yaml").write_text(first)
    alone = ("template", helm.RELEASE, str(helm.CHART), "--values", str(tmp_path / "mine.yaml"))
    assert helm.asked(*alone).code == 0
    assert others
    for number, more in enumerate(others):
        (tmp_path / f"{number}.yaml").write_text(more)
        assert helm.asked(*alone, "--values", str(tmp_path / f"{number}.yaml")).code == 0


def test_the_table_of_values_is_the_committed_one() -> None:
    page = reference.PAGE.read_text()
    assert page == reference.renewed(page), "python -m tests.contract.chart writes it anew"


def test_notes_say_where_to_look(tmp_path: Path) -> None:
    answer = helm.asked(
        "install", helm.RELEASE, str(helm.CHART), "--dry-run=client", "--values", str(helm.values("minimal"))
    )
    assert answer.code == 0, answer.error
    assert "livebalance-gateway.default, port 80" in answer.out
