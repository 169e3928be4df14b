"""Follows sets, and prints a JSON line for each position: `python -m … URL SET...`."""

import asyncio
import json
import os
import sys

from livebalance.client import Client, SetChanged


async def _main(url: str, *names: str) -> None:
    async def token() -> str:
        return os.environ["LIVEBALANCE_TOKEN"]

    async with Client(url, token=token) as client:
        for name in names:
            client.follow_set(name)
        async for event in client.events():
            if isinstance(event, SetChanged):
                state = event.set
                shown = {
                    "set": state.name.channel,
                    "epoch": state.epoch,
                    "lanes": state.lanes,
                    "members": {account: member.amount for account, member in state.members.items()},
                    "totals": [
                        {"currency": total.currency, "amount": total.amount, "accounts": total.accounts}
                        for total in state.totals
                    ],
                }
                print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
