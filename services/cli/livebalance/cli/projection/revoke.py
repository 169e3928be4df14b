"""`livebalance revoke`: writes a row that every gateway reads, and notifies the gateways through Redis."""

import asyncio
import json
from typing import Annotated, NamedTuple

import typer

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.projection.database import TIMEOUT_SECONDS, operator_connection
from livebalance.readmodel.revocations import Revocation, revoke
from livebalance.runtime.redis.commands import UNAVAILABLE, execute, read_slots
from livebalance.runtime.redis.url import RedisUrl
from livebalance.wire.delta import redis_revocation_channel
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, parse_account_id
from livebalance.wire.timestamp import format_rfc3339

app = typer.Typer(invoke_without_command=True)


class RevokeResult(NamedTuple):
    """The revocation. If the gateways were not `notified`, they read it from Postgres within 5 seconds."""

    revocation: Revocation
    notified: bool


@app.callback()
def revoke_matching(
    *,
    context: typer.Context,
    subject: Annotated[str | None, typer.Option(help="Tokens of this user (claim sub).")] = None,
    session: Annotated[str | None, typer.Option(help="Tokens of this login (claim sid).")] = None,
    account: Annotated[
        str | None, typer.Option(help="Access to this account only. As the only option: for all users.")
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Revoke tokens, or their access to an account, within 5 seconds. A token must match all given options.

    Tokens issued until one minute from now are revoked; tokens issued later are valid.
    """
    if context.invoked_subcommand:
        if subject or session or account:
            raise UserError("nothing was revoked: the options of `revoke list` stand after `list`")
        return
    revocation, notified = asyncio.run(revoke_tokens(subject, session, account, reason))
    if as_json:
        fields = {"subject": revocation.subject, "session": revocation.login, "account": revocation.account}
        typer.echo(json.dumps({**fields, "at": format_rfc3339(revocation.at), "notified": notified}))
        return
    matches = [f"{name} {value}" for name, value in (("user", subject), ("login", session)) if value]
    rights = f"access to account {account}" if account else "all access"
    effect = (
        "Gateways were notified."
        if notified
        else "Redis did not notify the gateways; they apply it within 5 seconds."
    )
    typer.echo(f"Revoked {rights} for {' and '.join(matches) or 'all users'}. {effect}")


async def revoke_tokens(
    subject: str | None, session: str | None, account: str | None, reason: str
) -> RevokeResult:
    """Revokes the tokens that match all arguments that are not None (decision 12).

    Raises:
        UserError: there is nothing to match, an invalid account, or Postgres failed.
    """
    if not (subject or session or account):
        raise UserError("no tokens to revoke: give at least one of --subject, --session and --account")
    revocation = await _write(subject, session, _account(account), reason)
    return RevokeResult(revocation, await _notify())


def _account(text: str | None) -> AccountId | None:
    try:
        return None if text is None else parse_account_id(text)
    except DecodeError:
        raise UserError("--account must be 1 to 64 of A-Z a-z 0-9 . _ -") from None


async def _write(
    subject: str | None, session: str | None, account: AccountId | None, reason: str
) -> Revocation:
    async with operator_connection("nothing was revoked") as connection:
        return await revoke(connection, subject, session, account, reason)


async def _notify() -> bool:
    url = addresses.redis()
    if url is None:
        return False
    channel = redis_revocation_channel(addresses.channel_prefix())
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await _publish(RedisUrl.parse(url), channel)
    except UNAVAILABLE:
        return False
    return True


async def _publish(redis: RedisUrl, channel: str) -> None:
    node = redis.nodes[0]
    if redis.clustered:
        slots = await read_slots(redis, redis.nodes)
        node = slots.owner(channel.encode()) or node
    await execute(redis, node, "SPUBLISH" if redis.clustered else "PUBLISH", channel, "")
