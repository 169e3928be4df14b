"""What all commands have: a version, completion, help without colours in a pipe, a page of docs."""

import os
from pathlib import Path

from scripts.cli_docs import markdown
from tests.integration.cli.command_line import run_command

PATH = {"PATH": os.environ["PATH"]}


async def test_version_is_printed() -> None:
    result = await run_command(PATH, "--version")
    assert (result.code, result.out, result.err) == (0, "livebalance 0.1.0\n", "")


async def test_shell_completes_commands() -> None:
    variables = {"_LIVEBALANCE_COMPLETE": "complete_bash", "COMP_WORDS": "livebalance do", "COMP_CWORD": "1"}
    result = await run_command({**PATH, **variables})
    assert (result.code, result.out.split()) == (0, ["doctor"])


async def test_wrong_argument_exits_with_2_and_without_colours() -> None:
    for words in (["status", "--no-such-option"], ["no-such-command"]):
        result = await run_command(PATH, *words)
        assert (result.code, result.out) == (2, "")
        assert "\x1b" not in result.err


async def test_help_in_a_pipe_has_no_colours() -> None:
    result = await run_command(PATH, "explain", "--help")
    assert result.code == 0
    assert "\x1b" not in result.out


def test_page_has_a_section_for_each_command() -> None:
    page = markdown()
    for command in (
        "doctor",
        "status",
        "explain",
        "watch",
        "lane list",
        "revoke",
        "revoke list",
        "token mint",
    ):
        assert f"\n## {command}\n" in page


async def test_watch_without_a_token_says_what_to_set(tmp_path: Path) -> None:
    nothing = {**PATH, "LIVEBALANCE_STATE_DIRECTORY": str(tmp_path)}
    result = await run_command(nothing, "watch", "alice", "--url", "ws://127.0.0.1:1/ws")
    assert (result.code, result.out) == (1, "")
    assert result.err == "livebalance: no token: set LIVEBALANCE_TOKEN, or start the demo (make up)\n"
    result = await run_command(nothing, "watch", "alice")
    assert result.err == "livebalance: no address of a gateway: give --url, or start the demo (make up)\n"
