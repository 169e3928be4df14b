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


def heard(stream: bytes) -> list[Event]:
    """As HTML, 9.2.6, says to read it: fields of a block, `data` joined by line feeds."""
    events: list[Event] = []
    one: Event = {}
    for line in re.split("\r\n|\n|\r", stream.decode()):
        if not line:
            if one:
                events.append(one)
            one = {}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        one[name] = f"{one[name]}\n{value}" if name == "data" and "data" in one else value
    assert not one, "the last event is whole"
    return events


accounts = st.sampled_from([AccountId(name) for name in ("alice", "bob", "carol")])
jsons = st.recursive(
    st.none() | st.integers() | st.text(max_size=20), lambda one: st.lists(one, max_size=3), max_leaves=5
)
words = jsons.map(json.encode)
parcels = st.builds(
    lambda account, at, frame: Frame(account, None, at, frame),
    accounts,
    st.builds(Position, epochs, revisions),
    words,
)


@given(st.lists(words | parcels, max_size=12), st.integers(0, 12))
def test_every_frame_arrives_and_each_of_data_says_where_its_reader_is(
    frames: list[bytes | Frame], cut: int
) -> None:
    story = EventEncoder({})
    events = heard(story.encode(frames[:cut]) + story.encode(frames[cut:]))
    at: dict[AccountId, Position] = {}
    for frame, event in zip(frames, events, strict=True):
        if isinstance(frame, bytes):
            assert set(event) == {"data"}
            assert event["data"].encode() == frame
        else:
            at[frame.account] = frame.after
            assert event["data"].encode() == frame.text
            assert decode_event_id(event["id"]) == at


def test_what_was_resumed_from_stays() -> None:
    alice, bob = AccountId("alice"), AccountId("bob")
    here = Position(Epoch("00000000000000a1"), Revision(5))
    story = EventEncoder({alice: here})
    (event,) = heard(story.encode([Frame(bob, None, here, b"{}")]))
    assert decode_event_id(event["id"]) == {alice: here, bob: here}


def test_lines_inside_a_frame_are_of_it() -> None:
    (event,) = heard(EventEncoder({}).encode([b'{"a":\r\n1,\r"b"\n:2}']))
    assert json.decode(event["data"]) == {"a": 1, "b": 2}


def test_the_end() -> None:
    (event,) = heard(encode_close(CloseCode.GOODBYE, "drain", 1800))
    assert (event["event"], event["retry"]) == ("close", "1800")
    told: dict[str, Any] = json.decode(event["data"])
    assert told == {
        "code": 4000,
        "reason": {"code": "drain", "message": "the gateway is restarting", "retry_after_ms": 1800},
    }
    (event,) = heard(encode_close(CloseCode.REVOKED, "revoked"))
    assert set(event) == {"event", "data"}
    assert json.decode(event["data"])["reason"] == {"code": "revoked", "message": "access was revoked"}
