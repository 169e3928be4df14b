"""The pages /api/docs and /api/docs/live: the API and the WebSocket protocol, to read and to try.

Swagger UI and asyncapi-viewer are served from Python packages, so that a browser asks no third party
(decision 33). The pages obey the content security policy of every answer, without its Trusted Types: the
libraries make markup of text. The page of accounts loads nothing of them.
"""

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.responses import FileResponse

ASYNCAPI_PATH = "/api/asyncapi.json"


def _static(package: str) -> Path:
    """Returns the folder `static` of an installed package, which is not imported."""
    spec = find_spec(package)
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "static"


_OWN = Path(__file__).parent
_SWAGGER, _VIEWER = _static("fastapi_offline"), _static("asyncapi_viewer")

FILES: dict[str, Path] = {
    ASYNCAPI_PATH: _OWN / "asyncapi.json",
    "/api/docs": _OWN / "rest.html",
    "/api/docs/live": _OWN / "live.html",
    "/api/docs/rest.js": _OWN / "rest.js",
    "/api/docs/live.js": _OWN / "live.js",
    "/api/docs/token.js": _OWN / "token.js",
    "/api/docs/reference.css": _OWN / "reference.css",
    "/api/docs/swagger-ui.js": _SWAGGER / "swagger-ui-bundle.js",
    "/api/docs/swagger-ui.css": _SWAGGER / "swagger-ui.css",
    "/api/docs/asyncapi-viewer.js": _VIEWER / "asyncapi-viewer.iife.js",
}


def install(app: FastAPI) -> None:
    """Makes `app` serve the pages and what they load."""
    for path in FILES:
        app.get(path, include_in_schema=False)(_file)


async def _file(request: Request) -> Response:
    return FileResponse(FILES[request.url.path], headers={"cache-control": "no-cache"})
