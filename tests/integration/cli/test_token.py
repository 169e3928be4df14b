"""`livebalance token`, beside the secret of a demo or with a key in a file. It needs no server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from livebalance.stack.paths import StatePaths
from livebalance.stack.secret import demo_secret
from scripts.cli_docs import JSON_FIELDS
from tests.integration.cli.command_line import CommandResult, run_command
from tests.tokens import sign

KEY = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256", "kid": "k1"}


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A state directory with the secret of a demo."""
    demo_secret(StatePaths(tmp_path, tmp_path / "demo"))
    return tmp_path


async def run_token(state: Path, *words: str, stdin: bytes = b"") -> CommandResult:
    environment = {"PATH": os.environ["PATH"], "LIVEBALANCE_STATE_DIRECTORY": str(state)}
    return await run_command(environment, "token", *words, stdin=stdin)


async def run_json(state: Path, command: str, *words: str) -> dict[str, Any]:
    result = await run_token(state, command, "--json", *words)
    assert (result.code, result.err) == (0, "")
    shown: dict[str, Any] = json.loads(result.out)
    assert list(shown) == JSON_FIELDS[f"token {command}"][""].split(", ")
    return shown


async def test_minted_token_has_the_claims_and_no_defect(demo: Path) -> None:
    minted = await run_json(demo, "mint", "--account", "acc-*", "--account", "alice", "--subject", "bob")
    shown = await run_json(demo, "inspect", minted["token"])
    assert (shown["signature"], shown["defects"]) == ("valid", [])
    assert (shown["claims"]["sub"], shown["claims"]["accounts"]) == ("bob", ["acc-*", "alice"])
    assert shown["header"]["kid"] == "demo"


async def test_token_of_a_key_in_a_file_is_valid_for_that_key_only(demo: Path) -> None:
    (demo / "key.json").write_text(json.dumps(KEY))
    key = ("--key", str(demo / "key.json"))
    text = (await run_token(demo, "mint", "--account", "alice", *key)).out
    assert (await run_token(demo, "inspect", *key, stdin=text.encode())).code == 0
    other = await run_token(demo, "inspect", stdin=text.encode())
    assert (other.code, other.out.splitlines()[-1]) == (
        3,
        "A gateway rejects it: the signature is not of this key.",
    )


async def test_each_defect_of_a_token_is_named(demo: Path) -> None:
    bad = sign({"sub": "bob", "iat": 0, "exp": 31 * 86400, "aud": "livebalance", "iss": "livebalance-demo"})
    result = await run_token(demo, "inspect", stdin=bad.encode())
    assert result.code == 3
    for defect in (
        "the claim accounts is missing",
        "it expired",
        "more than 30 days",
        "the signature is not",
    ):
        assert defect in result.out
    nothing = await run_token(demo, "inspect", "nothing")
    assert (nothing.code, nothing.out) == (1, "")
    assert nothing.err.startswith("livebalance: not a token: ")


@pytest.mark.parametrize(
    "key", [{**KEY, "alg": "HS265"}, {**KEY, "kty": "XXX"}, {**KEY, "alg": None, "kty": "oct", "k": 5}]
)
async def test_key_that_is_none_is_not_printed(demo: Path, key: dict[str, Any]) -> None:
    (demo / "key.json").write_text(json.dumps(key))
    made = await run_token(demo, "mint", "--account", "alice", "--key", str(demo / "key.json"))
    assert (made.code, made.out) == (1, "")
    assert "is not a JSON Web Key" in made.err
    assert len(made.err.splitlines()) == 1
    assert KEY["k"] not in made.err


@pytest.mark.parametrize("claims", [{"exp": 10**29}, {"exp": -(10**14)}, {"sub": "\ud800x"}])
async def test_token_with_odd_claims_is_shown(demo: Path, claims: dict[str, Any]) -> None:
    shown = await run_token(demo, "inspect", sign(claims))
    assert (shown.code, shown.err) == (3, "")


async def test_errors_are_one_line_without_control_characters(demo: Path) -> None:
    failed = await run_token(demo, "mint", "--account", "alice", "--key", "/no\n/\x1b[2J")
    assert failed.code == 1
    assert len(failed.err.splitlines()) == 1
    assert "\x1b" not in failed.err


def test_full_disk_is_one_line(demo: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "LIVEBALANCE_STATE_DIRECTORY": str(demo)}
    with Path("/dev/full").open("wb") as full:
        words = (sys.executable, "-m", "livebalance.cli", "token", "mint", "--account", "alice")
        ended = subprocess.run(words, env=environment, stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(rb"livebalance: [^\n]*disk[^\n]*\n", ended.stderr)


async def test_token_without_a_key_is_neither_made_nor_checked(demo: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    made = await run_token(empty, "mint", "--account", "alice")
    assert (made.code, made.out) == (1, "")
    assert made.err == "livebalance: no key to sign with: give --key, or start the demo (make up)\n"
    assert not empty.exists(), "the command creates no secret"
    text = (await run_token(demo, "mint", "--account", "alice")).out.strip()
    assert (await run_json(empty, "inspect", text))["signature"] == "not checked"
