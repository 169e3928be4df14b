"""What a client may not say: each with its answer, one line in the log, and nothing for the neighbours."""

import json
from typing import Any

import pytest

from livebalance.wire.identity import MAX_REVISION
from tests.integration.gateway.bad_input.conftest import MakeScene, Scene
from tests.integration.gateway.bad_input.raw import (
    ACCOUNTS_HEAD,
    BINARY,
    CLOSE,
    CONT,
    PING,
    TEXT,
    CloseFrame,
    RawConnection,
    frame,
    message,
)


async def lives(one: RawConnection) -> None:
    one.send(message("ping"))
    await one.until("ok")


async def refused(scene: Scene, text: bytes, code: str, *payloads: str) -> dict[str, Any]:
    """It is answered with that error, and the connection lives."""
    async with await scene.open() as one:
        one.send(frame(TEXT, text))
        error = await one.until("error")
        assert error["code"] == code
        assert not error["temporary"]
        for payload in payloads:
            assert payload not in json.dumps(error, ensure_ascii=False)
        await lives(one)
        await scene.assert_logged("message rejected", *payloads, code=code)
    return error


async def ends(scene: Scene, code: int, reason: str, *data: bytes, payload: str = "payload") -> CloseFrame:
    """It ends the connection."""
    async with await scene.open() as one:
        for some in data:
            one.send(some)
        closed = await one.until_closed()
    assert (closed.code, closed.reason["code"]) == (code, reason)
    assert payload not in json.dumps(closed.reason)
    await scene.assert_logged("closed", payload, code=code, reason=reason)
    return closed


@pytest.mark.parametrize(
    "text",
    [
        b"payload",
        b"",
        b'["payload"]',
        b'"payload"',
        b'{"type":"ping","id":1,"id":2,"x":"payload"}',
        b'{"type":"ping","id":1,"x":{"payload":1,"payload":2}}',
        b'{"id":1,"x":"payload"}',
        b'{"type":["payload"],"id":1}',
    ],
)
async def test_row_16_not_a_message(scene: Scene, text: bytes) -> None:
    await refused(scene, text, "bad_message", "payload")


async def test_row_16_the_third_ends_it(scene: Scene) -> None:
    async with await scene.open() as one:
        for number in range(3):
            one.send(frame(TEXT, b"payload %d" % number))
        closed = await one.until_closed()
    assert closed == CloseFrame(
        4500, {"code": "bad_message", "message": "three messages were not of this protocol"}
    )
    assert [one["code"] for one in one.frames if one["type"] == "error"] == ["bad_message"] * 3
    await scene.assert_logged("closed", "payload", others=3, code=4500, reason="bad_message")


@pytest.mark.parametrize(
    "value",
    [
        "[" * 16 + "]" * 16,
        '{"payload":' * 16 + "1" + "}" * 16,
        "[" * 8000,
        str(MAX_REVISION + 1),
        str(-MAX_REVISION - 1),
        "9007199254740993.0",
        "1e400",
        "NaN",
        "-Infinity",
        '{"__proto__":{"payload":1}}',
        '{"\\u005f_proto__":1}',
    ],
)
async def test_row_17_what_not_every_reader_reads_alike(scene: Scene, value: str) -> None:
    text = f'{{"type":"ping","id":1,"x":{value}}}'
    await refused(scene, text.encode(), "bad_message", "payload", "__proto__", "Infinity")


async def test_row_18_an_unknown_type_is_told_and_an_unknown_field_is_not(scene: Scene) -> None:
    error = await refused(scene, b'{"type":"payload","id":7}', "unknown_type", "payload")
    assert error["id"] == 7
    async with await scene.open() as one:
        one.send(message("ping", later="payload", more={"deep": [1, None, "payload"]}))
        assert await one.until("ok") == {"type": "ok", "id": 1}
    await scene.assert_neighbour_unaffected()
    scene.assert_log()


@pytest.mark.parametrize(
    "account",
    [
        "",
        "a" * 65,
        "payload!",
        "payload\0",
        "payload'--",
        'payload"',
        "payload/../x",
        "payload\n",
        "\u202epayload",
        "p\u0430yload",  # a letter that looks like one of ours
        "payload ",
        "*",
    ],
)
async def test_row_19_no_account(scene: Scene, account: str) -> None:
    """Refused before anything is asked of Redis or Postgres, and not echoed."""
    before = await scene.gateway.counter("account_reads")
    for type_, channels in (
        ("subscribe", [{"channel": f"account:{account}"}]),
        ("unsubscribe", [f"account:{account}"]),
        ("subscribe", [{"channel": "account:fine"}, {"channel": f"account:{account}"}]),
    ):
        text = json.dumps({"type": type_, "id": 1, "channels": channels}).encode()
        await refused(scene, text, "bad_account", "payload", "yload", "aaaa")
    assert await scene.gateway.counter("account_reads") == before


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"revision": 1000}, "ahead"),
        ({"revision": MAX_REVISION}, "ahead"),
        ({"revision": 1, "epoch": "ffffffffffffffff"}, "epoch"),
        ({"revision": -1}, "subscribed"),  # that was never given out: as good as none
        ({"revision": 1, "epoch": "payload"}, "subscribed"),
    ],
)
async def test_row_20_a_strange_position(scene: Scene, position: dict[str, Any], reason: str) -> None:
    """Never an error: after a failover an honest client may have one."""
    await scene.projector.open("alice")
    at = {"epoch": scene.projector.epoch, **position}
    async with await scene.open() as one:
        one.send(message("subscribe", channels=[{"channel": "account:alice", "position": at}]))
        snapshot = await one.until("snapshot")
    assert (snapshot["reason"], snapshot["revision"], snapshot["epoch"]) == (reason, 1, scene.projector.epoch)
    await scene.assert_neighbour_unaffected()
    scene.assert_log("payload")


