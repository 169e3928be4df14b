"""Every JavaScript or TypeScript snippet of the documentation runs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.async_api import Browser

from livebalance.stack.build import node
from livebalance.stack.paths import PROJECT
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.typescript.project import EXAMPLES, running, until_line
from tests.tokens import token

ADDRESS = "http://127.0.0.1:8080"  # in snippets
_BLOCK = re.compile(
    r"(?:<!-- file: (\S+) -->\n)?^```(?:js|mjs|javascript|jsx|ts|typescript|tsx)\n(.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Snippet(NamedTuple):
    """A code block. `file` is the example that it shows, which other tests build and run."""

    page: str
    file: str
    code: str


def snippets() -> Iterator[Snippet]:
    pages = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]
    for page in pages:
        for file, code in _BLOCK.findall(page.read_text()):
            yield Snippet(page.name, file, code)


def own(without: str = "\0") -> list[Snippet]:
    """Returns the snippets that are not files, and do not contain `without`."""
    return [snippet for snippet in snippets() if not snippet.file and without not in snippet.code]


@pytest.fixture
async def gateway(start_gateway: StartGateway, projector: FakeProjector, tmp_path: Path) -> RunningGateway:
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    await projector.open("acc-0001", "acc-0002")
    return await start_gateway(page_directory=tmp_path)


def test_snippets_show_every_example() -> None:
    shown = {snippet.file for snippet in snippets()} - {""}
    assert shown == {
        str(path.relative_to(PROJECT)) for path in EXAMPLES.glob("*/*.*") if path.suffix != ".html"
    }


@pytest.mark.parametrize("snippet", own(without="EventSource"), ids=lambda snippet: str(snippet.page))
async def test_snippet_runs_in_node(
    snippet: Snippet, gateway: RunningGateway, projector: FakeProjector, tmp_path: Path
) -> None:
    # The demo, not the gateway, answers this request.
    sign_in = f'globalThis.fetch = async () => Response.json({{ token: "{token()}" }});'
    (tmp_path / "snippet.mjs").write_text(f"{sign_in}\n{snippet.code.replace(ADDRESS, gateway.http)}")
    async with running(node.NODE, "snippet.mjs", cwd=tmp_path) as process:
        await until_line(process, "type: 'snapshot'")
        await projector.transfer("acc-0001", 1234)
        await until_line(process, "type: 'delta'")


@pytest.mark.parametrize("snippet", own(), ids=lambda snippet: str(snippet.page))
async def test_snippet_runs_in_the_console_of_a_page(
    snippet: Snippet, gateway: RunningGateway, projector: FakeProjector, browser: Browser
) -> None:
    context = await browser.new_context()
    await context.add_cookies([{"name": "livebalance", "value": token(), "url": gateway.http}])
    page = await context.new_page()
    await page.goto(gateway.http)
    async with page.expect_console_message(lambda message: "snapshot" in message.text, timeout=30_000):
        await page.evaluate(f"async () => {{ {snippet.code.replace(ADDRESS, gateway.http)} }}")
    async with page.expect_console_message(lambda message: "delta" in message.text, timeout=30_000):
        await projector.transfer("acc-0001", 1234)
