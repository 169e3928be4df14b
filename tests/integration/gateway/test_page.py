"""The built page: caching, unknown paths and security headers.

The gateway and the balancer serve the page alike.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.conftest import StartBalancer, StartGateway


@pytest.fixture(params=["gateway", "balancer"])
async def http(
    request: pytest.FixtureRequest,
    start_gateway: StartGateway,
    start_balancer: StartBalancer,
    tmp_path: Path,
) -> AsyncIterator[httpx.AsyncClient]:
    built = tmp_path / "browser"
    built.mkdir()
    (built / "index.html").write_text("<!doctype html><title>Livebalance</title>")
    (built / "main-5QK3W7ZX.js").write_text("export {};")
    (built / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("not of the page")
    if request.param == "gateway":
        gateway = await start_gateway(page_directory=built)
        async with httpx.AsyncClient(base_url=gateway.http, timeout=30) as client:
            yield client
        return
    caddy = start_balancer(await start_gateway(), LIVEBALANCE_PAGE_ROOT=str(built))
    await caddy.ready()
    async with httpx.AsyncClient(base_url=caddy.http, timeout=30) as client:
        yield client


async def test_hashed_files_are_immutable_and_other_files_are_revalidated(http: httpx.AsyncClient) -> None:
    assert (await http.get("/main-5QK3W7ZX.js")).headers[
        "cache-control"
    ] == "public, max-age=31536000, immutable"
    for path in ("/", "/index.html", "/favicon.svg"):
        assert (await http.get(path)).headers["cache-control"] == "no-cache"
    cached = await http.get("/", headers={"if-none-match": (await http.get("/")).headers["etag"]})
    assert cached.status_code == 304
    assert cached.headers["cache-control"] == "no-cache"


async def test_unknown_html_path_serves_the_page_and_others_get_404(http: httpx.AsyncClient) -> None:
    html = {"accept": "text/html,application/xhtml+xml"}
    view = await http.get("/account/acc-0001", headers=html)
    assert (view.status_code, view.headers["cache-control"]) == (200, "no-cache")
    assert "Livebalance" in view.text
    assert (await http.get("/main-GONE0000.js", headers={"accept": "*/*"})).status_code == 404
    for path in ("/api/v2/x", "/metrics", "/livez", "/readyz"):
        assert (await http.get(path, headers=html)).json()["code"] == "not_found"
    assert "not of the page" not in (await http.get("/..%2fsecret.txt", headers=html)).text


async def test_no_token_is_issued_without_the_demo_so_that_the_page_uses_its_cookie(
    http: httpx.AsyncClient,
) -> None:
    assert (await http.post("/api/demo/token")).status_code in (404, 405)


async def test_every_response_has_security_headers(http: httpx.AsyncClient) -> None:
    for path in ("/", "/main-5QK3W7ZX.js", "/api/v1/accounts", "/missing"):
        headers = (await http.get(path)).headers
        directives = headers["content-security-policy"].split(";")
        policy = dict(directive.strip().split(" ", 1) for directive in directives)
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data:",
            "connect-src": "'self'",
            "font-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "angular",
        }
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
