"""An empty npm project into which the packed TypeScript client is installed."""

import asyncio
import shutil
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from livebalance.stack.build import node

EXAMPLES = node.TS_CLIENT / "examples"
_PACKED = ("package.json", "README.md", "LICENSE", "tsconfig.json", "tsconfig.build.json", ".npmrc")


def run(*command: object, cwd: Path) -> str:
    """Runs a command, and returns its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=node.environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def pack(directory: Path) -> Path:
    """Builds and packs the package from a copy of its sources, and returns the packed file."""
    node.install(node.TS_CLIENT)
    for name in _PACKED:
        shutil.copy(node.TS_CLIENT / name, directory / name)
    shutil.copytree(node.TS_CLIENT / "src", directory / "src")
    (directory / "node_modules").symlink_to(node.TS_CLIENT / "node_modules")
    run(*node.NPM, "run", "build", cwd=directory)
    run(*node.NPM, "pack", cwd=directory)
    [packed] = directory.glob("*.tgz")
    return packed


def install(packed: Path, project: Path) -> None:
    """Installs the packed file into an empty project."""
    (project / "package.json").write_text('{"private": true, "type": "module"}\n')
    run(*node.NPM, "install", "--offline", "--no-audit", "--no-fund", packed, cwd=project)


def tool(package: Path, path: str) -> list[str]:
    """Returns the command of a tool that another package has installed."""
    return [str(node.NODE), str(package / "node_modules" / path)]


def borrow(project: Path, package: Path, *names: str) -> None:
    """Puts packages that another package has installed into a project, as if they were installed there."""
    for name in names:
        place = project / "node_modules" / name
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(package / "node_modules" / name)


@asynccontextmanager
async def running(*command: object, cwd: Path) -> AsyncIterator[Process]:
    """Starts a process, and kills it at the end."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, env=node.environment(), stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_line(process: Process, text: str) -> str:
    """Reads the output up to the first line that contains `text`, and returns the line."""
    assert process.stdout
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if text in line.decode():
                return line.decode()
    raise AssertionError(f"the process ended without {text!r}")
