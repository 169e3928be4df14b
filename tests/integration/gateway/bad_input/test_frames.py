"""Invalid messages: each has its answer and one line in the log, and affects no other client."""

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


async def assert_alive(connection: RawConnection) -> None:
    connection.send(message("ping"))
    await connection.until("ok")


async def assert_error(scene: Scene, text: bytes, code: str, *payloads: str) -> dict[str, Any]:
    """Checks that the message gets this error, without the payloads, and the connection lives."""
    async with await scene.open() as connection:
        connection.send(frame(TEXT, text))
        error = await connection.until("error")
        assert error["code"] == code
        assert not error["temporary"]
        for payload in payloads:
            assert payload not in json.dumps(error, ensure_ascii=False)
        await assert_alive(connection)
        await scene.assert_logged("message rejected", *payloads, code=code)
    return error


async def assert_closed(scene: Scene, code: int, reason: str, *data: bytes) -> CloseFrame:
    """Checks that a client which sends `data` is closed with this code and reason."""
    async with await scene.open() as connection:
        for part in data:
            connection.send(part)
        close = await connection.until_closed()
    assert (close.code, close.reason["code"]) == (code, reason)
    assert "payload" not in json.dumps(close.reason)
    await scene.assert_logged("connection closed", "payload", code=code, reason=reason)
    return close


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
async def test_row_16_invalid_message_gets_bad_message(scene: Scene, text: bytes) -> None:
    await assert_error(scene, text, "bad_message", "payload")


async def test_row_16_third_invalid_message_closes_with_4500(scene: Scene) -> None:
    async with await scene.open() as connection:
        for number in range(3):
            connection.send(frame(TEXT, b"payload %d" % number))
        close = await connection.until_closed()
    assert close == CloseFrame(
        4500, {"code": "bad_message", "message": "three messages did not follow the protocol"}
    )
    assert [frame["code"] for frame in connection.frames if frame["type"] == "error"] == ["bad_message"] * 3
    await scene.assert_logged("connection closed", "payload", others=3, code=4500, reason="bad_message")


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
async def test_row_17_ambiguous_json_gets_bad_message(scene: Scene, value: str) -> None:
    text = f'{{"type":"ping","id":1,"x":{value}}}'
    await assert_error(scene, text.encode(), "bad_message", "payload", "__proto__", "Infinity")


async def test_row_18_unknown_type_gets_an_error_and_unknown_field_is_ignored(scene: Scene) -> None:
    error = await assert_error(scene, b'{"type":"payload","id":7}', "unknown_type", "payload")
    assert error["id"] == 7
    async with await scene.open() as connection:
        connection.send(message("ping", later="payload", more={"deep": [1, None, "payload"]}))
        assert await connection.until("ok") == {"type": "ok", "id": 1}
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
        "p\u0430yload",  # a Cyrillic letter that looks like a Latin one
        "payload ",
        "*",
    ],
)
async def test_row_19_malformed_account_gets_bad_account_without_a_query(scene: Scene, account: str) -> None:
    """The error repeats nothing, and neither Redis nor Postgres is queried."""
    before = await scene.gateway.counter("account_reads")
    for type_, channels in (
        ("subscribe", [{"channel": f"account:{account}"}]),
        ("unsubscribe", [f"account:{account}"]),
        ("subscribe", [{"channel": "account:fine"}, {"channel": f"account:{account}"}]),
    ):
        text = json.dumps({"type": type_, "id": 1, "channels": channels}).encode()
        await assert_error(scene, text, "bad_account", "payload", "yload", "aaaa")
    assert await scene.gateway.counter("account_reads") == before


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"revision": 1000}, "ahead"),
        ({"revision": MAX_REVISION}, "ahead"),
        ({"revision": 1, "epoch": "ffffffffffffffff"}, "epoch"),
        ({"revision": -1}, "subscribed"),  # no gateway sends such a position, so it is ignored
        ({"revision": 1, "epoch": "payload"}, "subscribed"),
    ],
)
async def test_row_20_unusable_position_gets_a_snapshot(
    scene: Scene, position: dict[str, Any], reason: str
) -> None:
    """A correct client may have such a position after a failover, so it gets no error."""
    await scene.projector.open("alice")
    position = {"epoch": scene.projector.epoch, **position}
    async with await scene.open() as connection:
        connection.send(message("subscribe", channels=[{"channel": "account:alice", "position": position}]))
        snapshot = await connection.until("snapshot")
    assert (snapshot["reason"], snapshot["revision"], snapshot["epoch"]) == (reason, 1, scene.projector.epoch)
    await scene.assert_neighbour_unaffected()
    scene.assert_log("payload")


