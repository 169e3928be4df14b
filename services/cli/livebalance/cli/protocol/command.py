"""`livebalance protocol`: checks a gateway or a client of another author against docs/protocol.md."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import httpx
import typer

from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson
from livebalance.cli.protocol.conversation import SECONDS
from livebalance.cli.protocol.dialogues import ROOT, dialogues
from livebalance.cli.protocol.gateway_rules import RULES, Target
from livebalance.cli.protocol.player import play_all
from livebalance.cli.protocol.result import RuleError, RuleResult, report
from livebalance.stack.paths import PROJECT

_RULE_SECONDS = 90.0  # that the check of a rule may take
_VECTORS = PROJECT / "libs" / "wire" / "vectors" / "frames.json"

app = typer.Typer(help="Check a gateway or a client against docs/protocol.md.", no_args_is_help=True)


@app.callback()
def protocol() -> None:
    """Check a gateway or a client against docs/protocol.md."""


@app.command()
def check(
    url: Annotated[str, typer.Argument(metavar="URL", help="Gateway, such as https://example.org.")],
    account: Annotated[
        str | None, typer.Option(help="Account to subscribe to. By default the first of the list.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a running gateway: its frames, answers, errors and closes. It changes nothing.

    The token is that in LIVEBALANCE_TOKEN; by default the gateway's demo issues one.

    Exit code 0: all rules hold; 1: the gateway cannot be checked; 3: a rule does not hold.
    """
    report(asyncio.run(_check(url.rstrip("/"), account)), as_json=as_json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def play(
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND...", help="Starts the client. {url}, {accounts} and {sets} are replaced."
        ),
    ],
    dialogue: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this dialogue. Can be repeated.")
    ] = None,
    directory: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the dialogues.", show_default=False)
    ] = ROOT,
    reports: Annotated[
        bool,
        typer.Option(
            "--reports", help="The client prints JSON lines as `watch --json` does: check what it shows too."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a client: start it for each recorded dialogue, play the gateway to it, and judge what it sends.

    The client connects to LIVEBALANCE_URL, authenticates with LIVEBALANCE_TOKEN, and subscribes to the
    LIVEBALANCE_ACCOUNTS, which are separated by spaces. Dialogues with sets are played if COMMAND has {sets}.
    Put `--` before COMMAND if it has options.

    Exit code 0: all rules hold; 1: the client cannot be started; 3: a rule does not hold.
    """
    selected = [script for script in dialogues(directory) if not dialogue or script.name in dialogue]
    if unknown := set(dialogue or ()) - {script.name for script in selected}:
        raise UserError(f"there is no dialogue {sorted(unknown)[0]!r} in {directory}")
    report(asyncio.run(play_all(selected, command, reports=reports)), as_json=as_json)


async def _check(url: str, account: str | None) -> list[RuleResult]:
    """Raises UserError."""
    if not url.startswith(("http://", "https://")):
        raise UserError("the URL of a gateway begins with http:// or https://")
    token = os.environ.get("LIVEBALANCE_TOKEN") or await _demo_token(url)
    target = Target(url, token, account or await _first_account(url, token), _invalid_messages())
    return [await _result(name, target) for name in RULES]


async def _result(name: str, target: Target) -> RuleResult:
    rule = RULES[name]
    text = " ".join((rule.__doc__ or "").split())
    if name == "invalid_messages" and not target.invalid:
        return RuleResult(text, "skipped", f"there is no {_VECTORS.name} here")
    try:
        async with asyncio.timeout(_RULE_SECONDS):
            await rule(target)
    except (RuleError, OSError, TimeoutError, httpx.HTTPError) as error:
        return RuleResult(text, "failed", str(error) or type(error).__name__)
    except Exception as error:  # what a broken gateway sends may break a check anywhere
        return RuleResult(text, "failed", f"{type(error).__name__}: {error}")
    return RuleResult(text, "passed")


def _invalid_messages() -> list[dict[str, object]]:
    return json.loads(_VECTORS.read_text())["client_invalid"] if _VECTORS.exists() else []


async def _demo_token(url: str) -> str:
    answer = await _answer("POST", f"{url}/api/demo/token", None)
    if answer.status_code != 200:
        raise UserError("no token: set LIVEBALANCE_TOKEN")
    return str(answer.json()["token"])


async def _first_account(url: str, token: str) -> str:
    answer = await _answer("GET", f"{url}/api/v1/accounts?limit=1", token)
    accounts = answer.json()["accounts"] if answer.status_code == 200 else []
    if not accounts:
        raise UserError("the token sees no account: name one with --account")
    return str(accounts[0]["account"])


async def _answer(method: str, url: str, token: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client:
            return await client.request(method, url, headers=headers)
    except httpx.HTTPError as error:
        raise UserError(f"the gateway does not answer: {type(error).__name__}") from None
