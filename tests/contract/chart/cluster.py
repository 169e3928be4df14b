"""A stand-in for the API server of a cluster, in which Helm looks up objects that exist."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from threading import Thread

from tests.contract.chart.helm import Document

_NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


@contextmanager
def serving(kinds: Iterable[Document], objects: Iterable[Document]) -> Iterator[str]:
    """Yields the URL of an API server that knows the kinds of some documents, and has these objects."""
    answers = {**_discovery(kinds), **{_path(each): each for each in objects}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0], _NOT_FOUND)
            body = json.dumps(answer).encode()
            self.send_response(404 if answer is _NOT_FOUND else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _discovery(kinds: Iterable[Document]) -> dict[str, Document]:
    """Returns what the server answers about its API, by path."""
    known = sorted({(each["apiVersion"], each["kind"]) for each in kinds} | {("v1", "Service")})
    lists: dict[str, Document] = {}
    for version, members in groupby(known, lambda each: each[0]):
        resources = [
            {"name": _plural(kind), "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
            for _, kind in members
        ]
        lists[_root(version)] = {
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": resources,
        }
    groups = [
        {"name": group, "versions": [version], "preferredVersion": version}
        for group, name in (
            each["groupVersion"].split("/") for each in lists.values() if "/" in each["groupVersion"]
        )
        for version in [{"groupVersion": f"{group}/{name}", "version": name}]
    ]
    return {
        **lists,
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    }


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _plural(kind: str) -> str:
    return f"{kind.lower()}s"


def _path(document: Document) -> str:
    metadata = document["metadata"]
    root, plural = _root(document["apiVersion"]), _plural(document["kind"])
    return f"{root}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