@pytest.mark.parametrize(
    "data",
    [
        [frame(TEXT, b"payload" + b"x" * 16_384)],
        [frame(TEXT, b"payload" + b"x" * 9_000, fin=False), frame(CONT, b"x" * 9_000)],
        [b"\x81\xff" + (2**62).to_bytes(8, "big")],  # the head announces the size
    ],
    ids=["one frame", "fragments", "announced"],
)
async def test_row_21_message_over_16_kib_closes_with_1009(scene: Scene, data: list[bytes]) -> None:
    await assert_closed(scene, 1009, "too_big", *data)


async def test_row_21_compressed_frame_closes_with_1002(scene: Scene) -> None:
    """Compression is not negotiated, so a compressed frame is invalid."""
    async with await scene.open() as connection:
        connection.send(frame(TEXT, b"payload", rsv=4))
        assert (await connection.until_closed()).code == 1002
    await scene.assert_logged("connection closed", "payload", code=1002)


async def test_row_21_message_of_16_kib_is_accepted(scene: Scene) -> None:
    text = b'{"type":"ping","id":1,"x":"%s"}'
    async with await scene.open() as connection:
        connection.send(frame(TEXT, text % (b"x" * (16_384 - len(text) + 2))))
        await connection.until("ok")


async def test_row_22_binary_frame_closes_with_1003(scene: Scene) -> None:
    await assert_closed(scene, 1003, "binary", frame(BINARY, b"payload"))


@pytest.mark.parametrize(
    "data",
    [
        [frame(TEXT, b"payload\xff")],
        [frame(TEXT, b"payload\xed\xa0\x80")],  # half of a surrogate pair
        [frame(TEXT, b"payload\xc0\xaf")],  # an overlong encoding
        [frame(TEXT, b"payload\xe2", fin=False), frame(CONT, b"\x28\xa1")],
        [frame(CLOSE, b"\x03\xe8payload\xff")],
    ],
    ids=["byte", "surrogate", "overlong", "fragments", "close reason"],
)
async def test_row_23_invalid_utf8_closes_with_1007(scene: Scene, data: list[bytes]) -> None:
    await assert_closed(scene, 1007, "bad_text", *data)


async def test_row_23_character_split_over_two_fragments_is_accepted(scene: Scene) -> None:
    text = '{"type":"ping","id":"\u00fc"}'.encode()
    middle = text.index(b"\xbc")
    async with await scene.open() as connection:
        connection.send(frame(TEXT, text[:middle], fin=False) + frame(PING) + frame(CONT, text[middle:]))
        assert (await connection.until("ok"))["id"] == "\u00fc"


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
async def test_row_23_invalid_frame_closes_with_1002(scene: Scene, data: list[bytes]) -> None:
    await assert_closed(scene, 1002, "protocol_error", *data)


async def test_row_25_subscription_over_the_limit_gets_an_error_and_connection_lives(
    make_scene: MakeScene,
) -> None:
    scene = await make_scene(max_subscriptions=3)
    async with await scene.open() as connection:
        names = [{"channel": f"account:payload-{number}"} for number in range(4)]
        connection.send(message("subscribe", channels=names))
        error = await connection.until("error")
        assert (error["code"], error["id"], error["temporary"]) == ("limit", 1, False)
        connection.send(message("subscribe", channels=names[:3]))
        await connection.until("ok")
        connection.send(message("subscribe", channels=names[3:]))
        assert (await connection.until("error"))["code"] == "limit"
        connection.send(message("unsubscribe", channels=["account:payload-0"]))
        await connection.until("ok")
        connection.send(message("subscribe", channels=names[3:]))
        await connection.until("ok")
    await scene.assert_neighbour_unaffected()
    assert [line["code"] for line in scene.log.events()] == ["limit"] * 2
    scene.assert_log("payload", lines=2)


async def test_row_38_bug_in_a_message_handler_closes_with_1011_and_an_error_id(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has the traceback under the same id. Other clients are not affected."""

    def bug(*_: object) -> None:
        raise ValueError("token=payload\r\nforged")

    async with await scene.open() as connection:
        monkeypatch.setattr("livebalance.gateway.live.session.Session.receive", bug)
        connection.send(message("ping"))
        close = await connection.until_closed()
        monkeypatch.undo()
    assert (close.code, set(close.reason)) == (1011, {"code", "message", "error_id"})
    assert close.reason["message"] == "the gateway failed"
    line = await scene.assert_logged("message handler failed", "payload", error_id=close.reason["error_id"])
    assert "ValueError" in line["exception"]


async def test_row_38_bug_in_a_request_handler_gets_500_with_an_error_id(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bug(*_: object, **__: object) -> None:
        raise ValueError("token=payload")

    monkeypatch.setattr("livebalance.readmodel.account_pages.list_accounts", bug)
    response = await scene.send_request(ACCOUNTS_HEAD + b"\r\n")
    assert (response.status, response.code) == (500, "internal")
    assert b"payload" not in response.body
    assert b"ValueError" not in response.body
    error_id = json.loads(response.body)["error_id"]
    line = await scene.assert_logged("request handler failed", "payload", others=1, error_id=error_id)
    assert "ValueError" in line["exception"]
