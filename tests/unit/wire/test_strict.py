import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.frame import FrameError, decode_client
from livebalance.wire.identity import MAX_REVISION
from livebalance.wire.strict_json import MAX_DEPTH, StrictError, check


def deep(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + "1" + closing * levels


REFUSED = {
    "nothing": "",
    "no JSON": "nonsense",
    "two values": "1 2",
    "a key twice": '{"a":1,"a":1}',
    "a key twice, inside": '{"x":[{"a":1,"b":2,"a":3}]}',
    "a key twice, once escaped": '{"a":1,"\\u0061":2}',
    "__proto__": '{"__proto__":{}}',
    "__proto__, escaped": '{"x":{"\\u005f_proto__":1}}',
    "NaN": '{"x":NaN}',
    "Infinity": "[-Infinity]",
    "a big number": f"[{MAX_REVISION + 1}]",
    "a big negative number": f"[{-MAX_REVISION - 1}]",
    "a huge number": "1" * 5000,
    "a big fraction": "1e400",
    "a little too big a fraction": "9007199254740993.0",
    "levels": deep(MAX_DEPTH + 1),
    "levels of objects": deep(MAX_DEPTH + 1, '{"a":', "}"),
    "a thousand levels": deep(100_000),
    "a control character": '"\x01"',
    "a byte order mark": "\ufeff1",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_two_readers_could_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(StrictError):
        check(text)
    with pytest.raises(FrameError) as refused:
        decode_client('{"type":"ping","id":1,"x":%s}' % (text or "{"))
    assert refused.value.code == "bad_message"


@pytest.mark.parametrize(
    "text",
    [
        str(MAX_REVISION),
        str(-MAX_REVISION),
        "-1.5e3",
        deep(MAX_DEPTH),
        deep(MAX_DEPTH, '{"a":', "}"),
        '[{"a":1},{"a":1}]',
        '{"a":{"a":{"a":1}}}',
        '["__proto__", "NaN", "[[[[[[[[[[[[[[[[[[[[[[[["]',
    ],
)
def test_what_every_reader_reads_alike_is_not(text: str) -> None:
    check(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_REVISION, MAX_REVISION) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_json_as_it_is_written_is_taken(value: object) -> None:
    check(json.dumps(value))
