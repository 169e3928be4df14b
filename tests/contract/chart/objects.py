"""What is looked for in a rendering."""

from collections.abc import Iterable, Iterator
from typing import Any

from tests.contract.chart.helm import Document

COMPONENT = "app.kubernetes.io/component"
WORKLOADS = ("Deployment", "StatefulSet", "Job")


def of(kind: str, found: Iterable[Document]) -> dict[str, Document]:
    """Those of one kind, by name."""
    return {one["metadata"]["name"]: one for one in found if one["kind"] == kind}


def pods(found: Iterable[Document]) -> dict[str, Document]:
    """Templates of pods, by service."""
    return {
        template["metadata"]["labels"][COMPONENT]: template
        for one in found
        if one["kind"] in WORKLOADS
        for template in [one["spec"]["template"]]
    }


def container(spec: Document) -> Document:
    """The only one of a pod."""
    [only] = spec["containers"]
    found: Document = only
    return found


def environment(spec: Document, name: str) -> dict[str, str]:
    """What the container is told, in a pod of this name."""
    return {one["name"]: one.get("value", name) for one in container(spec)["env"]}


def chosen(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def fields(one: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of an object, as a.b.0.c, with its value."""
    pairs = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
    for name, value in pairs:
        yield f"{path}.{name}".removeprefix("."), value
        yield from fields(value, f"{path}.{name}")
