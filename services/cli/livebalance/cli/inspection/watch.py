"""`livebalance watch`: follows accounts live, as the page does."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import msgspec
import typer

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson
from livebalance.cli.table import print_json
from livebalance.client import (
    AccountId,
    Changed,
    Client,
    Connected,
    Disconnected,
    Ended,
    Event,
    Snapshot,
    Status,
    TransferView,
)
from livebalance.runtime.redact import one_line
from livebalance.wire.identity import is_id

_STOPPED = 130  # exit code
_TOKEN_SECONDS = 10.0
_SHOWN_TRANSFERS = 5  # of a change, on its line; --json has all


def watch(
    accounts: Annotated[list[str], typer.Argument(metavar="ACCOUNT...", help="Ids of the accounts.")],
    url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="WebSocket of a gateway, such as wss://example.org/ws; repeatable. Default: the demo's.",
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after this number of changes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Watch accounts live: a line per change, and per event that makes a shown balance stale.

    The token is that in LIVEBALANCE_TOKEN; by default the demo issues one. --json prints an object per line.

    Exit code 0: --count was reached; 1: the gateway serves none of the accounts; 130: interrupted.
    """
    for account in accounts:
        if not is_id(account):
            raise UserError(f"{account!r} is not an account id: an id is 1 to 64 of A-Z a-z 0-9 . _ -")
    urls = url or [f"ws{addresses.page().removeprefix('http')}/ws"]
    try:
        asyncio.run(_watch([AccountId(account) for account in accounts], urls, count, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(_STOPPED) from None


async def _watch(accounts: list[AccountId], urls: list[str], count: int | None, *, as_json: bool) -> None:
    """Raises UserError."""
    changes, ended = 0, set[AccountId]()
    async with Client(*urls, token=_token_provider()) as client:
        for account in accounts:
            client.follow(account)
        async for event in client.events():
            if as_json:
                if (fields := event_object(event)) is not None:
                    print_json(fields)
            elif line := event_line(event):
                typer.echo(one_line(line))
            if isinstance(event, Ended):
                ended.add(event.account)
            changes += isinstance(event, Changed)
            if count is not None and changes >= count:
                return
            if ended >= set(accounts):
                break
    raise UserError(
        "the gateway serves none of these accounts" if ended else "the gateway does not serve this client"
    )


def _token_provider() -> Callable[[], Awaitable[str]]:
    given = os.environ.get("LIVEBALANCE_TOKEN")
    try:
        endpoint = None if given else f"{addresses.page()}/api/demo/token"
    except UserError:  # --url names a gateway, and no demo runs here
        raise UserError("no token: set LIVEBALANCE_TOKEN, or start the demo (make up)") from None

    async def token() -> str:
        if endpoint is None:
            return str(given)
        async with httpx.AsyncClient(timeout=_TOKEN_SECONDS, trust_env=False) as http:
            answer = await http.post(endpoint)
        if not answer.is_success:
            raise OSError(f"the demo issues no token: {answer.status_code}")
        return str(answer.json()["token"])

    return token


def event_line(event: Event) -> str | None:
    """Returns the line of an event, or None for an event that changes nothing on a screen."""
    line: str | None
    match event:
        case Changed(account):
            balance = (
                f"{account.balance.amount} {account.balance.currency or ''}".rstrip()
                if account.balance
                else "-"
            )
            line = f"{account.account}  {balance}  revision {account.position.revision}{_transfers(event)}"
        case Connected():
            line = f"connected to {event.gateway}"
        case Disconnected(_, reason, None):
            line = f"not live any more: {reason}"
        case Disconnected(_, reason, seconds):
            line = f"not live: {reason}; reconnecting in {seconds:.1f} s"
        case Ended(account, code, message):
            line = f"{account}  no longer followed: {code}: {message}"
        case Status():
            line = f"the pipeline is {event.state} since {event.since}"
        case _:
            line = None
    return line


def _new_transfers(event: Changed) -> list[TransferView]:
    """Returns the transfers of a delta. Those of a snapshot are not new."""
    return [] if isinstance(event.frame, Snapshot) else list(event.frame.transfers)


def _transfers(event: Changed) -> str:
    new = _new_transfers(event)
    shown = ", ".join(f"{transfer.amount} ({transfer.id})" for transfer in new[:_SHOWN_TRANSFERS])
    more = f" and {len(new) - _SHOWN_TRANSFERS} more" if len(new) > _SHOWN_TRANSFERS else ""
    return f"  {shown}{more}" if new else ""


def event_object(event: Event) -> dict[str, Any] | None:
    """Returns the object of an event for --json, or None as `event_line` does."""
    match event:
        case Changed(account):
            return {
                "event": "changed",
                "account": account.account,
                "epoch": account.position.epoch,
                "revision": account.position.revision,
                "balance": msgspec.to_builtins(account.balance),
                "snapshot": isinstance(event.frame, Snapshot),
                "transfers": msgspec.to_builtins(_new_transfers(event)),
            }
        case Connected():
            return {"event": "connected", "gateway": event.gateway, "session": event.session}
        case Disconnected(code, reason, retry_in):
            return {"event": "disconnected", "code": code, "reason": reason, "retry_in": retry_in}
        case Ended(account, code, message):
            return {"event": "ended", "account": account, "code": code, "message": message}
        case Status():
            return {"event": "status", "state": event.state, "since": event.since}
        case _:
            return None
