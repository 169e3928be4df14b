"""The rules of docs/protocol.md that a client can check at a running gateway.

A rule is a function whose docstring is the rule. It raises RuleError if the gateway breaks it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus

from livebalance.cli.protocol.conversation import SECONDS, Conversation, Frame, conversation, expect
from livebalance.cli.protocol.result import RuleError
from livebalance.wire.frame import SUBPROTOCOL
from livebalance.wire.money import Money, parse_money

_OTHER_EPOCH = "00000000000000ff"
_PER_CONNECTION = 2  # invalid messages; the third ends a connection


@dataclass(frozen=True)
class Target:
    """A gateway to check: its URL without a path, a token for `account`, and invalid messages to send."""

    http: str
    token: str
    account: str
    invalid: list[Frame] = field(default_factory=list)  # with `text` and `code`, and `id` if the error has it

    @property
    def ws(self) -> str:
        """The URL of the WebSocket."""
        return self.http.replace("http", "ws", 1) + "/ws"

    def get(self, path: str, token: str | None = "", **headers: str) -> "Awaitable[httpx.Response]":
        """Returns the answer to a GET."""
        bearer = {} if token is None else {"Authorization": f"Bearer {token or self.token}"}

        async def answer() -> httpx.Response:
            async with httpx.AsyncClient(base_url=self.http, timeout=SECONDS, trust_env=False) as http:
                return await http.get(path, headers={**bearer, **headers})

        return answer()


async def welcome(target: Target) -> None:
    """The gateway accepts livebalance.v1, and its first frame is `welcome`."""
    async with conversation(target.ws, target.token) as opened:
        expect(opened.socket.subprotocol == SUBPROTOCOL, f"the subprotocol is {opened.socket.subprotocol}")


async def snapshot(target: Target) -> None:
    """A subscription without a position begins with a snapshot, whose transfers are newest first."""
    async with conversation(target.ws, target.token) as opened:
        await opened.subscribe(target.account)
        first = await opened.data(target.account)
        expect(first["type"] == "snapshot" and first["reason"] == "subscribed", f"it begins with {first}")
        revisions = [transfer["revision"] for transfer in first["transfers"]]
        expect(revisions == sorted(revisions, reverse=True), f"the revisions are {revisions}")
        expect(
            all(revision <= first["revision"] for revision in revisions), "a transfer is of a later revision"
        )


async def resume(target: Target) -> None:
    """A client that resumes gets deltas that chain from its position, or a snapshot if that is too far."""
    current = await _position(target)
    position = {**current, "revision": max(0, current["revision"] - 1)}
    async with conversation(target.ws, target.token) as opened:
        resume_max = opened.frames[0]["limits"]["resume_max"]
        await opened.subscribe(target.account, position)
        reached, more = position["revision"], False
        while reached < current["revision"] or more:
            frame = await opened.data(target.account)
            if frame["type"] == "snapshot":
                expect(frame["reason"] == "too_far" and resume_max == 0, f"it gets {frame}")
                return
            expect(frame["from"] == reached and frame["epoch"] == current["epoch"], f"{frame} leaves a gap")
            reached, more = frame["to"], frame.get("more", False)
            expect(("balance" in frame) is not more, f"only the last page has a balance: {frame}")


async def other_epoch(target: Target) -> None:
    """A position of another epoch is answered with a snapshot, reason `epoch`."""
    position = {**await _position(target), "epoch": _OTHER_EPOCH}
    await _expect_snapshot(target, position, "epoch")


async def ahead(target: Target) -> None:
    """A position ahead of the account is answered with a snapshot, reason `ahead`."""
    position = await _position(target)
    await _expect_snapshot(target, {**position, "revision": position["revision"] + 10**9}, "ahead")


async def requests(target: Target) -> None:
    """`ping`, `rate` and `unsubscribe` are answered with `ok` and the id, which may be text."""
    async with conversation(target.ws, target.token) as opened:
        for type_, fields in (
            ("ping", {}),
            ("rate", {"max_per_second": 5}),
            ("rate", {"max_per_second": None}),
            ("unsubscribe", {"channels": [f"account:{target.account}"]}),
        ):
            answer = (await opened.request(type_, **fields))[-1]
            expect(answer["type"] == "ok", f"{type_} is answered by {answer}")
        await opened.send(type="ping", id="text")
        await opened.until(lambda frame: frame == {"type": "ok", "id": "text"})


async def unknown_fields(target: Target) -> None:
    """The gateway ignores fields that it does not know."""
    async with conversation(target.ws, target.token) as opened:
        answer = (await opened.request("ping", tomorrow={"x": [1, None]}))[-1]
        expect(answer["type"] == "ok", f"it is answered by {answer}")


async def features(target: Target) -> None:
    """A subscribe may ask for patches. The gateway ignores features that it does not know."""
    async with conversation(target.ws, target.token) as opened:
        channels, wanted = [{"channel": f"account:{target.account}"}], ["patches", "tomorrow"]
        answer = (await opened.request("subscribe", channels=channels, features=wanted))[-1]
        expect(answer["type"] == "ok", f"it is answered by {answer}")
        first = await opened.data(target.account)
        expect(first["type"] == "snapshot", f"it begins with {first}")


async def bad_account(target: Target) -> None:
    """A request with a name that is no channel is answered with `bad_account`; the connection stays open."""
    async with conversation(target.ws, target.token) as opened:
        answer = (await opened.request("subscribe", channels=[{"channel": "account:"}]))[-1]
        expect(answer.get("code") == "bad_account", f"it is answered by {answer}")
        await opened.subscribe(target.account)


async def invalid_messages(target: Target) -> None:
    """Each invalid message of the golden vectors is answered with its error."""
    for start in range(0, len(target.invalid), _PER_CONNECTION):
        async with conversation(target.ws, target.token) as opened:
            for vector in target.invalid[start : start + _PER_CONNECTION]:
                await opened.socket.send(vector["text"])
                answer = await opened.until(lambda frame: frame["type"] in ("error", "ok"))
                got = {"code": answer.get("code"), **({"id": answer["id"]} if "id" in answer else {})}
                expected = {key: vector[key] for key in ("code", "id") if key in vector}
                expect(got == expected, f"{vector['name']} is answered by {answer}")


async def third_invalid_message(target: Target) -> None:
    """The third message that is not of this protocol closes the connection with 4500."""
    async with conversation(target.ws, target.token) as opened:
        for _ in range(3):
            await opened.socket.send("no JSON")
        await _expect_closed(opened, 4500)


async def binary_frame(target: Target) -> None:
    """A binary frame closes the connection with 1003."""
    async with conversation(target.ws, target.token) as opened:
        await opened.socket.send(b"{}")
        await _expect_closed(opened, 1003)


async def invalid_token(target: Target) -> None:
    """An invalid token closes the connection with 4501."""
    async with conversation(target.ws, None) as opened:
        await opened.send(type="auth", token="invalid")  # noqa: S106 - it is none
        await _expect_closed(opened, 4501)


async def token_in_url(target: Target) -> None:
    """A token in the URL is rejected with 400 `token_in_url`."""
    try:
        async with conversation(f"{target.ws}?token=invalid", None):
            expect(False, "the connection is accepted")
    except InvalidStatus as rejected:
        status, body = rejected.response.status_code, rejected.response.body or b""
        expect(status == 400 and b"token_in_url" in body, f"it is answered by {status} {body!r}")


async def heartbeat(target: Target) -> None:
    """A heartbeat arrives within `heartbeat_ms`."""
    async with conversation(target.ws, target.token) as opened:
        await opened.subscribe(target.account)
        await opened.until(lambda frame: frame["type"] == "heartbeat")


async def account_set(target: Target) -> None:
    """The pages of a set chain. The last has the position, and the sum of the members per currency."""
    async with conversation(target.ws, target.token) as opened:
        if "sets" not in opened.frames[0]["features"]:
            return
        channel = f"prefix:{target.account}"
        answer = await opened.request("subscribe", channels=[{"channel": channel}])
        expect(answer[-1]["type"] == "ok", f"subscribe is answered by {answer[-1]}")
        pages = [await opened.until(lambda frame: frame.get("channel") == channel)]
        if pages[0].get("code") in ("no_access", "unavailable"):
            return
        while pages[-1].get("more"):
            pages.append(await opened.until(lambda frame: frame.get("channel") == channel))
        got = pages[0].get("reason", pages[0]["type"])
        expect(got == "subscribed", f"it begins with {got}")
        for page, following in pairwise(pages):
            expect(following.get("from") == page["to"], f"{following} leaves a gap")
        _expect_totals(pages)


def _expect_totals(pages: list[Frame]) -> None:
    last, sums = pages[-1], dict[Any, list[Money]]()
    expect("lanes" in last and "totals" in last, f"the last page has no position: {last}")
    for member in (member for page in pages for member in page["members"]):
        sums.setdefault(member["currency"], []).append(parse_money(member["amount"]))
    totals = {total["currency"]: (total["amount"], total["accounts"]) for total in last["totals"]}
    expected = {
        currency: (str(reduce(Money.add, amounts)), len(amounts)) for currency, amounts in sums.items()
    }
    expect(totals == expected, f"the totals are {totals}, the members are {expected}")


async def rest_account(target: Target) -> None:
    """REST shows the same account, with its position as ETag; 304 if nothing has changed."""
    answer = await target.get(f"/api/v1/accounts/{target.account}")
    expect(answer.status_code == 200, f"the status is {answer.status_code}")
    shown = answer.json()
    etag = f'W/"{shown["epoch"]}:{shown["revision"]}"'
    expect(answer.headers.get("etag") == etag, f"the ETag is {answer.headers.get('etag')}")
    again = await target.get(f"/api/v1/accounts/{target.account}", **{"If-None-Match": etag})
    if again.status_code == 200:
        expect(again.json()["revision"] > shown["revision"], "nothing has changed, and the status is 200")
    else:
        expect(again.status_code == 304, f"the status is {again.status_code}")


async def rest_problem(target: Target) -> None:
    """An error of REST is a problem of RFC 9457 with a code."""
    for path, token, expected in (
        (f"/api/v1/accounts/{target.account}", None, (401, "unauthenticated")),
        ("/api/v1/nothing", "", (404, "not_found")),
        (f"/api/v1/accounts/{target.account}/transfers?limit=0", "", (422, "bad_parameter")),
    ):
        answer = await target.get(path, token)
        kind = answer.headers.get("content-type", "")
        expect(kind.startswith("application/problem+json"), f"{path} is answered with {kind}")
        got = answer.status_code, json.loads(answer.content).get("code")
        expect(got == expected, f"{path} is answered with {got}")


async def _position(target: Target) -> Frame:
    async with conversation(target.ws, target.token) as opened:
        await opened.subscribe(target.account)
        first = await opened.data(target.account)
        return {"epoch": first["epoch"], "revision": first.get("revision", first.get("to"))}


async def _expect_snapshot(target: Target, position: Frame, reason: str) -> None:
    async with conversation(target.ws, target.token) as opened:
        await opened.subscribe(target.account, position)
        first = await opened.data(target.account)
        got = first.get("reason", first["type"])
        expect(got == reason, f"it is answered with {got}")


async def _expect_closed(opened: Conversation, code: int) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            await opened.send(type="ping", id="still open")
            while json.loads(await opened.socket.recv()).get("id") != "still open":
                pass
        raise RuleError("the gateway answers what comes later")
    except TimeoutError:
        raise RuleError("the gateway does not close") from None
    except ConnectionClosed:
        got, _ = await opened.closed()
        expect(got == code, f"it closes with {got}")


RULES: dict[str, Callable[[Target], Awaitable[None]]] = {
    rule.__name__: rule
    for rule in (
        welcome,
        snapshot,
        resume,
        other_epoch,
        ahead,
        requests,
        unknown_fields,
        features,
        bad_account,
        invalid_messages,
        third_invalid_message,
        binary_frame,
        invalid_token,
        token_in_url,
        heartbeat,
        account_set,
        rest_account,
        rest_problem,
    )
}