@pytest.mark.parametrize(
    "data",
    [
        [frame(TEXT, b"payload" + b"x" * 16_384)],
        [frame(TEXT, b"payload" + b"x" * 9_000, fin=False), frame(CONT, b"x" * 9_000)],
        [b"\x81\xff" + (2**62).to_bytes(8, "big")],  # says that it will be big
    ],
    ids=["one", "in pieces", "announced"],
)
async def test_row_21_too_big(scene: Scene, data: list[bytes]) -> None:
    await ends(scene, 1009, "too_big", *data)


async def test_row_21_a_bomb_does_not_unpack(scene: Scene) -> None:
    """No compression is agreed on, so one is a broken frame; what is asked for is not given."""
    async with await scene.open() as one:
        one.send(frame(TEXT, b"payload", rsv=4))
        assert (await one.until_closed()).code == 1002
    await scene.assert_logged("closed", "payload", code=1002)


async def test_row_21_the_biggest_is_read(scene: Scene) -> None:
    text = b'{"type":"ping","id":1,"x":"%s"}'
    async with await scene.open() as one:
        one.send(frame(TEXT, text % (b"x" * (16_384 - len(text) + 2))))
        await one.until("ok")


async def test_row_22_binary(scene: Scene) -> None:
    await ends(scene, 1003, "binary", frame(BINARY, b"payload"))


@pytest.mark.parametrize(
    "data",
    [
        [frame(TEXT, b"payload\xff")],
        [frame(TEXT, b"payload\xed\xa0\x80")],  # half of a surrogate
        [frame(TEXT, b"payload\xc0\xaf")],  # longer than it need be
        [frame(TEXT, b"payload\xe2", fin=False), frame(CONT, b"\x28\xa1")],
        [frame(CLOSE, b"\x03\xe8payload\xff")],
    ],
    ids=["byte", "surrogate", "overlong", "in pieces", "reason"],
)
async def test_row_23_not_utf8(scene: Scene, data: list[bytes]) -> None:
    await ends(scene, 1007, "bad_text", *data)


async def test_row_23_a_letter_may_lie_in_two_fragments(scene: Scene) -> None:
    text = '{"type":"ping","id":"\u00fc"}'.encode()
    at = text.index(b"\xbc")
    async with await scene.open() as one:
        one.send(frame(TEXT, text[:at], fin=False) + frame(PING) + frame(CONT, text[at:]))
        assert (await one.until("ok"))["id"] == "\u00fc"


@pytest.mark.parametrize(
    "data",
    [
        [frame(TEXT, b"payload", masked=False)],
        *([frame(TEXT, b"payload", rsv=bits)] for bits in (1, 2, 4)),
        *([frame(opcode, b"payload")] for opcode in (3, 7, 11, 15)),
        [frame(PING, b"payload" * 20)],
        [frame(PING, b"payload", fin=False)],
        [frame(CONT, b"payload")],
        [frame(TEXT, b"payload", fin=False), frame(TEXT, b"payload")],
        [frame(CLOSE, b"x")],
        [frame(CLOSE, (1005).to_bytes(2, "big") + b"payload")],
    ],
)
async def test_row_23_not_websocket(scene: Scene, data: list[bytes]) -> None:
    await ends(scene, 1002, "protocol_error", *data)


async def test_row_25_too_many_subscriptions(make_scene: MakeScene) -> None:
    scene = await make_scene(max_subscriptions=3)
    async with await scene.open() as one:
        names = [{"channel": f"account:payload-{number}"} for number in range(4)]
        one.send(message("subscribe", channels=names))
        error = await one.until("error")
        assert (error["code"], error["id"], error["temporary"]) == ("limit", 1, False)
        one.send(message("subscribe", channels=names[:3]))
        await one.until("ok")
        one.send(message("subscribe", channels=names[3:]))
        assert (await one.until("error"))["code"] == "limit"
        one.send(message("unsubscribe", channels=["account:payload-0"]))
        await one.until("ok")
        one.send(message("subscribe", channels=names[3:]))
        await one.until("ok")
    await scene.assert_neighbour_unaffected()
    assert [line["code"] for line in scene.log.events()] == ["limit"] * 2
    scene.assert_log("payload", lines=2)


async def test_row_38_a_bug(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets a number that is in the log, and the log has the traceback, and nobody else notices."""

    def bug(*_: object) -> None:
        raise ValueError("token=payload\r\nforged")

    async with await scene.open() as one:
        monkeypatch.setattr("livebalance.gateway.live.session.Session.receive", bug)
        one.send(message("ping"))
        closed = await one.until_closed()
        monkeypatch.undo()
    assert (closed.code, set(closed.reason)) == (1011, {"code", "message", "error_id"})
    assert closed.reason["message"] == "the gateway failed"
    line = await scene.assert_logged("a client met a bug", "payload", error_id=closed.reason["error_id"])
    assert "ValueError" in line["exception"]


async def test_row_38_a_bug_of_a_request(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bug(*_: object) -> None:
        raise ValueError("token=payload")

    monkeypatch.setattr("livebalance.readmodel.gateway_reads.list_accounts", bug)
    answer = await scene.send_request(ACCOUNTS_HEAD + b"\r\n")
    assert (answer.status, answer.code) == (500, "internal")
    assert b"payload" not in answer.body
    assert b"ValueError" not in answer.body
    named = json.loads(answer.body)["error_id"]
    line = await scene.assert_logged("a request met a bug", "payload", others=1, error_id=named)
    assert "ValueError" in line["exception"]
