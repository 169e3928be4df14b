"""The packed TypeScript client, installed into an empty project: its files, its types, and Node."""

import json
import tarfile
from pathlib import Path

import pytest

from livebalance.stack.build import node
from tests.integration.gateway.conftest import RunningGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.typescript.project import (
    EXAMPLES,
    borrow,
    run,
    running,
    tool,
    until_line,
)
from tests.tokens import token

CONSUMER = """\
import { Client, indexedDbStorage, type AccountView, type Money, plus } from '@livebalance/client';

const client: Client = new Client('https://bank.example', { storage: indexedDbStorage('user-1') });
const stop: () => void = client.follow('acc-0001', (view: AccountView) => {
  const amount: Money | undefined = view.state?.balance?.amount;
  if (amount !== undefined) plus(amount, amount);
  // @ts-expect-error An amount is never a number.
  const wrong: number | undefined = view.state?.balance?.amount;
  return wrong;
});
stop();
"""


def test_package_contains_the_built_files_and_nothing_else(packed: Path) -> None:
    with tarfile.open(packed) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
        [manifest] = [archive.extractfile(entry) for entry in archive if entry.name == "package/package.json"]
        assert manifest
        description = json.loads(manifest.read())
    built = {name for name in names if name.startswith("dist/")}
    assert names - built == {"package.json", "README.md", "LICENSE"}
    assert {"dist/index.js", "dist/index.d.ts"} <= built
    assert not any(".spec." in name or ".fake." in name for name in built)
    assert description["license"] == "Apache-2.0"
    assert "dependencies" not in description
    assert description["sideEffects"] is False


@pytest.mark.parametrize(
    "options",
    [("--module", "nodenext", "--lib", "es2023", "--types", "node"), ("--module", "preserve")],
    ids=["node", "bundler"],
)
def test_types_of_an_installed_package_fit_a_consumer(empty_project: Path, options: tuple[str, ...]) -> None:
    borrow(empty_project, node.TS_CLIENT, "@types/node", "undici-types")
    (empty_project / "consumer.ts").write_text(CONSUMER)
    compiler = tool(node.TS_CLIENT, "typescript/bin/tsc")
    run(*compiler, "--noEmit", "--strict", "--target", "es2023", *options, "consumer.ts", cwd=empty_project)


async def test_node_follows_an_account(
    empty_project: Path, gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    await projector.transfer("alice", 1234)
    (empty_project / "follow.mjs").write_text((EXAMPLES / "node" / "follow.mjs").read_text())
    command = [node.NODE, "follow.mjs", gateway.http, "alice", token()]
    async with running(*command, cwd=empty_project) as process:
        await until_line(process, ": 12.34 1")
        await projector.transfer("alice", 100)
        await until_line(process, ": 13.34 2")


async def test_node_follows_a_set(
    empty_project: Path, gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("EU-1", "EU-2", "US-1")
    (empty_project / "set.mjs").write_text((EXAMPLES / "node" / "set.mjs").read_text())
    async with running(
        node.NODE, "set.mjs", gateway.http, "prefix:EU-", token(), cwd=empty_project
    ) as process:
        await until_line(process, ": 0.00 EUR, 2 accounts")
        await projector.transfer("EU-1", 100)
        await until_line(process, ": 1.00 EUR, 2 accounts")
        await projector.open("EU-3")
        await until_line(process, ": 1.00 EUR, 3 accounts")
        await projector.erase("EU-1")
        await until_line(process, ": 0.00 EUR, 2 accounts")


async def test_node_reports_an_account_that_the_token_does_not_name(
    empty_project: Path, gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    (empty_project / "follow.mjs").write_text((EXAMPLES / "node" / "follow.mjs").read_text())
    command = [node.NODE, "follow.mjs", gateway.http, "alice", token(["bob"])]
    async with running(*command, cwd=empty_project) as process:
        await until_line(process, "rejected: ")
