"""The client as a stranger installs it, alone in an empty environment: every example on its page runs there.

This takes longer than most tests, because pip makes the environment from its index.
"""

import asyncio
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from livebalance.stack.paths import PROJECT
from livebalance.wire.identity import AccountId
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.gateway_process import GatewayProcess

pytestmark = pytest.mark.timeout(600)
CLIENT = PROJECT / "libs" / "client"
ACCOUNT = AccountId("acc-0001")
_EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# For each example, in the order of the pages: what it prints. Those that print without end are stopped then.
PAGES = {
    "README.md": [r"Connected\((?s:.*)Changed\("],
    "libs/client/README.md": [
        r"(acc-0001 -?\d+\.\d\d \d+\n){3}",
        r"(\d+\.\d\d EUR 1\n){3}",
        r"^revisions \d+ to \d+\n$",
        r"^\d+ BalanceView\(.*\)\n(not_yet|timeout)\n$",
        r"^BalanceView\(.*\)\n(\d+ \d+\n){3}",
    ],
}


def run(*command: str | Path) -> str:
    """Runs a command as outside of this project's environment, and returns its output."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    result = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment, into which pip has installed the client and nothing else."""
    home = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", home)
    run(home / "bin" / "python", "-m", "pip", "install", "--quiet", CLIENT)
    return home / "bin" / "python"


def examples() -> Iterator[tuple[str, str, str]]:
    """Yields the page, the text and the expected output of each example that uses the client."""
    for page, outputs in PAGES.items():
        texts = [text for text in _EXAMPLE.findall((PROJECT / page).read_text()) if "Client(" in text]
        for text, output in zip(texts, outputs, strict=True):
            yield page, text, output


def test_every_page_with_an_example_of_the_client_is_tested() -> None:
    listed = run("git", "-C", PROJECT, "ls-files", "--cached", "--others", "--exclude-standard", "*.md")
    pages = {
        name
        for name in listed.splitlines()
        if (PROJECT / name).is_file()
        and any("Client(" in text for text in _EXAMPLE.findall((PROJECT / name).read_text()))
    }
    assert pages == set(PAGES)


def test_client_is_installed_alone_and_typed(python: Path, tmp_path: Path) -> None:
    installed = run(python, "-m", "pip", "list", "--format=freeze")
    assert re.findall(r"^livebalance.*(?===)", installed, re.MULTILINE) == ["livebalance-client"]
    run(python, "-m", "pip", "check")
    for number, (_, text, _) in enumerate(examples()):
        (tmp_path / f"example_{number}.py").write_text(text)
    cache = f"--cache-dir={tmp_path / 'cache'}"
    run(sys.executable, "-m", "mypy", "--strict", cache, f"--python-executable={python}", tmp_path)


def test_wheel_from_the_sdist_equals_the_wheel_from_the_checkout(tmp_path: Path) -> None:
    build = (sys.executable, "-m", "hatchling", "build", "-d")
    for kind in ("sdist", "wheel"):
        subprocess.run((*build, tmp_path, "-t", kind), cwd=CLIENT, check=True, timeout=60)
    run("tar", "-xzf", next(tmp_path.glob("*.tar.gz")), "-C", tmp_path)
    unpacked = next(path for path in tmp_path.iterdir() if path.is_dir())
    subprocess.run((*build, tmp_path / "again", "-t", "wheel"), cwd=unpacked, check=True, timeout=60)
    wheel, again = next(tmp_path.glob("*.whl")), next(tmp_path.glob("again/*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {"livebalance/client/py.typed", "livebalance/wire/py.typed", "livebalance/wire/frame.py"} <= set(
        names
    )
    assert not any("kafka" in name or name.endswith(".pyc") for name in names)
    assert wheel.read_bytes() == again.read_bytes()


async def run_example(python: Path, text: str, output: str) -> str:
    """Runs an example until it has printed `output`, or has ended, and returns what it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(python, "-u", "-c", text), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout
    printed = ""
    try:
        async with asyncio.timeout(120):
            while not re.search(output, printed) and (line := await process.stdout.readline()):
                printed += line.decode()
    except TimeoutError:
        printed += "(nothing more within 120 s)"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return printed


async def test_every_example_prints_what_it_promises(
    python: Path, gateway: GatewayProcess, token_endpoint: str, projector: FakeProjector
) -> None:
    await projector.open(ACCOUNT)

    def addressed(text: str) -> str:
        demo_endpoint = "http://127.0.0.1:8080/api/demo/token"
        return text.replace(demo_endpoint, token_endpoint).replace(
            "127.0.0.1:8080", f"127.0.0.1:{gateway.port}"
        )

    async def transfer_forever() -> None:
        while True:
            await projector.transfer(ACCOUNT, 5)
            await asyncio.sleep(0.1)

    transferring = asyncio.create_task(transfer_forever())
    tested = list(examples())
    try:
        printed = await asyncio.gather(
            *(run_example(python, addressed(text), output) for _, text, output in tested)
        )
    finally:
        transferring.cancel()
    for (page, text, output), result in zip(tested, printed, strict=True):
        assert re.search(output, result), f"{page}:\n{text}\nprinted:\n{result}"
