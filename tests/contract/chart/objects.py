"""Finds parts of Kubernetes objects in a rendering."""

from collections.abc import Iterable, Iterator
from typing import Any

from tests.contract.chart.helm import Document

COMPONENT = "app.kubernetes.io/component"
WORKLOADS = ("Deployment", "StatefulSet", "Job")


def of_kind(kind: str, documents: Iterable[Document]) -> dict[str, Document]:
    """Returns the objects of one kind, by name."""
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def pod_templates(documents: Iterable[Document]) -> dict[str, Document]:
    """Returns the pod templates of all workloads, by service."""
    templates = [document["spec"]["template"] for document in documents if document["kind"] in WORKLOADS]
    return {template["metadata"]["labels"][COMPONENT]: template for template in templates}


def container(spec: Document) -> Document:
    """Returns the only container of a pod's spec."""
    [only] = spec["containers"]
    result: Document = only
    return result


def environment(spec: Document, pod_name: str) -> dict[str, str]:
    """Returns the environment of the container, in which `valueFrom` is always the name of the pod."""
    return {variable["name"]: variable.get("value", pod_name) for variable in container(spec)["env"]}


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def walk_fields(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every field of an object with its value. Paths look like a.b.0.c."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        yield f"{path}.{name}".removeprefix("."), value
        yield from walk_fields(value, f"{path}.{name}")
