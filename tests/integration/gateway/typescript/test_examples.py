"""The examples of the TypeScript client: built with their usual tools, and opened in a browser."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from livebalance.stack.build import node
from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.typescript.project import EXAMPLES, borrow, run, tool
from tests.tokens import token

INDEX = (
    '<!doctype html><title>x</title><body><app-root></app-root><script type="module" src="main.js"></script>'
)
_STRICT = {
    "strict": True,
    "target": "ES2022",
    "module": "preserve",
    "lib": ["ES2023", "DOM"],
    "skipLibCheck": True,
}


def plain(project: Path) -> Path:
    """Uses the project as it is: a browser reads the modules of the package."""
    for name in ("index.html", "main.js"):
        shutil.copy(EXAMPLES / "plain" / name, project)
    return project


def react(project: Path) -> Path:
    """Checks the types, and bundles with esbuild."""
    borrow(project, node.TS_CLIENT, "react", "react-dom", "@types", "csstype")
    shutil.copy(EXAMPLES / "react" / "main.tsx", project)
    options = {"compilerOptions": {**_STRICT, "jsx": "react-jsx", "noEmit": True}, "files": ["main.tsx"]}
    (project / "tsconfig.json").write_text(json.dumps(options))
    run(*tool(node.TS_CLIENT, "typescript/bin/tsc"), "-p", ".", cwd=project)
    esbuild = tool(node.TS_CLIENT, "esbuild/bin/esbuild")
    bundle = ("main.tsx", "--bundle", "--minify", "--jsx=automatic", "--outdir=site")
    run(*esbuild, *bundle, "--define:process.env.NODE_ENV='production'", cwd=project)
    (project / "site" / "index.html").write_text(INDEX)
    return project / "site"


def angular(project: Path) -> Path:
    """Builds with Angular's command line, with the settings of a new project."""
    node.install(node.WEB)
    borrow(project, node.WEB, "@angular", "rxjs", "tslib", "typescript")
    (project / "src").mkdir()
    shutil.copy(EXAMPLES / "angular" / "main.ts", project / "src")
    (project / "src" / "index.html").write_text("<!doctype html><title>x</title><app-root></app-root>")
    options = {"compilerOptions": {**_STRICT, "experimentalDecorators": True}, "files": ["src/main.ts"]}
    (project / "tsconfig.json").write_text(json.dumps(options))
    build = {
        "builder": "@angular/build:application",
        "options": {
            "browser": "src/main.ts",
            "index": "src/index.html",
            "tsConfig": "tsconfig.json",
            "outputPath": "dist",
        },
    }
    application = {"projectType": "application", "root": "", "architect": {"build": build}}
    workspace = {"version": 1, "cli": {"analytics": False}, "projects": {"example": application}}
    (project / "angular.json").write_text(json.dumps(workspace))
    run(*tool(node.WEB, "@angular/cli/bin/ng.js"), "build", cwd=project)
    return project / "dist" / "browser"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("build", [plain, react, angular], ids=lambda build: str(build.__name__))
async def test_example_shows_the_balance_and_its_changes(
    build: Callable[[Path], Path],
    empty_project: Path,
    start_gateway: StartGateway,
    projector: FakeProjector,
    browser: Browser,
) -> None:
    gateway = await start_gateway(page_directory=build(empty_project))
    await projector.open("acc-0001")
    await projector.transfer("acc-0001", 1234)
    page = await browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # The demo, not the gateway, answers this request.
    await page.route("**/api/demo/token", lambda route: route.fulfill(json={"token": token()}))
    await page.goto(gateway.http)
    await expect(page.locator("#balance")).to_have_text("12.34", timeout=30_000)
    await projector.transfer("acc-0001", 100)
    await expect(page.locator("#balance")).to_have_text("13.34", timeout=30_000)
    await expect(page.locator("li")).to_have_text(["t-1 1.00", "t-0 12.34"], timeout=30_000)
    assert errors == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/*.*")), ids=lambda path: str(path.parent.name))
def test_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 30
