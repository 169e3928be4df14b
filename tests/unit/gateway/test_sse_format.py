import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from livebalance.gateway.api.sse_format import EventEncoder, encode_close
from livebalance.gateway.live.outbox import Frame
from livebalance.wire.close import CloseCode
from livebalance.wire.event_id import decode_event_id
from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from tests.unit.wire.samples import epochs, revisions

Event = dict[str, str]


def parse(stream: bytes) -> list[Event]:
    """Parses a stream as HTML §9.2.6 says: the fields of a block, `data` joined by line feeds."""
    events: list[Event] = []
    event: Event = {}
    for line in re.split("\r\n|\n|\r", stream.decode()):
        if not line:
            if event:
                events.append(event)
            event = {}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        event[name] = f"{event[name]}\n{value}" if name == "data" and "data" in event else value
    assert not event, "the last event is complete"
    return events


accounts = st.sampled_from([AccountId(name) for name in ("alice", "bob", "carol")])
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=20), lambda items: st.lists(items, max_size=3), max_leaves=5
)
texts = values.map(json.encode)
data_frames = st.builds(
    lambda account, position, text: Frame(account, None, position, text),
    accounts,
    st.builds(Position, epochs, revisions),
    texts,
)


@given(st.lists(texts | data_frames, max_size=12), st.integers(0, 12))
def test_event_of_each_data_frame_has_the_positions_of_its_client_as_id(
    frames: list[bytes | Frame], split: int
) -> None:
    encoder = EventEncoder({})
    events = parse(encoder.encode(frames[:split]) + encoder.encode(frames[split:]))
    positions: dict[AccountId, Position] = {}
    for frame, event in zip(frames, events, strict=True):
        if isinstance(frame, bytes):
            assert set(event) == {"data"}
            assert event["data"].encode() == frame
        else:
            assert isinstance(frame.account, str)
            positions[frame.account] = frame.after
            assert event["data"].encode() == frame.text
            assert decode_event_id(event["id"]) == positions


def test_event_id_keeps_the_positions_that_the_client_resumed_from() -> None:
    alice, bob = AccountId("alice"), AccountId("bob")
    position = Position(Epoch("00000000000000a1"), Revision(5))
    encoder = EventEncoder({alice: position})
    (event,) = parse(encoder.encode([Frame(bob, None, position, b"{}")]))
    assert decode_event_id(event["id"]) == {alice: position, bob: position}


def test_event_of_a_text_with_line_breaks_decodes_to_the_same_json() -> None:
    (event,) = parse(EventEncoder({}).encode([b'{"a":\r\n1,\r"b"\n:2}']))
    assert json.decode(event["data"]) == {"a": 1, "b": 2}


def test_close_event_has_the_reason_of_a_websocket_close_and_the_retry() -> None:
    (event,) = parse(encode_close(CloseCode.GOODBYE, "drain", 1800))
    assert (event["event"], event["retry"]) == ("close", "1800")
    data: dict[str, Any] = json.decode(event["data"])
    assert data == {
        "code": 4000,
        "reason": {"code": "drain", "message": "the gateway is restarting", "retry_after_ms": 1800},
    }
    (event,) = parse(encode_close(CloseCode.REVOKED, "revoked"))
    assert set(event) == {"event", "data"}
    assert json.decode(event["data"])["reason"] == {"code": "revoked", "message": "access was revoked"}
